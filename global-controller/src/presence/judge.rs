//! The leader's judgement of who is heard: noticed when it changes, written down, told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use federated_store::{Fence, Op};
use rollout_core::Reachability;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::SILENT_AFTER;
use crate::bus::{Change, Subscription};
use crate::records::{ReachRecord, put};
use crate::world::World;
use crate::{clock, keys};

/// How often the clock is looked at: silence is noticed this much late at most.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Records of one transaction; it bears 100 operations.
const BATCH: usize = 33;

/// Judges while this replica leads.
pub(crate) async fn run(world: Arc<World>, fence: Fence, stop: CancellationToken) {
    world.presence().begin_term(Instant::now());
    world.bus.send(Change::Everything);
    tokio::select! {
        () = stop.cancelled() => {}
        () = watch(&world, fence) => {}
    }
    world.presence().end_term();
}

async fn watch(world: &World, fence: Fence) {
    let mut changes = world.bus.subscribe();
    let mut unwritten = BTreeSet::new();
    let mut in_grace = true;
    loop {
        unwritten.extend(look(world, &mut changes, &mut in_grace).await);
        let batch: Vec<String> = unwritten.iter().take(BATCH).cloned().collect();
        if batch.is_empty() || write(world, fence, &batch).await {
            unwritten.retain(|member| !batch.contains(member));
        }
    }
}

/// Waits for the next look and answers the members whose record may be out of date.
async fn look(world: &World, changes: &mut Subscription, in_grace: &mut bool) -> BTreeSet<String> {
    let dirty = changes.next(Duration::ZERO, Some(Instant::now() + LOOK_EVERY)).await;
    let now = Instant::now();
    let expired = world.presence().take_expired(now);
    for name in &expired {
        tracing::warn!(member = name, "the member's agent is silent");
        world.bus.send(Change::Member { name: name.clone() });
    }
    let over = *in_grace && world.presence().grace_until().is_some_and(|until| until <= now);
    if over {
        *in_grace = false;
        // Whoever was never heard in this term turns from unknown to silent.
        world.bus.send(Change::Everything);
    }
    let mut names = dirty.members;
    names.extend(expired);
    if dirty.everything || over {
        names.extend(world.hub().members().map(|(name, _)| name.clone()));
        names.extend(world.mirror().members().cloned());
    }
    names
}

/// Writes down what differs from what is written. True when nothing is left to do for these members.
async fn write(world: &World, fence: Fence, names: &[String]) -> bool {
    if !world.hub().is_complete() {
        return false;
    }
    let operations: Vec<Op> = names.iter().flat_map(|name| operations(world, name)).take(3 * BATCH).collect();
    if operations.is_empty() {
        return true;
    }
    match world.store.txn(Some(fence), Vec::new(), operations).await {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(%error, "failed to write down who is heard; trying again");
            tokio::time::sleep(LOOK_EVERY).await;
            false
        }
    }
}

fn operations(world: &World, name: &str) -> Vec<Op> {
    if world.hub().member(name).is_none() {
        // Still heard: kept until it falls silent, for its MemberCluster may come (again), and agents introduce
        // themselves once. Its silence brings us back here.
        if world.presence().age(name, Instant::now()).is_some_and(|age| age < SILENT_AFTER) {
            return Vec::new();
        }
        let known = world.mirror().member(name).is_some();
        world.presence().forget(name);
        let gone = [keys::info(name), keys::reach(name), keys::uploaded(name)].map(|key| Op::Delete { key });
        return if known { gone.into() } else { Vec::new() };
    }
    let reachable = match world.reachability(name) {
        Reachability::Unknown => return Vec::new(),
        Reachability::Reachable => true,
        Reachability::Unreachable => false,
    };
    let written = world.mirror().member(name).and_then(|member| member.reach.as_ref().map(|reach| reach.reachable));
    if written == Some(reachable) {
        return Vec::new();
    }
    let now = clock::now_millis();
    let age = world.presence().age(name, Instant::now());
    let last_heard = age.map_or(0, |age| now.saturating_sub_unsigned(clock::millis(age)));
    put(keys::reach(name), &ReachRecord { reachable, since: now, last_heard }).into_iter().collect()
}
