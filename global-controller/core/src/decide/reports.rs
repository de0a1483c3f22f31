//! What the members' answers change in their records.

use crds::{Outcome, Previous, Revision, RolloutAssignment, RolloutAssignmentStatus};

use super::{EventKind, change::Change, drift};
use crate::returns::{proves_return, return_answer};
use crate::tally::{current_answer, proves_health};
use crate::{MemberRecord, MemberStage, Millis, Reachability, Silence, Touched, words};

/// Takes up the answers of all members whose waves have begun, and of all that are on their way back.
pub(super) fn absorb(change: &mut Change<'_>) {
    let Some(run) = change.state.header.run.clone() else { return };
    absorb_returns(change);
    for name in change.state.begun().to_vec() {
        let stage = change.state.stage_of(&name);
        let Some((assignment, report)) = current_answer(&run, &name, stage, change.observations) else { continue };
        // One that catches up with what was accepted before has another order by now, or gets one with this decision.
        let ours = change.state.members.get(&name).filter(|record| record.run == run.number);
        let Some(record) = ours else { continue };
        let reachable = change.observations.reachability(&name) == Reachability::Reachable;
        let min_ready_millis = run.failure_rules.min_ready_millis();
        // In a rollback nothing comes of it any more, so nobody is woken for it either.
        let counts = (reachable && run.judges()) || min_ready_millis == 0;
        let ready_millis = counts.then_some(min_ready_millis);
        let next = next_record(record, (assignment, report), ready_millis, change.now);
        if next == *record || !change.claim(&name) {
            continue;
        }
        announce(change, &name, (stage, next.stage), report);
        change.state.members.insert(name, next);
    }
    drift::note(change);
}

/// Whoever it is, in the plan or not, and whichever run sent it back.
pub(super) fn absorb_returns(change: &mut Change<'_>) {
    let observations = change.observations;
    let back = change.state.members.iter().filter_map(|(name, record)| {
        let (assignment, report) = return_answer(name, observations).filter(|_| record.stage.owes_return())?;
        proves_return(record, assignment, report).then(|| (name.clone(), &assignment.spec.revision))
    });
    let since = change.now;
    for (name, left) in back.collect::<Vec<_>>() {
        if change.claim(&name)
            && let Some(record) = change.state.members.get_mut(&name)
        {
            record.stage = MemberStage::Returned { since };
            if record.arrived_at.as_ref() == Some(left) {
                record.arrived_at = record.arrived_before.take();
            }
        }
    }
}

/// `ready_millis` is how long it must be healthy before that counts; none when it can't come to count: it is not heard, so
/// that nobody knows how long it was, or the run goes back.
fn next_record(
    record: &MemberRecord,
    (assignment, report): (&RolloutAssignment, &RolloutAssignmentStatus),
    ready_millis: Option<Millis>,
    now: Millis,
) -> MemberRecord {
    let mut next = record.clone();
    let healthy = proves_health(assignment, report);
    // What says nothing of the workload is no news about its pods.
    if let Some(workload) = report.workload.as_ref().filter(|_| record.stage.is_assigned()) {
        next.idle = healthy && workload.desired == 0;
        next.partial = healthy && workload.partial;
    }
    next.awaits_owner = report.outcome == Outcome::PodDeletionByOwner && record.stage.is_assigned();
    if record.awaits_owner && !next.awaits_owner {
        next.stage = record.stage.counted_from(now);
    }
    // `Accepted` says only that an agent has started; it is no news about health.
    if record.ready_since.is_some() && !healthy && report.outcome != Outcome::Accepted {
        next.ready_since = None;
        if let MemberStage::Unhealthy { since } = &mut next.stage {
            *since = now;
        }
    }
    match (record.stage, report.outcome) {
        (MemberStage::Observing, Outcome::Observed) if record.touched == Touched::No => {
            next.previous = report.workload.as_ref().map(Previous::of);
        }
        (MemberStage::Applying { .. }, Outcome::PreviousChanged) => {
            // Nothing was applied: what is there now is observed afresh.
            next.stage = MemberStage::Planned;
            if record.touched == Touched::Perhaps && report.applied_hash.is_none() {
                next.touched = Touched::No;
                next.previous = None;
                next.containers.clear();
            }
        }
        (MemberStage::Applying { .. } | MemberStage::Unhealthy { .. }, _) if healthy => {
            next.touched = Touched::Yes;
            ripen(&mut next, &assignment.spec.revision, ready_millis, now);
        }
        (
            MemberStage::Applying { .. },
            Outcome::Progressing | Outcome::PodDeletionByOwner | Outcome::Healthy | Outcome::Reverted,
        ) => next.touched = Touched::Yes,
        (MemberStage::Applying { .. }, outcome) if outcome.is_drift() => next.touched = Touched::Yes,
        (MemberStage::Healthy { .. }, outcome) if !healthy && outcome != Outcome::Accepted => {
            next.stage = MemberStage::Unhealthy { since: now };
            next.silence = Silence::None;
        }
        _ => {}
    }
    next
}

/// It counts as healthy when it has been for long enough.
fn ripen(next: &mut MemberRecord, revision: &Revision, ready_millis: Option<Millis>, now: Millis) {
    let Some(ready_millis) = ready_millis else { return };
    let since = *next.ready_since.get_or_insert(now);
    if since + ready_millis <= now {
        next.ready_since = None;
        next.stage = MemberStage::Healthy { since: now };
        if next.arrived_at.as_ref() != Some(revision) {
            next.arrived_before = next.arrived_at.replace(revision.clone());
        }
    }
}

fn announce(change: &mut Change<'_>, name: &str, stages: (MemberStage, MemberStage), report: &RolloutAssignmentStatus) {
    let said = words::bounded(&report.message, words::MAX_TROUBLE_CHARS);
    match stages {
        // Of drift people are told wherever the member stands.
        (MemberStage::Healthy { .. }, MemberStage::Unhealthy { .. }) if !report.outcome.is_drift() => {
            let message = format!("{name} is no longer healthy: {}: {said}", report.outcome.as_str());
            change.announce(EventKind::Warning, "MemberUnhealthy", &message);
        }
        (MemberStage::Applying { .. }, MemberStage::Planned) => {
            let message = format!("{name} no longer runs what was observed, nothing was applied: observing it again");
            change.announce(EventKind::Warning, "PreviousChanged", &message);
        }
        _ => {}
    }
}
