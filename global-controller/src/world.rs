//! What every task of the controller shares: the two pictures, the store, and who is heard.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use arc_swap::ArcSwap;
use crds::ClusterScopeRolloutStatus;
use federated_store::{Change as StoreChange, ReadError, Store};
use rollout_core::{
    Claims, Desired, HeardAlerts, MemberFacts, Observations, Reachability, Recovery, RolloutState, Summary, summarize,
};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::act::objects::Kept;
use crate::bus::{Bus, Change};
use crate::config::Settings;
use crate::hub::{HubCache, HubRollout, Wanted};
use crate::measure::{Inquiries, Sources};
use crate::metrics::Metrics;
use crate::mirror::{Mirror, Stored};
use crate::notices::Queue;
use crate::past::Past;
use crate::presence::Presence;
use crate::records::{ReachRecord, RecoveryRecord, read};
use crate::remote::Secrets;
use crate::{claims, clock, keys};

/// Before reading the store again after a failure.
const RETRY_PAUSE: Duration = Duration::from_millis(300);

/// What the store knows of a rollout.
pub(crate) struct Known {
    pub state: RolloutState,
    /// Revision of the header; `None`: nothing is stored yet.
    pub header_revision: Option<u64>,
    /// uid of the rollout that it inherits from.
    pub predecessor: Option<String>,
}

/// What every task of the controller shares.
pub(crate) struct World {
    /// Id of this replica.
    pub id: String,
    /// The replicated store.
    pub store: Store,
    /// Notices of changes.
    pub bus: Bus,
    /// Figures about this process.
    pub metrics: Metrics,
    /// The Prometheus servers that gates may ask.
    pub sources: Sources,
    /// Questions to members' own Prometheus servers.
    pub inquiries: Inquiries,
    /// Names this process among all that ever ran.
    pub unique: String,
    /// Whether no leader was known for a while.
    pub cut_off: watch::Sender<bool>,
    /// Whether this machine's clock is off those of the other replicas.
    pub clock_off: watch::Sender<bool>,
    /// Events that wait for the hub.
    pub events: Queue,
    /// Whole objects that were sent lately.
    pub kept: Kept,
    settings: ArcSwap<Settings>,
    mirror: RwLock<Mirror>,
    /// Revision of the mirror; 0 while it was never filled.
    mirrored: watch::Sender<u64>,
    /// Epoch under which members have to tell what they were told before; 0 when they need not.
    pub asked: watch::Sender<i64>,
    /// Member to the latest revision of its assignments, for its streams.
    streams: Mutex<BTreeMap<String, watch::Sender<u64>>>,
    hub: RwLock<HubCache>,
    /// Rises when the hub is to be listed afresh.
    pub relist: watch::Sender<u64>,
    presence: Mutex<Presence>,
    /// When this replica began to decide, in milliseconds since the Unix epoch; 0 while it doesn't.
    pub judging_since: AtomicI64,
}

impl World {
    pub fn new(id: String, store: Store, settings: Settings, secrets: Secrets, events: Queue) -> Self {
        let metrics = Metrics::new();
        let sources = Sources::new(&settings.sources, secrets, metrics.questions.clone());
        sources.allow(&settings.gates.allowed_origins);
        Self {
            sources,
            inquiries: Inquiries::default(),
            unique: format!("{id}-{}", clock::now_millis()),
            id,
            store,
            bus: Bus::new(),
            metrics,
            cut_off: watch::Sender::new(false),
            clock_off: watch::Sender::new(false),
            events,
            kept: Kept::default(),
            settings: ArcSwap::from_pointee(settings),
            mirror: RwLock::default(),
            mirrored: watch::Sender::new(0),
            asked: watch::Sender::new(0),
            streams: Mutex::default(),
            hub: RwLock::default(),
            relist: watch::Sender::new(0),
            presence: Mutex::default(),
            judging_since: AtomicI64::new(0),
        }
    }

    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    pub fn set_settings(&self, settings: Settings) {
        self.sources.replace(&settings.sources);
        self.sources.allow(&settings.gates.allowed_origins);
        self.settings.store(Arc::new(settings));
    }

    /// The store's content. Held briefly: nothing waits while it is.
    pub fn mirror(&self) -> RwLockReadGuard<'_, Mirror> {
        self.mirror.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn replace_mirror(&self, mirror: Mirror) {
        let revision = mirror.revision;
        let asked = mirror.recovery.map_or(0, |recovery| recovery.epoch);
        *self.mirror.write().unwrap_or_else(PoisonError::into_inner) = mirror;
        self.ask(asked);
        self.mirrored.send_replace(revision);
        for sender in lock(&self.streams).values() {
            sender.send_replace(revision);
        }
    }

