//! What a member's own order says of it: its record, and the order to write for it.

use crds::{
    DeadlineState, Intent, OnDeadline, OnDrift, Outcome, RolloutAssignment, RolloutAssignmentSpec,
    RolloutAssignmentStatus,
};

use super::is_of;
use crate::returns::turn_back;
use crate::tally::proves_health;
use crate::{Header, MemberRecord, MemberStage, Millis, Run, Stage, Standing, Touched};

/// A member as its own order tells.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TakenUp {
    /// Its record.
    pub record: MemberRecord,
    /// What is written for it, if anything; the fence is filled in by the driver.
    pub order: Option<RolloutAssignmentSpec>,
}

/// Takes an order up. None: it tells to change something and not what was there before, which no order of ours does.
/// `accepted` is the run that members catch up with which was accepted before the latest one, if they do.
pub(crate) fn taken_up(
    order: &RolloutAssignment,
    header: &Header,
    accepted: Option<&Run>,
    now: Millis,
) -> Option<TakenUp> {
    let spec = &order.spec;
    let touches = matches!(spec.intent, Intent::Apply | Intent::Return);
    if touches && spec.previous.is_none() {
        return None;
    }
    let mut record = record(order, header, now);
    let of_accepted = accepted.is_some_and(|run| is_of(order, run));
    let goes_back = spec.intent == Intent::Return || (spec.intent == Intent::Apply && gives_back(order, header));
    if goes_back && of_accepted {
        // Nobody else goes back from what was accepted.
        record.failed_in = spec.rollout.run;
    }
    if spec.intent != Intent::Apply {
        return Some(TakenUp { record, order: Some(spec.clone()) });
    }
    if goes_back {
        return Some(given_back(record, spec, header, now));
    }
    // An order to run what is being rolled back is not repeated: what comes next is its return.
    let refused = header.quarantine.contains(&spec.revision) && !keeps(order, header);
    Some(TakenUp { record, order: (!refused).then(|| spec.clone()) })
}

fn record(order: &RolloutAssignment, header: &Header, now: Millis) -> MemberRecord {
    let spec = &order.spec;
    let mut record = MemberRecord::new(spec.rollout.run);
    record.previous.clone_from(&spec.previous);
    match spec.intent {
        Intent::Observe => record.touched = if spec.previous.is_some() { Touched::Yes } else { Touched::No },
        Intent::Apply => {
            let applied = said_of_images(order).is_some_and(|report| report.applied_hash.is_some());
            record.touched = if applied { Touched::Yes } else { Touched::Perhaps };
            record.standing.returns_after = (spec.on_deadline == OnDeadline::Return).then_some(spec.deadline_seconds);
        }
        Intent::Return | Intent::Withdraw => record.touched = Touched::Yes,
    }
    if spec.previous.is_none() {
        record.touched = Touched::No;
    }
    if matches!(spec.intent, Intent::Apply | Intent::Return) {
        record.standing.on_drift = spec.on_drift;
        record.containers = spec.images().keys().cloned().collect();
    }
    record.stage = stage(order, now);
    if matches!(record.stage, MemberStage::Healthy { .. }) {
        record.arrived_at = Some(spec.revision.clone());
    }
    let run = header.run.as_ref();
    if spec.intent == Intent::Return && run.is_some_and(|run| is_of(order, run) && !run.is_rolled_back()) {
        record.failed_in = spec.rollout.run;
    }
    if spec.intent != Intent::Withdraw && is_foreign(order, header) {
        // It is told anew, and goes back, if it must, where it was before.
        record.run = header.runs_started;
        record.stage = MemberStage::Planned;
        record.touched = if record.touched == Touched::No { Touched::No } else { Touched::Yes };
    }
    record
}

fn stage(order: &RolloutAssignment, now: Millis) -> MemberStage {
    match order.spec.intent {
        Intent::Observe => MemberStage::Observing,
        Intent::Apply if said_of_images(order).is_some_and(|report| proves_health(order, report)) => {
            MemberStage::Healthy { since: now }
        }
        // Drift is only reported where the member had arrived, whatever runs there by now.
        Intent::Apply if order.spec.on_drift == OnDrift::Report => MemberStage::Unhealthy { since: now },
        Intent::Return if order.spec.on_drift == OnDrift::Report => MemberStage::Returned { since: now },
        Intent::Apply => MemberStage::Applying { since: now },
        Intent::Return => MemberStage::Returning { since: now },
        Intent::Withdraw => MemberStage::Withdrawing,
    }
}

/// What the member said of this very order.
fn answer(order: &RolloutAssignment) -> Option<&RolloutAssignmentStatus> {
    order.status.as_ref().filter(|report| report.fence == order.spec.fence)
}

/// What it said of this very order, or of the one before it, if that was to apply the same: a store that goes back
/// gives each order again, and one that does so twice may ask before the member has answered the second.
fn said_of_images(order: &RolloutAssignment) -> Option<&RolloutAssignmentStatus> {
    let hash = order.spec.content_hash();
    let of_it = |report: &&RolloutAssignmentStatus| report.applied_hash.is_some() && report.applied_hash == hash;
    answer(order).or_else(|| order.status.as_ref().filter(of_it))
}

/// Whether the order is of a run that never was, as this store counts them: one that was lost with the store, and whose
/// number another one has now.
fn is_foreign(order: &RolloutAssignment, header: &Header) -> bool {
    let number = order.spec.rollout.run;
    let other = header.run.as_ref().is_some_and(|run| run.number == number && run.revision != order.spec.revision);
    other || number > header.runs_started
}

/// Whether the member goes back to what it ran before, whoever resumes: it has by itself, or its run is rolled back and
/// over.
fn gives_back(order: &RolloutAssignment, header: &Header) -> bool {
    let report = answer(order);
    let passed = |report: &RolloutAssignmentStatus| {
        report.outcome == Outcome::Reverted
            || report.deadline.as_ref().is_some_and(|deadline| deadline.state == DeadlineState::Passed)
    };
    let refused = header.quarantine.contains(&order.spec.revision) && !keeps(order, header);
    let over =
        header.run.as_ref().is_some_and(|run| if is_of(order, run) { run.is_over() } else { header.hold.is_none() });
    report.is_some_and(passed) || (refused && over)
}

/// Whether its run has ended with the revision kept by those that were healthy.
fn keeps(order: &RolloutAssignment, header: &Header) -> bool {
    header.run.as_ref().is_some_and(|run| is_of(order, run) && matches!(run.stage, Stage::GivenUp | Stage::Finishing))
}

fn given_back(mut record: MemberRecord, spec: &RolloutAssignmentSpec, header: &Header, now: Millis) -> TakenUp {
    record.stage = MemberStage::Returning { since: now };
    record.touched = Touched::Yes;
    record.standing = Standing::default();
    if header.run.as_ref().is_some_and(|run| run.number == record.run && !run.is_rolled_back()) {
        record.failed_in = record.run;
    }
    let mut order = spec.clone();
    order.intent = Intent::Return;
    order.expected_hash = None;
    record.standing.write_to(&mut order);
    if let Some(previous) = &record.previous {
        turn_back(&mut order, &record, previous);
    }
    TakenUp { record, order: Some(order) }
}
