//! After a run that was given up: members that join later, and those that were silent, get what was accepted before it
//! (SEMANTICS 35). It is a catch-up of the run that was accepted, beside the latest one, which says how the rollout stands.

use std::collections::BTreeSet;

use crds::{OnDrift, Outcome, Previous};

use super::{actions, catch_up, change::Change, failure, forward, reports, run, silence, standing};
use crate::plan::{Joiners, replan};
use crate::{Late, MemberStage, Plan, Rollout, Run};

/// Goes on with the catch-up, or begins it when somebody needs it. `ours` are the members that the rollout means and has
/// the claim on.
pub(super) fn proceed(change: &mut Change<'_>, rollout: &Rollout, ours: &[String]) {
    let Some(late) = Late::of(&change.state) else { return watch(change) };
    let late = follow_membership(change, late, ours);
    // Failures of members that have left count on.
    if late.members.is_empty() && late.run.failures == 0 {
        change.state.plan.late = None;
        return;
    }
    let given_up = change.state.enter_late(late);
    run::follow_limits(change, rollout);
    leave_drift(change);
    judge(change);
    actions::try_again_late(change, rollout);
    take_skipped(change);
    catch_up::proceed(change, rollout);
    standing::follow(change);
    forward::assign(change, rollout);
    change.state.leave_late(given_up);
}

/// What nothing stops: reports are taken up, and members that fail return.
pub(super) fn watch(change: &mut Change<'_>) {
    within(change, |change| {
        judge(change);
        standing::follow(change);
    });
}

/// Reports and silence are noted, and nothing follows.
pub(super) fn note(change: &mut Change<'_>) {
    within(change, |change| {
        reports::absorb(change);
        silence::heed(change);
    });
}

/// One that was withdrawn and has been forgotten since may be needed again: the next decision takes it up.
pub(super) fn see_newcomers(change: &mut Change<'_>, ours: &[String]) {
    let Some(late) = Late::of(&change.state) else { return };
    let known: BTreeSet<&String> = late.members.iter().collect();
    change.more |= ours.iter().any(|name| !known.contains(name) && lacks(change, &late.run, name));
}

/// Does something with the catch-up that there is in the place of the latest run.
pub(super) fn within<T>(change: &mut Change<'_>, act: impl FnOnce(&mut Change<'_>) -> T) -> Option<T> {
    let late = change.state.plan.late.take()?;
    let given_up = change.state.enter_late(*late);
    let outcome = act(change);
    change.state.leave_late(given_up);
    Some(outcome)
}

fn judge(change: &mut Change<'_>) {
    reports::absorb(change);
    silence::heed(change);
    failure::judge(change);
}

/// Members that need it join, and others leave. Those that were told something in it already have had their turn: in the
/// accepted run itself, or since the backup was made that the store was restored from.
fn follow_membership(change: &Change<'_>, late: Late, ours: &[String]) -> Late {
    let known: BTreeSet<&String> = late.members.iter().collect();
    let belongs = |name: &&String| known.contains(name) || lacks(change, &late.run, name);
    let wanted: Vec<String> = ours.iter().filter(belongs).cloned().collect();
    let Late { run, members, wave_end, held_for } = late;
    let plan = replan(&Plan { members, wave_end, late: None }, &wanted, Joiners::Welcome);
    let mut late = Late { run, members: plan.members, wave_end: plan.wave_end, held_for };
    let told = |name: &&String| {
        let stage = change.state.stage_in(&late.run, name);
        stage.is_assigned() || stage == MemberStage::Observing
    };
    for name in late.members.iter().skip(late.wave_end).filter(told).cloned().collect::<Vec<_>>() {
        late.begin(&name);
    }
    late
}

/// The rollout stands as its latest run has left it: drift is only reported, once a member has arrived (SEMANTICS 22).
fn leave_drift(change: &mut Change<'_>) {
    if let Some(run) = change.state.header.run.as_mut() {
        run.on_drift = OnDrift::Report;
    }
}

/// One that was left out of the accepted run itself has the workload by now.
fn take_skipped(change: &mut Change<'_>) {
    for name in change.state.plan.members.clone() {
        if change.state.stage_of(&name) == MemberStage::Skipped && change.claim(&name) {
            change.record(&name).stage = MemberStage::Planned;
        }
    }
}

/// Whether a member has not got the accepted revision, as far as anybody knows. One that had it once keeps what was made of
/// it since: a return may have gone where somebody else had put it. One that is still to go back does that first, one that
/// has failed at it gets it by a retry only, and one that kept what was given up keeps it.
fn lacks(change: &Change<'_>, accepted: &Run, name: &str) -> bool {
    let state = &change.state;
    let (Some(record), Some(latest)) = (state.members.get(name), &state.header.run) else { return true };
    if record.failed_in == accepted.number || record.stage.owes_return() {
        return false;
    }
    let had_it = record.arrived_at.as_ref() == Some(&accepted.revision);
    match record.stage {
        // It was let go, and is meant again.
        MemberStage::Withdrawing => true,
        MemberStage::Skipped => {
            let answer = change.observations.answer(name);
            answer.is_some_and(|(_, report)| report.outcome == Outcome::Observed)
        }
        MemberStage::Applying { .. } => record.run < latest.number,
        _ if had_it => false,
        // Of a run before the accepted one: it was passed over since.
        MemberStage::Healthy { .. } | MemberStage::Unhealthy { .. } => record.run < accepted.number,
        // Whether it ran that when it was observed last.
        _ => {
            let runs_it = |previous: &Previous| change.observations.runs_it(accepted, name, &previous.images);
            !record.previous.as_ref().is_some_and(runs_it)
        }
    }
}
