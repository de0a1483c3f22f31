//! Proofs that the store went back: members know of orders that it never gave (SEMANTICS 41).

use crds::Fence;
use federated_store::{TxnOutcome, When};

use super::refusal::Refusal;
use crate::records::{Proof, put};
use crate::world::World;
use crate::{clock, keys};

/// Writes down that a fence is above the store's own, if it is: the leader raises the epoch then. `told` says where it was
/// seen, for people.
pub(super) async fn notice(world: &World, fence: Fence, told: &str) -> Result<(), Refusal> {
    if !is_ahead(world, fence).await? {
        return Ok(());
    }
    record(world, Proof { fence, told: told.to_owned(), at: clock::now_millis() }).await
}

/// Writes a proof down, unless there is one.
pub(crate) async fn record(world: &World, proof: Proof) -> Result<(), Refusal> {
    tracing::error!(fence = %proof.fence, told = proof.told, "the store went back: it is behind what others know");
    let key = keys::WENT_BACK.to_owned();
    let operation = put(key.clone(), &proof).map_err(|error| Refusal::Unfit(error.to_string()))?;
    match world.store.txn(None, vec![When::Absent { key }], vec![operation]).await {
        Ok(TxnOutcome::Committed { .. } | TxnOutcome::Conflict { .. } | TxnOutcome::Fenced) => Ok(()),
        Err(error) => Err(unavailable(&error)),
    }
}

/// The mirror may lag behind what another replica has told the agent, so the store itself is asked before anybody is
/// alarmed. A store without epoch has given no orders, and gets its epoch first.
async fn is_ahead(world: &World, fence: Fence) -> Result<bool, Refusal> {
    let mirrored = {
        let mirror = world.mirror();
        mirror.epoch.map(|epoch| own(epoch, mirror.revision))
    };
    if mirrored.is_some_and(|own| fence <= own) {
        return Ok(false);
    }
    let Some(epoch) = world.store.get(keys::EPOCH).await.map_err(|error| unavailable(&error))? else {
        return Ok(false);
    };
    let page = world.store.range(keys::EPOCH, None, 1).await.map_err(|error| unavailable(&error))?;
    let epoch: Option<i64> = serde_json::from_slice(&epoch.value).ok();
    Ok(epoch.is_some_and(|epoch| fence > own(epoch, page.revision)))
}

/// The highest fence that a store can have given.
fn own(epoch: i64, revision: u64) -> Fence {
    Fence { epoch, generation: i64::try_from(revision).unwrap_or(i64::MAX) }
}

fn unavailable(error: &dyn std::fmt::Display) -> Refusal {
    Refusal::Unavailable(error.to_string())
}
