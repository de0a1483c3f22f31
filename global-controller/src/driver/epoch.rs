//! The store's epoch: set once, above every epoch that this hub has ever known.
//!
//! Kept on the hub too, so that a rebuilt store starts above the lost one and its assignments are not taken for old
//! ones (SEMANTICS 41).

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use federated_store::{Fence, TxnOutcome, When};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::time::timeout;

use crate::records::put;
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
    // A restored store's own epoch is above the one that the backup holds: then this one is raised, once.
    let (when, stored, least) = match stored {
        None => (When::Absent { key: keys::EPOCH.to_owned() }, None, 0),
        Some(found) => {
            let stored: i64 = serde_json::from_slice(&found.value).context("the stored epoch is no number")?;
            let least = i64::try_from(world.store.embedded().map_or(1, federated_store::Embedded::epoch))
                .context("the store's epoch is no number of seconds")?;
            if stored >= least {
                return Ok(stored);
            }
            (When::At { key: keys::EPOCH.to_owned(), revision: found.revision }, Some(stored), least)
        }
    };
    let maps: Api<ConfigMap> = Api::namespaced(keeper.client.clone(), &keeper.namespace);
    let known = timeout(DEADLINE, maps.get_opt(CONFIG_MAP)).await.context("the hub did not answer")??;
    let known = known.and_then(|map| map.data).and_then(|data| data.get(ENTRY)?.parse::<i64>().ok());
    let epoch = next(clock::now_millis().div_euclid(1000), known.max(stored)).max(least);
    // First on the hub: a crash in between wastes a number, and the other order could use one twice.
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
    match world.store.txn(Some(fence), vec![when], vec![put(keys::EPOCH.to_owned(), &epoch)?]).await? {
        TxnOutcome::Committed { revision } => {
            world.await_mirror(revision).await;
            Ok(epoch)
        }
        other => bail!("another replica was quicker: {other:?}"),
    }
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
