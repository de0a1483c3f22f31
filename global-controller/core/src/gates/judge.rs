//! What all measurements of an open gate show together.

use std::collections::BTreeSet;

use crds::{OnNoData, Verdict};

use super::series::Series;
use super::{OpenGate, Sample};
use crate::{Millis, Observations, RolloutState};

/// A sample that is older than so many intervals passes nothing.
const STALE_INTERVALS: i64 = 3;

/// How a gate stands. Decisions, reasons for waiting and the status are all read from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// `Pass` and `Fail` are final: the step may advance, or the gate has failed. Without a verdict measuring goes on.
    pub verdict: Option<Verdict>,
    /// What it rests on, for people.
    pub text: String,
    /// Members whose own measurements have failed the gate.
    pub failed_members: BTreeSet<String>,
    /// Whether the clock has ended, so that the gate alone keeps the run.
    pub is_over: bool,
    /// Until when too little evidence is no reason to say that the run holds.
    pub patience_ends_at: Millis,
}

impl Judgement {
    /// How the gate of the present pause or soak stands; none where none is open.
    pub fn of(state: &RolloutState, observations: &Observations<'_>, now: Millis) -> Option<Self> {
        let open = OpenGate::of(state.header.run.as_ref()?)?;
        let all = open.series(state, observations);
        let is_over = open.is_over(now);
        let (verdict, text) = judge(&open, &all, (is_over, now));
        let failed_members = failed_members(&open, &all, is_over);
        Some(Self { verdict, text, failed_members, is_over, patience_ends_at: open.patience_ends_at() })
    }

    /// Whether the step may advance.
    pub fn passes(&self) -> bool {
        self.is_over && self.verdict == Some(Verdict::Pass)
    }

    /// Why the run must be taken back, if it must.
    pub fn failure(&self) -> Option<&str> {
        (self.verdict == Some(Verdict::Fail)).then_some(self.text.as_str())
    }
}

/// The verdict on all series, and the series that decides it. Before the end there is none but a failure.
fn judge(open: &OpenGate<'_>, all: &[Series<'_>], (is_over, now): (bool, Millis)) -> (Option<Verdict>, String) {
    let limit = open.gate.pace.failure_limit;
    if let Some(one) = all.iter().find(|one| one.is_exhausted(open)) {
        let again = if limit > 0 { format!(", {} times, {limit} allowed", one.failures()) } else { String::new() };
        return (Some(Verdict::Fail), format!("{}{again}", one.worded()));
    }
    if all.is_empty() {
        return (is_over.then_some(Verdict::NoData), "no updated member is healthy and heard".to_owned());
    }
    if let Some(one) = all.iter().find(|one| one.is_refused_without_data(open, is_over)) {
        return (Some(Verdict::Fail), format!("{}, and onNoData is Rollback", one.worded()));
    }
    for verdict in [Verdict::Fail, Verdict::Inconclusive, Verdict::NoData] {
        if let Some(one) = all.iter().find(|one| one.verdict() == Some(verdict)) {
            // A failure within the limit is not the gate's.
            let gate = if verdict == Verdict::Fail { Verdict::Inconclusive } else { verdict };
            return ((is_over && one.is_final(open)).then_some(gate), one.worded());
        }
    }
    let needed = open.gate.needed(open.run.pause_seconds());
    let unmeasured = all.iter().find(|one| !one.is_final(open) || one.is_stale(open, now) || one.evidence() < needed);
    let text = unmeasured.map_or_else(|| summary(all), |one| one.progress(needed));
    ((is_over && unmeasured.is_none()).then_some(Verdict::Pass), text)
}

/// Members with series of their own that failed, or had nothing to measure where that counts as failure.
fn failed_members(open: &OpenGate<'_>, all: &[Series<'_>], is_over: bool) -> BTreeSet<String> {
    let fails = |one: &&Series<'_>| one.is_exhausted(open) || one.is_refused_without_data(open, is_over);
    all.iter().filter(fails).filter_map(|one| one.key.member.clone()).collect()
}

/// That all have passed, in the words of the first.
fn summary(all: &[Series<'_>]) -> String {
    let first = all.first().map(Series::worded).unwrap_or_default();
    match all.len() {
        1 => first,
        count => format!("{first}; {} more pass", count - 1),
    }
}

impl Series<'_> {
    /// Whether more of its measurements have failed than may.
    fn is_exhausted(&self, open: &OpenGate<'_>) -> bool {
        self.failures() > open.gate.pace.failure_limit
    }

    /// Whether there was nothing to measure in the end, and that is to be taken for a failure.
    fn is_refused_without_data(&self, open: &OpenGate<'_>, is_over: bool) -> bool {
        let refuses = open.gate.pace.on_no_data == OnNoData::Rollback;
        refuses && is_over && self.is_final(open) && self.verdict() == Some(Verdict::NoData)
    }

    fn verdict(&self) -> Option<Verdict> {
        self.sample.map(|sample| sample.verdict)
    }

    fn failures(&self) -> u32 {
        self.sample.map_or(0, |sample| sample.failed)
    }

    fn evidence(&self) -> u32 {
        self.sample.map_or(0, Sample::evidence)
    }

    /// Whether the latest measurement was taken at the end of the pause or after it.
    fn is_final(&self, open: &OpenGate<'_>) -> bool {
        self.sample.is_some_and(|sample| open.ends_at.is_some_and(|ends_at| sample.at >= ends_at))
    }

    /// Whether measurements have failed to come for so long that the latest no longer tells how it goes.
    fn is_stale(&self, open: &OpenGate<'_>, now: Millis) -> bool {
        let interval = i64::from(open.gate.pace.interval_seconds) * 1000;
        self.sample.is_none_or(|sample| sample.at + STALE_INTERVALS * interval < now)
    }

    fn worded(&self) -> String {
        let found = self.sample.map_or("not measured yet", |sample| sample.found.as_str());
        format!("{}: {found}", self.key)
    }

    fn progress(&self, needed: u32) -> String {
        format!("{} ({} of {} measurements)", self.worded(), self.evidence().min(needed), needed)
    }
}
