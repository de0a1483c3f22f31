//! List, then watch, and know at any time when the hub was last heard.
//!
//! All kinds are listed together and replaced at once: members that a restored hub lacks are not taken for deleted before
//! its rollouts show that it went back.
//!
//! The watch is asked to end after [`WATCH_SECONDS`] and is opened again from where it was: an answered request is a
//! sign of life on a hub where nothing happens, where bookmarks come only once a minute.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use crds::{ClusterScopeRollout, MemberCluster, RolloutAction};
use futures::StreamExt as _;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{Actions, Heard, HubCache, HubRollout, raw_targets};
use crate::bus::Change;
use crate::fault;
use crate::world::World;

/// A watch ends after this long: half of the 30 s after which the hub counts as silent.
const WATCH_SECONDS: u32 = 15;
/// Nothing at all on a watch for longer than it lasts: the connection is dead.
const QUIET_DEADLINE: Duration = Duration::from_secs(20);
/// Deadline of one page of a list, and of opening a watch.
const REQUEST_DEADLINE: Duration = Duration::from_secs(15);
/// Objects of one page.
const PAGE: u32 = 500;
/// Before the next attempt after a failure: first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Follows all kinds until told to stop.
pub(crate) async fn run(world: Arc<World>, client: Client, stop: CancellationToken) {
    let kinds =
        Kinds { rollouts: Api::all(client.clone()), members: Api::all(client.clone()), actions: Api::all(client) };
    tokio::select! {
        () = stop.cancelled() => {}
        () = kinds.follow(&world) => {}
    }
}

struct Kinds {
    rollouts: Api<ClusterScopeRollout>,
    members: Api<MemberCluster>,
    actions: Api<RolloutAction>,
}

