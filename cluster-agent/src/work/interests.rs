//! Where the objects of rollouts are, so that what happens to them wakes their assignments at once.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crds::ROLLOUT_LABEL;
use futures::StreamExt as _;
use kube::api::{DynamicObject, PartialObjectMeta};
use kube::core::ApiResource;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use super::queue::Queue;
use super::watches::WATCH_SECONDS;
use crate::logging::with_causes;

/// The objects of a rollout become known one look after another.
const SETTLE: Duration = Duration::from_millis(20);

/// Objects of one kind in one namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    group: String,
    version: String,
    kind: String,
    plural: String,
    /// Empty for those that are in none.
    namespace: String,
}

impl Place {
    /// Those of a resource.
    pub fn of(resource: &ApiResource, namespace: &str) -> Self {
        let ApiResource { group, version, api_version: _, kind, plural } = resource.clone();
        Self { group, version, kind, plural, namespace: namespace.to_owned() }
    }

    fn api(&self, client: Client) -> Api<PartialObjectMeta<DynamicObject>> {
        let Self { group, version, kind, plural, namespace } = self.clone();
        let api_version = if group.is_empty() { version.clone() } else { format!("{group}/{version}") };
        let resource = ApiResource { group, version, api_version, kind, plural };
        match namespace.as_str() {
            "" => Api::all_with(client, &resource),
            namespace => Api::namespaced_with(client, namespace, &resource),
        }
    }
}

/// The places of each rollout; at most as many rollouts as there are assignments.
#[derive(Debug, Default)]
pub struct Interests {
    places: Mutex<BTreeMap<String, BTreeSet<Place>>>,
    changed: Notify,
}

impl Interests {
    /// The objects of a rollout are there.
    pub fn set(&self, rollout: &str, places: &BTreeSet<Place>) {
        let before = self.lock().insert(rollout.to_owned(), places.clone());
        if before.as_ref() != Some(places) {
            self.changed.notify_one();
        }
    }

    /// The assignment is gone.
    pub fn forget(&self, rollout: &str) {
        if self.lock().remove(rollout).is_some() {
            self.changed.notify_one();
        }
    }

    /// All places.
    fn all(&self) -> BTreeSet<Place> {
        self.lock().values().flatten().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BTreeSet<Place>>> {
        // A panic can't leave the map half changed.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps one watch for each place, for ever; they end when this future is dropped.
pub async fn run(client: Client, interests: Arc<Interests>, queue: Arc<Queue>) {
    let mut running: BTreeMap<Place, AbortOnDropHandle<()>> = BTreeMap::new();
    loop {
        let needed = interests.all();
        running.retain(|place, watch| needed.contains(place) && !watch.is_finished());
        for place in needed {
            running.entry(place.clone()).or_insert_with(|| {
                AbortOnDropHandle::new(tokio::spawn(follow(place.api(client.clone()), place, Arc::clone(&queue))))
            });
        }
        interests.changed.notified().await;
        tokio::time::sleep(SETTLE).await;
    }
}

/// Only metadata is asked for, and only of objects that carry the label.
async fn follow(api: Api<PartialObjectMeta<DynamicObject>>, place: Place, queue: Arc<Queue>) {
    let config = watcher::Config::default().labels(ROLLOUT_LABEL).timeout(WATCH_SECONDS);
    let mut events = pin!(watcher(api, config).default_backoff());
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(object) | Event::InitApply(object) | Event::Delete(object)) => {
                if let Some(rollout) = object.labels().get(ROLLOUT_LABEL) {
                    queue.wake_soon(rollout);
                }
            }
            Ok(Event::Init | Event::InitDone) => {}
            Err(error) => tracing::warn!(?place, error = with_causes(&error), "the watch of objects broke"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(plural: &str) -> Place {
        let text = |text: &str| text.to_owned();
        Place {
            group: text("apps"),
            version: text("v1"),
            kind: text("Any"),
            plural: text(plural),
            namespace: text("shop"),
        }
    }

    #[test]
    fn rollouts_share_a_watch_and_it_ends_with_the_last_of_them() {
        let interests = Interests::default();
        interests.set("a", &[place("deployments"), place("statefulsets")].into());
        interests.set("b", &[place("deployments")].into());
        assert_eq!(interests.all(), [place("deployments"), place("statefulsets")].into());
        interests.forget("a");
        assert_eq!(interests.all(), [place("deployments")].into());
        interests.forget("b");
        assert!(interests.all().is_empty());
    }
}
