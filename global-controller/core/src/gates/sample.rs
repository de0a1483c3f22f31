//! What is durable about the measurements of one series: the latest, and how many of each sort there were in its gate.

use std::collections::BTreeMap;

use crds::{Revision, Verdict};
use serde::{Deserialize, Serialize};

use super::{Comparison, Measurement, Query};
use crate::{Millis, words};

/// Queries of a measurement that are kept for people: both of a success rate, the first of a comparison.
const MAX_SHOWN: usize = 2;
/// Characters of each, as the schema of the status says.
const MAX_QUERY_CHARS: usize = 1024;

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
    /// What was asked last, where that did not pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<String>,
}

/// What a verdict of a gate rests on: what was asked about one of its series, and about which moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Basis {
    /// The queries, at most two, shortened.
    pub queries: Vec<String>,
    /// The moment; 0 where nothing was asked.
    pub at: Millis,
}

impl Sample {
    /// With one more measurement; those of another gate are left behind.
    pub fn with(
        before: Option<&Self>,
        (gate, revision): (GateId, &Revision),
        measured: Measurement,
        (queries, at): (&[Query], Millis),
    ) -> Self {
        let before = Self::of_gate(before, gate, revision);
        let asked = queries.iter().take(MAX_SHOWN).map(|query| words::bounded(&query.text, MAX_QUERY_CHARS));
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
            asked: if verdict == Verdict::Pass { Vec::new() } else { asked.collect() },
        }
    }

    /// It, if it was taken in this gate, of this revision.
    pub(super) fn of_gate<'a>(sample: Option<&'a Self>, gate: GateId, revision: &Revision) -> Option<&'a Self> {
        sample.filter(|sample| sample.gate == gate && sample.revision == *revision)
    }

    /// What its verdict rests on.
    pub(super) fn basis(&self) -> Basis {
        let at = if self.asked.is_empty() { 0 } else { self.at };
        Basis { queries: self.asked.clone(), at }
    }

    /// Measurements that passed or failed.
    pub(super) fn evidence(&self) -> u32 {
        self.passed.saturating_add(self.failed)
    }
}
