//! What members were told before, for a store that was lost or went back (SEMANTICS 42). It stays in the store until the
//! rollout's own decision takes it up.

use crds::{AssignedManifests, MAX_NAME_BYTES, RolloutAssignment, Upload};
use federated_store::{Op, TxnOutcome, When};

use super::refusal::Refusal;
use super::{reports, went_back};
use crate::keys;
use crate::mirror;
use crate::records::put;
use crate::world::World;

/// Orders of one request, as the API says.
const MAX_ORDERS: usize = 8;
/// Longest name of a workload, as the schema says.
const MAX_WORKLOAD_BYTES: usize = 253;
/// Overrides of a rollout, as the schema says.
const MAX_OVERRIDES: usize = 32;

/// Writes a part of what a member has; returns once it is committed, or was known already.
pub(super) async fn accept(world: &World, upload: Upload) -> Result<(), Refusal> {
    let Upload { member, seen, orders, complete } = upload;
    if orders.len() > MAX_ORDERS {
        return Err(Refusal::Unfit(format!("{} orders, at most {MAX_ORDERS}", orders.len())));
    }
    orders.iter().try_for_each(check)?;
    went_back::notice(world, seen, &format!("the upload of {member}")).await?;
    let Some(epoch) = world.mirror().recovery.map(|recovery| recovery.epoch) else { return Ok(()) };
    let Some(unmarked) = unmarked(world, &member, epoch).await? else { return Ok(()) };
    for order in orders {
        let RolloutAssignment { mut spec, status, .. } = order;
        if let Some(manifests) = &mut spec.manifests {
            // The store has objects once, with their payload.
            manifests.objects.clear();
        }
        let name = spec.rollout.name.clone();
        let order = RolloutAssignment { status, ..mirror::assignment(&name, spec) };
        let operation = put(keys::upload(&member, &name), &order).map_err(unfit)?;
        write(world, unmarked.clone(), operation).await?;
    }
    if complete {
        let mark = put(keys::uploaded(&member), &epoch).map_err(unfit)?;
        write(world, unmarked, mark).await?;
    }
    Ok(())
}

/// The condition that the member has not told everything under this epoch yet; none when it has. What it told may have been
/// taken up then, and must not come again.
async fn unmarked(world: &World, member: &str, epoch: i64) -> Result<Option<When>, Refusal> {
    let key = keys::uploaded(member);
    let known = world.store.get(&key).await.map_err(|error| Refusal::Unavailable(error.to_string()))?;
    Ok(match known {
        None => Some(When::Absent { key }),
        Some(known) if serde_json::from_slice(&known.value).ok() == Some(epoch) => None,
        Some(known) => Some(When::At { key, revision: known.revision }),
    })
}

async fn write(world: &World, when: When, operation: Op) -> Result<(), Refusal> {
    match world.store.txn(None, vec![when], vec![operation]).await {
        Ok(TxnOutcome::Committed { .. }) => Ok(()),
        Ok(other) => Err(Refusal::Unavailable(format!("not written: {other:?}"))),
        Err(error) => Err(Refusal::Unavailable(error.to_string())),
    }
}

#[allow(clippy::needless_pass_by_value)] // As `map_err` hands it over.
fn unfit(error: serde_json::Error) -> Refusal {
    Refusal::Unfit(error.to_string())
}

/// The bounds of the schema: what is written comes back in decisions about many members.
fn check(order: &RolloutAssignment) -> Result<(), Refusal> {
    let spec = &order.spec;
    let RolloutAssignment { status, .. } = order;
    let named = order.metadata.name.as_ref() == Some(&spec.rollout.name) && !spec.rollout.name.contains('/');
    let images = [Some(spec.images()), spec.previous.as_ref().map(|previous| &previous.images)];
    let sound = named
        && spec.rollout.name.len() <= MAX_NAME_BYTES
        && spec.workload.as_ref().is_none_or(|workload| {
            workload.namespace.len() <= MAX_NAME_BYTES && workload.name.len() <= MAX_WORKLOAD_BYTES
        })
        && spec.manifests.as_ref().is_none_or(is_bounded)
        && [&spec.rollout.uid, &spec.revision.0].iter().all(|it| it.len() <= reports::MAX_HASH_BYTES)
        && spec.expected_hash.as_ref().is_none_or(|hash| hash.len() <= reports::MAX_HASH_BYTES)
        && images.into_iter().flatten().all(reports::are_bounded)
        && status.as_ref().is_none_or(reports::is_bounded);
    if sound {
        return Ok(());
    }
    Err(Refusal::Unfit(format!(
        "the order of rollout '{}' exceeds the bounds of a RolloutAssignment, or is not named like its rollout",
        spec.rollout.name
    )))
}

fn is_bounded(manifests: &AssignedManifests) -> bool {
    manifests.hash.len() <= reports::MAX_HASH_BYTES && manifests.overrides.len() <= MAX_OVERRIDES
}
