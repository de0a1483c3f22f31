//! What is to be measured when.

use std::collections::BTreeSet;

use crds::{Content, Payload, Revision};

use super::compare::{COMPARABLE, Compared, Limits, groups};
use super::series::Series;
use super::template::{Query, Values};
use super::{Answer, GateId, Measurement, Metric, OpenGate, Rule, Sample, SampleKey, Samples, Template};
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

/// Whom a measurement is asked of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// The configured source of this name, or the server at this address.
    Source(String),
    /// The Prometheus beside the agent of this member.
    Member(String),
}

/// One measurement to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The series.
    pub key: SampleKey,
    /// The gate that it counts in.
    pub gate: GateId,
    /// The same series of the background, where it counts in that too.
    also: Option<(SampleKey, GateId)>,
    /// The revision that it speaks of.
    pub revision: Revision,
    /// Whom to ask.
    pub asked: Whom,
    /// What is asked: as many answers go into the measurement.
    pub queries: Vec<Query>,
    /// When: the queries are about this moment.
    pub at: Millis,
    /// Seconds for which there has been something to measure: what looks back further sees what was before.
    pub window_seconds: i64,
    metric: Metric,
    /// Whose requests are compared, where that is what is measured: two queries each.
    compared: Vec<Compared>,
    interval: Millis,
}

impl Ask {
    /// The samples with one more measurement, from the answers to all queries.
    pub fn answered(&self, before: &Samples, answers: &[Answer]) -> Vec<(SampleKey, Sample)> {
        let (Some(limits), Rule::Drop { good, total, .. }) = (Limits::of(&self.metric.rule), &self.metric.rule) else {
            return self.measured(before, &self.metric.measure(answers));
        };
        if !(good.is_comparable() && total.is_comparable()) {
            return self.measured(before, &Measurement::inconclusive(&format!("good and total {COMPARABLE}")));
        }
        let earlier = Sample::of_gate(before.get(&self.key), self.gate, &self.revision);
        let mut comparison = earlier.and_then(|sample| sample.comparison.clone()).unwrap_or_default();
        let measured = comparison.look((&self.compared, answers), limits, (self.at, self.interval));
        let mut samples = self.measured(before, &measured);
        if let Some((_, sample)) = samples.first_mut() {
            sample.comparison = Some(comparison);
        }
        samples
    }

    /// The same, where nothing was asked.
    pub fn measured(&self, before: &Samples, measured: &Measurement) -> Vec<(SampleKey, Sample)> {
        let own = (self.key.clone(), self.gate);
        let sample = |(key, gate): (SampleKey, GateId)| {
            let sample =
                Sample::with(before.get(&key), (gate, &self.revision), measured.clone(), (&self.queries, self.at));
            (key, sample)
        };
        [Some(own), self.also.clone()].into_iter().flatten().map(sample).collect()
    }
}

/// What is to be measured of a rollout. Measuring goes on while it is paused, its object is invalid, or the hub is silent:
/// stopping never disarms.
pub fn measurements_due(state: &RolloutState, observations: &Observations<'_>, now: Millis) -> Asked {
    // What is deleted goes nowhere any more.
    let run = state.header.run.as_ref().filter(|_| !state.header.deleting);
    let (pause, background) = (run.and_then(OpenGate::of), run.and_then(OpenGate::in_background));
    // In a pause its gate sets the pace, and what it measures counts for both.
    let Some(open) = pause.or(background) else { return Asked::default() };
    // As in decisions, time never runs back behind the last one.
    let now = now.max(state.header.decided_at);
    let all = open.series(state, observations);
    let obsolete = obsolete((pause, background), &all, observations);
    let mut asked = Asked { obsolete, ..Asked::default() };
    for series in all {
        let at = due_at(&open, &series);
        let next = if at <= now { after(&open, now) } else { at };
        asked.next_at = asked.next_at.into_iter().chain([next]).min();
        if at <= now {
            asked.asks.push(ask(series, (&open, background.as_ref()), (state, observations), now));
        }
    }
    asked
}

