//! The store's epoch: above every epoch that this hub, a backup or a member has ever known.
//!
//! Kept on the hub too, so that a rebuilt store starts above the lost one and its assignments are not taken for old
//! ones (SEMANTICS 41). It is raised when the store was restored, and when somebody knows of orders that it never gave.
//! With a new epoch begins a recovery: what was told under an earlier one has to be learnt from the members first.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use federated_store::{Fence, Op, TxnOutcome, When};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::time::timeout;

use crate::records::{Cause, Proof, RecoveryRecord, put, read};
use crate::world::World;
use crate::{clock, keys};

/// Name of the `ConfigMap`, which the chart's role allows.
const CONFIG_MAP: &str = "rollout-epoch";
/// Its one entry.
const ENTRY: &str = "epoch";
const DEADLINE: Duration = Duration::from_secs(5);
/// Before trying again: nothing can be decided without an epoch, and the hub may be away for a while.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Where the hub keeps the highest epoch that it has known.
#[derive(Clone)]
pub(crate) struct EpochKeeper {
    /// The hub.
    pub client: Client,
    /// Namespace of the `ConfigMap`.
    pub namespace: String,
}

/// The epoch; tries until there is one.
pub(super) async fn ensure(world: &World, keeper: &EpochKeeper, fence: Fence) -> i64 {
    loop {
        match establish(world, keeper, fence).await {
            Ok(epoch) => return epoch,
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "the store has no epoch yet; nothing is decided");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}

async fn establish(world: &World, keeper: &EpochKeeper, fence: Fence) -> Result<i64> {
    let stored = world.store.get(keys::EPOCH).await.context("failed to read the epoch")?;
    let proof = world.store.get(keys::WENT_BACK).await.context("failed to read whether the store went back")?;
    let ahead = proof.as_ref().and_then(|found| read::<Proof>(keys::WENT_BACK, &found.value));
    // A restored store's own epoch is above the one that the backup holds: then this one is raised, once.
    let least = i64::try_from(world.store.embedded().map_or(1, federated_store::Embedded::epoch))
        .context("the store's epoch is no number of seconds")?;
    let (when, stored, cause) = match stored {
        None => (When::Absent { key: keys::EPOCH.to_owned() }, None, Cause::Rebuilt),
        Some(found) => {
            let stored: i64 = serde_json::from_slice(&found.value).context("the stored epoch is no number")?;
            let cause = if stored < least { Cause::Restored } else { Cause::WentBack };
            if stored >= least && proof.is_none() {
                return Ok(stored);
            }
            (When::At { key: keys::EPOCH.to_owned(), revision: found.revision }, Some(stored), cause)
        }
    };
    let known = stored.max(ahead.map(|proof| proof.fence.epoch));
    let epoch = reserve(keeper, known, least).await?;
    let at = clock::now_millis();
    let recovery = RecoveryRecord { epoch, cause, at, open: true };
    let mut then = vec![put(keys::EPOCH.to_owned(), &epoch)?, put(keys::RECOVERY.to_owned(), &recovery)?];
    then.extend(proof.map(|_| Op::Delete { key: keys::WENT_BACK.to_owned() }));
    match world.store.txn(Some(fence), vec![when], then).await? {
        TxnOutcome::Committed { revision } => {
            tracing::warn!(epoch, ?cause, "the store has a new epoch: members are asked for what they have");
            world.metrics.recoveries.inc();
            world.await_mirror(revision).await;
            Ok(epoch)
        }
        other => bail!("another replica was quicker: {other:?}"),
    }
}

/// An epoch above all known ones, kept on the hub before it is used: a crash in between wastes a number, and the other
/// order could use one twice.
async fn reserve(keeper: &EpochKeeper, others: Option<i64>, least: i64) -> Result<i64> {
    let maps: Api<ConfigMap> = Api::namespaced(keeper.client.clone(), &keeper.namespace);
    let known = timeout(DEADLINE, maps.get_opt(CONFIG_MAP)).await.context("the hub did not answer")??;
    let known = known.and_then(|map| map.data).and_then(|data| data.get(ENTRY)?.parse::<i64>().ok());
    let epoch = next(clock::now_millis().div_euclid(1000), known.max(others)).max(least);
    let map = ConfigMap {
        metadata: ObjectMeta { name: Some(CONFIG_MAP.to_owned()), ..ObjectMeta::default() },
        data: Some([(ENTRY.to_owned(), epoch.to_string())].into()),
        ..ConfigMap::default()
    };
    let patch = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": map.metadata, "data": map.data});
    let parameters = PatchParams::apply(crds::CONTROLLER_MANAGER).force();
    let patch = Patch::Apply(&patch);
    let write = maps.patch(CONFIG_MAP, &parameters, &patch);
    timeout(DEADLINE, write).await.context("the hub did not answer")?.context("failed to keep the epoch on the hub")?;
    Ok(epoch)
}

fn next(now_seconds: i64, known: Option<i64>) -> i64 {
    known.map_or(now_seconds, |known| now_seconds.max(known.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semantics_41_an_epoch_is_above_every_known_one_even_when_the_clock_runs_back() {
        assert_eq!(next(1_000, None), 1_000);
        assert_eq!(next(1_000, Some(10)), 1_000);
        assert_eq!(next(1_000, Some(5_000)), 5_001);
    }
}
