//! What all measurements of an open gate show together.

use std::collections::BTreeSet;

use crds::{OnNoData, Verdict};

use super::compare::{Comparison, Control, Limits};
use super::heard::Alarm;
use super::series::Series;
use super::{Basis, OpenGate, Rule, Sample};
use crate::{Millis, Observations, RolloutState};

/// A sample that is older than so many intervals passes nothing.
const STALE_INTERVALS: i64 = 3;
/// Why a gate has nothing to judge.
const NOBODY: &str = "no updated member is healthy, heard and wants pods";

/// How a gate stands. Decisions, reasons for waiting and the status are all read from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// `Pass` and `Fail` are final: the step may advance, or the gate has failed. Without a verdict measuring goes on.
    pub verdict: Option<Verdict>,
    /// What it rests on, for people.
    pub text: String,
    /// Whether the control group is in trouble too, so that nothing speaks against the revision.
    pub is_global: bool,
    /// Members whose own measurements have failed the gate.
    pub failed_members: BTreeSet<String>,
    /// Whether the clock has ended, so that the gate alone keeps the run.
    pub is_over: bool,
    /// Until when too little evidence is no reason to say that the run holds.
    pub patience_ends_at: Millis,
    /// What was asked of the series that decides it, where that does not pass.
    pub basis: Basis,
}

impl Judgement {
    /// How the gate of the present pause or soak stands; none where none is open.
    pub fn of(state: &RolloutState, observations: &Observations<'_>, now: Millis) -> Option<Self> {
        let run = state.header.run.as_ref()?;
        if let Some(alarm) = Alarm::of(run, state, observations) {
            return Some(alarm.judged());
        }
        let judged = OpenGate::of(run).map(|open| Self::of_open(open, state, observations, now));
        // In trouble that is everywhere nothing fails.
        if judged.as_ref().is_some_and(|judged| judged.is_global || judged.failure().is_some()) {
            return judged;
        }
        let background = OpenGate::in_background(run);
        background.and_then(|background| background.background_failure(state, observations)).or(judged)
    }

    fn of_open(open: OpenGate<'_>, state: &RolloutState, observations: &Observations<'_>, now: Millis) -> Self {
        let all = open.series(state, observations);
        let is_over = open.is_over(now);
        let Finding { verdict, text, is_global, basis } = if open.gate.metrics.is_empty() {
            without_metrics(&open, state, observations, is_over)
        } else {
            judge(&open, &all, (is_over, now))
        };
        // Before the others: that nothing fires is no news while nobody would tell.
        let silent = open.silence(state, observations, now).filter(|_| verdict == Some(Verdict::Pass));
        let (verdict, text) = match silent {
            Some(silent) => (Some(Verdict::NoData), silent),
            None => (verdict, text),
        };
        let failed_members = failed_members(&open, &all, is_over);
        Self { verdict, text, is_global, failed_members, is_over, patience_ends_at: open.patience_ends_at(), basis }
    }

    /// A failure, at whatever time.
    pub(super) fn failed(text: String, failed_members: BTreeSet<String>, basis: Basis) -> Self {
        let verdict = Some(Verdict::Fail);
        Self { verdict, text, is_global: false, failed_members, is_over: false, patience_ends_at: 0, basis }
    }