    /// Takes up one revision, whole.
    pub fn apply_to_mirror(&self, changes: &[StoreChange], revision: u64) {
        let mut mirror = self.mirror.write().unwrap_or_else(PoisonError::into_inner);
        let notices: Vec<Change> = changes.iter().flat_map(|change| mirror.apply(change, revision)).collect();
        mirror.revision = revision;
        let asked = mirror.recovery.map_or(0, |recovery| recovery.epoch);
        drop(mirror);
        self.ask(asked);
        self.mirrored.send_replace(revision);
        for notice in notices {
            if let Change::Assignment { member, .. } = &notice {
                self.wake_streams(member, revision);
            }
            self.bus.send(notice);
        }
    }

    /// The epoch that orders must have to be sent, as the mirror shows it. That of a restored replica may be above what the
    /// store says, until a leader has raised that.
    pub fn epoch(&self, mirror: &Mirror) -> i64 {
        mirror.epoch.unwrap_or(0).max(self.restored_epoch())
    }

    /// The same, by a linearizable read.
    pub async fn read_epoch(&self) -> Result<i64, ReadError> {
        let stored = self.store.get(keys::EPOCH).await?;
        let stored: Option<i64> = stored.and_then(|found| read(keys::EPOCH, &found.value));
        Ok(stored.unwrap_or(0).max(self.restored_epoch()))
    }

    fn restored_epoch(&self) -> i64 {
        let own = self.store.embedded().map_or(1, federated_store::Embedded::epoch);
        i64::try_from(own).unwrap_or(i64::MAX)
    }

    fn ask(&self, epoch: i64) {
        self.asked.send_if_modified(|asked| std::mem::replace(asked, epoch) != epoch);
    }

    /// Whether the mirror was ever filled.
    pub fn is_mirrored(&self) -> bool {
        self.mirror().epoch.is_some() || *self.mirrored.borrow() > 0
    }

    /// Waits until the mirror shows this revision.
    pub async fn await_mirror(&self, revision: u64) {
        let mut mirrored = self.mirrored.subscribe();
        // The sender lives as long as self.
        let _ = mirrored.wait_for(|reached| *reached >= revision).await;
    }

