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
    let Some(epoch) = epoch_behind(world, fence).await? else { return Ok(()) };
    let proof = Proof { fence, told: told.to_owned(), at: clock::now_millis() };
    // One epoch that is raised answers all that showed that: several may come at the same moment.
    record_if(world, proof, vec![epoch]).await
}

/// Writes a proof down, unless there is one.
pub(crate) async fn record(world: &World, proof: Proof) -> Result<(), Refusal> {
    record_if(world, proof, Vec::new()).await
}

async fn record_if(world: &World, proof: Proof, mut when: Vec<When>) -> Result<(), Refusal> {
    tracing::error!(fence = %proof.fence, told = proof.told, "the store went back: it is behind what others know");
    let key = keys::WENT_BACK.to_owned();
    let operation = put(key.clone(), &proof).map_err(|error| Refusal::Unfit(error.to_string()))?;
    when.push(When::Absent { key });
    match world.store.txn(None, when, vec![operation]).await {
        Ok(TxnOutcome::Committed { .. } | TxnOutcome::Conflict { .. } | TxnOutcome::Fenced) => Ok(()),
        Err(error) => Err(unavailable(&error)),
    }
}

/// The epoch as it stands, where a fence is above all that it has given. The mirror may lag behind what another replica has
/// told the agent, so the store itself is asked before anybody is alarmed. A store without epoch has given no orders, and
/// gets its epoch first.
async fn epoch_behind(world: &World, fence: Fence) -> Result<Option<When>, Refusal> {
    let mirrored = {
        let mirror = world.mirror();
        mirror.epoch.map(|epoch| own(epoch, mirror.revision))
    };
    if mirrored.is_some_and(|own| fence <= own) {
        return Ok(None);
    }
    let Some(found) = world.store.get(keys::EPOCH).await.map_err(|error| unavailable(&error))? else {
        return Ok(None);
    };
    let page = world.store.range(keys::EPOCH, None, 1).await.map_err(|error| unavailable(&error))?;
    let epoch: Option<i64> = serde_json::from_slice(&found.value).ok();
    let unchanged = When::At { key: keys::EPOCH.to_owned(), revision: found.revision };
    Ok(epoch.filter(|epoch| fence > own(*epoch, page.revision)).map(|_| unchanged))
}

/// The highest fence that a store can have given.
fn own(epoch: i64, revision: u64) -> Fence {
    Fence { epoch, generation: i64::try_from(revision).unwrap_or(i64::MAX) }
}

fn unavailable(error: &dyn std::fmt::Display) -> Refusal {
    Refusal::Unavailable(error.to_string())
}
