//! Members that no longer belong to the plan: their assignments are withdrawn, which touches no workload.

use std::collections::BTreeSet;

use crds::{Fence, Intent, OnDrift, Outcome, RolloutAssignmentSpec};

use super::{Command, change::Change};
use crate::MemberStage;
use crate::plan::Order;

/// Withdraws from every member with a record that the plan doesn't name. One that is left out because it lacks the workload
/// goes on being observed: it joins when it has it. One of which another rollout has an object that is new in the payload
/// keeps what it has.
pub(super) fn withdraw_leavers(change: &mut Change<'_>, order: &Order, contested: &[String]) {
    let plan = &change.state.plan;
    let late = plan.late.iter().flat_map(|late| &late.members);
    let planned: BTreeSet<&str> = plan.members.iter().chain(late).map(String::as_str).collect();
    let meant: BTreeSet<&str> = order.members.iter().map(String::as_str).collect();
    let leavers = change.state.members.keys().filter(|name| !planned.contains(name.as_str())).cloned();
    for name in leavers.collect::<Vec<_>>() {
        let left_out = change.state.stage_of(&name) == MemberStage::Skipped && meant.contains(name.as_str());
        if !left_out && !contested.contains(&name) && !is_kept(change, &name) {
            withdraw(change, &name);
        }
    }
}

/// Whether a leaver stays as it is: one that was touched belongs to the rollback until the run ends, and then until it is
/// back.
fn is_kept(change: &Change<'_>, name: &str) -> bool {
    let Some(record) = change.state.members.get(name) else { return false };
    if !change.observations.members.contains_key(name) {
        return false;
    }
    let touched = change.state.is_touched(record);
    let runs = change.state.header.run.as_ref().is_some_and(|run| !run.is_over());
    let withdrawn = record.stage == MemberStage::Withdrawing;
    // What whole objects were before its agent alone knows, and only until it is withdrawn.
    let keeps_the_way_back = change.state.header.run.as_ref().is_some_and(|run| run.payload.manifests().is_some());
    let may_return = touched && runs && (withdrawn || keeps_the_way_back);
    record.stage.owes_return() || (touched && change.state.rolling_back().is_some()) || may_return
}

/// Forgets those whose `MemberCluster` is gone: nobody is left to tell.
pub(super) fn forget_gone(change: &mut Change<'_>) {
    let gone = change.state.members.keys().filter(|name| !change.observations.members.contains_key(*name)).cloned();
    for name in gone.collect::<Vec<_>>() {
        forget(change, &name);
    }
}

/// One step towards forgetting a member: write the withdrawal, or forget it once that was acknowledged, or
/// at once when there is nobody left to tell.
pub(super) fn withdraw(change: &mut Change<'_>, name: &str) {
    let assignment = change.observations.assignments.get(name);
    let gone = !change.observations.members.contains_key(name);
    match assignment {
        Some(assignment) if !gone && assignment.spec.intent == Intent::Withdraw => {
            let answer = change.observations.answer(name);
            if answer.is_some_and(|(_, report)| report.outcome == Outcome::Withdrawn) {
                forget(change, name);
            }
        }
        Some(assignment) if !gone => {
            let told = change.state.members.get(name).is_some_and(|record| record.stage == MemberStage::Withdrawing);
            if told || !change.claim(name) {
                return;
            }
            change.record(name).stage = MemberStage::Withdrawing;
            let spec = RolloutAssignmentSpec {
                intent: Intent::Withdraw,
                fence: Fence::default(),
                on_drift: OnDrift::default(),
                ..assignment.spec.clone()
            };
            change.command(Command::Assign { member: name.to_owned(), spec: Box::new(spec) });
        }
        _ => forget(change, name),
    }
}

fn forget(change: &mut Change<'_>, name: &str) {
    if change.claim(name) {
        change.state.members.remove(name);
        change.command(Command::Forget { member: name.to_owned() });
    }
}
