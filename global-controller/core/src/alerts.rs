//! What people are alerted of: facts about a rollout, raised and ended by decisions, so that whoever leads knows the same
//! ones, and since when.
//!
//! ```text
//! decide ──▶ header.alerts: fact, since, until ──▶ alerts ──▶ labels, texts, times ──▶ Alertmanager, CloudEvents
//! ```
//!
//! A fact has the same labels for as long as it lasts: what changes meanwhile, such as numbers and names, is in the text.

use std::collections::BTreeMap;

use crds::{Revision, Verdict};
use serde::{Deserialize, Serialize};

use crate::tally::Tally;
use crate::waiting::late_hold;
use crate::{Desired, Millis, Observations, RefusedBy, RolloutState, Run, Stage, WaitingOn, waiting_on, words};

/// Facts that are over and stay known, so that whoever leads next can tell it. A run ends a handful.
const MAX_ENDED: usize = 16;
/// How long it is told that a fact is over. Alertmanagers forget whom they told of what after five days.
const TOLD_FOR: Millis = 24 * 60 * 60 * 1000;

/// What kind of fact it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AlertKind {
    /// A gate of the run has failed, and the payload is still wanted.
    GateFailed,
    /// Members are going back to what they ran before.
    RollingBack,
    /// They are back, and the payload is still wanted: the fleet doesn't run what the specification says.
    RolledBack,
    /// Members did not go back within their deadline.
    RollbackIncomplete,
    /// The run does not go on by itself, for a reason that has no kind of its own.
    Held,
    /// More members are silent than may be.
    MembersUnreachable,
    /// A person has to approve the step.
    ApprovalWaiting,
}

/// How much it matters, as most routes of Alertmanagers know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Somebody should look now.
    Critical,
    /// Somebody should look today.
    Warning,
    /// Somebody is waited for.
    Info,
}

/// A fact: what tells it from others. All of it becomes labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fact {
    /// What kind it is.
    pub kind: AlertKind,
    /// Run and revision that it is about; none where no run to what is wanted has started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<(i64, Revision)>,
    /// The step, from 1, where another step is another fact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    /// Why the run holds, as [`WaitingOn::reason`] says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A fact with its times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Raised {
    /// The fact.
    pub fact: Fact,
    /// Since when.
    pub since: Millis,
    /// Until when; none while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Millis>,
}

/// The facts of a rollout: those that last, a handful as there is at most one of each kind, and one of a catch-up beside the
/// latest run, and the latest of those that are over. Each is in it once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Alerts(pub Vec<Raised>);

/// An alert as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// What kind it is.
    pub kind: AlertKind,
    /// What names it: the same for as long as the fact lasts.
    pub labels: BTreeMap<String, String>,
    /// What happened, in a line.
    pub summary: String,
    /// The same with numbers and names, at most 1024 characters.
    pub description: String,
    /// Since when.
    pub since: Millis,
    /// Until when; none while it lasts.
    pub until: Option<Millis>,
}

impl AlertKind {
    const ALL: [Self; 7] = [
        Self::GateFailed,
        Self::RollingBack,
        Self::RolledBack,
        Self::RollbackIncomplete,
        Self::Held,
        Self::MembersUnreachable,
        Self::ApprovalWaiting,
    ];

    /// Whether an alert of this name is one of ours.
    pub(crate) fn is_name(name: &str) -> bool {
        Self::ALL.iter().any(|kind| kind.name() == name)
    }

    /// The label `alertname`.
    pub fn name(self) -> &'static str {
        match self {
            Self::GateFailed => "RolloutGateFailed",
            Self::RollingBack => "RolloutRollingBack",
            Self::RolledBack => "RolloutRolledBack",
            Self::RollbackIncomplete => "RolloutRollbackIncomplete",
            Self::Held => "RolloutHeld",
            Self::MembersUnreachable => "RolloutMembersUnreachable",
            Self::ApprovalWaiting => "RolloutApprovalWaiting",
        }
    }

    /// How much it matters.
    pub fn severity(self) -> Severity {
        match self {
            Self::GateFailed | Self::RollbackIncomplete => Severity::Critical,
            Self::RollingBack | Self::RolledBack | Self::Held | Self::MembersUnreachable => Severity::Warning,
            Self::ApprovalWaiting => Severity::Info,
        }
    }

    fn summary(self, rollout: &str) -> String {
        let what = match self {
            Self::GateFailed => "a gate has failed",
            Self::RollingBack => "members are going back to what they ran before",
            Self::RolledBack => "it was rolled back",
            Self::RollbackIncomplete => "it was rolled back, and not every member is back",
            Self::Held => "it does not go on by itself",
            Self::MembersUnreachable => "more members are unreachable than may be",
            Self::ApprovalWaiting => "a step waits for approval",
        };
        format!("rollout {rollout}: {what}")
    }
}

