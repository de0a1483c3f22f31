//! What people are shown, computed on every replica from the committed state, and what of it changed.

mod views;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crds::Leader;
use rollout_core::MemberFacts;
use serde::Serialize;
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use views::{ClusterView, RolloutView};

use crate::bus::Dirty;
use crate::clock;
use crate::world::World;

/// Changes that come together are shown together.
const GATHER: Duration = Duration::from_millis(100);
/// How often ages are told, so that a page can tell a quiet controller from a dead one.
const TIME_EVERY: Duration = Duration::from_secs(1);
/// Updates that a page may fall behind before it is sent everything again.
const UPDATES: usize = 1_024;
/// How often everything is computed again, whatever was told: heals what a lost notice left behind. What changes by
/// time alone is decided by the leader and so told.
const RESYNC_EVERY: Duration = Duration::from_secs(30);

/// One server-sent event: its name and its JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Update {
    pub name: &'static str,
    pub data: Arc<str>,
}

/// Everything at one instant.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Snapshot<'a> {
    /// Milliseconds since the Unix epoch, by the controller's clock.
    now: i64,
    /// Name of the fleet.
    fleet: &'a str,
    leader: Leader,
    clusters: Vec<&'a ClusterView>,
    rollouts: Vec<&'a RolloutView>,
}

#[derive(Debug, Default)]
struct Shown {
    clusters: BTreeMap<String, ClusterView>,
    rollouts: BTreeMap<String, RolloutView>,
    leader: Option<Leader>,
}

/// What people are shown.
pub(crate) struct Board {
    world: Arc<World>,
    fleet: String,
    shown: Mutex<Shown>,
    updates: broadcast::Sender<Update>,
}

impl Board {
    pub fn new(world: Arc<World>, fleet: String) -> Arc<Self> {
        Arc::new(Self { world, fleet, shown: Mutex::default(), updates: broadcast::Sender::new(UPDATES) })
    }

