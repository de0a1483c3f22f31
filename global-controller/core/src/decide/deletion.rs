//! Deletion: a rollback under way is finished; then every assignment is withdrawn, no workload changes, and nobody who is
//! unreachable delays it.

use crds::{Intent, RolloutAssignment};

use super::{Command, EventKind, change::Change, membership, reports, rollback, silence};
use crate::{MemberStage, Reachability, words};

/// Withdraws from all members; lets the object go as soon as the withdrawals are durable, and forgets each
/// member when it has acknowledged.
pub(super) fn proceed(change: &mut Change<'_>) {
    if !change.state.header.deleting {
        change.state.header.deleting = true;
        let message = farewell(change);
        change.announce(EventKind::Normal, "Deleting", &message);
    }
    if change.state.rolling_back().is_some() {
        reports::absorb(change);
        silence::heed(change);
        return rollback::proceed(change);
    }
    reports::absorb_returns(change);
    silence::heed(change);
    for name in change.state.members.keys().cloned().collect::<Vec<_>>() {
        if !returns_first(change, &name) {
            membership::withdraw(change, &name);
        }
    }
    let durable = |name: &String| {
        let assignment = change.observations.assignments.get(name);
        let intent = if returns_first(change, name) { Intent::Return } else { Intent::Withdraw };
        assignment.is_some_and(|assignment| assignment.spec.intent == intent)
    };
    if !change.state.header.finalizer_released && !change.more && change.state.members.keys().all(durable) {
        change.state.header.finalizer_released = true;
        change.command(Command::ReleaseFinalizer);
    }
}

/// Whether a return that a rollback has left behind is still to be carried out: its order is in the store already, and is
/// withdrawn when the member is back, or past its deadline since it was heard again.
fn returns_first(change: &Change<'_>, name: &str) -> bool {
    let (Some(run), Some(record)) = (&change.state.header.run, change.state.members.get(name)) else { return false };
    let of_rollback = record.run != run.number || run.is_refused();
    let since = match record.stage {
        // One that is not heard has its whole deadline when it is.
        MemberStage::Owed => change.now,
        MemberStage::Returning { .. } if change.observations.reachability(name) != Reachability::Reachable => {
            change.now
        }
        MemberStage::Returning { since } => since.max(change.observations.judging_since),
        _ => return false,
    };
    let ordered = |assignment: &RolloutAssignment| assignment.spec.intent == Intent::Return;
    let there = change.observations.members.contains_key(name)
        && change.observations.assignments.get(name).is_some_and(ordered);
    of_rollback && there && since + run.failure_rules.deadline_millis() > change.now
}

fn farewell(change: &Change<'_>) -> String {
    let Some(run) = &change.state.header.run else { return "deleted before any run started".to_owned() };
    if change.state.rolling_back().is_some() {
        return format!("deleted while run {} is rolling back, which is finished first", run.number);
    }
    let assigned = change.state.members.keys().filter(|name| change.state.stage_of(name).is_assigned()).count();
    format!(
        "deleted in run {}: {} of {} were told to run revision {}; assignments are withdrawn and no workload changes",
        run.number,
        words::members(assigned),
        change.state.plan.members.len(),
        run.revision
    )
}
