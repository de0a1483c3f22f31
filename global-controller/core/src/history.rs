//! The runs that a rollout has had, how each ended, and the payloads that they brought (SEMANTICS 6 and 48).
//!
//! It is kept up by what each decision makes of the run, whoever changed that: a step, a person, an adoption. Payloads are
//! stored once, by content, and go with the last that refers to them: a run that is kept, or the accepted revision. An
//! assignment carries its own.

use std::collections::{BTreeMap, BTreeSet};

use crds::{Content, IfMissing, Payload, Revision, RunOutcome};
use serde::{Deserialize, Serialize};

use crate::{Millis, RolloutState, Run, Stage, words};

/// Most runs that `revisionHistoryLimit` may keep beside the latest one.
pub const MAX_PAST_RUNS: usize = 100;
/// Runs that are kept beside the latest one unless the specification says otherwise.
pub(crate) const DEFAULT_PAST_RUNS: usize = 20;
/// Payloads that one decision adds or removes: with the list of runs six operations of its transaction.
pub(crate) const MAX_PAYLOADS_PER_DECISION: usize = 5;
/// Characters of why a run ended: a hundred of them stay far below what a transaction bears.
const MAX_REASON_CHARS: usize = 256;

/// The runs that a rollout has had, and their payloads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// In their order, the latest last.
    pub runs: Vec<PastRun>,
    /// Payloads by their hash, as far as they are known.
    pub payloads: BTreeMap<Revision, Payload>,
}

/// A run, the latest included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PastRun {
    /// Number of the run.
    pub number: i64,
    /// Hash of its payload.
    pub revision: Revision,
    /// metadata.generation that it started with; 0 where nobody knows: it was adopted, or is older than the history.
    pub generation: i64,
    /// When it started.
    pub started_at: Millis,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Millis>,
    /// How it ended; none while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<RunOutcome>,
    /// Why, for people; empty while it is under way.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl History {
    /// Notes a run that has begun. One of the same number is replaced: a lost store knew another by it.
    pub(crate) fn begin(&mut self, run: &Run, generation: i64) {
        self.runs.retain(|past| past.number != run.number);
        self.runs.push(PastRun {
            number: run.number,
            revision: run.revision.clone(),
            generation,
            started_at: run.started_at,
            finished_at: None,
            outcome: None,
            reason: String::new(),
        });
        self.learn(&run.revision, &run.payload);
    }

    /// Notes the payload of a revision, if it is that: of some runs that were adopted nobody knows the images.
    pub(crate) fn learn(&mut self, revision: &Revision, payload: &Payload) {
        if Revision::of(payload) == *revision && !self.payloads.contains_key(revision) {
            // What else the specification says beside it is that of the specification, not of the revision.
            let mut payload = payload.clone();
            if let Content::Images(workload) = &mut payload.content {
                workload.if_missing = IfMissing::default();
            }
            self.payloads.insert(revision.clone(), payload);
        }
    }

    /// The last run to this revision that has succeeded, if it is known.
    pub(crate) fn last_success(&self, revision: &Revision) -> Option<&PastRun> {
        let succeeded = |past: &&PastRun| past.outcome == Some(RunOutcome::Succeeded) && past.revision == *revision;
        self.runs.iter().rev().find(succeeded)
    }
}

/// Notes what a decision has made of the run, and lets go what is too old. `keep` is how many runs are kept beside the
/// latest; none: as many as there are. True: there is more to let go than one decision may.
pub(crate) fn follow(state: &mut RolloutState, before: &RolloutState, keep: Option<usize>) -> bool {
    if let Some(run) = &state.header.run {
        let history = &mut state.history;
        let known =
            history.runs.last().is_some_and(|past| (past.number, &past.revision) == (run.number, &run.revision));
        if !known {
            let generation =
                history.runs.iter().find(|past| past.number == run.number).map_or(0, |past| past.generation);
            history.begin(run, generation);
        }
        close_superseded(history, before.header.run.as_ref(), run);
        let (outcome, finished_at) = (outcome_of(run), run.finished_at);
        if history.runs.last().is_some_and(|past| past.outcome != outcome) {
            let reason = words::bounded(&why_ended(state, run), MAX_REASON_CHARS);
            if let Some(past) = state.history.runs.last_mut() {
                (past.outcome, past.finished_at, past.reason) = (outcome, finished_at, reason);
            }
        }
    }
    trim(state, before, keep.unwrap_or(MAX_PAST_RUNS))
}

