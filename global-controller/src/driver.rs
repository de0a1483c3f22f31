//! The loop that decides: on the leader only, one rollout at a time, each decision one fenced transaction.

mod commit;
mod epoch;
mod recorder;
mod recovery;
mod rewound;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crds::{Fence as AssignmentFence, Revision};
use federated_store::Fence;
use kube::ResourceExt as _;
use rollout_core::replay::Recorded;
use rollout_core::{Decision, Desired, MemberFacts, Millis, decide, is_recovering, lint, lint_orders};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bus::{Dirty, Subscription};
use crate::clock;
use crate::http::went_back;
use crate::hub::has_finalizer;
use crate::loss::Loss;
use crate::records::Proof;
use crate::world::{Known, World};
pub(crate) use commit::{KEPT_DECISIONS, TRIMMED_AT_ONCE};
pub(crate) use epoch::EpochKeeper;
pub(crate) use recorder::Recorder;

use commit::{Before, Commit};

/// After a commit that failed, or a decision that panicked.
const RETRY_PAUSE: Duration = Duration::from_millis(300);
/// How often everything is looked at, whatever was told: heals what a lost notice left behind.
const RESYNC_EVERY: Duration = Duration::from_secs(30);
/// How old the members' facts may get within a pass.
const FACTS_FOR: Duration = Duration::from_millis(100);
/// How long a new leader waits for the hub's fresh lists.
const LIST_PATIENCE: Duration = Duration::from_secs(5);
/// While the pictures of hub and store are not complete.
const INCOMPLETE_PAUSE: Duration = Duration::from_millis(100);

/// Decides while this replica leads.
pub(crate) async fn run(world: Arc<World>, keeper: EpochKeeper, fence: Fence, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = drive(&world, &keeper, fence) => {}
    }
    world.judging_since.store(0, Ordering::Relaxed);
}

async fn drive(world: &World, keeper: &EpochKeeper, fence: Fence) {
    let mut changes = world.bus.subscribe();
    loop {
        let epoch = epoch::ensure(world, keeper, fence).await;
        tracing::info!(epoch, term = fence.0, "deciding");
        let mut driver = Driver { world, fence, epoch, due: BTreeMap::new(), recorder: Recorder::default() };
        await_pictures(world).await;
        let ended = match driver.recover().await {
            Some(ended) => ended,
            None => driver.go_on(&mut changes).await,
        };
        match ended {
            Ended::Fenced => return,
            Ended::WentBack => world.judging_since.store(0, Ordering::Relaxed),
        }
    }
}

/// Waits until the pictures of hub and store are complete and as new as this term. A hub that is away doesn't keep
/// the driver from what may go on without it, but a short wait keeps it from calling a hub silent that only was not
/// listed yet.
async fn await_pictures(world: &World) {
    world.catch_up().await;
    let patience = Instant::now() + LIST_PATIENCE;
    loop {
        let complete = world.hub().is_complete() && world.is_mirrored();
        let fresh = world.hub().is_fresh(Instant::now());
        if complete && (fresh || Instant::now() > patience) {
            return;
        }
        tokio::time::sleep(INCOMPLETE_PAUSE).await;
    }
}

enum Turn {
    /// There is more to decide at once.
    Again,
    Done,
    /// Another leader has taken over.
    Fenced,
}

/// Why deciding ended.
enum Ended {
    /// Another leader has taken over.
    Fenced,
    /// The store is behind what others know: it needs a new epoch.
    WentBack,
}

struct Driver<'a> {
    world: &'a World,
    fence: Fence,
    epoch: i64,
    /// When to look at a rollout again, by uid.
    due: BTreeMap<String, Instant>,
    recorder: Recorder,
}

