//! Orders to members, each a complete assignment but for its fence.

use crds::{
    AssignedManifests, AssignedRollout, AssignedWorkload, Content, Fence, Intent, OnDeadline, OnDrift, Previous,
    RolloutAssignmentSpec, WorkloadObservation,
};

use super::{Command, change::Change};
use crate::returns::turn_back;
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
    let standing = Standing::on_the_way(run);
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
    record.containers.extend(run.payload.workload().into_iter().flat_map(|workload| workload.images.keys().cloned()));
    let previous = record.previous.clone();
    let mut spec = assignment(change, run, name, Intent::Apply, previous);
    spec.expected_hash = Some(observed.content_hash());
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
    let record = record.clone();
    let mut spec = assignment(change, run, name, Intent::Return, Some(previous.clone()));
    turn_back(&mut spec, &record, &previous);
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
    let header = &change.state.header;
    let (workload, manifests) = match &run.payload.content {
        Content::Images(workload) => {
            let images = change.observations.images_for(run, member);
            let (kind, namespace, name) = (workload.kind, workload.namespace.clone(), workload.name.clone());
            (Some(AssignedWorkload { kind, namespace, name, images }), None)
        }
        Content::Manifests(manifests) => {
            let overrides = run.payload.overrides_for(member, change.observations.labels_of(member));
            (None, Some(AssignedManifests::of(manifests, &run.payload.overrides, overrides)))
        }
    };
    RolloutAssignmentSpec {
        member: member.to_owned(),
        rollout: AssignedRollout { name: header.name.clone(), uid: header.uid.clone(), run: run.number },
        revision: run.revision.clone(),
        intent,
        fence: Fence::default(),
        workload,
        manifests,
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
