//! Reports of agents, written into the store in order: an older one never hides a newer one.

use crds::Report;
use federated_store::{Op, TxnOutcome, When};

use super::agents::Refusal;
use crate::keys;
use crate::records::{put, read};
use crate::world::World;

/// Reports of one request, as the API says.
const MAX_REPORTS: usize = 256;
/// Writers of one member's report may meet: its old connection and its new one.
const ATTEMPTS: usize = 4;
/// Longest message of a report, in characters; the schema of `RolloutAssignment` allows as many.
const MAX_MESSAGE_CHARS: usize = 1024;

/// Writes the reports; returns once they are committed, or known to be obsolete.
pub(super) async fn accept(world: &World, reports: Vec<Report>) -> Result<(), Refusal> {
    if reports.len() > MAX_REPORTS {
        return Err(Refusal::Unfit(format!("{} reports, at most {MAX_REPORTS}", reports.len())));
    }
    futures::future::try_join_all(reports.into_iter().map(|report| one(world, report))).await.map(drop)
}

async fn one(world: &World, mut report: Report) -> Result<(), Refusal> {
    if report.status.message.chars().count() > MAX_MESSAGE_CHARS {
        report.status.message = report.status.message.chars().take(MAX_MESSAGE_CHARS).collect();
    }
    let unavailable = |error: &dyn std::fmt::Display| Refusal::Unavailable(error.to_string());
    for attempt in 0..ATTEMPTS {
        if !is_assigned(world, &report).await? {
            tracing::debug!(member = report.member, rollout = report.rollout, "a report about no assignment");
            return Ok(());
        }
        let key = keys::report(&report.member, &report.rollout);
        // The mirror is right nearly always; after a conflict the store is asked.
        let before = if attempt == 0 { known(world, &report) } else { stored(world, &key).await? };
        if before.as_ref().is_some_and(|(old, _)| is_obsolete(old, &report)) {
            return Ok(());
        }
        let when = match before {
            Some((_, revision)) => When::At { key: key.clone(), revision },
            None => When::Absent { key: key.clone() },
        };
        let put: Op = put(key, &report).map_err(|error| unavailable(&error))?;
        match world.store.txn(None, vec![when], vec![put]).await {
            Ok(TxnOutcome::Committed { .. }) => {
                world.metrics.reports.inc();
                return Ok(());
            }
            Ok(TxnOutcome::Conflict { .. } | TxnOutcome::Fenced) => {}
            Err(error) => return Err(unavailable(&error)),
        }
    }
    Err(Refusal::Unavailable("the report met others; try again".to_owned()))
}

/// Only what was assigned can be reported about, or strangers' names would pile up. The mirror may not have heard of
/// an assignment that the agent got from another replica, so the store is asked before a report is dropped.
async fn is_assigned(world: &World, report: &Report) -> Result<bool, Refusal> {
    let mirrored = world
        .mirror()
        .assignment(&report.member, &report.rollout)
        .is_some_and(|assignment| assignment.spec.rollout.uid == report.rollout_uid);
    if mirrored {
        return Ok(true);
    }
    let key = keys::assignment(&report.member, &report.rollout);
    let stored = world.store.get(&key).await.map_err(|error| Refusal::Unavailable(error.to_string()))?;
    let spec = stored.and_then(|stored| read::<crds::RolloutAssignmentSpec>(&key, &stored.value));
    Ok(spec.is_some_and(|spec| spec.rollout.uid == report.rollout_uid))
}

fn known(world: &World, report: &Report) -> Option<(Report, u64)> {
    let mirror = world.mirror();
    let stored = mirror.report(&report.member, &report.rollout)?;
    let old = Report { rollout_uid: stored.uid.clone(), status: stored.status.clone(), ..report.clone() };
    Some((old, stored.revision))
}

async fn stored(world: &World, key: &str) -> Result<Option<(Report, u64)>, Refusal> {
    let stored = world.store.get(key).await.map_err(|error| Refusal::Unavailable(error.to_string()))?;
    Ok(stored.and_then(|stored| Some((read::<Report>(key, &stored.value)?, stored.revision))))
}

/// Whether what is stored is at least as new. A lower fence is never newer; under one fence the sequence decides.
/// A recreated rollout has another uid and higher fences.
fn is_obsolete(old: &Report, new: &Report) -> bool {
    let order = |report: &Report| (report.status.fence, report.status.sequence);
    order(old) >= order(new)
}

#[cfg(test)]
mod tests {
    use crds::{Fence, RolloutAssignmentStatus};

    use super::*;

    fn report(epoch: i64, generation: i64, sequence: i64) -> Report {
        Report {
            member: "m".to_owned(),
            rollout: "r".to_owned(),
            rollout_uid: "u".to_owned(),
            status: RolloutAssignmentStatus {
                fence: Fence { epoch, generation },
                sequence,
                ..RolloutAssignmentStatus::default()
            },
        }
    }

    #[test]
    fn a_late_report_never_hides_a_newer_one() {
        assert!(is_obsolete(&report(1, 5, 9), &report(1, 5, 8)), "an earlier status");
        assert!(is_obsolete(&report(1, 5, 9), &report(1, 5, 9)), "the same again");
        assert!(is_obsolete(&report(1, 5, 1), &report(1, 4, 9)), "an answer to an earlier assignment");
        assert!(is_obsolete(&report(2, 1, 1), &report(1, 9, 9)), "an answer from before the store was rebuilt");
        assert!(!is_obsolete(&report(1, 5, 9), &report(1, 6, 1)), "the first answer to a new assignment");
    }
}
