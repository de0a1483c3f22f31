//! Orders to members, each a complete assignment but for its fence.

use crds::{
    AssignedRollout, AssignedWorkload, Fence, Intent, OnDeadline, OnDrift, Previous, RolloutAssignmentSpec,
    WorkloadObservation, images_hash,
};

use super::{Command, change::Change};
use crate::returns::images_before;
use crate::{MemberStage, Reachability, Run, Silence, Standing, Touched};

/// Tells a member to report what it runs. The answer becomes its previous state, unless something was applied before.
pub(super) fn observe(change: &mut Change<'_>, run: &Run, name: &str) {
    let record = change.record(name);
    record.stage = MemberStage::Observing;
    record.standing = Standing::default();
    if record.touched == Touched::Perhaps {
        record.touched = Touched::Yes;
    }
    let previous = record.previous.clone();
    let spec = assignment(change, run, name, Intent::Observe, previous);
    send(change, spec);
}

/// Tells a member to run the revision over what was observed.
pub(super) fn apply(change: &mut Change<'_>, run: &Run, name: &str, observed: &WorkloadObservation) {
    let since = change.now;
    let standing = Standing { returns_after: run.failure_rules.returns_after(), on_drift: OnDrift::Repair };
    let record = change.record(name);
    record.stage = MemberStage::Applying { since };
    record.told_at = since;
    record.standing = standing;
    record.silence = Silence::None;
    record.ready_since = None;
    record.awaits_owner = false;
    if record.touched == Touched::No {
        record.touched = Touched::Perhaps;
    }
    record.containers.extend(run.payload.workload.images.keys().cloned());
    let previous = record.previous.clone();
    let mut spec = assignment(change, run, name, Intent::Apply, previous);
    spec.expected_hash = Some(images_hash(&observed.images));
    standing.write_to(&mut spec);
    send(change, spec);
}

/// Tells a touched member to go back to its previous state, from whatever it runs. One that is silent finds the order
/// when it is heard again.
pub(super) fn give_back(change: &mut Change<'_>, run: &Run, name: &str, stage: MemberStage) {
    let unheard = change.observations.reachability(name) == Reachability::Unknown;
    let record = change.record(name);
    record.stage = stage;
    record.standing = Standing::default();
    record.ready_since = None;
    record.awaits_owner = false;
    record.silence = if unheard { Silence::Lasting } else { Silence::None };
    let Some(previous) = record.previous.clone() else { return };
    let images = images_before(record, &previous);
    let mut spec = assignment(change, run, name, Intent::Return, Some(previous));
    spec.workload.images = images;
    send(change, spec);
}

/// Writes the order to apply or to return that a member has once more, with what stands in it by now: a new fence, and for
/// the agent a new beginning. What is known of the member stays as it is, whichever run it speaks of.
pub(super) fn repeat(change: &mut Change<'_>, name: &str, standing: Standing) {
    let Some(assignment) = change.observations.assignments.get(name) else { return };
    let mut spec = assignment.spec.clone();
    let is_repeatable = matches!(spec.intent, Intent::Apply | Intent::Return);
    let Some(record) = change.state.members.get_mut(name).filter(|_| is_repeatable) else { return };
    record.standing = standing;
    spec.fence = Fence::default();
    standing.write_to(&mut spec);
    if record.awaits_owner {
        // Until it answers this one nobody knows whether it is still its owner's turn.
        record.stage = record.stage.counted_from(change.now);
    }
    send(change, spec);
}

fn assignment(
    change: &Change<'_>,
    run: &Run,
    member: &str,
    intent: Intent,
    previous: Option<Previous>,
) -> RolloutAssignmentSpec {
    let (header, workload) = (&change.state.header, &run.payload.workload);
    RolloutAssignmentSpec {
        member: member.to_owned(),
        rollout: AssignedRollout { name: header.name.clone(), uid: header.uid.clone(), run: run.number },
        revision: run.revision.clone(),
        intent,
        fence: Fence::default(),
        workload: AssignedWorkload {
            kind: workload.kind,
            namespace: workload.namespace.clone(),
            name: workload.name.clone(),
            images: change.observations.images_for(run, member),
        },
        expected_hash: None,
        previous,
        deadline_seconds: run.failure_rules.progress_deadline_seconds,
        on_deadline: OnDeadline::Hold,
        on_drift: OnDrift::Repair,
    }
}

fn send(change: &mut Change<'_>, spec: RolloutAssignmentSpec) {
    change.command(Command::Assign { member: spec.member.clone(), spec: Box::new(spec) });
}
