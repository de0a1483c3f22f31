//! The loop that decides: on the leader only, one rollout at a time, each decision one fenced transaction.

mod commit;
mod epoch;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use federated_store::Fence;
use rollout_core::{Decision, MemberFacts, Millis, decide, lint};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bus::{Dirty, Subscription};
use crate::clock;
use crate::hub::has_finalizer;
use crate::leader::Tools;
use crate::world::World;
use commit::{Before, Commit};

/// After a commit that failed, or a decision that panicked.
const RETRY_PAUSE: Duration = Duration::from_millis(300);
/// How often everything is looked at, whatever was told: heals what a lost notice left behind.
const RESYNC_EVERY: Duration = Duration::from_secs(30);
/// While the pictures of hub and store are not complete.
const INCOMPLETE_PAUSE: Duration = Duration::from_millis(100);

/// Decides while this replica leads.
pub(crate) async fn run(world: Arc<World>, tools: Tools, fence: Fence, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = drive(&world, &tools, fence) => {}
    }
}

async fn drive(world: &World, tools: &Tools, fence: Fence) {
    let epoch = epoch::ensure(world, tools, fence).await;
    tracing::info!(epoch, term = fence.0, "deciding");
    let mut driver = Driver { world, fence, epoch, due: BTreeMap::new() };
    let mut changes = world.bus.subscribe();
    let mut dirty = BTreeSet::new();
    let mut resync_at = Instant::now();
    loop {
        while !world.hub().is_complete() || !world.is_mirrored() {
            tokio::time::sleep(INCOMPLETE_PAUSE).await;
        }
        dirty.extend(driver.gather(&mut changes, &mut resync_at, dirty.is_empty()).await);
        let members = world.member_facts();
        for uid in std::mem::take(&mut dirty) {
            match driver.turn(&uid, &members).await {
                Turn::Again => drop(dirty.insert(uid)),
                Turn::Done => {}
                Turn::Fenced => return,
            }
        }
    }
}

enum Turn {
    /// There is more to decide at once.
    Again,
    Done,
    /// Another leader has taken over.
    Fenced,
}

struct Driver<'a> {
    world: &'a World,
    fence: Fence,
    epoch: i64,
    /// When to look at a rollout again, by uid.
    due: BTreeMap<String, Instant>,
}

impl Driver<'_> {
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
        let Dirty { everything, rollouts, assignments: _, members, workloads: _, leader } = dirty;
        if everything || leader || resync {
            return all(self.world);
        }
        if members.is_empty() {
            return rollouts;
        }
        // A member may belong to any rollout that selects by label; its reports come as their rollout's changes.
        let mirror = self.world.mirror();
        let present: BTreeSet<_> = self.world.hub().uids().cloned().collect();
        let stored = mirror.rollouts().cloned();
        rollouts.into_iter().chain(present).chain(stored).collect()
    }

    async fn turn(&mut self, uid: &str, members: &BTreeMap<String, MemberFacts>) -> Turn {
        self.due.remove(uid);
        if !self.is_ours(uid) {
            return Turn::Done;
        }
        let now = clock::now_millis();
        let started = std::time::Instant::now();
        let Some((before, decision)) = self.decide(uid, members, now) else {
            self.due.insert(uid.to_owned(), Instant::now() + RETRY_PAUSE * 100);
            return Turn::Done;
        };
        self.world.metrics.observe("decide", "ok", started);
        if let Some(at) = decision.wake_at {
            self.due.insert(uid.to_owned(), instant(at, now));
        }
        let more = decision.more;
        let commit = Commit { world: self.world, fence: self.fence, epoch: self.epoch, uid, now };
        match commit.run(&before, decision).await {
            Ok(commit::Outcome::Committed) if more => Turn::Again,
            // What was committed comes back as a change of the mirror and is looked at again then.
            Ok(commit::Outcome::Committed | commit::Outcome::Nothing) => Turn::Done,
            Ok(commit::Outcome::Fenced) => Turn::Fenced,
            Err(error) => {
                tracing::warn!(uid, error = crate::logging::with_causes(&error), "a decision was not committed");
                self.due.insert(uid.to_owned(), Instant::now() + RETRY_PAUSE);
                Turn::Done
            }
        }
    }

    /// Without our finalizer a rollout could vanish unnoticed, so nothing is decided before it is there.
    fn is_ours(&self, uid: &str) -> bool {
        let hub = self.world.hub();
        match hub.rollout_by_uid(uid) {
            Some(object) => object.metadata.deletion_timestamp.is_some() || has_finalizer(object),
            None => self.world.mirror().rollout(uid).is_some(),
        }
    }

    /// Decides. A panic concerns this rollout alone: the others go on, and it is tried again later.
    fn decide(&self, uid: &str, members: &BTreeMap<String, MemberFacts>, now: Millis) -> Option<(Before, Decision)> {
        let decided = catch_unwind(AssertUnwindSafe(|| {
            self.world.look(uid, members, |state, desired, observations| {
                let decision = decide(state, desired, observations, now);
                let broken = lint(&decision.state, desired, observations);
                (state.clone(), decision, broken)
            })
        }));
        let Ok((state, decision, broken)) = decided else {
            tracing::error!(uid, "deciding panicked: this rollout stands still, the others go on");
            self.world.metrics.invariant_violations.inc();
            return None;
        };
        if !broken.is_empty() {
            tracing::error!(uid, broken = broken.join("; "), "a decision breaks invariants and is not committed");
            self.world.metrics.invariant_violations.inc();
            return None;
        }
        let header_revision = self.world.mirror().rollout(uid).map(|stored| stored.header_revision);
        Some((Before { state, header_revision }, decision))
    }
}

fn all(world: &World) -> BTreeSet<String> {
    let present: BTreeSet<_> = world.hub().uids().cloned().collect();
    let mirror = world.mirror();
    present.into_iter().chain(mirror.rollouts().cloned()).collect()
}

/// The instant of a wall-clock time, a little late rather than early.
fn instant(at: Millis, now: Millis) -> Instant {
    let left = u64::try_from(at.saturating_sub(now)).unwrap_or(0);
    Instant::now() + Duration::from_millis(left.saturating_add(1))
}