impl Severity {
    /// The label `severity`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

impl Alerts {
    /// Whether nothing is or was.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes facts that are new. One that was over and is there again begins anew.
    pub(crate) fn raise<'a>(&mut self, facts: impl Iterator<Item = &'a Fact>, now: Millis) {
        for fact in facts {
            if self.0.iter().any(|raised| raised.fact == *fact && raised.until.is_none()) {
                continue;
            }
            self.0.retain(|raised| raised.fact != *fact);
            self.0.push(Raised { fact: fact.clone(), since: now, until: None });
        }
    }

    /// Ends those that are not among the facts, and forgets the oldest of those that are over.
    pub(crate) fn end_others(&mut self, facts: &BTreeMap<Fact, String>, now: Millis) {
        for raised in self.0.iter_mut().filter(|raised| raised.until.is_none()) {
            raised.until = (!facts.contains_key(&raised.fact)).then_some(now);
        }
        let ended = self.0.iter().filter(|raised| raised.until.is_some()).count();
        let mut surplus = ended.saturating_sub(MAX_ENDED);
        self.0.sort_by_key(|raised| (raised.until, raised.since));
        self.0.retain(|raised| {
            let goes = surplus > 0 && raised.until.is_some();
            surplus -= usize::from(goes);
            !goes
        });
    }
}

impl Fact {
    fn of(kind: AlertKind, run: Option<&Run>) -> Self {
        let run = run.map(|run| (run.number, run.revision.clone()));
        Self { kind, run, step: None, reason: None }
    }

    fn labels(&self, rollout: &str) -> BTreeMap<String, String> {
        let Self { kind, run, step, reason } = self;
        let always = [("alertname", kind.name()), ("rollout", rollout), ("severity", kind.severity().as_str())];
        let mut labels: BTreeMap<String, String> = always.map(|(name, value)| (name.into(), value.into())).into();
        if let Some((number, revision)) = run {
            labels.insert("run".to_owned(), number.to_string());
            labels.insert("revision".to_owned(), revision.to_string());
        }
        labels.extend(step.map(|step| ("step".to_owned(), step.to_string())));
        labels.extend(reason.clone().map(|reason| ("reason".to_owned(), reason)));
        labels
    }
}

/// All that there is to tell of a rollout: what its state has committed, in the words of now.
pub fn alerts(state: &RolloutState, desired: Desired<'_>, observations: &Observations<'_>, now: Millis) -> Vec<Alert> {
    let raised = &state.header.alerts.0;
    if raised.iter().all(|raised| is_old_news(raised, now)) {
        return Vec::new();
    }
    let waiting = waiting_on(state, desired, observations, now);
    let mut texts = facts(state, desired, waiting.as_ref(), observations, now);
    let told = raised.iter().filter(|raised| !is_old_news(raised, now));
    let alert = |Raised { fact, since, until }: &Raised| Alert {
        kind: fact.kind,
        labels: fact.labels(&state.header.name),
        summary: fact.kind.summary(&state.header.name),
        description: match until {
            Some(_) => "this is over".to_owned(),
            None => texts.remove(fact).unwrap_or_default(),
        },
        since: *since,
        until: *until,
    };
    told.map(alert).collect()
}

fn is_old_news(raised: &Raised, now: Millis) -> bool {
    raised.until.is_some_and(|until| until + TOLD_FOR < now)
}

