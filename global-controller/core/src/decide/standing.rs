//! What stands in an order beside its payload: it follows the specification, and the end of the run, while the order is out,
//! by the same order under a new fence.

use crds::{Intent, OnDrift};

use super::{change::Change, order};
use crate::{MemberRecord, MemberStage, Reachability, Run, Stage, Standing};

/// Writes the orders anew in which something else stands than is wanted by now.
pub(super) fn follow(change: &mut Change<'_>) {
    let Some(run) = change.state.header.run.clone().filter(|_| !change.more) else { return };
    let outdated = change.state.members.iter().filter_map(|(name, record)| {
        let (intent, standing) = wanted(change, &run, name, record)?;
        (standing != record.standing && has_order(change, name, record, intent)).then(|| (name.clone(), standing))
    });
    for (name, standing) in outdated.collect::<Vec<_>>() {
        if change.claim(&name) {
            order::repeat(change, &name, standing);
        }
    }
}

/// None: there is no order in which it matters.
fn wanted(change: &Change<'_>, run: &Run, name: &str, record: &MemberRecord) -> Option<(Intent, Standing)> {
    let heard = change.observations.reachability(name) == Reachability::Reachable;
    let present = record.run == run.number;
    match record.stage {
        // Of one that is silent nobody knows which order it has; it is judged by its own report.
        MemberStage::Applying { .. } if present && heard && run.judges() => {
            Some((Intent::Apply, Standing::on_the_way(run)))
        }
        MemberStage::Healthy { .. } | MemberStage::Unhealthy { .. } => {
            Some((Intent::Apply, arrived(record, on_drift(run, present)?)))
        }
        MemberStage::Returned { .. } => Some((Intent::Return, arrived(record, on_drift(run, present)?))),
        // While it is on its way, drift is repaired.
        _ => None,
    }
}

/// Whether it has the order that its record speaks of.
fn has_order(change: &Change<'_>, name: &str, record: &MemberRecord, intent: Intent) -> bool {
    let order = change.observations.assignments.get(name).map(|order| &order.spec);
    order.is_some_and(|order| order.intent == intent && order.rollout.run == record.run)
}

/// What agents are to do about drift where members have arrived, there or back (SEMANTICS 22). Those whose turn has not come
/// in a run keep what their last order says, so that it finds what they run by then (13); once it has ended badly nobody's
/// drift is repaired.
fn on_drift(run: &Run, present: bool) -> Option<OnDrift> {
    match run.stage {
        Stage::RolledBack | Stage::Failed | Stage::GivenUp => Some(OnDrift::Report),
        _ if !present => None,
        Stage::Succeeded => Some(run.on_drift),
        _ => Some(OnDrift::Repair),
    }
}

/// Where it was to arrive in time it has; the repeated order gives it no deadline, after which it would go back.
fn arrived(record: &MemberRecord, on_drift: OnDrift) -> Standing {
    let Standing { returns_after, on_drift: before, on_conflict } = record.standing;
    Standing { returns_after: returns_after.filter(|_| before == on_drift), on_drift, on_conflict }
}
