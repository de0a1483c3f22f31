//! Reports of agents, written into the store in order: an older one never hides a newer one.

use std::collections::BTreeMap;

use crds::{MAX_NAME_BYTES, Report, RolloutAssignmentStatus};
use federated_store::{Op, TxnOutcome, When};

use super::refusal::Refusal;
use super::went_back;
use crate::fault;
use crate::keys;
use crate::records::{put, read};
use crate::world::World;

/// Reports of one request, as the API says.
const MAX_REPORTS: usize = 256;
/// Writers of one member's report may meet: its old connection and its new one.
const ATTEMPTS: usize = 4;
/// Longest message of a report, in characters; the schema of `RolloutAssignment` allows as many, and as much of the rest.
const MAX_MESSAGE_CHARS: usize = 1024;
/// Longest uid or hash.
pub(super) const MAX_HASH_BYTES: usize = 64;
/// Most containers of a workload.
const MAX_IMAGES: usize = 64;
/// All of a workload's containers and images together. A return writes them three times for each of up to 30 members,
/// and one transaction bears 1 MiB, of which a list of past runs and five payloads may take 230 KiB.
const MAX_IMAGES_BYTES: usize = 8 * 1024;
/// Longest image reference.
const MAX_IMAGE_BYTES: usize = 512;

/// Writes the reports; returns once they are committed, or known to be obsolete.
pub(super) async fn accept(world: &World, reports: Vec<Report>) -> Result<(), Refusal> {
    if reports.len() > MAX_REPORTS {
        return Err(Refusal::Unfit(format!("{} reports, at most {MAX_REPORTS}", reports.len())));
    }
    futures::future::try_join_all(reports.into_iter().map(|report| one(world, report))).await.map(drop)
}

async fn one(world: &World, report: Report) -> Result<(), Refusal> {
    check(&report)?;
    went_back::notice(world, report.status.fence, &format!("the report of {} about {}", report.member, report.rollout))
        .await?;
    let unavailable = |error: &dyn std::fmt::Display| Refusal::Unavailable(error.to_string());
    for attempt in 0..ATTEMPTS {
        let Some(assigned_at) = assigned_at(world, &report, attempt > 0).await? else {
            tracing::debug!(member = report.member, rollout = report.rollout, "a report about no assignment");
            return Ok(());
        };
        let key = keys::report(&report.member, &report.rollout);
        // The mirror is right nearly always; after a conflict the store is asked.
        let before = if attempt == 0 { known(world, &report) } else { stored(world, &key).await? };
        if before.as_ref().is_some_and(|(old, _)| is_obsolete(old, &report)) {
            return Ok(());
        }
        let unchanged = match before {
            Some((_, revision)) => When::At { key: key.clone(), revision },
            None => When::Absent { key: key.clone() },
        };
        // A report about what was forgotten meanwhile would stay for ever.
        let assignment = keys::assignment(&report.member, &report.rollout);
        let when = vec![unchanged, When::At { key: assignment, revision: assigned_at }];
        let put: Op = put(key, &report).map_err(|error| unavailable(&error))?;
        fault::pass(world, fault::Stage::Observe);
        match world.store.txn(None, when, vec![put]).await {
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

/// The bounds of the schema, which an agent's own API server enforces: one member's report must not be able to make a
/// decision about all members too large.
fn check(report: &Report) -> Result<(), Refusal> {
    let Report { member: _, rollout, rollout_uid, status } = report;
    if rollout.len() <= MAX_NAME_BYTES && rollout_uid.len() <= MAX_HASH_BYTES && is_bounded(status) {
        Ok(())
    } else {
        Err(Refusal::Unfit("the report exceeds the bounds of a RolloutAssignment's status".to_owned()))
    }
}

/// Whether a status is within the bounds of its schema.
pub(super) fn is_bounded(status: &RolloutAssignmentStatus) -> bool {
    status.message.chars().count() <= MAX_MESSAGE_CHARS
        && status.applied_hash.as_ref().is_none_or(|hash| hash.len() <= MAX_HASH_BYTES)
        && status.workload.as_ref().is_none_or(|workload| {
            let snapshot = workload.snapshot.as_ref().is_none_or(|name| name.len() <= MAX_HASH_BYTES);
            snapshot && workload.uid.len() <= MAX_HASH_BYTES && are_bounded(&workload.images)
        })
}

/// Whether containers and images are.
pub(super) fn are_bounded(images: &BTreeMap<String, String>) -> bool {
    let each = |(name, image): (&String, &String)| name.len() <= MAX_NAME_BYTES && image.len() <= MAX_IMAGE_BYTES;
    images.len() <= MAX_IMAGES
        && images.iter().map(|(name, image)| name.len() + image.len()).sum::<usize>() <= MAX_IMAGES_BYTES
        && images.iter().all(each)
}

/// Revision of the assignment that the report is about. Only what was assigned can be reported about, or strangers'
/// names would pile up. The mirror may not have heard of an assignment that the agent got from another replica, so the
/// store is asked before a report is dropped.
async fn assigned_at(world: &World, report: &Report, ask: bool) -> Result<Option<u64>, Refusal> {
    let mirrored = world
        .mirror()
        .assignment(&report.member, &report.rollout)
        .filter(|assignment| assignment.spec.rollout.uid == report.rollout_uid)
        .and_then(|assignment| u64::try_from(assignment.spec.fence.generation).ok());
    if mirrored.is_some() && !ask {
        return Ok(mirrored);
    }
    let key = keys::assignment(&report.member, &report.rollout);
    let stored = world.store.get(&key).await.map_err(|error| Refusal::Unavailable(error.to_string()))?;
    Ok(stored.and_then(|stored| {
        let spec = read::<crds::RolloutAssignmentSpec>(&key, &stored.value)?;
        (spec.rollout.uid == report.rollout_uid).then_some(stored.revision)
    }))
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
    use crds::Fence;

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
    fn a_report_beyond_the_bounds_of_the_schema_is_refused() {
        assert!(check(&report(1, 1, 1)).is_ok());
        let mut long = report(1, 1, 1);
        long.status.message = "x".repeat(MAX_MESSAGE_CHARS + 1);
        assert!(check(&long).is_err());
        let mut large = report(1, 1, 1);
        let images = [("app".to_owned(), "x".repeat(MAX_IMAGE_BYTES + 1))].into();
        large.status.workload = Some(crds::WorkloadObservation { images, ..crds::WorkloadObservation::default() });
        assert!(check(&large).is_err());
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