    /// Waits until the mirror shows everything that was committed before the call. A new leader's may be far behind.
    pub async fn catch_up(&self) {
        loop {
            match self.store.range("", None, 1).await {
                Ok(page) => return self.await_mirror(page.revision).await,
                Err(error) => {
                    tracing::warn!(%error, "the store can't be read; trying again");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    /// Wakes when a member's assignments may have changed.
    pub fn subscribe_assignments(&self, member: &str) -> watch::Receiver<u64> {
        let mut streams = lock(&self.streams);
        streams.retain(|_, sender| sender.receiver_count() > 0);
        streams.entry(member.to_owned()).or_insert_with(|| watch::Sender::new(0)).subscribe()
    }

    /// Wakes the streams of a member, for what is to be sent beside assignments.
    pub fn wake(&self, member: &str) {
        if let Some(sender) = lock(&self.streams).get(member) {
            sender.send_modify(|_| {});
        }
    }

    fn wake_streams(&self, member: &str, revision: u64) {
        if let Some(sender) = lock(&self.streams).get(member) {
            sender.send_replace(revision);
        }
    }

    /// The hub's objects.
    pub fn hub(&self) -> RwLockReadGuard<'_, HubCache> {
        self.hub.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn hub_mut(&self) -> RwLockWriteGuard<'_, HubCache> {
        self.hub.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// This replica leads from now on: what the hub said before may be old news, so it is listed afresh, and until then
    /// nothing goes forward (SEMANTICS 38).
    pub fn begin_term(&self) {
        self.hub_mut().begin_term(Instant::now());
        self.relist.send_modify(|asked| *asked += 1);
    }

    pub fn presence(&self) -> MutexGuard<'_, Presence> {
        lock(&self.presence)
    }

    /// Whether a member is heard: by this replica's own ears while it leads, else by what the leader wrote down.
    pub fn reachability(&self, member: &str) -> Reachability {
        // Bound first: a guard in the scrutinee would be held through the arms.
        let judged = self.presence().reachability(member, Instant::now());
        match judged {
            Some(heard) => heard,
            None => match self.reach(member) {
                Some(ReachRecord { reachable: true, .. }) => Reachability::Reachable,
                Some(ReachRecord { reachable: false, .. }) => Reachability::Unreachable,
                None => Reachability::Unknown,
            },
        }
    }

    fn reach(&self, member: &str) -> Option<ReachRecord> {
        self.mirror().member(member)?.reach.clone()
    }

    /// What is known of every member of the hub.
    pub fn member_facts(&self) -> BTreeMap<String, MemberFacts> {
        let hub = self.hub();
        hub.members()
            .map(|(name, member)| {
                let labels = member.metadata.labels.clone().unwrap_or_default();
                let cordoned = member.spec.cordoned;
                let (uploaded, api_level) = {
                    let mirror = self.mirror();
                    let info = mirror.member(name).and_then(|member| member.info.as_ref());
                    (mirror.is_uploaded(name), info.map_or(crds::FIRST_API_LEVEL, |info| info.api_level))
                };
                let reachable = self.reachability(name);
                (name.clone(), MemberFacts { labels, reachable, cordoned, uploaded, api_level })
            })
            .collect()
    }

    /// Uids of all rollouts, of the hub and of the store. One lock after the other: nobody holds two of them in the other
    /// order.
    pub fn rollouts(&self) -> BTreeSet<String> {
        let mut uids: BTreeSet<_> = self.hub().uids().cloned().collect();
        uids.extend(self.mirror().rollouts().cloned());
        uids
    }

    /// Looks at one rollout with everything that a decision about it depends on. The same look feeds decisions,
    /// the hub's status and the dashboard, so they can't disagree. The state comes with the revision that it was read
    /// at, under one lock: a decision on it commits only while that is still the present one.
    pub fn look<T>(
        &self,
        uid: &str,
        members: &BTreeMap<String, MemberFacts>,
        look: impl FnOnce(&Known, Desired<'_>, &Observations<'_>) -> T,
    ) -> T {
        let object = self.hub().rollout_by_uid(uid).cloned();
        self.look_as(uid, object.as_deref(), members, look)
    }

    /// The same, as if the hub had this object of it.
    pub fn look_as<T>(
        &self,
        uid: &str,
        object: Option<&HubRollout>,
        members: &BTreeMap<String, MemberFacts>,
        look: impl FnOnce(&Known, Desired<'_>, &Observations<'_>) -> T,
    ) -> T {
        let (actions, hub_fresh) = {
            let hub = self.hub();
            (hub.actions().open(uid), hub.is_fresh(Instant::now()))
        };
        let past = Past::of(self, uid, object);
        let name = object.and_then(|object| object.metadata.name.clone());
        let none = ClusterScopeRolloutStatus::default();
        let status = object.and_then(|object| object.status.as_ref()).unwrap_or(&none);
        let is_current = object.and_then(|object| object.metadata.generation) == Some(status.observed_generation);
        let gone = Wanted::Deleted { generation: 0 };
        let wanted = object.map_or(&gone, |object| object.wanted());
        let (stored, assigned, reported, held, samples, alerts, recovery, orders) = {
            let mirror = self.mirror();
            let stored = mirror.rollout(uid).cloned();
            let heeds = stored.as_ref().is_some_and(|stored| stored.state.heeds_alerts());
            (
                stored,
                mirror.assigned(uid).cloned().unwrap_or_default(),
                mirror.reported(uid).cloned().unwrap_or_default(),
                claims::held(&mirror, uid, past.predecessor(), wanted),
                mirror.samples(uid).cloned().unwrap_or_default(),
                if heeds { mirror.alerts().clone() } else { HeardAlerts::new() },
                mirror.recovery,
                mirror.uploads(uid).cloned().unwrap_or_default(),
            )
        };
        let (state, header_revision) = match stored {
            Some(Stored { state, header_revision }) => (state, Some(header_revision)),
            None => (RolloutState::new(&name.unwrap_or_default(), uid), None),
        };
        let known = Known { state, header_revision, predecessor: past.predecessor().map(str::to_owned) };
        let claims = match wanted {
            Wanted::Present(rollout) if known.state.header.runs_started == 0 => self.with_older(rollout, members, held),
            _ => Claims { held, ..Claims::default() },
        };
        let observations = Observations {
            members,
            assignments: &assigned,
            reports: &reported,
            claims: &claims,
            actions: &actions,
            samples: &samples,
            alerts: &alerts,
            gates: &self.settings().gates,
            hub_fresh,
            judging_since: self.judging_since.load(Ordering::Relaxed),
            hub: past.facts(),
            recovery: recovery.map(|RecoveryRecord { epoch, .. }| Recovery {
                epoch,
                status,
                is_current,
                orders: &orders,
            }),
        };
        look(&known, wanted.desired(), &observations)
    }

    /// A rollout in words.
    pub fn summary(&self, uid: &str, members: &BTreeMap<String, MemberFacts>) -> Summary {
        self.look(uid, members, |known, desired, observations| {
            summarize(&known.state, desired, observations, clock::now_millis())
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is changed in single steps: a panic elsewhere can't have left it half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
