//! One watch for each workload that an assignment is about: what happens to it wakes the assignment at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use crds::WorkloadKind;
use futures::StreamExt as _;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use kube::api::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio_util::task::AbortOnDropHandle;

use super::cache::Cache;
use super::queue::Queue;
use crate::assignment::WorkloadTarget;
use crate::logging::with_causes;

/// A dead watch is noticed 5 s after this; resync works meanwhile.
pub(super) const WATCH_SECONDS: u32 = 240;
/// Changes of assignments come in bunches when a list arrives.
const SETTLE: Duration = Duration::from_millis(20);

/// Keeps the watches that are needed, for ever; they end when this future is dropped.
pub async fn run(client: Client, cache: Arc<Cache>, queue: Arc<Queue>) {
    let mut changes = cache.subscribe();
    let mut running: BTreeMap<WorkloadTarget, AbortOnDropHandle<()>> = BTreeMap::new();
    loop {
        let needed = cache.workloads();
        for target in ended(&running, &needed) {
            running.remove(&target);
        }
        for target in needed {
            running.entry(target.clone()).or_insert_with(|| {
                let watch = follow(client.clone(), target, Arc::clone(&cache), Arc::clone(&queue));
                AbortOnDropHandle::new(tokio::spawn(watch))
            });
        }
        if changes.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(SETTLE).await;
        changes.mark_unchanged();
    }
}

/// Watches that nobody needs any more, and those that ended by a fault of ours.
fn ended(
    running: &BTreeMap<WorkloadTarget, AbortOnDropHandle<()>>,
    needed: &BTreeSet<WorkloadTarget>,
) -> Vec<WorkloadTarget> {
    let ended = running.iter().filter(|(target, handle)| !needed.contains(*target) || handle.is_finished());
    ended.map(|(target, _)| target.clone()).collect()
}

async fn follow(client: Client, target: WorkloadTarget, cache: Arc<Cache>, queue: Arc<Queue>) {
    match target.kind {
        WorkloadKind::Deployment => follow_kind::<Deployment>(client, target, cache, queue).await,
        WorkloadKind::StatefulSet => follow_kind::<StatefulSet>(client, target, cache, queue).await,
        WorkloadKind::DaemonSet => follow_kind::<DaemonSet>(client, target, cache, queue).await,
    }
}

/// Only metadata is asked for: its resourceVersion changes with the status too, and the object is read afresh anyway.
async fn follow_kind<K>(client: Client, target: WorkloadTarget, cache: Arc<Cache>, queue: Arc<Queue>)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let api: Api<PartialObjectMeta<K>> = Api::namespaced(client, &target.namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={}", target.name)).timeout(WATCH_SECONDS);
    let mut events = pin!(watcher(api, config).default_backoff());
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(_) | Event::InitApply(_) | Event::Delete(_)) => {
                for rollout in cache.rollouts_of(&target) {
                    queue.wake(&rollout);
                }
            }
            Ok(Event::Init | Event::InitDone) => {}
            Err(error) => tracing::warn!(%target, error = with_causes(&error), "the watch of a workload broke"),
        }
    }
}
