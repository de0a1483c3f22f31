//! Posts assignments to the webhooks of members that have one. The leader's job; the stream carries the same.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crds::{Fence, RolloutAssignment};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::objects;
use crate::bus::{Dirty, Subscription};
use crate::fault;
use crate::world::World;

/// Posts that are under way at once.
const AT_ONCE: usize = 64;
/// Deadline of one post: the agent answers once its API server has the object.
const DEADLINE: Duration = Duration::from_secs(5);
/// Before the next attempt at one member after a failure: first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// Bytes of a refusal that are logged.
const MAX_REASON_BYTES: usize = 512;

/// (member, rollout's name).
type Target = (String, String);

/// Posts while this replica leads.
pub(crate) async fn run(world: Arc<World>, client: reqwest::Client, stop: CancellationToken) {
    let changes = world.bus.subscribe();
    let pusher = Pusher { world, client, pending: BTreeMap::new(), under_way: HashMap::new(), posts: JoinSet::new() };
    tokio::select! {
        () = stop.cancelled() => {}
        () = pusher.run(changes) => {}
    }
}

#[derive(Debug)]
struct Pending {
    /// When to try.
    at: Instant,
    pause: Duration,
    under_way: bool,
}

enum Posted {
    /// The agent has it, or something newer.
    Delivered,
    Failed(String),
}

struct Pusher {
    world: Arc<World>,
    client: reqwest::Client,
    /// What has to be posted. Bounded by the number of assignments.
    pending: BTreeMap<Target, Pending>,
    /// What is being posted, by its task.
    under_way: HashMap<Id, Target>,
    posts: JoinSet<(Fence, Posted, std::time::Instant)>,
}

impl Pusher {
    async fn run(mut self, mut changes: Subscription) {
        loop {
            self.start_due();
            let next = self.pending.values().filter(|one| !one.under_way).map(|one| one.at).min();
            let next = next.filter(|_| self.posts.len() < AT_ONCE);
            tokio::select! {
                dirty = changes.next(Duration::ZERO, next) => self.add(dirty),
                Some(ended) = self.posts.join_next_with_id() => self.ended(ended),
            }
        }
    }

    fn add(&mut self, dirty: Dirty) {
        let targets: Vec<Target> = if dirty.everything {
            self.world.mirror().all_assignments().map(|(member, rollout)| (member.clone(), rollout.clone())).collect()
        } else {
            dirty.assignments.into_iter().collect()
        };
        let now = Instant::now();
        for target in targets {
            let pending = self.pending.entry(target);
            pending.and_modify(|pending| (pending.at, pending.pause) = (now, PAUSES.0)).or_insert(Pending {
                at: now,
                pause: PAUSES.0,
                under_way: false,
            });
        }
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        let due = self.pending.iter().filter(|(_, one)| !one.under_way && one.at <= now);
        let due: Vec<Target> = due.map(|(target, _)| target.clone()).collect();
        for target in due {
            if self.posts.len() >= AT_ONCE {
                return;
            }
            match self.wanted(&target) {
                Some((url, assignment)) => {
                    if let Some(pending) = self.pending.get_mut(&target) {
                        pending.under_way = true;
                    }
                    fault::pass(&self.world, fault::Stage::Act);
                    let post = self.posts.spawn(post(Arc::clone(&self.world), self.client.clone(), url, assignment));
                    self.under_way.insert(post.id(), target);
                }
                None => drop(self.pending.remove(&target)),
            }
        }
    }

    /// The assignment, if the agent has a webhook and has not answered it yet.
    fn wanted(&self, (member, rollout): &Target) -> Option<(String, RolloutAssignment)> {
        let endpoint = self.world.hub().member(member)?.spec.connection.endpoint.clone()?;
        let mirror = self.world.mirror();
        let epoch = self.world.epoch(&mirror);
        let assignment = mirror.assignment(member, rollout).filter(|one| one.spec.fence.epoch >= epoch)?;
        let understood = objects::is_understood(&self.world, member, assignment);
        let answered = mirror.report(member, rollout).is_some_and(|one| one.status.fence >= assignment.spec.fence);
        let url = format!("{}/reconcile", endpoint.trim_end_matches('/'));
        (understood && !answered).then(|| (url, assignment.clone()))
    }

    /// A post that panicked counts as one that failed: it is tried again, and the others don't notice.
    fn ended(&mut self, ended: Result<(Id, (Fence, Posted, std::time::Instant)), JoinError>) {
        let (id, fence, posted) = match ended {
            Ok((id, (fence, posted, started))) => {
                let word = if matches!(posted, Posted::Delivered) { "ok" } else { "error" };
                self.world.metrics.observe("webhook", word, started);
                (id, fence, posted)
            }
            Err(error) => {
                self.world.metrics.invariant_violations.inc();
                (error.id(), Fence::default(), Posted::Failed(error.to_string()))
            }
        };
        if let Some(target) = self.under_way.remove(&id) {
            self.settle(&target, fence, posted);
        }
    }

    fn settle(&mut self, target: &Target, fence: Fence, posted: Posted) {
        let (member, rollout) = target;
        let Some(pending) = self.pending.get_mut(target) else { return };
        pending.under_way = false;
        match posted {
            Posted::Delivered => {
                let current = self.world.mirror().assignment(member, rollout).map(|one| one.spec.fence);
                if current.is_none_or(|current| current == fence) {
                    self.pending.remove(target);
                } else {
                    pending.at = Instant::now();
                }
            }
            Posted::Failed(reason) => {
                tracing::warn!(member, rollout, %fence, reason, "the agent's webhook did not take an assignment");
                pending.at = Instant::now() + pending.pause;
                pending.pause = (pending.pause * 2).min(PAUSES.1);
            }
        }
    }
}

async fn post(
    world: Arc<World>,
    client: reqwest::Client,
    url: String,
    mut assignment: RolloutAssignment,
) -> (Fence, Posted, std::time::Instant) {
    let started = std::time::Instant::now();
    let fence = assignment.spec.fence;
    if let Err(error) = objects::fill(&world, &mut assignment).await {
        return (fence, Posted::Failed(crate::logging::with_causes(&error)), started);
    }
    let posted = match client.post(url).timeout(DEADLINE).json(&assignment).send().await {
        // Conflict: it has seen a higher fence, and so got something newer.
        Ok(answer) if answer.status().is_success() || answer.status() == reqwest::StatusCode::CONFLICT => {
            Posted::Delivered
        }
        Ok(mut answer) => {
            let status = answer.status();
            // The first piece is enough of whatever it sends.
            let first = answer.chunk().await.ok().flatten().unwrap_or_default();
            let reason = String::from_utf8_lossy(first.get(..MAX_REASON_BYTES).unwrap_or(&first));
            Posted::Failed(format!("it answered {status}: {reason}"))
        }
        Err(error) => Posted::Failed(crate::logging::with_causes(&error)),
    };
    (fence, posted, started)
}