    /// Whether trouble that was everywhere is over, so that the pause is worth something again.
    pub fn has_left_trouble(state: &RolloutState, observations: &Observations<'_>) -> bool {
        let Some(open) = state.header.run.as_ref().and_then(OpenGate::of) else { return false };
        // The other series of the gate play no part, and there may be thousands.
        if !open.compares() {
            return false;
        }
        let all = open.series(state, observations);
        let left = |control: ControlGroup<'_>| Some(control.comparison()?.has_left_trouble(control.limits));
        ControlGroup::of(&all).and_then(left).unwrap_or_default()
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

/// What the series of a gate show together.
struct Finding {
    verdict: Option<Verdict>,
    text: String,
    is_global: bool,
    basis: Basis,
}

impl Finding {
    /// What one series shows, in these words.
    fn of(one: &Series<'_>, verdict: Option<Verdict>, text: String) -> Self {
        Self { verdict, text, is_global: false, basis: one.basis() }
    }

    /// What no series in particular shows.
    fn general(verdict: Option<Verdict>, text: String) -> Self {
        Self { verdict, text, is_global: false, basis: Basis::default() }
    }
}

/// The verdict on all series, the series that decides it, and whether the trouble is global. Before the end there is no
/// verdict but a failure, and trouble that is global.
fn judge(open: &OpenGate<'_>, all: &[Series<'_>], (is_over, now): (bool, Millis)) -> Finding {
    let control = ControlGroup::of(all);
    if let Some(one) = control.as_ref().filter(|control| control.is_in_trouble()).map(|control| control.series) {
        return Finding { is_global: true, ..Finding::of(one, Some(Verdict::Inconclusive), one.worded()) };
    }
    let doubt = |one: &Series<'_>| control.as_ref().and_then(|control| control.doubt(one, is_over));
    let exhausted = || all.iter().filter(|one| one.is_exhausted(open));
    if let Some(one) = exhausted().find(|one| doubt(one).is_none()) {
        return Finding::of(one, Some(Verdict::Fail), one.worded_failure(open));
    }
    if let Some((one, doubt)) = exhausted().find_map(|one| Some((one, doubt(one)?))) {
        let is_global = doubt == Doubt::Global;
        let verdict = (is_global || is_over).then_some(Verdict::Inconclusive);
        let text = format!("{}; {}", one.worded(), doubt.worded());
        return Finding { is_global, ..Finding::of(one, verdict, text) };
    }
    unfailed(open, all, (is_over, now))
}

/// The verdict where no series has failed too often.
fn unfailed(open: &OpenGate<'_>, all: &[Series<'_>], (is_over, now): (bool, Millis)) -> Finding {
    if all.is_empty() {
        return Finding::general(is_over.then_some(Verdict::NoData), NOBODY.to_owned());
    }
    if let Some(one) = all.iter().find(|one| one.is_refused_without_data(open, is_over)) {
        let text = format!("{}, and onNoData is Rollback", one.worded());
        return Finding::of(one, Some(Verdict::Fail), text);
    }
    for verdict in [Verdict::Fail, Verdict::Inconclusive, Verdict::NoData] {
        if let Some(one) = all.iter().find(|one| one.verdict() == Some(verdict)) {
            // A failure within the limit is not the gate's.
            let gate = if verdict == Verdict::Fail { Verdict::Inconclusive } else { verdict };
            return Finding::of(one, (is_over && one.is_final(open)).then_some(gate), one.worded());
        }
    }
    let needed = open.gate.needed(open.run.pause_seconds());
    let unmeasured = all.iter().find(|one| !one.is_final(open) || one.is_stale(open, now) || one.evidence() < needed);
    match unmeasured {
        Some(one) => Finding::of(one, None, one.progress(needed)),
        None => Finding::general(is_over.then_some(Verdict::Pass), summary(open, all)),
    }
}

impl OpenGate<'_> {
    /// Whether it compares, or would if there were a control group.
    pub(super) fn compares(&self) -> bool {
        self.gate.metrics.iter().any(|metric| Limits::of(&metric.rule).is_some())
    }
}

/// The comparison of an open gate, and what it means for a success rate that has failed: only when the control group does
/// better is that the revision's.
struct ControlGroup<'a> {
    series: &'a Series<'a>,
    limits: Limits,
}

/// Why a success rate that has failed is not the revision's, or is not known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    /// The control group is below the minimum too.
    Global,
    /// Not enough is known of it yet.
    Unknown,
}

impl Doubt {
    fn worded(self) -> &'static str {
        match self {
            Self::Global => "and the control group is below the minimum too",
            Self::Unknown => "whether the control group does better is not known yet",
        }
    }
}

