//! What is durable about the measurements of one series: the latest, and how many of each sort there were in its gate.

use std::collections::BTreeMap;

use crds::{Revision, Verdict};
use serde::{Deserialize, Serialize};

use super::{Comparison, Measurement};
use crate::Millis;

/// Names a series: a metric, and the member where it is measured for each. In JSON it is a string, so that it can be a key
/// there: the metric, and after a slash, which no name has, the member.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct SampleKey {
    /// Name of the metric.
    pub metric: String,
    /// None: measured once for all.
    pub member: Option<String>,
    /// Whether it is that of the background, which counts through the whole run.
    pub background: bool,
}

/// Before the metric of a series of the background. No name has it.
const BACKGROUND: char = '+';

impl SampleKey {
    /// The metric as it is written in keys.
    pub fn written_metric(&self) -> String {
        if self.background { format!("{BACKGROUND}{}", self.metric) } else { self.metric.clone() }
    }

    /// The series of a metric as it is written in keys.
    pub fn of_written(metric: &str, member: Option<&str>) -> Self {
        let (name, background) = metric.strip_prefix(BACKGROUND).map_or((metric, false), |name| (name, true));
        Self { metric: name.to_owned(), member: member.map(str::to_owned), background }
    }
}

impl From<SampleKey> for String {
    fn from(key: SampleKey) -> Self {
        let metric = key.written_metric();
        match key.member {
            Some(member) => format!("{metric}/{member}"),
            None => metric,
        }
    }
}

impl From<String> for SampleKey {
    fn from(text: String) -> Self {
        match text.split_once('/') {
            Some((metric, member)) => Self::of_written(metric, Some(member)),
            None => Self::of_written(&text, None),
        }
    }
}

impl std::fmt::Display for SampleKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = if self.background { ", in the background" } else { "" };
        match &self.member {
            Some(member) => write!(f, "{} on {member}{place}", self.metric),
            None => write!(f, "{}{place}", self.metric),
        }
    }
}

/// Names one pause or soak of one run, or its background. What was measured in another one is no evidence in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateId {
    /// Number of the run.
    pub run: i64,
    /// The step, from 0; of the background always 0.
    pub step: usize,
    /// When it began, or began anew.
    pub began_at: Millis,
}

/// The samples of a rollout.
pub type Samples = BTreeMap<SampleKey, Sample>;

/// What was measured of one series in one gate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// How the control group compares, where that is what is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
}

impl Sample {
    /// With one more measurement; those of another gate are left behind.
    pub fn with(
        before: Option<&Self>,
        (gate, revision): (GateId, &Revision),
        measured: Measurement,
        at: Millis,
    ) -> Self {
        let before = Self::of_gate(before, gate, revision);
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
            comparison: before.and_then(|before| before.comparison.clone()),
        }
    }

    /// It, if it was taken in this gate, of this revision.
    pub(super) fn of_gate<'a>(sample: Option<&'a Self>, gate: GateId, revision: &Revision) -> Option<&'a Self> {
        sample.filter(|sample| sample.gate == gate && sample.revision == *revision)
    }

    /// Measurements that passed or failed.
    pub(super) fn evidence(&self) -> u32 {
        self.passed.saturating_add(self.failed)
    }
}