impl Kinds {
    async fn follow(&self, world: &World) {
        let mut pause = PAUSES.0;
        let mut relist = world.relist.subscribe();
        loop {
            relist.mark_unchanged();
            let failure = match self.list(world).await {
                Ok([rollouts, members, actions]) => {
                    pause = PAUSES.0;
                    let error = tokio::select! {
                        error = watch(world, &self.rollouts, rollouts) => error,
                        error = watch(world, &self.members, members) => error,
                        error = watch(world, &self.actions, actions) => error,
                        // The sender lives as long as the world.
                        _ = relist.changed() => continue,
                    };
                    format!("the hub's watch broke: {error:#}")
                }
                Err(error) => format!("the hub's list failed: {error:#}"),
            };
            tracing::warn!(failure, "listing again");
            world.metrics.hub_watch_failures.inc();
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Reads everything, and answers the versions to watch from.
    async fn list(&self, world: &World) -> Result<[String; 3]> {
        // When it was asked for: what happened since may be missing in it.
        let asked_at = Instant::now();
        let lists = tokio::try_join!(list(&self.rollouts), list(&self.members), list(&self.actions));
        let (rollouts, members, actions) = lists?;
        let mut cache = world.hub_mut();
        let versions = [rollouts.1, members.1, actions.1];
        Cached::replace(&mut cache, rollouts.0);
        Cached::replace(&mut cache, members.0);
        Cached::replace(&mut cache, actions.0);
        let heard = Heard { listed: Some(asked_at), at: Some(Instant::now()) };
        (cache.rollouts_heard, cache.members_heard, cache.actions_heard) = (heard, heard, heard);
        drop(cache);
        world.bus.send(Change::Everything);
        Ok(versions)
    }
}

/// A kind that is kept in the cache.
trait Cached: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static {
    /// Replaces all objects of this kind.
    fn replace(cache: &mut HubCache, objects: Vec<Self>);
    /// Takes up one object.
    fn put(cache: &mut HubCache, object: Self) -> Vec<Change>;
    /// Takes one object away.
    fn remove(cache: &mut HubCache, object: &Self) -> Vec<Change>;
    /// When this kind was heard of.
    fn heard(cache: &mut HubCache) -> &mut Heard;
}

impl Cached for ClusterScopeRollout {
    fn replace(cache: &mut HubCache, objects: Vec<Self>) {
        cache.names = objects.iter().filter_map(|object| Some((object.uid()?, object.name_any()))).collect();
        cache.rollouts =
            objects.into_iter().map(|object| (object.name_any(), Arc::new(HubRollout::new(object)))).collect();
    }

    fn put(cache: &mut HubCache, object: Self) -> Vec<Change> {
        let (name, uid) = (object.name_any(), object.uid().unwrap_or_default());
        let object = Arc::new(HubRollout::new(object));
        let old = cache.rollouts.insert(name.clone(), Arc::clone(&object));
        cache.names.insert(uid.clone(), name);
        let mut changes = match &old {
            // What it may claim stands in its spec; a deletion raises the generation, too. A new status tells others nothing.
            Some(old) if old.uid() == object.uid() && old.metadata.generation == object.metadata.generation => {
                return vec![Change::Rollout { uid }];
            }
            _ => concerned(&object, &uid),
        };
        // Recreated under the same name before we saw the old one go.
        if let Some(old) = old.and_then(|old| old.uid()).filter(|old| *old != uid) {
            cache.names.remove(&old);
            changes.push(Change::Rollout { uid: old });
        }
        changes
    }

    fn remove(cache: &mut HubCache, object: &Self) -> Vec<Change> {
        let (name, uid) = (object.name_any(), object.uid().unwrap_or_default());
        cache.names.remove(&uid);
        cache.note_end(uid.clone(), Instant::now());
        if cache.rollouts.get(&name).is_some_and(|kept| kept.uid().as_deref() == Some(uid.as_str())) {
            cache.rollouts.remove(&name);
        }
        concerned(object, &uid)
    }

    fn heard(cache: &mut HubCache) -> &mut Heard {
        &mut cache.rollouts_heard
    }
}

/// The rollout itself, and those that may wait for what it holds or is about to claim.
fn concerned(object: &ClusterScopeRollout, uid: &str) -> Vec<Change> {
    let claims = raw_targets(object).into_iter().map(|target| Change::Claims { target });
    [Change::Rollout { uid: uid.to_owned() }].into_iter().chain(claims).collect()
}

impl Cached for MemberCluster {
    fn replace(cache: &mut HubCache, objects: Vec<Self>) {
        cache.members = objects.into_iter().map(|object| (object.name_any(), Arc::new(object))).collect();
    }

    fn put(cache: &mut HubCache, object: Self) -> Vec<Change> {
        let name = object.name_any();
        cache.members.insert(name.clone(), Arc::new(object));
        vec![Change::Member { name }]
    }

    fn remove(cache: &mut HubCache, object: &Self) -> Vec<Change> {
        let name = object.name_any();
        cache.members.remove(&name);
        vec![Change::Member { name }]
    }

    fn heard(cache: &mut HubCache) -> &mut Heard {
        &mut cache.members_heard
    }
}

impl Cached for RolloutAction {
    fn replace(cache: &mut HubCache, objects: Vec<Self>) {
        cache.actions = Actions::default();
        for object in objects {
            cache.actions.put(object);
        }
    }

    fn put(cache: &mut HubCache, object: Self) -> Vec<Change> {
        let uid = object.spec.rollout.uid.clone();
        cache.actions.put(object);
        vec![Change::Rollout { uid }]
    }

    fn remove(cache: &mut HubCache, object: &Self) -> Vec<Change> {
        cache.actions.remove(&object.name_any());
        vec![Change::Rollout { uid: object.spec.rollout.uid.clone() }]
    }

    fn heard(cache: &mut HubCache) -> &mut Heard {
        &mut cache.actions_heard
    }
}

/// Watches on and on; answers why that came to an end.
async fn watch<K: Cached>(world: &World, api: &Api<K>, mut version: String) -> anyhow::Error {
    loop {
        match watch_once(world, api, &version).await {
            Ok(reached) => version = reached,
            Err(error) => return error,
        }
    }
}

/// Reads all objects, from a quorum (never resourceVersion 0), and answers them with the version to watch from.
async fn list<K: Cached>(api: &Api<K>) -> Result<(Vec<K>, String)> {
    let mut objects = Vec::new();
    let mut parameters = ListParams::default().limit(PAGE);
    loop {
        let page = timeout(REQUEST_DEADLINE, api.list(&parameters)).await.context("the list took too long")??;
        objects.extend(page.items);
        if let Some(token) = page.metadata.continue_.filter(|token| !token.is_empty()) {
            parameters = parameters.continue_token(&token);
            continue;
        }
        return Ok((objects, page.metadata.resource_version.context("the list has no resourceVersion")?));
    }
}

/// Watches until the server ends the watch as asked; answers the version reached.
async fn watch_once<K: Cached>(world: &World, api: &Api<K>, from: &str) -> Result<String> {
    let parameters = WatchParams::default().timeout(WATCH_SECONDS);
    let stream = timeout(REQUEST_DEADLINE, api.watch(&parameters, from)).await.context("no watch was opened")??;
    let mut stream = std::pin::pin!(stream);
    hear::<K>(world);
    let mut version = from.to_owned();
    while let Some(event) = timeout(QUIET_DEADLINE, stream.next()).await.context("the watch went quiet")? {
        let event = event?;
        let mut cache = world.hub_mut();
        K::heard(&mut cache).at = Some(Instant::now());
        let changes = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                version = object.resource_version().unwrap_or(version);
                K::put(&mut cache, object)
            }
            WatchEvent::Deleted(object) => {
                version = object.resource_version().unwrap_or(version);
                K::remove(&mut cache, &object)
            }
            WatchEvent::Bookmark(bookmark) => {
                let reached = bookmark.metadata.resource_version;
                if went_down(&version, &reached) {
                    bail!("the hub went back from version {version} to {reached}");
                }
                version = reached;
                Vec::new()
            }
            WatchEvent::Error(status) => bail!("the API server ended the watch: {}", status.message),
        };
        drop(cache);
        if changes.iter().any(|change| matches!(change, Change::Rollout { .. })) {
            fault::pass(world, fault::Stage::Watch);
        }
        tell(world, changes);
    }
    Ok(version)
}

/// Whether a version is below an earlier one, as on a hub whose etcd was restored under a running API server: of what changed
/// meanwhile that tells no watch. Versions that are no numbers say nothing.
fn went_down(before: &str, reached: &str) -> bool {
    matches!((before.parse::<u64>(), reached.parse::<u64>()), (Ok(before), Ok(reached)) if reached < before)
}

/// A hub that is heard again after having been silent may let rollouts go on.
fn hear<K: Cached>(world: &World) {
    let now = Instant::now();
    let mut cache = world.hub_mut();
    let stale = !cache.is_fresh(now);
    K::heard(&mut cache).at = Some(now);
    let back = stale && cache.is_fresh(now);
    drop(cache);
    if back {
        world.bus.send(Change::Everything);
    }
}

fn tell(world: &World, changes: Vec<Change>) {
    for change in changes {
        world.bus.send(change);
    }
}
