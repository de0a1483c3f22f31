//! After the store was lost or went back: what is left of a run is adopted, and what members have is taken up and ordered
//! again under the store's new epoch, before anything else is decided (SEMANTICS 42).

use crds::{Fence, RolloutAssignment};

use super::{Command, Desired, EventKind, change::Change};
use crate::adoption::{
    TakenUp, adopt, begin_late_member, begin_member, count_failures, is_needed, is_of, is_outdated, taken_up,
};
use crate::{Claim, Late, Target};

/// True: that is all that this decision does, and there is more.
pub(super) fn proceed(change: &mut Change<'_>, desired: Desired<'_>) -> bool {
    let Some(recovery) = change.observations.recovery else { return false };
    if is_needed(&change.state, &recovery) {
        change.state = adopt(&change.state, &recovery, desired, change.observations, change.now);
        announce(change);
        change.more = true;
    }
    for (name, order) in recovery.orders {
        // One whose MemberCluster is not there yet, or no more, has nobody to be told.
        if change.observations.members.contains_key(name) {
            change.more = true;
            take_up(change, desired, name, order);
        }
    }
    for (name, order) in change.observations.assignments {
        if is_outdated(order, &recovery) {
            change.more = true;
            forget(change, name);
        }
    }
    change.more
}

fn announce(change: &mut Change<'_>) {
    let header = &change.state.header;
    let run = header.run.as_ref().map_or_else(
        || format!("run {}", header.runs_started),
        |run| format!("run {} to revision {}", run.number, run.revision),
    );
    let how = if header.hold.is_some() { "it holds until a person decides" } else { "it was over and stays so" };
    let message = format!("the store was lost or went back: {run} is adopted from the hub and the members; {how}");
    change.announce(EventKind::Warning, "Adopted", &message);
}

fn take_up(change: &mut Change<'_>, desired: Desired<'_>, name: &str, order: &RolloutAssignment) {
    // With its claim, or others could take that before it is the turn of those that are missing.
    if !change.bears(1, 1) || !change.claim(name) {
        return;
    }
    change.command(Command::TakeUp { member: name.to_owned() });
    let accepted = Late::of(&change.state).map(|late| late.run);
    let taken_up = taken_up(order, &change.state.header, accepted.as_ref(), change.now);
    let Some(TakenUp { record, order: repeated }) = taken_up else { return };
    let before = change.state.members.insert(name.to_owned(), record);
    if change.state.header.run.as_ref().is_some_and(|run| is_of(order, run)) {
        begin_member(&mut change.state, name);
    }
    begin_late_member(&mut change.state, name, order, before.as_ref());
    count_failures(&mut change.state.header, &change.state.members);
    // Of whole objects nobody knows yet which they are: their claims are taken as ever, with the payload.
    if let Some(workload) = &order.spec.workload {
        claim(change, desired, name, &Target::of_assigned(workload));
    }
    if let Some(mut spec) = repeated {
        spec.fence = Fence::default();
        change.command(Command::Assign { member: name.to_owned(), spec: Box::new(spec) });
    }
}

/// What a backup says of a member, which tells by itself what it has.
fn forget(change: &mut Change<'_>, name: &str) {
    let told = change.observations.recovery.is_some_and(|recovery| recovery.orders.contains_key(name));
    if !told && change.claim(name) {
        change.state.members.remove(name);
        change.command(Command::Forget { member: name.to_owned() });
    }
}

fn claim(change: &mut Change<'_>, desired: Desired<'_>, name: &str, target: &Target) {
    if change.observations.claims.holder(name, target).is_some() {
        return;
    }
    let created_at = match desired {
        Desired::Present(rollout) => rollout.created_at,
        Desired::Invalid { .. } | Desired::Deleted { .. } => 0,
    };
    let header = &change.state.header;
    let claim = Claim { uid: header.uid.clone(), rollout: header.name.clone(), created_at };
    change.command_claim(Command::Claim { member: name.to_owned(), target: target.clone(), claim });
}
