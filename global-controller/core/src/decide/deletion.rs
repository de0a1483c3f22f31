//! Deletion: a rollback under way is finished; then every assignment is withdrawn, no workload changes, and nobody who is
//! unreachable delays it.

use crds::Intent;

use super::{Command, EventKind, change::Change, membership, reports, rollback, silence};
use crate::words;

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
    for name in change.state.members.keys().cloned().collect::<Vec<_>>() {
        membership::withdraw(change, &name);
    }
    let durable = |name: &String| {
        change.observations.assignments.get(name).is_some_and(|assignment| assignment.spec.intent == Intent::Withdraw)
    };
    if !change.state.header.finalizer_released && !change.more && change.state.members.keys().all(durable) {
        change.state.header.finalizer_released = true;
        change.command(Command::ReleaseFinalizer);
    }
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
