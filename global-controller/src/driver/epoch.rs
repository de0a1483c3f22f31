//! The store's epoch: set once, above every epoch that this hub has ever known.
//!
//! Kept on the hub too, so that a rebuilt store starts above the lost one and its assignments are not taken for old
//! ones (SEMANTICS 41). Assignments that a backup brought back get it before it counts as set.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use crds::RolloutAssignmentSpec;
use federated_store::{Fence, KeyValue, Op, TxnOutcome, When};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::time::timeout;

use crate::keys::Key;
use crate::records::{put, read};
use crate::world::World;
use crate::{clock, keys};

/// Name of the `ConfigMap`, which the chart's role allows.
const CONFIG_MAP: &str = "rollout-epoch";
/// Its one entry.
const ENTRY: &str = "epoch";
const DEADLINE: Duration = Duration::from_secs(5);
/// Before trying again: nothing can be decided without an epoch, and the hub may be away for a while.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Assignments of one transaction, of at most 1 MiB: the largest has 64 images to run and 64 that ran before, each of
/// 512 bytes and a name, which makes 75 KiB.
const RAISED_AT_ONCE: usize = 12;

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
    let least = i64::try_from(world.store.embedded().map_or(1, federated_store::Embedded::epoch))
        .context("the store's epoch is no number of seconds")?;
    let (when, stored) = match stored {
        None => (When::Absent { key: keys::EPOCH.to_owned() }, None),
        Some(found) => {
            let stored: i64 = serde_json::from_slice(&found.value).context("the stored epoch is no number")?;
            if stored >= least {
                return Ok(stored);
            }
            (When::At { key: keys::EPOCH.to_owned(), revision: found.revision }, Some(stored))
        }
    };
    let epoch = reserve(keeper, stored, least).await?;
    raise_assignments(world, fence, epoch).await?;
    // Last: who crashes before does it all again, and whoever finds it need not look at the assignments.
    match world.store.txn(Some(fence), vec![when], vec![put(keys::EPOCH.to_owned(), &epoch)?]).await? {
        TxnOutcome::Committed { revision } => {
            world.await_mirror(revision).await;
            Ok(epoch)
        }
        other => bail!("another replica was quicker: {other:?}"),
    }
}

/// An epoch above all known ones, kept on the hub before it is used: a crash in between wastes a number, and the other
/// order could use one twice.
async fn reserve(keeper: &EpochKeeper, stored: Option<i64>, least: i64) -> Result<i64> {
    let maps: Api<ConfigMap> = Api::namespaced(keeper.client.clone(), &keeper.namespace);
    let known = timeout(DEADLINE, maps.get_opt(CONFIG_MAP)).await.context("the hub did not answer")??;
    let known = known.and_then(|map| map.data).and_then(|data| data.get(ENTRY)?.parse::<i64>().ok());
    let epoch = next(clock::now_millis().div_euclid(1000), known.max(stored)).max(least);
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

/// Gives the epoch to every assignment. Agents refuse one below what they have seen as stale, and nothing else would
/// write an assignment again that a backup brought back.
async fn raise_assignments(world: &World, fence: Fence, epoch: i64) -> Result<()> {
    let (mut after, mut count) = (None::<String>, 0);
    loop {
        let page = world.store.range(keys::ASSIGNMENTS, after.as_deref(), RAISED_AT_ONCE).await;
        let page = page.context("failed to read the assignments")?;
        after = page.items.last().map(|item| item.key.clone());
        let (mut when, mut then) = (Vec::new(), Vec::new());
        for item in page.items {
            if let Some(operation) = raised(&item, epoch)? {
                when.push(When::At { key: item.key, revision: item.revision });
                then.push(operation);
            }
        }
        count += then.len();
        if !then.is_empty() {
            match world.store.txn(Some(fence), when, then).await.context("failed to raise assignments")? {
                TxnOutcome::Committed { .. } => {}
                // The caller begins again, with the first page.
                other => bail!("another replica wrote assignments: {other:?}"),
            }
        }
        if !page.more {
            if count > 0 {
                tracing::info!(epoch, count, "assignments of an earlier epoch were raised");
            }
            return Ok(());
        }
    }
}

/// The write that gives the epoch to a stored assignment; none when it has it, or is no assignment that we can read.
fn raised(item: &KeyValue, epoch: i64) -> Result<Option<Op>, serde_json::Error> {
    if !matches!(Key::parse(&item.key), Some(Key::Assignment { .. })) {
        return Ok(None);
    }
    let Some(mut spec) = read::<RolloutAssignmentSpec>(&item.key, &item.value) else { return Ok(None) };
    if spec.fence.epoch >= epoch {
        return Ok(None);
    }
    spec.fence.epoch = epoch;
    put(item.key.clone(), &spec).map(Some)
}

fn next(now_seconds: i64, known: Option<i64>) -> i64 {
    known.map_or(now_seconds, |known| now_seconds.max(known.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bytes::Bytes;

    use super::*;

    fn stored(key: &str, epoch: i64) -> KeyValue {
        let spec = json!({
            "member": "m",
            "rollout": {"name": "r", "uid": "u", "run": 2},
            "revision": "abc",
            "intent": "Apply",
            "fence": {"epoch": epoch, "generation": 0},
            "workload": {"kind": "Deployment", "namespace": "shop", "name": "checkout", "images": {"app": "app:2"}},
            "expectedHash": "0123456789abcdef",
            "previous": {"uid": "w", "images": {"app": "app:1"}, "healthy": true},
            "deadlineSeconds": 600,
        });
        KeyValue { key: key.to_owned(), value: Bytes::from(serde_json::to_vec(&spec).unwrap()), revision: 7 }
    }

    #[test]
    fn semantics_41_a_restored_assignment_gets_the_new_epoch_and_keeps_all_else() {
        let before = stored("assignments/m/r", 5);
        let Some(Op::Put { key, value }) = raised(&before, 9).unwrap() else { unreachable!("nothing is written") };
        let read = |value: &[u8]| serde_json::from_slice::<RolloutAssignmentSpec>(value).unwrap();
        let mut expected = read(&before.value);
        expected.fence.epoch = 9;
        assert_eq!((key, read(&value)), (before.key, expected));
    }

    #[test]
    fn an_assignment_that_has_the_epoch_is_left_alone_and_so_is_what_we_can_not_read() {
        assert_eq!(raised(&stored("assignments/m/r", 9), 9).unwrap(), None);
        assert_eq!(raised(&stored("assignments/of/a/newer/release", 5), 9).unwrap(), None);
        let broken = KeyValue { value: Bytes::from_static(b"{"), ..stored("assignments/m/r", 5) };
        assert_eq!(raised(&broken, 9).unwrap(), None);
    }

    #[test]
    fn semantics_41_an_epoch_is_above_every_known_one_even_when_the_clock_runs_back() {
        assert_eq!(next(1_000, None), 1_000);
        assert_eq!(next(1_000, Some(10)), 1_000);
        assert_eq!(next(1_000, Some(5_000)), 5_001);
    }
}
