//! The local assignments, kept by a watch. They are the last known state: everything the agent does follows from them.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crds::{Intent, RolloutAssignment};
use futures::StreamExt as _;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;

use super::queue::Queue;
use crate::assignment::{Target, WorkloadTarget};
use crate::hub::resync::Resync;
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

    /// Names of all assignments: those of their rollouts.
    pub fn names(&self) -> Vec<String> {
        self.all().iter().map(|assignment| assignment.name_any()).collect()
    }

    /// Waits until all assignments were listed once; for ever when nobody lists them any more.
    pub async fn listed(&self) {
        if self.store.wait_until_ready().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The assignment of a rollout.
    pub fn get(&self, rollout: &str) -> Option<Arc<RolloutAssignment>> {
        self.store.get(&ObjectRef::new(rollout))
    }

    /// What assignments are about.
    pub fn targets(&self) -> BTreeSet<Target> {
        self.all().iter().map(|assignment| Target::from(&assignment.spec)).collect()
    }

    /// Workloads that assignments are about.
    pub fn workloads(&self) -> BTreeSet<WorkloadTarget> {
        self.all().iter().filter_map(|assignment| assignment.spec.workload.as_ref()).map(WorkloadTarget::from).collect()
    }

    /// Rollouts whose assignment is about this workload.
    pub fn rollouts_of(&self, target: &WorkloadTarget) -> Vec<String> {
        let is_about =
            |one: &RolloutAssignment| one.spec.workload.as_ref().map(WorkloadTarget::from).as_ref() == Some(target);
        let assignments = self.store.state_filter(is_about);
        assignments.iter().map(|assignment| assignment.name_any()).collect()
    }

    /// Tells of each change.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// Follows the assignments for ever: wakes the queue for each one whose spec changes, and asks for the hub's list when
/// one is gone that was not withdrawn.
pub async fn follow(
    client: Client,
    cache: Arc<Cache>,
    writer: Writer,
    queue: Arc<Queue>,
    resync: Arc<Resync>,
    metrics: Arc<Metrics>,
) {
    let config = watcher::Config::default().timeout(WATCH_SECONDS);
    let api = Api::<RolloutAssignment>::all(client);
    let events = watcher(api, config).default_backoff().modify(forget_managers).reflect(writer);
    let mut events = pin!(events);
    let mut seen = Seen::default();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                let News { changed, gone, is_lost } = seen.note(&event);
                let dropped = changed.iter().filter(|name| !queue.wake(name)).count();
                metrics.wakes_dropped.inc_by(dropped as u64);
                for name in gone {
                    queue.forget(&name);
                }
                if is_lost {
                    tracing::warn!("an assignment was deleted that was not withdrawn, asking for the hub's list");
                    resync.ask();
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

/// What an event means for the others.
#[derive(Debug, Default, PartialEq, Eq)]
struct News {
    /// To be looked at.
    changed: Vec<String>,
    /// Not there any more.
    gone: Vec<String>,
    /// Whether one of these was not withdrawn: somebody else deleted it.
    is_lost: bool,
}

/// What was seen of one assignment.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    uid: Option<String>,
    generation: Option<i64>,
    intent: Intent,
}

impl Version {
    fn of(object: &RolloutAssignment) -> Self {
        let RolloutAssignment { metadata, spec, status: _ } = object;
        Self { uid: metadata.uid.clone(), generation: metadata.generation, intent: spec.intent }
    }
}

/// Which spec of each assignment was seen: the agent's own writes of statuses are no news. Pure.
#[derive(Debug, Default)]
struct Seen {
    known: BTreeMap<String, Version>,
    /// Those of a list that is not complete yet.
    listing: BTreeMap<String, Version>,
}

impl Seen {
    fn note(&mut self, event: &Event<RolloutAssignment>) -> News {
        match event {
            Event::Apply(object) => {
                let (name, version) = (object.name_any(), Version::of(object));
                let is_new = self.known.get(&name) != Some(&version);
                self.known.insert(name.clone(), version);
                News { changed: is_new.then_some(name).into_iter().collect(), ..News::default() }
            }
            Event::Delete(object) => {
                self.known.remove(&object.name_any());
                // Withdrawn ones are deleted by the agent itself.
                let is_lost = object.spec.intent != Intent::Withdraw;
                News { gone: vec![object.name_any()], is_lost, ..News::default() }
            }
            Event::Init => {
                self.listing.clear();
                News::default()
            }
            // The cache has it only when the list is complete.
            Event::InitApply(object) => {
                self.listing.insert(object.name_any(), Version::of(object));
                News::default()
            }
            Event::InitDone => self.listed(),
        }
    }

    /// All are looked at: who was woken before the list was complete was not found in the cache. Deletions may have been
    /// missed before it.
    fn listed(&mut self) -> News {
        let mut before = std::mem::replace(&mut self.known, std::mem::take(&mut self.listing));
        before.retain(|name, _| !self.known.contains_key(name));
        let is_lost = before.values().any(|version| version.intent != Intent::Withdraw);
        News { changed: self.known.keys().cloned().collect(), gone: before.into_keys().collect(), is_lost }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assignment::fixtures::assignment;

    fn named(name: &str, intent: Intent) -> RolloutAssignment {
        let mut object = assignment(5);
        object.metadata.name = Some(name.to_owned());
        object.metadata.generation = Some(1);
        object.spec.intent = intent;
        object
    }

    fn list(seen: &mut Seen, objects: &[&RolloutAssignment]) -> News {
        assert_eq!(seen.note(&Event::Init), News::default());
        for object in objects {
            assert_eq!(seen.note(&Event::InitApply((*object).clone())), News::default());
        }
        seen.note(&Event::InitDone)
    }

    fn changed(names: &[&str]) -> News {
        News { changed: names.iter().map(|name| (*name).to_owned()).collect(), ..News::default() }
    }

    fn gone(name: &str, is_lost: bool) -> News {
        News { gone: vec![name.to_owned()], is_lost, ..News::default() }
    }

    #[test]
    fn only_a_new_spec_wakes_the_agent() {
        let mut seen = Seen::default();
        let mut object = named("a", Intent::Apply);
        assert_eq!(list(&mut seen, &[&object]), changed(&["a"]));
        object.metadata.resource_version = Some("2".to_owned());
        assert_eq!(seen.note(&Event::Apply(object.clone())), changed(&[]));
        object.metadata.generation = Some(2);
        assert_eq!(seen.note(&Event::Apply(object.clone())), changed(&["a"]));
        seen.note(&Event::Delete(object.clone()));
        assert_eq!(seen.note(&Event::Apply(object)), changed(&["a"]));
    }

    #[test]
    fn a_complete_list_wakes_all_and_before_it_nobody_is_woken() {
        let (mut seen, a, b) = (Seen::default(), named("a", Intent::Apply), named("b", Intent::Observe));
        assert_eq!(list(&mut seen, &[&a, &b]), changed(&["a", "b"]));
        assert_eq!(list(&mut seen, &[&b, &a]), changed(&["a", "b"]));
    }

    #[test]
    fn only_a_deletion_that_is_no_withdrawal_is_a_loss() {
        let mut seen = Seen::default();
        for (intent, is_lost) in
            [(Intent::Observe, true), (Intent::Apply, true), (Intent::Return, true), (Intent::Withdraw, false)]
        {
            let object = named("a", intent);
            seen.note(&Event::Apply(object.clone()));
            assert_eq!(seen.note(&Event::Delete(object)), gone("a", is_lost), "{intent:?}");
        }
    }

    #[test]
    fn a_deletion_that_the_watch_missed_is_found_by_the_next_list() {
        for (intent, is_lost) in [(Intent::Apply, true), (Intent::Withdraw, false)] {
            let mut seen = Seen::default();
            list(&mut seen, &[&named("a", intent)]);
            assert_eq!(list(&mut seen, &[]), gone("a", is_lost), "{intent:?}");
            assert_eq!(list(&mut seen, &[]), News::default());
        }
    }
}
