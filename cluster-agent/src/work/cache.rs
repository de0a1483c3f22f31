//! The local assignments, kept by a watch. They are the last known state: everything the agent does follows from them.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crds::RolloutAssignment;
use futures::StreamExt as _;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;

use super::queue::Queue;
use crate::assignment::Target;
use crate::logging::with_causes;
use crate::metrics::Metrics;

/// A dead watch is noticed 5 s after this; the API server ends each watch then.
const WATCH_SECONDS: u32 = 60;

/// The local assignments.
#[derive(Debug)]
pub struct Cache {
    store: Store<RolloutAssignment>,
    listed: AtomicBool,
    changes: watch::Sender<u64>,
}

/// Writes what the watch says into the cache.
pub type Writer = reflector::store::Writer<RolloutAssignment>;

impl Cache {
    /// An empty one, and what fills it.
    pub fn new() -> (Arc<Self>, Writer) {
        let (store, writer) = reflector::store();
        let cache = Self { store, listed: AtomicBool::new(false), changes: watch::channel(0).0 };
        (Arc::new(cache), writer)
    }

    /// Whether all assignments were listed once.
    pub fn is_listed(&self) -> bool {
        self.listed.load(Ordering::Relaxed)
    }

    /// All assignments.
    pub fn all(&self) -> Vec<Arc<RolloutAssignment>> {
        self.store.state()
    }

    /// The assignment of a rollout.
    pub fn get(&self, rollout: &str) -> Option<Arc<RolloutAssignment>> {
        self.store.get(&ObjectRef::new(rollout))
    }

    /// Objects that assignments are about.
    pub fn targets(&self) -> BTreeSet<Target> {
        self.all().iter().map(|assignment| Target::from(&assignment.spec.workload)).collect()
    }

    /// Rollouts whose assignment is about this object.
    pub fn rollouts_of(&self, target: &Target) -> Vec<String> {
        let assignments = self.store.state_filter(|one| Target::from(&one.spec.workload) == *target);
        assignments.iter().map(|assignment| assignment.name_any()).collect()
    }

    /// Tells of each change.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// Follows the assignments for ever, and wakes the queue for each one whose spec changes.
pub async fn follow(client: Client, cache: Arc<Cache>, writer: Writer, queue: Arc<Queue>, metrics: Arc<Metrics>) {
    let config = watcher::Config::default().timeout(WATCH_SECONDS);
    let api = Api::<RolloutAssignment>::all(client);
    let events = watcher(api, config).default_backoff().modify(forget_managers).reflect(writer);
    let mut events = pin!(events);
    let mut seen = Seen::default();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if let Some(name) = seen.changed(&event)
                    && !queue.wake(&name)
                {
                    metrics.wakes_dropped.inc();
                }
                if let Event::Delete(gone) = &event {
                    queue.forget(&gone.name_any());
                }
                if matches!(event, Event::InitDone) {
                    cache.listed.store(true, Ordering::Relaxed);
                }
                cache.changes.send_modify(|count| *count = count.wrapping_add(1));
            }
            Err(error) => tracing::warn!(error = with_causes(&error), "the watch of assignments broke, trying again"),
        }
    }
}

/// Half of an object, and nobody here reads it.
fn forget_managers(assignment: &mut RolloutAssignment) {
    assignment.managed_fields_mut().clear();
}

/// Which spec of each assignment was seen: the agent's own writes of statuses are no news.
#[derive(Debug, Default)]
struct Seen {
    generations: BTreeMap<String, (Option<String>, Option<i64>)>,
}

impl Seen {
    /// The name of the assignment whose spec is new.
    fn changed(&mut self, event: &Event<RolloutAssignment>) -> Option<String> {
        match event {
            Event::Apply(object) | Event::InitApply(object) => {
                let name = object.name_any();
                let generation = (object.metadata.uid.clone(), object.metadata.generation);
                let known = self.generations.insert(name.clone(), generation.clone());
                (known != Some(generation)).then_some(name)
            }
            Event::Delete(object) => {
                self.generations.remove(&object.name_any());
                None
            }
            Event::Init | Event::InitDone => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assignment::fixtures::assignment;

    #[test]
    fn only_a_new_spec_wakes_the_agent() {
        let mut seen = Seen::default();
        let mut object = assignment(5);
        object.metadata.generation = Some(1);
        assert_eq!(seen.changed(&Event::InitApply(object.clone())), Some("checkout".to_owned()));
        object.metadata.resource_version = Some("2".to_owned());
        assert_eq!(seen.changed(&Event::Apply(object.clone())), None);
        object.metadata.generation = Some(2);
        assert_eq!(seen.changed(&Event::Apply(object.clone())), Some("checkout".to_owned()));
        assert_eq!(seen.changed(&Event::Delete(object.clone())), None);
        assert_eq!(seen.changed(&Event::Apply(object)), Some("checkout".to_owned()));
    }
}
