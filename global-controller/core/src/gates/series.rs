//! The series of an open gate: a metric, and where it is measured for each, one member.

use std::collections::BTreeMap;

use super::{Metric, OpenGate, Rule, Sample, SampleKey, compare};
use crate::{MemberStage, Millis, Observations, Reachability, RolloutState};

/// One series of an open gate.
#[derive(Debug)]
pub(super) struct Series<'a> {
    pub metric: &'a Metric,
    pub key: SampleKey,
    /// Since when there has been something to measure: since the member, or the last of them, became healthy.
    pub since: Millis,
    /// What was measured of it in this very gate.
    pub sample: Option<&'a Sample>,
}

impl<'a> OpenGate<'a> {
    /// All its series, in the order of its metrics, each metric's by member.
    pub(super) fn series(&self, state: &RolloutState, observations: &Observations<'a>) -> Vec<Series<'a>> {
        let updated = self.updated(state, observations);
        let latest = updated.values().copied().max().unwrap_or(Millis::MAX);
        let series = |metric: &'a Metric, member: Option<&str>, since: Millis| {
            let key = SampleKey { metric: metric.name.clone(), member: member.map(str::to_owned) };
            let sample = Sample::of_gate(observations.samples.get(&key), self.id, &self.run.revision);
            Series { metric, key, since, sample }
        };
        let compares = !updated.is_empty() && compare::has_control_group(state);
        let of_metric = |metric: &'a Metric| -> Vec<Series<'a>> {
            if matches!(metric.rule, Rule::Drop { .. }) {
                compares.then(|| series(metric, None, self.id.began_at)).into_iter().collect()
            } else if metric.is_per_member() {
                updated.iter().map(|(name, since)| series(metric, Some(name), *since)).collect()
            } else {
                vec![series(metric, None, latest)]
            }
        };
        self.gate.metrics.iter().flat_map(of_metric).collect()
    }

    /// Updated members that are healthy and heard, and since when they are to be measured: since they are healthy, and not
    /// from before the end of trouble that was everywhere. Metrics speak of no others.
    pub fn updated<'s>(&self, state: &'s RolloutState, observations: &Observations<'_>) -> BTreeMap<&'s str, Millis> {
        let healthy = |name: &'s String| match state.stage_of(name) {
            MemberStage::Healthy { since } if observations.reachability(name) == Reachability::Reachable => {
                Some((name.as_str(), since.max(self.run.troubled_until)))
            }
            _ => None,
        };
        state.begun().iter().filter_map(healthy).collect()
    }
}
