//! The stream that an agent opens: first what it is to do now, by a linearizable read, then each change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crds::{AssignmentEvent, RolloutAssignment, RolloutAssignmentSpec};
use federated_store::ReadError;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::objects;
use crate::fault;
use crate::keys::{self, Key};
use crate::mirror;
use crate::records::read;
use crate::world::World;

/// Sign of life on a quiet stream; an agent gives up after three missed ones.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// Assignments of one page: a member has few.
const PAGE: usize = 500;
/// Lines that wait for a slow agent; beyond it the stream waits, and picks up the latest state afterwards.
const LINES: usize = 16;

/// Lines of a stream.
pub(crate) type Lines = mpsc::Receiver<Result<Bytes, std::io::Error>>;

/// Opens the stream of one member. The read happens before the first line, so a failure is an HTTP error.
pub(crate) async fn open(world: Arc<World>, member: String) -> Result<Lines, ReadError> {
    let mut wake = world.subscribe_assignments(&member);
    wake.mark_unchanged();
    let initial = current(&world, &member).await?;
    let (sender, lines) = mpsc::channel(LINES);
    tokio::spawn(async move {
        world.metrics.streams.inc();
        let stream = Stream { world: &world, member: &member, sender, sent: BTreeMap::new() };
        // The agent comes back by itself, perhaps to another replica.
        let _ = stream.run(initial, &mut wake).await;
        world.metrics.streams.dec();
    });
    Ok(lines)
}

/// What the member is to do, as of now.
///
/// Orders of an earlier epoch are of a store that was restored or went back: what they say may be long over.
async fn current(world: &World, member: &str) -> Result<Vec<(String, RolloutAssignment)>, ReadError> {
    let epoch = world.read_epoch().await?;
    let prefix = keys::assignments_of(member);
    let (mut found, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = world.store.range(&prefix, after.as_deref(), PAGE).await?;
        after = page.items.last().map(|item| item.key.clone());
        for item in page.items {
            let Some(Key::Assignment { rollout, .. }) = Key::parse(&item.key) else { continue };
            let Some(mut spec) = read::<RolloutAssignmentSpec>(&item.key, &item.value) else { continue };
            if spec.fence.epoch < epoch {
                continue;
            }
            spec.fence.generation = i64::try_from(item.revision).unwrap_or(i64::MAX);
            found.push((rollout.to_owned(), mirror::assignment(rollout, spec)));
        }
        if !page.more {
            return Ok(found);
        }
    }
}

/// The agent hung up, or should go to another replica.
struct Ended;

struct Stream<'a> {
    world: &'a World,
    member: &'a str,
    sender: mpsc::Sender<Result<Bytes, std::io::Error>>,
    /// Rollout to generation of what was sent last.
    sent: BTreeMap<String, i64>,
}

impl Stream<'_> {
    async fn run(
        mut self,
        initial: Vec<(String, RolloutAssignment)>,
        wake: &mut tokio::sync::watch::Receiver<u64>,
    ) -> Result<(), Ended> {
        for (rollout, assignment) in initial {
            self.assign(rollout, assignment).await?;
        }
        let mut next_sign = Instant::now();
        let mut cut_off = self.world.cut_off.subscribe();
        let mut asked = self.world.asked.subscribe();
        let mut ask = true;
        loop {
            if *cut_off.borrow_and_update() {
                return Err(Ended);
            }
            if Instant::now() >= next_sign {
                self.line(&AssignmentEvent::Synced).await?;
                ask = true;
                next_sign = Instant::now() + SIGN_OF_LIFE;
            }
            if std::mem::take(&mut ask) && !self.world.mirror().is_uploaded(self.member) {
                self.line(&AssignmentEvent::Upload).await?;
            }
            for (rollout, assignment) in self.news() {
                self.assign(rollout, assignment).await?;
            }
            for inquiry in self.world.inquiries.take(self.member, Instant::now()) {
                self.line(&AssignmentEvent::Ask(inquiry)).await?;
            }
            tokio::select! {
                () = self.sender.closed() => return Err(Ended),
                changed = wake.changed() => changed.map_err(|_| Ended)?,
                changed = asked.changed() => {
                    changed.map_err(|_| Ended)?;
                    ask = true;
                }
                changed = cut_off.changed() => changed.map_err(|_| Ended)?,
                () = tokio::time::sleep_until(next_sign) => {}
            }
        }
    }

    /// Assignments that are newer than what was sent. The mirror may lag behind the first read, never the other way.
    fn news(&mut self) -> Vec<(String, RolloutAssignment)> {
        let mirror = self.world.mirror();
        let epoch = self.world.epoch(&mirror);
        let newer = mirror.assignments_of(self.member).filter(|(rollout, assignment)| {
            assignment.spec.fence.epoch >= epoch
                && self.sent.get(*rollout).is_none_or(|sent| *sent < assignment.spec.fence.generation)
        });
        newer.map(|(rollout, assignment)| (rollout.clone(), assignment.clone())).collect()
    }

    async fn assign(&mut self, rollout: String, mut assignment: RolloutAssignment) -> Result<(), Ended> {
        if !objects::is_understood(self.world, self.member, &assignment) {
            tracing::warn!(rollout, member = self.member, "an order is not sent: the agent is too old for it");
            return Ok(());
        }
        fault::pass(self.world, fault::Stage::Act);
        objects::fill(self.world, &mut assignment).await.map_err(|error| {
            tracing::warn!(%error, rollout, "the objects of an assignment can't be read");
            Ended
        })?;
        let generation = assignment.spec.fence.generation;
        self.line(&AssignmentEvent::Assign(assignment)).await?;
        self.sent.insert(rollout, generation);
        Ok(())
    }

    async fn line(&self, event: &AssignmentEvent) -> Result<(), Ended> {
        let mut line = serde_json::to_vec(event).map_err(|error| {
            tracing::error!(%error, "an assignment can't be encoded");
            Ended
        })?;
        line.push(b'\n');
        self.sender.send(Ok(Bytes::from(line))).await.map_err(|_| Ended)
    }
}
