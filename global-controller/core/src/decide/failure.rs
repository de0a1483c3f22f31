//! Members that fail, each on its own; and the budget, beyond which all go back.

use super::{EventKind, change::Change, order};
use crate::tally::Tally;
use crate::{MemberStage, MemberTrouble, Run, Stage, state, words};
use crds::{Outcome, RollbackMode, RollbackScope};

/// Sends members that have failed back, and all the others after them when there are too many.
pub(super) fn judge(change: &mut Change<'_>) {
    // A change of the mode does not stop what is under way.
    let automatic = |run: &&Run| run.failure_rules.mode == RollbackMode::Automatic || run.stage == Stage::Finishing;
    let judged = change.state.header.run.as_ref().filter(|run| run.judges());
    let Some(run) = judged.filter(automatic).cloned() else { return };
    let Tally { overdue, sick, .. } = change.tally();
    let deadline = words::seconds(run.failure_rules.progress_deadline_seconds);
    for member in overdue {
        let late = format!("was not healthy within progressDeadlineSeconds ({deadline})");
        let how = match member.outcome {
            Some(Outcome::Contended) => "was contended before it was healthy".to_owned(),
            Some(Outcome::Reverted) => format!("{late}, and has returned by itself"),
            _ => late,
        };
        fail(change, &run, &member, &how);
    }
    for member in sick {
        fail(change, &run, &member, "was unhealthy for 60 s without a break");
    }
    if let Some(cause) = over_budget(change) {
        refuse(change, "TooManyFailed", &cause);
    }
}

pub(super) fn fail(change: &mut Change<'_>, run: &Run, member: &MemberTrouble, how: &str) {
    if !change.claim(&member.name) {
        return;
    }
    let message = format!("{} {how}: it returns to what it ran before", member.worded());
    change.announce(EventKind::Warning, "FailedMember", &message);
    let since = change.now;
    order::give_back(change, run, &member.name, MemberStage::Returning { since });
    change.record(&member.name).failed_in = run.number;
    if let Some(run) = change.state.header.run.as_mut() {
        run.failures += 1;
    }
}

/// Why all must go back, if they must.
fn over_budget(change: &mut Change<'_>) -> Option<String> {
    let begun = change.state.plan.wave_end;
    let given_back = change.tally().given_back;
    let run = change.active_run()?;
    if run.failures > run.failure_limit {
        return Some(format!("{} failed, {} allowed", words::members(run.failures), run.failure_limit));
    }
    let nobody = begun > 0 && given_back == begun;
    nobody.then(|| format!("{} failed, and no other was updated", words::members(given_back)))
}

/// Ends the way forward: the run goes over to `stage`, and its revision into quarantine.
pub(super) fn give_up(change: &mut Change<'_>, stage: Stage) {
    let header = &mut change.state.header;
    let Some(run) = header.run.as_mut() else { return };
    run.stage = stage;
    run.retry = false;
    let revision = run.revision.clone();
    header.quarantine.retain(|other| *other != revision);
    header.quarantine.push(revision);
    let surplus = header.quarantine.len().saturating_sub(state::MAX_QUARANTINED);
    header.quarantine.drain(..surplus);
}

/// The revision goes into quarantine, and everybody returns, or with scope `Member` those that fail.
pub(super) fn refuse(change: &mut Change<'_>, reason: &'static str, cause: &str) {
    let Some(run) = change.active_run() else { return };
    run.refused_because = words::bounded(cause, words::MAX_MESSAGE_CHARS / 2);
    let (number, revision, scope) = (run.number, run.revision.clone(), run.failure_rules.scope);
    give_up(
        change,
        match scope {
            RollbackScope::Fleet => Stage::RollingBack,
            RollbackScope::Member => Stage::Finishing,
        },
    );
    let (reason, what) = match scope {
        RollbackScope::Fleet => ("RollbackStarted", "every touched member returns to what it ran before"),
        RollbackScope::Member => (reason, "members in flux finish, and those that fail return"),
    };
    let message = format!("run {number}: {cause}: {what}, and revision {revision} is not rolled out again");
    change.announce(EventKind::Warning, reason, &message);
}