/// Runs that came before the present one and are not known to have ended.
fn close_superseded(history: &mut History, before: Option<&Run>, run: &Run) {
    let open = history.runs.iter_mut().filter(|past| past.number != run.number && past.outcome.is_none());
    for past in open {
        let refused = before.filter(|before| before.number == past.number && before.is_refused());
        past.outcome = Some(refused.map_or(RunOutcome::Superseded, |_| RunOutcome::Failed));
        past.finished_at = Some(run.started_at);
        let why = refused.map(|refused| format!("{}; ", refused.refusal())).unwrap_or_default();
        let reason = format!("{why}run {} to revision {} came before its end", run.number, run.revision);
        past.reason = words::bounded(&reason, MAX_REASON_CHARS);
    }
}

/// How the run ended; none while it is under way.
fn outcome_of(run: &Run) -> Option<RunOutcome> {
    let aborted = |otherwise| if run.aborted_by.is_some() { RunOutcome::Aborted } else { otherwise };
    match run.stage {
        Stage::Succeeded => Some(RunOutcome::Succeeded),
        Stage::RolledBack => Some(aborted(RunOutcome::RolledBack)),
        Stage::Failed => Some(aborted(RunOutcome::Failed)),
        Stage::GivenUp => Some(RunOutcome::Failed),
        Stage::Updating
        | Stage::Pausing(_)
        | Stage::AwaitingApproval
        | Stage::Soaking(_)
        | Stage::Finishing
        | Stage::RollingBack => None,
    }
}

/// Why it ended so; empty while it is under way.
fn why_ended(state: &RolloutState, run: &Run) -> String {
    match run.stage {
        Stage::Succeeded => {
            let runs_it = state.plan.members.iter().filter(|name| state.stage_of(name).is_assigned()).count();
            let tolerated = words::tolerated(&state.given_back());
            let skipped = words::skipped(&state.skipped());
            let partial = words::partial(&state.partial());
            let pending = match state.pending().len() {
                0 => String::new(),
                count => format!("; {count} owed it"),
            };
            let nothing = if run.changed_members || run.failures > 0 { "" } else { "nothing to do: " };
            format!("{nothing}{} healthy{partial}{tolerated}{pending}{skipped}", words::members(runs_it))
        }
        Stage::RolledBack => run.refusal(),
        Stage::Failed => format!("{}; not every member went back in time", run.refusal()),
        Stage::GivenUp => format!("{}; healthy members kept the revision", run.refusal()),
        _ => String::new(),
    }
}

/// Lets the oldest runs go, as many as the transaction bears with their payloads, and each payload with the last that
/// refers to it. Beside those of runs that go there may be two: of what was accepted before, and of a run that was
/// replaced. The run that was accepted last stays, however old it is: members may still have to catch up with it.
fn trim(state: &mut RolloutState, before: &RolloutState, keep: usize) -> bool {
    let RolloutState { history, header, .. } = state;
    let known = &before.history.payloads;
    let added = history.payloads.keys().filter(|revision| !known.contains_key(*revision)).count();
    let room = MAX_PAYLOADS_PER_DECISION.saturating_sub(added + 2);
    let surplus = history.runs.len().saturating_sub(keep.min(MAX_PAST_RUNS) + 1);
    let accepted = header.accepted_revision.as_ref().and_then(|revision| history.last_success(revision));
    let accepted = accepted.map(|past| past.number);
    let old = history.runs.iter().take(surplus).map(|past| past.number).filter(|number| Some(*number) != accepted);
    let old: BTreeSet<i64> = old.collect();
    let going: BTreeSet<i64> = old.iter().copied().take(room).collect();
    history.runs.retain(|past| !going.contains(&past.number));
    let mut referred: BTreeSet<Revision> = history.runs.iter().map(|past| past.revision.clone()).collect();
    referred.extend(header.accepted_revision.clone());
    history.payloads.retain(|revision, _| referred.contains(revision));
    old.len() > room
}
