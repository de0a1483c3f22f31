//! Approve: a person lets a step go on whose pause is over.

use crds::{ActionKind, ActionOutcome};

use super::{
    Judged, MAX_ACTIONS_PER_DECISION, Refusal, Verdict, by, check_present, check_revision, fitting_run, is_handled,
    room, settle,
};
use crate::decide::{EventKind, change::Change};
use crate::{ActionFacts, Desired, Stage, WaitingOn};

/// Says whether an approval can still count. It waits, whatever else the step waits for: it is neither lost nor early.
pub(super) fn judge(change: &mut Change<'_>, desired: Desired<'_>, action: &ActionFacts) -> Judged {
    check_present(desired)?;
    fits(change, action)?;
    Ok(Verdict::Pending)
}

/// Applies the approvals that the current step waits for; whether there is any. The step's pause is over, and everything
/// but a person has let it go on: what an approval may not overrule is asked before this.
pub(in crate::decide) fn approve_step(change: &mut Change<'_>) -> bool {
    let counts = |action: &&ActionFacts| {
        let approves = action.spec.action == ActionKind::Approve && !is_handled(change, action);
        approves && fits(change, action).is_ok()
    };
    let most = room(change).min(MAX_ACTIONS_PER_DECISION);
    let approvals: Vec<&ActionFacts> = change.observations.actions.iter().filter(counts).take(most).collect();
    for action in &approvals {
        let (run, step) = (action.spec.run, action.spec.step);
        change.announce(EventKind::Normal, "Approved", &format!("run {run}: step {step} approved {}", by(action)));
        settle(change, action, ActionOutcome::Applied, &format!("step {step} goes on"));
    }
    !approvals.is_empty()
}

/// Lets the step wait for a person, and tells so.
pub(in crate::decide) fn ask(change: &mut Change<'_>) {
    let members = change.tally().assigned;
    let name = change.state.header.name.clone();
    let Some(run) = change.active_run() else { return };
    run.stage = Stage::AwaitingApproval;
    let wait = WaitingOn::approval(&name, run, members);
    change.announce(EventKind::Normal, "ApprovalRequired", &wait.message());
}

fn fits(change: &Change<'_>, action: &ActionFacts) -> Result<(), Refusal> {
    let run = fitting_run(change, action)?;
    check_revision(action, &run.revision, "the run")?;
    let number = run.number;
    if !run.goes_forward() {
        return Err(Refusal(format!("run {number} goes forward no more: there is nothing to approve")));
    }
    let (meant, step) = (action.spec.step, run.step_number());
    if usize::try_from(meant) != Ok(step) {
        return Err(Refusal(format!(
            "it is for step {meant}, but run {number} is at step {step}: look at that, and approve it if it waits for that"
        )));
    }
    if run.needs_approval() {
        return Ok(());
    }
    Err(Refusal(format!("step {step} of run {number} has no approval: Required, so it goes on by itself")))
}
