//! Writes to the hub what the store has committed: status, finalizer and label, what became of actions, and Events for
//! people.

mod actions;
mod events;
mod members;
mod rollouts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use kube::{Client, ResourceExt as _};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use events::run as events;

use crate::bus::{Dirty, Subscription};
use crate::hub::actions::is_settled;
use crate::world::World;

/// Changes that come together are written together: ten reports in a row make one patch.
const GATHER: Duration = Duration::from_millis(100);
/// Objects that are written at once.
const AT_ONCE: usize = 8;
/// Deadline of one request to the hub.
const DEADLINE: Duration = Duration::from_secs(10);
/// After a failure: first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// How often everything is compared, whatever was told.
const RESYNC_EVERY: Duration = Duration::from_mins(1);
/// While the pictures of hub and store are not complete.
const INCOMPLETE_PAUSE: Duration = Duration::from_millis(100);

/// An object of the hub.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Object {
    /// A rollout, by uid.
    Rollout(String),
    /// A member, by name.
    Member(String),
    /// What a person did to a run, by name.
    Action(String),
}

/// Publishes while this replica leads.
pub(crate) async fn run(world: Arc<World>, client: Client, stop: CancellationToken) {
    let publisher = Publisher { world: &world, client, retries: BTreeMap::new() };
    let changes = world.bus.subscribe();
    tokio::select! {
        () = stop.cancelled() => {}
        () = publisher.run(changes) => {}
    }
}

struct Publisher<'a> {
    world: &'a World,
    client: Client,
    /// When to try again what failed, and how long to wait after the next failure.
    retries: BTreeMap<Object, (Instant, Duration)>,
}

impl Publisher<'_> {
    async fn run(mut self, mut changes: Subscription) {
        let mut resync_at = Instant::now();
        // An older state must not overwrite what the leader before has published.
        self.world.catch_up().await;
        loop {
            let next = self.retries.values().map(|(at, _)| *at).chain([resync_at]).min();
            let dirty = changes.next(GATHER, next).await;
            while !self.world.hub().is_complete() || !self.world.is_mirrored() {
                tokio::time::sleep(INCOMPLETE_PAUSE).await;
            }
            let now = Instant::now();
            let resync = resync_at <= now;
            if resync {
                resync_at = now + RESYNC_EVERY;
            }
            let objects = self.concerned(dirty, resync, now);
            self.publish(objects).await;
            if resync {
                actions::retire(self.world, &self.client).await;
            }
        }
    }

    fn concerned(&self, dirty: Dirty, resync: bool, now: Instant) -> BTreeSet<Object> {
        let Dirty { everything, rollouts, assignments: _, members, workloads: _, claims, alerts: _, leader } = dirty;
        let claimants = self.world.rollouts_on(&claims);
        let hub = self.world.hub();
        let all = everything || resync || leader;
        let due = self.retries.iter().filter(|(_, (at, _))| *at <= now).map(|(object, _)| object.clone());
        let mut objects: BTreeSet<Object> = due.collect();
        // Whether a member is heard shows in every rollout that has it.
        if all || !members.is_empty() {
            objects.extend(hub.uids().cloned().map(Object::Rollout));
        }
        let acted: Vec<String> = if all { hub.actions().rollouts().cloned().collect() } else { Vec::new() };
        for uid in rollouts.iter().chain(&acted) {
            let open = hub.actions().of(uid).filter(|action| !is_settled(action));
            objects.extend(open.map(|action| Object::Action(action.name_any())));
        }
        objects.extend(rollouts.into_iter().chain(claimants).map(Object::Rollout));
        let members = if all { hub.members().map(|(name, _)| name.clone()).collect() } else { members };
        objects.extend(members.into_iter().map(Object::Member));
        objects
    }

    async fn publish(&mut self, objects: BTreeSet<Object>) {
        let facts = self.world.member_facts();
        let (world, client, facts) = (self.world, &self.client, &facts);
        let writes = objects.into_iter().map(|object| async move {
            let started = std::time::Instant::now();
            let write = async {
                match &object {
                    Object::Rollout(uid) => rollouts::publish(world, client, uid, facts).await,
                    Object::Member(name) => members::publish(world, client, name).await,
                    Object::Action(name) => actions::publish(world, client, name).await,
                }
            };
            let result = match tokio::time::timeout(DEADLINE, write).await {
                Ok(result) => result,
                Err(_) => Err(anyhow::anyhow!("the hub did not answer in time")),
            };
            if !matches!(result, Ok(false)) {
                world.metrics.observe("publish", if result.is_ok() { "ok" } else { "error" }, started);
            }
            (object, result)
        });
        let done: Vec<_> = futures::stream::iter(writes).buffer_unordered(AT_ONCE).collect().await;
        for (object, result) in done {
            match result {
                Ok(_) => drop(self.retries.remove(&object)),
                Err(error) => self.retry(object, &error),
            }
        }
    }

    fn retry(&mut self, object: Object, error: &anyhow::Error) {
        tracing::warn!(?object, error = format!("{error:#}"), "failed to write to the hub; trying again");
        let pause = self.retries.get(&object).map_or(PAUSES.0, |(_, pause)| *pause);
        self.retries.insert(object, (Instant::now() + pause, (pause * 2).min(PAUSES.1)));
    }
}

/// A write's result: true when it was written. That the object has changed or gone meanwhile is no failure, because
/// its next change is told anyway.
fn done(result: kube::Result<()>) -> anyhow::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(false),
        Err(error) => Err(error.into()),
    }
}
