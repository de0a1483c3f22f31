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
    /// From when on it is measured: the first time an interval later.
    pub first_at: Millis,
    /// What was measured of it in this very gate.
    pub sample: Option<&'a Sample>,
}

impl<'a> OpenGate<'a> {
    /// All its series, in the order of its metrics, each metric's by member.
    pub(super) fn series(&self, state: &RolloutState, observations: &Observations<'a>) -> Vec<Series<'a>> {
        let updated = self.updated(state, observations);
        // Of nobody there is nothing to measure, not even what is measured once for all (SEMANTICS 24).
        let Some(latest) = updated.values().copied().max() else { return Vec::new() };
        let earliest = updated.values().copied().min().unwrap_or(latest);
        let series = |metric: &'a Metric, member: Option<&str>, since: Millis| {
            let (name, member) = (metric.name.clone(), member.map(str::to_owned));
            // While members become healthy one after the other, what is measured once for all doesn't wait for the last.
            let healthy_at = if member.is_some() { since } else { earliest };
            let first_at = if self.background { self.id.began_at.max(healthy_at) } else { self.id.began_at };
            let key = SampleKey { metric: name, member, background: self.background };
            let sample = Sample::of_gate(observations.samples.get(&key), self.id, &self.run.revision);
            Series { metric, key, since, first_at, sample }
        };
        let compares = compare::has_control_group(state);
        let of_metric = |metric: &'a Metric| -> Vec<Series<'a>> {
            if matches!(metric.rule, Rule::Drop { .. }) {
                compares.then(|| series(metric, None, self.id.began_at)).into_iter().collect()
            } else if self.gate.is_per_member(metric) {
                updated.iter().map(|(name, since)| series(metric, Some(name), *since)).collect()
            } else {
                vec![series(metric, None, latest)]
            }
        };
        self.gate.metrics.iter().filter(|metric| self.measures(metric)).flat_map(of_metric).collect()
    }

    /// Updated members that are healthy, heard and want pods, and since when they are to be measured: since they are healthy,
    /// and not from before the end of trouble that was everywhere. Metrics speak of no others (SEMANTICS 19).
    pub fn updated<'s>(&self, state: &'s RolloutState, observations: &Observations<'_>) -> BTreeMap<&'s str, Millis> {
        let is_idle = |name: &String| state.members.get(name).is_some_and(|record| record.idle);
        let healthy = |name: &'s String| match state.stage_of(name) {
            MemberStage::Healthy { since }
                if observations.reachability(name) == Reachability::Reachable && !is_idle(name) =>
            {
                Some((name.as_str(), since.max(self.run.troubled_until)))
            }
            _ => None,
        };
        state.begun().iter().filter_map(healthy).collect()
    }
}