impl Driver<'_> {
    async fn go_on(&mut self, changes: &mut Subscription) -> Ended {
        self.world.judging_since.store(clock::now_millis(), Ordering::Relaxed);
        let mut dirty = BTreeSet::new();
        let mut resync_at = Instant::now();
        loop {
            dirty.extend(self.gather(changes, &mut resync_at, dirty.is_empty()).await);
            if self.world.mirror().proof.is_some() {
                return Ended::WentBack;
            }
            let (mut members, mut looked_at) = (self.members().await, Instant::now());
            for uid in std::mem::take(&mut dirty) {
                // A pass commits and so takes a while; a rollout must not be held against members of long ago.
                if looked_at.elapsed() > FACTS_FOR {
                    (members, looked_at) = (self.members().await, Instant::now());
                }
                match self.turn(&uid, &members).await {
                    Turn::Again => drop(dirty.insert(uid)),
                    Turn::Done => {}
                    Turn::Fenced => return Ended::Fenced,
                }
            }
        }
    }

    /// The rollouts to look at now; waits for one when `wait` is set.
    async fn gather(&mut self, changes: &mut Subscription, resync_at: &mut Instant, wait: bool) -> BTreeSet<String> {
        let now = Instant::now();
        // The hub falls silent by nothing happening, so nobody tells.
        let silent_at = self.world.hub().fresh_until().filter(|at| *at > now);
        let next = self.due.values().copied().chain([*resync_at]).chain(silent_at).min();
        let until = if wait { next } else { Some(now) };
        let dirty = changes.next(Duration::ZERO, until).await;
        let now = Instant::now();
        let resync = *resync_at <= now || silent_at.is_some_and(|at| at <= now);
        if resync {
            *resync_at = now + RESYNC_EVERY;
        }
        let mut uids = self.concerned(dirty, resync);
        uids.extend(self.due.iter().filter(|(_, at)| **at <= now).map(|(uid, _)| uid.clone()));
        uids
    }

    fn concerned(&self, dirty: Dirty, resync: bool) -> BTreeSet<String> {
        let Dirty { everything, mut rollouts, assignments: _, members, workloads: _, claims, alerts, leader } = dirty;
        rollouts.extend(self.world.rollouts_on(&claims));
        if alerts {
            rollouts.extend(self.world.mirror().heeding_alerts().cloned());
        }
        if everything || leader || resync {
            return self.world.rollouts();
        }
        if members.is_empty() {
            return rollouts;
        }
        // A member may belong to any rollout that selects by label; its reports come as their rollout's changes.
        rollouts.into_iter().chain(self.world.rollouts()).collect()
    }

    async fn turn(&mut self, uid: &str, members: &BTreeMap<String, MemberFacts>) -> Turn {
        self.due.remove(uid);
        if let Some(proof) = self.loss(uid, members) {
            // Whether it was written shows in the mirror; if not, the next look tries again.
            let _ = went_back::record(self.world, proof).await;
            return Turn::Done;
        }
        if !self.is_ours(uid) {
            self.recorder.forget(uid);
            return Turn::Done;
        }
        let now = clock::now_millis();
        let started = std::time::Instant::now();
        let Some((mut before, decision)) = self.decide(uid, members, now) else {
            self.world.metrics.observe("decide", "broken", started);
            self.due.insert(uid.to_owned(), Instant::now() + RETRY_PAUSE * 100);
            return Turn::Done;
        };
        self.world.metrics.observe("decide", "ok", started);
        if let Some(at) = decision.wake_at {
            self.due.insert(uid.to_owned(), instant(at, now));
        }
        let more = decision.more;
        let commit = Commit { world: self.world, fence: self.fence, epoch: self.epoch, uid, now };
        match commit.run(&mut before, &decision).await {
            Ok(commit::Outcome::Committed { revision }) => {
                self.remember(before, &decision, revision);
                // What was committed comes back as a change of the mirror and is looked at again then.
                if more { Turn::Again } else { Turn::Done }
            }
            Ok(commit::Outcome::Nothing) => Turn::Done,
            Ok(commit::Outcome::Fenced) => Turn::Fenced,
            Err(error) => {
                tracing::warn!(uid, error = crate::logging::with_causes(&error), "a decision was not committed");
                self.due.insert(uid.to_owned(), Instant::now() + RETRY_PAUSE);
                Turn::Done
            }
        }
    }

    /// What the next decision's record builds on.
    fn remember(&mut self, before: Before, decision: &Decision, revision: u64) {
        let Some(recorded) = before.recorded else { return };
        if matches!(recorded, Recorded::NotReplayable { .. }) {
            self.world.metrics.decisions_not_replayable.inc();
        }
        let generation = i64::try_from(revision).unwrap_or(i64::MAX);
        self.recorder.committed(recorded, decision, AssignmentFence { epoch: self.epoch, generation });
    }

    /// Without our finalizer a rollout could vanish unnoticed, so nothing is decided before it is there.
    fn is_ours(&self, uid: &str) -> bool {
        let known = self.world.mirror().runs_started(uid);
        let hub = self.world.hub();
        match hub.rollout_by_uid(uid) {
            Some(object) => object.metadata.deletion_timestamp.is_some() || has_finalizer(object),
            None => known.is_some(),
        }
    }

    /// A status is computed from committed records only. One that tells of a later run than the store knows, and that the
    /// store does not adopt, proves that the store went back.
    fn loss(&self, uid: &str, members: &BTreeMap<String, MemberFacts>) -> Option<Proof> {
        let object = self.world.hub().rollout_by_uid(uid).cloned()?;
        let status = object.status.as_ref()?;
        let loss = Loss::of(status, self.world.mirror().rollout(uid).map(|stored| &stored.state.header))?;
        let adopts = self.world.look(uid, members, |known, _, observations| is_recovering(&known.state, observations));
        if adopts {
            return None;
        }
        let revision = i64::try_from(self.world.mirror().revision).unwrap_or(i64::MAX);
        let fence = AssignmentFence { epoch: self.epoch, generation: revision };
        let told = format!("the status of rollout {}: {}", object.name_any(), loss.message());
        Some(Proof { fence, told, at: clock::now_millis() })
    }

    /// Decides. A panic concerns this rollout alone: the others go on, and it is tried again later.
    fn decide(&self, uid: &str, members: &BTreeMap<String, MemberFacts>, now: Millis) -> Option<(Before, Decision)> {
        let decided = catch_unwind(AssertUnwindSafe(|| {
            self.world.look(uid, members, |known, desired, observations| {
                let decision = decide(&known.state, desired, observations, now);
                let mut broken = lint(&decision.state, desired, observations);
                broken.extend(lint_orders(&decision, observations));
                let recorded = self.recorder.record(&known.state, &decision, desired, observations, now);
                let Known { state, header_revision, predecessor } = known;
                let before = Before {
                    state: state.clone(),
                    header_revision: *header_revision,
                    predecessor: predecessor.clone(),
                    wanted: wanted_by(desired),
                    recorded,
                };
                (before, decision, broken)
            })
        }));
        let Ok((before, decision, broken)) = decided else {
            tracing::error!(uid, "deciding panicked: this rollout stands still, the others go on");
            self.world.metrics.invariant_violations.inc();
            return None;
        };
        if !broken.is_empty() {
            tracing::error!(uid, broken = broken.join("; "), "a decision breaks invariants and is not committed");
            self.world.metrics.invariant_violations.inc();
            return None;
        }
        Some((before, decision))
    }
}

/// The revision that the hub asks for.
fn wanted_by(desired: Desired<'_>) -> Option<Revision> {
    match desired {
        Desired::Present(rollout) => rollout.payload.as_ref().map(|payload| payload.revision.clone()),
        Desired::Invalid { .. } | Desired::Deleted { .. } => None,
    }
}

/// The instant of a wall-clock time, a little late rather than early.
fn instant(at: Millis, now: Millis) -> Instant {
    let left = u64::try_from(at.saturating_sub(now)).unwrap_or(0);
    Instant::now() + Duration::from_millis(left.saturating_add(1))
}