    /// Computes what changed until told to stop.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.follow() => {}
        }
    }

    /// Updates from now on, and first everything as of now.
    pub fn subscribe(&self) -> (Update, broadcast::Receiver<Update>) {
        // Under the lock, so that no update is in both or in neither.
        let shown = self.shown();
        let receiver = self.updates.subscribe();
        (self.snapshot(&shown), receiver)
    }

    /// All rollouts.
    pub fn rollouts(&self) -> Vec<RolloutView> {
        self.shown().rollouts.values().cloned().collect()
    }

    /// All members.
    pub fn clusters(&self) -> Vec<ClusterView> {
        self.aged(&self.shown())
    }

    /// All members with the ages of their heartbeats. Order of locks: what is shown, then presence.
    fn aged(&self, shown: &Shown) -> Vec<ClusterView> {
        let now = Instant::now();
        let presence = self.world.presence();
        shown.clusters.values().map(|cluster| cluster.aged(presence.age(&cluster.name, now))).collect()
    }

    /// Who leads.
    pub fn leader(&self) -> Leader {
        let leadership = self.world.store.leadership().borrow().clone();
        let term = if leadership.leader.is_some() { leadership.term } else { 0 };
        Leader { id: leadership.leader, term }
    }

    async fn follow(&self) {
        let mut changes = self.world.bus.subscribe();
        let (mut time_at, mut resync_at) = (Instant::now(), Instant::now());
        loop {
            let dirty = changes.next(GATHER, Some(time_at.min(resync_at))).await;
            let now = Instant::now();
            let resync = resync_at <= now;
            if resync {
                resync_at = now + RESYNC_EVERY;
            }
            self.refresh(dirty, resync);
            if time_at <= now {
                time_at = now + TIME_EVERY;
                self.tell_time();
            }
        }
    }

    fn refresh(&self, dirty: Dirty, resync: bool) {
        let Dirty { everything, mut rollouts, assignments, members, workloads, claims, alerts: _, leader: _ } = dirty;
        rollouts.extend(self.world.rollouts_on(&claims));
        let (all_rollouts, all_members) = (everything || resync || !members.is_empty(), everything || resync);
        let of_workloads: BTreeSet<String> =
            workloads.into_iter().chain(assignments.into_iter().map(|(member, _)| member)).collect();
        if !(all_rollouts || all_members) && rollouts.is_empty() && of_workloads.is_empty() {
            return self.tell_leader();
        }
        let facts = self.world.member_facts();
        let uids = if all_rollouts { self.world.hub().uids().cloned().collect() } else { rollouts };
        let names = if all_members {
            facts.keys().cloned().collect()
        } else {
            members.into_iter().chain(of_workloads).collect()
        };
        let mut shown = self.shown();
        self.refresh_rollouts(&mut shown, &uids, &facts);
        self.refresh_clusters(&mut shown, &names, &facts);
        drop(shown);
        self.tell_leader();
    }

    fn refresh_rollouts(&self, shown: &mut Shown, uids: &BTreeSet<String>, facts: &BTreeMap<String, MemberFacts>) {
        for uid in uids {
            let object = self.world.hub().rollout_by_uid(uid).cloned();
            let Some(object) = object else { continue };
            let view = RolloutView::of(&object, self.world.summary(uid, facts));
            if shown.rollouts.get(&view.name) != Some(&view) {
                self.tell("rollout", &view);
                shown.rollouts.insert(view.name.clone(), view);
            }
        }
        let present: BTreeSet<String> = self.world.hub().rollouts().map(|(name, _)| name.clone()).collect();
        let gone: Vec<String> = shown.rollouts.keys().filter(|name| !present.contains(*name)).cloned().collect();
        for name in gone {
            shown.rollouts.remove(&name);
            self.tell("rollout-removed", &Removed { name });
        }
    }

    fn refresh_clusters(&self, shown: &mut Shown, names: &BTreeSet<String>, facts: &BTreeMap<String, MemberFacts>) {
        let now = Instant::now();
        for name in names {
            let Some(facts) = facts.get(name) else { continue };
            let age = self.world.presence().age(name, now);
            let view = ClusterView::of(name, facts, &self.world.mirror());
            if shown.clusters.get(name) != Some(&view) {
                self.tell("cluster", &view.aged(age));
                shown.clusters.insert(name.clone(), view);
            }
        }
        let gone: Vec<String> = shown.clusters.keys().filter(|name| !facts.contains_key(*name)).cloned().collect();
        for name in gone {
            shown.clusters.remove(&name);
            self.tell("cluster-removed", &Removed { name });
        }
    }

    fn tell_leader(&self) {
        let leader = self.leader();
        let mut shown = self.shown();
        if shown.leader.as_ref() != Some(&leader) {
            self.tell("leader", &leader);
            shown.leader = Some(leader);
        }
    }

    fn tell_time(&self) {
        let now = Instant::now();
        let ages = self.world.presence().ages(now).map(|(name, age)| (name.clone(), clock::millis(age))).collect();
        self.tell("time", &Time { now: clock::now_millis(), leader: self.leader(), heartbeat_age_millis: ages });
    }

    fn snapshot(&self, shown: &Shown) -> Update {
        let clusters = self.aged(shown);
        let snapshot = Snapshot {
            now: clock::now_millis(),
            fleet: &self.fleet,
            leader: self.leader(),
            clusters: clusters.iter().collect(),
            rollouts: shown.rollouts.values().collect(),
        };
        update("snapshot", &snapshot)
    }

    fn tell<T: Serialize>(&self, name: &'static str, data: &T) {
        // An error says that nobody looks.
        let _ = self.updates.send(update(name, data));
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Serialize)]
struct Removed {
    name: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Time {
    now: i64,
    leader: Leader,
    heartbeat_age_millis: BTreeMap<String, u64>,
}

fn update<T: Serialize>(name: &'static str, data: &T) -> Update {
    // Views are maps with string keys, which always encode; an empty object is what a page can live with.
    let data = serde_json::to_string(data).unwrap_or_else(|_| "{}".to_owned());
    Update { name, data: Arc::from(data) }
}

#[cfg(test)]
mod tests {
    use crate::presence::SILENT_AFTER;

    #[test]
    fn the_page_calls_a_member_silent_when_the_controller_does() {
        let page = include_str!("dashboard/app.js");
        let millis = SILENT_AFTER.as_millis();
        let written = format!("SILENT_AFTER_MILLIS = {}_{:03};", millis / 1000, millis % 1000);
        assert!(page.contains(&written), "{written}");
    }
}