/// What is the case, each with its text.
pub(crate) fn facts(
    state: &RolloutState,
    desired: Desired<'_>,
    waiting: Option<&WaitingOn>,
    observations: &Observations<'_>,
    now: Millis,
) -> BTreeMap<Fact, String> {
    let mut facts = facts_of_run(state, desired);
    let current = state.header.run.as_ref().filter(|run| is_wanted(run, desired));
    let mut add = |fact: Fact, text: String| {
        facts.entry(fact).or_insert(text);
    };
    if let Some(silent) = current.and_then(|run| silent(state, run, waiting, observations, now)) {
        add(Fact::of(AlertKind::MembersUnreachable, current), silent.message());
    }
    // As long as the step does, and not only while the latest measurements let it: what is measured comes and goes.
    if let Some(run) = current.filter(|run| run.stage == Stage::AwaitingApproval && !run.paused) {
        let members = Tally::of(state, observations, now).assigned;
        let fact = Fact { step: Some(run.step_number()), ..Fact::of(AlertKind::ApprovalWaiting, current) };
        add(fact, WaitingOn::approval(&state.header.name, run, members).message());
    }
    if let Some((late, hold)) = state.plan.late.as_deref().zip(late_hold(state, desired, waiting, observations, now)) {
        let fact = Fact { reason: Some(hold.reason().to_owned()), ..Fact::of(AlertKind::Held, Some(&late.run)) };
        add(fact, hold.message());
    }
    let Some(waiting) = waiting else { return facts };
    let text = waiting.message();
    match waiting {
        WaitingOn::Gate { verdict: Some(Verdict::Fail), .. } => add(Fact::of(AlertKind::GateFailed, current), text),
        WaitingOn::RollbackIncomplete { .. } => {
            facts.retain(|fact, _| fact.kind != AlertKind::RolledBack);
            facts.insert(Fact::of(AlertKind::RollbackIncomplete, current), text);
        }
        WaitingOn::MemberUnreachable { .. } => {}
        // That of the latest run is told by that it was rolled back.
        WaitingOn::Quarantined { .. } if current.is_some_and(Run::is_rolled_back) => {}
        holds if holds.holds() => {
            add(Fact { reason: Some(holds.reason().to_owned()), ..Fact::of(AlertKind::Held, current) }, text);
        }
        _ => {}
    }
    facts
}

/// What the run alone says, however much of a decision is left for the next one.
pub(crate) fn facts_of_run(state: &RolloutState, desired: Desired<'_>) -> BTreeMap<Fact, String> {
    let returning = |run: &&Run| run.stage == Stage::RollingBack || is_wanted(run, desired);
    let Some(run) = state.header.run.as_ref().filter(|run| run.is_refused()).filter(returning) else {
        return BTreeMap::new();
    };
    let stage = match run.stage {
        Stage::RollingBack => Some(AlertKind::RollingBack),
        Stage::RolledBack | Stage::Failed => Some(AlertKind::RolledBack),
        _ => None,
    };
    let gate = (run.refused_by == RefusedBy::Gate).then_some(AlertKind::GateFailed);
    let text = format!("run {} to revision {}: {}", run.number, run.revision, run.refusal());
    let text = words::bounded(&text, words::MAX_MESSAGE_CHARS);
    stage.into_iter().chain(gate).map(|kind| (Fact::of(kind, Some(run)), text.clone())).collect()
}

/// Whether the run is the one to what is asked for.
fn is_wanted(run: &Run, desired: Desired<'_>) -> bool {
    match desired {
        Desired::Present(rollout) => {
            let asked = rollout.payload.as_ref().is_some_and(|payload| payload.revision == run.revision);
            asked && !run.gives_way()
        }
        Desired::Invalid { .. } => true,
        Desired::Deleted { .. } => false,
    }
}

/// The silent members, when they are more than may be; also while something else is waited for first.
fn silent(
    state: &RolloutState,
    run: &Run,
    waiting: Option<&WaitingOn>,
    observations: &Observations<'_>,
    now: Millis,
) -> Option<WaitingOn> {
    if let Some(waiting @ WaitingOn::MemberUnreachable { .. }) = waiting {
        return Some(waiting.clone());
    }
    if !run.goes_forward() {
        return None;
    }
    let (members, allowed) = (Tally::of(state, observations, now).silent_assigned, run.unreachable_limit);
    (members.len() > allowed).then_some(WaitingOn::MemberUnreachable { members, allowed })
}
