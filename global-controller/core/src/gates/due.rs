//! What is to be measured when.

use std::collections::BTreeMap;

use crds::Revision;

use super::template::Values;
use super::{Answer, GateId, Measurement, Metric, OpenGate, Rule, Sample, SampleKey};
use crate::{MemberStage, Millis, Observations, Reachability, RolloutState, Run};

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
    let Some((run, open)) = run.and_then(|run| Some((run, OpenGate::of(run)?))) else {
        return Asked::default();
    };
    // As in decisions, time never runs back behind the last one.
    let now = now.max(state.header.decided_at);
    let mut asked = Asked { obsolete: obsolete(&open, observations), ..Asked::default() };
    let updated = updated(state, observations);
    for (metric, member) in series(&open, &updated) {
        let key = SampleKey { metric: metric.name.clone(), member: member.map(|(name, _)| name.to_owned()) };
        asked.obsolete.retain(|old| *old != key);
        let at = due_at(&open, observations.samples.get(&key).filter(|sample| counts(sample, run, &open)));
        if at <= now {
            let since = member.map_or_else(|| latest(&updated), |(_, since)| since);
            asked.asks.push(ask(metric, key, (run, &open), observations, (since, now)));
        }
        let next = if at <= now { after(&open, now) } else { at };
        asked.next_at = asked.next_at.into_iter().chain([next]).min();
    }
    asked
}

fn obsolete(open: &OpenGate<'_>, observations: &Observations<'_>) -> Vec<SampleKey> {
    let old = observations.samples.iter().filter(|(_, sample)| sample.gate != open.id);
    old.map(|(key, _)| key.clone()).collect()
}

/// Updated members that are healthy and heard, and since when they are healthy: the only ones that metrics speak of.
pub(super) fn updated<'a>(state: &'a RolloutState, observations: &Observations<'_>) -> BTreeMap<&'a str, Millis> {
    let healthy = |name: &'a String| match state.stage_of(name) {
        MemberStage::Healthy { since } if observations.reachability(name) == Reachability::Reachable => {
            Some((name.as_str(), since))
        }
        _ => None,
    };
    state.begun().iter().filter_map(healthy).collect()
}

/// All series of a gate.
pub(super) fn series<'a>(
    open: &OpenGate<'a>,
    updated: &'a BTreeMap<&'a str, Millis>,
) -> impl Iterator<Item = (&'a Metric, Option<(&'a str, Millis)>)> {
    open.gate.metrics.iter().flat_map(|metric| {
        let each = metric.is_per_member().then(|| updated.iter().map(|(name, since)| Some((*name, *since))));
        let once = (!metric.is_per_member()).then_some(None);
        each.into_iter().flatten().chain(once).map(move |member| (metric, member))
    })
}

/// Whether a sample was taken in this gate, of this revision.
pub(super) fn counts(sample: &Sample, run: &Run, open: &OpenGate<'_>) -> bool {
    sample.gate == open.id && sample.revision == run.revision
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

fn latest(updated: &BTreeMap<&str, Millis>) -> Millis {
    updated.values().copied().max().unwrap_or(Millis::MAX)
}

fn ask(
    metric: &Metric,
    key: SampleKey,
    (run, open): (&Run, &OpenGate<'_>),
    observations: &Observations<'_>,
    (since, now): (Millis, Millis),
) -> Ask {
    let none = BTreeMap::new();
    let member = key.member.as_deref();
    let labels = member.and_then(|name| observations.members.get(name)).map_or(&none, |facts| &facts.labels);
    let window_seconds = now.saturating_sub(since).max(0) / 1000;
    let values = Values {
        cluster: member.unwrap_or_default(),
        namespace: &run.payload.namespace,
        workload: &run.payload.name,
        revision: run.revision.as_str(),
        labels,
        window_seconds,
    };
    let queries = match &metric.rule {
        Rule::SuccessRate { good, total, .. } => vec![good.fill(values), total.fill(values)],
        Rule::Values { query, .. } => vec![query.fill(values)],
    };
    let (source, revision) = (open.gate.source.clone(), run.revision.clone());
    Ask { key, gate: open.id, revision, source, queries, at: now, window_seconds, metric: metric.clone() }
}
