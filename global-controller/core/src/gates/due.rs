//! What is to be measured when.

use std::collections::{BTreeMap, BTreeSet};

use crds::Revision;

use super::series::Series;
use super::template::Values;
use super::{Answer, GateId, Measurement, Metric, OpenGate, Rule, Sample, SampleKey};
use crate::{Millis, Observations, RolloutState};

/// What is measured now, and when the next measurement is due.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// To be measured now.
    pub asks: Vec<Ask>,
    /// Series of earlier gates that are measured no more: their samples may be removed.
    pub obsolete: Vec<SampleKey>,
    /// When the next is due after these; none while no gate is open.
    pub next_at: Option<Millis>,
}

/// One measurement to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The series.
    pub key: SampleKey,
    /// The gate that it counts in.
    pub gate: GateId,
    /// The revision that it speaks of.
    pub revision: Revision,
    /// Name of the source.
    pub source: String,
    /// What is asked: as many answers go into the measurement.
    pub queries: Vec<String>,
    /// When: the queries are about this moment.
    pub at: Millis,
    /// Seconds for which there has been something to measure: what looks back further sees what was before.
    pub window_seconds: i64,
    metric: Metric,
}

impl Ask {
    /// The sample with one more measurement, from the answers to all queries.
    pub fn answered(&self, before: Option<&Sample>, answers: &[Answer]) -> Sample {
        self.measured(before, self.metric.measure(answers))
    }

    /// The same, where nothing was asked.
    pub fn measured(&self, before: Option<&Sample>, measured: Measurement) -> Sample {
        Sample::with(before, (self.gate, &self.revision), measured, self.at)
    }
}

/// What is to be measured of a rollout. Measuring goes on while it is paused, its object is invalid, or the hub is silent:
/// stopping never disarms.
pub fn measurements_due(state: &RolloutState, observations: &Observations<'_>, now: Millis) -> Asked {
    // What is deleted goes nowhere any more.
    let run = state.header.run.as_ref().filter(|_| !state.header.deleting);
    let Some(open) = run.and_then(OpenGate::of) else { return Asked::default() };
    // As in decisions, time never runs back behind the last one.
    let now = now.max(state.header.decided_at);
    let all = open.series(state, observations);
    let mut asked = Asked { obsolete: obsolete(&open, &all, observations), ..Asked::default() };
    for series in all {
        let at = due_at(&open, series.sample);
        let next = if at <= now { after(&open, now) } else { at };
        asked.next_at = asked.next_at.into_iter().chain([next]).min();
        if at <= now {
            asked.asks.push(ask(series, &open, observations, now));
        }
    }
    asked
}

fn obsolete(open: &OpenGate<'_>, measured: &[Series<'_>], observations: &Observations<'_>) -> Vec<SampleKey> {
    let measured: BTreeSet<&SampleKey> = measured.iter().map(|series| &series.key).collect();
    let old = observations.samples.iter().filter(|(key, sample)| sample.gate != open.id && !measured.contains(key));
    old.map(|(key, _)| key.clone()).collect()
}

/// When a series is to be measured next; the end of the pause is always among the times.
fn due_at(open: &OpenGate<'_>, latest: Option<&Sample>) -> Millis {
    after(open, latest.map_or(open.id.began_at, |sample| sample.at))
}

/// The next time after one measurement, or the beginning.
fn after(open: &OpenGate<'_>, before: Millis) -> Millis {
    let next = before + i64::from(open.gate.pace.interval_seconds.max(1)) * 1000;
    open.ends_at.filter(|ends_at| before < *ends_at).map_or(next, |ends_at| ends_at.min(next))
}

fn ask(series: Series<'_>, open: &OpenGate<'_>, observations: &Observations<'_>, now: Millis) -> Ask {
    let Series { metric, key, since, sample: _ } = series;
    let none = BTreeMap::new();
    let member = key.member.as_deref();
    let labels = member.and_then(|name| observations.members.get(name)).map_or(&none, |facts| &facts.labels);
    let window_seconds = now.saturating_sub(since).max(0) / 1000;
    let values = Values {
        cluster: member.unwrap_or_default(),
        namespace: &open.run.payload.namespace,
        workload: &open.run.payload.name,
        revision: open.run.revision.as_str(),
        labels,
        window_seconds,
    };
    let queries = match &metric.rule {
        Rule::SuccessRate { good, total, .. } => vec![good.fill(values), total.fill(values)],
        Rule::Values { query, .. } => vec![query.fill(values)],
    };
    let (source, revision) = (open.gate.source.clone(), open.run.revision.clone());
    Ask { key, gate: open.id, revision, source, queries, at: now, window_seconds, metric: metric.clone() }
}