fn obsolete(
    (pause, background): (Option<OpenGate<'_>>, Option<OpenGate<'_>>),
    measured: &[Series<'_>],
    observations: &Observations<'_>,
) -> Vec<SampleKey> {
    let measured: BTreeSet<&SampleKey> = measured.iter().map(|series| &series.key).collect();
    let gate = |key: &SampleKey| if key.background { background } else { pause };
    let is_old = |key: &SampleKey, sample: &Sample| gate(key).is_none_or(|open| sample.gate != open.id);
    let old = observations.samples.iter().filter(|(key, sample)| is_old(key, sample) && !measured.contains(key));
    old.map(|(key, _)| key.clone()).collect()
}

/// When a series is to be measured next; the end of the pause is always among the times.
fn due_at(open: &OpenGate<'_>, series: &Series<'_>) -> Millis {
    after(open, series.sample.map_or(series.first_at, |sample| sample.at))
}

/// The next time after one measurement, or the beginning.
fn after(open: &OpenGate<'_>, before: Millis) -> Millis {
    let next = before + i64::from(open.gate.pace.interval_seconds.max(1)) * 1000;
    open.ends_at.filter(|ends_at| before < *ends_at).map_or(next, |ends_at| ends_at.min(next))
}

/// Namespace and name of the workload that queries are about; of whole objects the first workload among them.
fn subject(payload: &Payload) -> (&str, &str) {
    match &payload.content {
        Content::Images(workload) => (&workload.namespace, &workload.name),
        Content::Manifests(manifests) => {
            manifests.workload().map_or(("", ""), |object| (&object.namespace, &object.name))
        }
    }
}

fn ask(
    series: Series<'_>,
    (open, background): (&OpenGate<'_>, Option<&OpenGate<'_>>),
    (state, observations): (&RolloutState, &Observations<'_>),
    now: Millis,
) -> Ask {
    let Series { metric, key, since, first_at: _, sample: _ } = series;
    let seconds = |since: Millis| now.saturating_sub(since).max(0) / 1000;
    let (namespace, workload) = subject(&open.run.payload);
    let fill = |template: &Template, member: Option<&str>, window_seconds: i64| {
        template.fill(Values {
            cluster: member.unwrap_or_default(),
            namespace,
            workload,
            revision: open.run.revision.as_str(),
            labels: observations.labels_of(member.unwrap_or_default()),
            window_seconds,
        })
    };
    let member = key.member.as_deref();
    let window = rounded(seconds(since));
    let compared = match &metric.rule {
        Rule::Drop { .. } => groups(open, &open.updated(state, observations), state, observations),
        _ => Vec::new(),
    };
    let queries = match &metric.rule {
        Rule::SuccessRate { good, total, .. } => vec![fill(good, member, window), fill(total, member, window)],
        Rule::Values { query, .. } => vec![fill(query, member, window)],
        Rule::Drop { good, total, .. } => {
            // Counts that go on from look to look must all begin at the same moment.
            let both = |one: &Compared| [good, total].map(|query| fill(query, Some(&one.name), seconds(one.since)));
            compared.iter().flat_map(both).collect()
        }
    };
    let revision = open.run.revision.clone();
    let asked = match &key.member {
        Some(member) if !open.gate.from.is_hub() => Whom::Member(member.clone()),
        _ => Whom::Source(open.gate.source.clone()),
    };
    let interval = i64::from(open.gate.pace.interval_seconds) * 1000;
    let (gate, window_seconds) = (open.id, seconds(since));
    let counts = background.filter(|background| !open.background && background.measures(metric));
    let also = counts.map(|background| (SampleKey { background: true, ..key.clone() }, background.id));
    let metric = metric.clone();
    Ask { key, gate, also, revision, asked, queries, at: now, window_seconds, metric, compared, interval }
}

/// A window a little shorter, so that members that became healthy within some time of each other can be asked about in one
/// question: by a sixteenth at most.
fn rounded(window_seconds: i64) -> i64 {
    let magnitude = window_seconds.checked_ilog2().unwrap_or(0);
    let step = 1_i64 << magnitude.saturating_sub(4);
    window_seconds / step * step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_never_rounded_up_nor_by_more_than_a_sixteenth() {
        for seconds in 0..100_000 {
            let rounded = rounded(seconds);
            assert!(rounded <= seconds && seconds - rounded <= seconds / 16, "{seconds} became {rounded}");
        }
        assert_eq!([10, 31, 300, 3600].map(rounded), [10, 31, 288, 3584]);
    }
}