impl<'a> ControlGroup<'a> {
    /// None: nothing is compared.
    fn of(all: &'a [Series<'_>]) -> Option<Self> {
        all.iter().find_map(|series| Some(Self { series, limits: Limits::of(&series.metric.rule)? }))
    }

    fn comparison(&self) -> Option<&'a Comparison> {
        self.series.sample?.comparison.as_ref()
    }

    fn is_in_trouble(&self) -> bool {
        self.comparison().is_some_and(Comparison::is_in_trouble)
    }

    /// Whether a series that has failed is not to be held against the revision. Only success rates are what the control
    /// group has too.
    fn doubt(&self, failed: &Series<'_>, is_over: bool) -> Option<Doubt> {
        if !matches!(failed.metric.rule, Rule::SuccessRate { .. }) {
            return None;
        }
        // Not from before: the control group may have got into trouble since.
        let is_new = |sample: &&Sample| failed.sample.is_none_or(|failed| sample.at >= failed.at);
        let Some(sample) = self.series.sample.filter(is_new) else { return Some(Doubt::Unknown) };
        let Some(comparison) = &sample.comparison else { return Some(Doubt::Unknown) };
        if sample.verdict == Verdict::Inconclusive {
            return Some(Doubt::Unknown);
        }
        match comparison.control(self.limits) {
            Control::Well => None,
            Control::Bad => Some(Doubt::Global),
            _ if !is_over => Some(Doubt::Unknown),
            Control::PerhapsBad => Some(Doubt::Global),
            Control::PerhapsWell | Control::Unknown => None,
        }
    }
}

/// The verdict of a gate that only looks at alerts: none fires, or it would have failed.
fn without_metrics(
    open: &OpenGate<'_>,
    state: &RolloutState,
    observations: &Observations<'_>,
    is_over: bool,
) -> Finding {
    if open.updated(state, observations).is_empty() {
        return Finding::general(is_over.then_some(Verdict::NoData), NOBODY.to_owned());
    }
    Finding::general(is_over.then_some(Verdict::Pass), "no alert that counts fires".to_owned())
}

/// Members with series of their own that failed, or had nothing to measure where that counts as failure.
fn failed_members(open: &OpenGate<'_>, all: &[Series<'_>], is_over: bool) -> BTreeSet<String> {
    let fails = |one: &&Series<'_>| one.is_exhausted(open) || one.is_refused_without_data(open, is_over);
    all.iter().filter(fails).filter_map(|one| one.key.member.clone()).collect()
}

/// That all have passed, in the words of the first.
fn summary(open: &OpenGate<'_>, all: &[Series<'_>]) -> String {
    let first = all.first().map(Series::worded).unwrap_or_default();
    let alone = open.compares() && ControlGroup::of(all).is_none();
    let uncompared = if alone { "; nothing is compared: no member is left that is not updated" } else { "" };
    match all.len() {
        1 => format!("{first}{uncompared}"),
        count => format!("{first}; {} more pass{uncompared}", count - 1),
    }
}

impl Series<'_> {
    /// Whether more of its measurements have failed than may.
    pub(super) fn is_exhausted(&self, open: &OpenGate<'_>) -> bool {
        self.failures() > open.gate.pace.failure_limit
    }

    /// Whether there was nothing to measure in the end, and that is to be taken for a failure. That a control group has
    /// no traffic is not the revision's.
    fn is_refused_without_data(&self, open: &OpenGate<'_>, is_over: bool) -> bool {
        let compares = Limits::of(&self.metric.rule).is_some();
        let refuses = open.gate.pace.on_no_data == OnNoData::Rollback && !compares;
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

    /// What its latest measurement rests on.
    pub(super) fn basis(&self) -> Basis {
        self.sample.map(Sample::basis).unwrap_or_default()
    }

    fn worded(&self) -> String {
        let found = self.sample.map_or("not measured yet", |sample| sample.found.as_str());
        format!("{}: {found}", self.key)
    }

    /// That more of its measurements have failed than may.
    pub(super) fn worded_failure(&self, open: &OpenGate<'_>) -> String {
        let limit = open.gate.pace.failure_limit;
        let again = if limit > 0 { format!(", {} times, {limit} allowed", self.failures()) } else { String::new() };
        format!("{}{again}", self.worded())
    }

    fn progress(&self, needed: u32) -> String {
        format!("{} ({} of {} measurements)", self.worded(), self.evidence().min(needed), needed)
    }
}
