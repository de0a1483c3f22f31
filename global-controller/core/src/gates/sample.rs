//! What is durable about the measurements of one series: the latest, and how many of each sort there were in its gate.

use std::collections::BTreeMap;

use crds::{Revision, Verdict};
use serde::{Deserialize, Serialize};

use super::Measurement;
use crate::Millis;

/// Names a series: a metric, and the member where it is measured for each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SampleKey {
    /// Name of the metric.
    pub metric: String,
    /// None: measured once for all.
    pub member: Option<String>,
}

impl std::fmt::Display for SampleKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.member {
            Some(member) => write!(f, "{} on {member}", self.metric),
            None => f.write_str(&self.metric),
        }
    }
}

/// Names one pause or soak of one run. What was measured in another one is no evidence in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateId {
    /// Number of the run.
    pub run: i64,
    /// The step, from 0.
    pub step: usize,
    /// When it began, or began anew.
    pub began_at: Millis,
}

/// The samples of a rollout.
pub type Samples = BTreeMap<SampleKey, Sample>;

/// What was measured of one series in one gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// The gate.
    pub gate: GateId,
    /// The revision that was measured.
    pub revision: Revision,
    /// When it was measured last.
    pub at: Millis,
    /// What the latest measurement shows.
    pub verdict: Verdict,
    /// The same for people.
    pub found: String,
    /// Measurements that passed.
    pub passed: u32,
    /// Measurements that failed.
    pub failed: u32,
    /// Measurements that did neither.
    pub unknown: u32,
}

impl Sample {
    /// With one more measurement; those of another gate are left behind.
    pub fn with(
        before: Option<&Self>,
        (gate, revision): (GateId, &Revision),
        measured: Measurement,
        at: Millis,
    ) -> Self {
        let before = before.filter(|before| before.gate == gate && before.revision == *revision);
        let counted = |is: fn(&Self) -> u32, counts: bool| before.map_or(0, is).saturating_add(u32::from(counts));
        let verdict = measured.verdict;
        Self {
            gate,
            revision: revision.clone(),
            at,
            verdict,
            found: measured.found,
            passed: counted(|before| before.passed, verdict == Verdict::Pass),
            failed: counted(|before| before.failed, verdict == Verdict::Fail),
            unknown: counted(|before| before.unknown, matches!(verdict, Verdict::Inconclusive | Verdict::NoData)),
        }
    }

    /// Measurements that passed or failed.
    pub(super) fn evidence(&self) -> u32 {
        self.passed.saturating_add(self.failed)
    }
}
