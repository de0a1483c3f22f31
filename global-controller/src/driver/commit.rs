//! One decision as one transaction: state, assignments and the record of the decision, or nothing.

use crds::{Fence as AssignmentFence, FullPayload, Manifest, Manifests, Payload, Revision, RolloutAssignmentSpec};
use federated_store::{Fence, MAX_TXN_BYTES, Op, TxnOutcome, When, WriteError};
use kube::Resource as _;
use rollout_core::replay::{Recorded, Unrecorded, digest};
use rollout_core::{Command, Decision, History, Millis, RolloutState};

use super::recorder::{BASE_EVERY, MAX_RECORDED_BYTES};
use crate::act::objects;
use crate::fault;
use crate::keys;
use crate::records::{DecisionRecord, HubRecord, Replayable, commands_of, events_of, put};
use crate::world::World;

/// Decisions that are kept of a rollout; older ones go. The last 200 can be replayed: each builds on a base, which is at
/// most so many decisions older.
pub(crate) const KEPT_DECISIONS: u64 = 200 + BASE_EVERY;
/// Decisions that are removed with each new one: deleting what is not there costs nothing.
pub(crate) const TRIMMED_AT_ONCE: u64 = 10;
/// Keys that one transaction removes, of the 100 operations that it bears.
const REMOVED_AT_ONCE: usize = 90;

/// Bytes of a transaction that are left to its conditions: 100 keys of at most a KiB, which stores are never near.
const CONDITIONS_BYTES: usize = 100 * 1024;

/// Why a decision was not committed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("failed to encode a record")]
    Encode(#[from] serde_json::Error),
    #[error("failed to write to the store")]
    Write(#[from] WriteError),
    #[error("failed to read from the store")]
    Read(#[from] federated_store::ReadError),
    #[error("the specification has changed since it was decided about")]
    Changed,
    #[error("another decision came first: the header is at {found:?}")]
    Conflict { found: Vec<(String, Option<u64>)> },
}

/// What was decided on.
pub(super) struct Before {
    pub(super) state: RolloutState,
    /// `None`: nothing is stored yet.
    pub(super) header_revision: Option<u64>,
    /// What it takes to decide again; none if nothing was decided.
    pub(super) recorded: Option<Recorded>,
    /// uid of the rollout that it inherits from.
    pub(super) predecessor: Option<String>,
    /// Revision that the hub asked for.
    pub(super) wanted: Option<Revision>,
}

/// What became of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Nothing,
    /// As this revision.
    Committed {
        revision: u64,
    },
    Fenced,
}

/// That what is known of the hub's past is still as it was seen.
pub(super) fn hub_condition(world: &World) -> When {
    let key = keys::HUB.to_owned();
    match world.mirror().hub_revision {
        Some(revision) => When::At { key, revision },
        None => When::Absent { key },
    }
}

/// Where and under which fence a decision is committed.
pub(super) struct Commit<'a> {
    pub(super) world: &'a World,
    pub(super) fence: Fence,
    pub(super) epoch: i64,
    pub(super) uid: &'a str,
    pub(super) now: Millis,
}

impl Commit<'_> {
    /// Commits the decision and returns once the mirror shows it, so that the next one builds on it.
    pub(super) async fn run(&self, before: &mut Before, decision: &Decision) -> Result<Outcome, Error> {
        if decision.state == before.state && decision.commands.is_empty() {
            return self.clean_up(&decision.state).await;
        }
        let record = self.record(decision);
        let mut operations = self.operations(before, decision)?;
        operations.extend(self.history(before, &decision.state.history).await?);
        operations.push(self.put_record(&operations, before, decision, &record)?);
        let header = keys::header(self.uid);
        let mut when = vec![match before.header_revision {
            Some(revision) => When::At { key: header, revision },
            None => When::Absent { key: header },
        }];
        when.extend(self.claimed_on(decision, before));
        if decision.commands.contains(&Command::AcceptHub) {
            when.push(hub_condition(self.world));
        }
        if decision.state.header.runs_started > before.state.header.runs_started {
            fault::pass(self.world, fault::Stage::Plan);
        }
        fault::pass(self.world, fault::Stage::Decide);
        let outcome = self.write(when, operations).await?;
        if matches!(outcome, Outcome::Committed { .. }) {
            for event in &record.events {
                tracing::info!(rollout = record.rollout, reason = event.reason, message = event.message, "decided");
            }
            // One that is gone from the hub has nobody who would read of it.
            let object = self.world.hub().rollout_by_uid(self.uid).cloned();
            if let Some(object) = object {
                let dropped = self.world.events.announce(&object.object_ref(&()), record.events);
                self.world.metrics.events_dropped.inc_by(dropped);
            }
            if let Err(error) = self.trim(record.number).await {
                // The decision stands; the next one trims what this one left.
                tracing::debug!(uid = self.uid, error = crate::logging::with_causes(&error), "nothing was trimmed");
            }
        }
        Ok(outcome)
    }

    async fn write(&self, when: Vec<When>, then: Vec<Op>) -> Result<Outcome, Error> {
        let started = std::time::Instant::now();
        let result = self.world.store.txn(Some(self.fence), when, then).await;
        let word = match &result {
            Ok(TxnOutcome::Committed { .. }) => "ok",
            Ok(TxnOutcome::Conflict { .. }) => "conflict",
            Ok(TxnOutcome::Fenced) => "fenced",
            Err(_) => "error",
        };
        self.world.metrics.observe("commit", word, started);
        match result? {
            TxnOutcome::Committed { revision } => {
                self.world.await_mirror(revision).await;
                Ok(Outcome::Committed { revision })
            }
            TxnOutcome::Conflict { current } => Err(Error::Conflict { found: current }),
            TxnOutcome::Fenced => Ok(Outcome::Fenced),
        }
    }

    /// What is claimed must be free, or of the rollout that this one inherits from, and what is released must be as it was
    /// seen.
    fn claimed_on(&self, decision: &Decision, before: &Before) -> Vec<When> {
        let mirror = self.world.mirror();
        let conditions = decision.commands.iter().filter_map(|command| match command {
            Command::Claim { member, target, .. } => {
                let key = keys::claim(member, target);
                let inherited =
                    before.predecessor.as_ref().and_then(|uid| mirror.claims().revision_of(member, target, uid));
                Some(match inherited {
                    Some(revision) => When::At { key, revision },
                    None => When::Absent { key },
                })
            }
            Command::Release { member, target } => mirror
                .claims()
                .revision(member, target)
                .map(|revision| When::At { key: keys::claim(member, target), revision }),
            _ => None,
        });
        conditions.collect()
    }

    /// At most 90 for members (three each for 30 that are forgotten) and claims (two each, with their condition), the
    /// header, the plan, the record and six for the history; with the header's condition that is the 100 which a transaction
    /// bears.
    fn operations(&self, before: &Before, decision: &Decision) -> Result<Vec<Op>, Error> {
        let state = &decision.state;
        let mut operations = vec![put(keys::header(self.uid), &state.header)?];
        if state.plan != before.state.plan || before.header_revision.is_none() {
            operations.push(put(keys::plan(self.uid), &state.plan)?);
        }
        for member in &decision.changed_members {
            let key = keys::member(self.uid, member);
            operations.push(match state.members.get(member) {
                Some(record) => put(key, record)?,
                None => Op::Delete { key },
            });
        }
        for command in &decision.commands {
            match command {
                Command::Assign { member, spec } => operations.push(self.assign(member, spec)?),
                Command::Forget { member } => operations.extend(self.forget(member, &state.header.name)),
                Command::TakeUp { member } => {
                    operations.push(Op::Delete { key: keys::upload(member, &state.header.name) });
                }
                Command::Claim { member, target, claim } => {
                    operations.push(put(keys::claim(member, target), claim)?);
                }
                Command::Release { member, target } => {
                    operations.push(Op::Delete { key: keys::claim(member, target) });
                }
                Command::AcceptHub => {
                    let accepted = self.world.mirror().hub.accepted + 1;
                    operations.push(put(keys::HUB.to_owned(), &HubRecord { accepted, rewound: None })?);
                }
                // Events are published after the commit; the finalizer's release is in the header.
                Command::Announce { .. } | Command::ReleaseFinalizer => {}
            }
        }
        Ok(operations)
    }

    /// What changes of the past runs and their payloads: six operations at most.
    async fn history(&self, decided_on: &Before, after: &History) -> Result<Vec<Op>, Error> {
        let before = &decided_on.state.history;
        let mut operations = Vec::new();
        if after.runs != before.runs {
            operations.push(put(keys::history(self.uid), &after.runs)?);
        }
        for (revision, payload) in after.payloads.iter().filter(|(name, _)| !before.payloads.contains_key(*name)) {
            let manifests = self.manifests(decided_on, revision, payload).await?;
            let full = FullPayload { payload: payload.clone(), manifests };
            operations.push(put(keys::payload(self.uid, revision), &full)?);
        }
        let gone = before.payloads.keys().filter(|revision| !after.payloads.contains_key(*revision));
        operations.extend(gone.map(|revision| Op::Delete { key: keys::payload(self.uid, revision) }));
        Ok(operations)
    }

    /// The objects of a payload, which decisions know by their hash: from the hub, or from the rollout that this one inherits
    /// from. What a lost store knew and the hub does not is gone.
    async fn manifests(
        &self,
        decided_on: &Before,
        revision: &Revision,
        payload: &Payload,
    ) -> Result<Vec<Manifest>, Error> {
        let Some(wanted) = payload.manifests() else { return Ok(Vec::new()) };
        let on_hub = self.world.hub().rollout_by_uid(self.uid).map(|object| object.spec.manifests.clone());
        if let Some(found) = on_hub.filter(|found| Manifests::of(found) == *wanted) {
            return Ok(found);
        }
        let stored = match &decided_on.predecessor {
            Some(uid) => objects::payload(self.world, uid, revision).await?,
            None => None,
        };
        let stored = stored.map(|full| full.manifests.clone()).filter(|found| !found.is_empty());
        let is_wanted = decided_on.wanted.as_ref() == Some(revision);
        match stored {
            Some(found) => Ok(found),
            // It was changed a moment ago, and is decided about afresh.
            None if is_wanted => Err(Error::Changed),
            None => Ok(Vec::new()),
        }
    }

    /// The record of the decision. What makes it too large for the transaction is left out, and the record says so.
    fn put_record(
        &self,
        others: &[Op],
        before: &mut Before,
        decision: &Decision,
        record: &DecisionRecord,
    ) -> Result<Op, Error> {
        let key = keys::decision(self.uid, record.number);
        let mut replayable = Replayable {
            decision: record.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            digest: digest(&before.state, decision),
            replay: before.recorded.take(),
        };
        let mut op = put(key.clone(), &replayable)?;
        let room = MAX_TXN_BYTES.saturating_sub(others.iter().map(bytes).sum::<usize>() + CONDITIONS_BYTES);
        if bytes(&op) > room.min(MAX_RECORDED_BYTES) {
            replayable.replay = Some(Recorded::NotReplayable { why: Unrecorded::TooLarge });
            op = put(key, &replayable)?;
        }
        before.recorded = replayable.replay;
        Ok(op)
    }

    fn assign(&self, member: &str, spec: &RolloutAssignmentSpec) -> Result<Op, Error> {
        // The generation is the revision that this very transaction gets.
        let fence = AssignmentFence { epoch: self.epoch, generation: 0 };
        let spec = RolloutAssignmentSpec { fence, ..spec.clone() };
        Ok(put(keys::assignment(member, &spec.rollout.name), &spec)?)
    }

    /// A recreated rollout of the same name may have taken the keys over; those are not ours to remove.
    fn forget(&self, member: &str, rollout: &str) -> Vec<Op> {
        let mirror = self.world.mirror();
        let ours = mirror.assignment(member, rollout).is_some_and(|one| one.spec.rollout.uid == self.uid);
        // The report too, also one that still is about a rollout of the same name before: nobody else would remove it.
        let keys = [keys::assignment(member, rollout), keys::report(member, rollout)];
        if ours { keys.map(|key| Op::Delete { key }).into() } else { Vec::new() }
    }

    fn record(&self, decision: &Decision) -> DecisionRecord {
        let header = &decision.state.header;
        DecisionRecord {
            number: header.decisions,
            at: self.now,
            by: self.world.id.clone(),
            term: self.fence.0,
            rollout: header.name.clone(),
            run: header.runs_started,
            commands: commands_of(decision),
            events: events_of(decision),
        }
    }

    /// Removes the decisions that are too old, each time one is added, and those that a crash left of the last few.
    async fn trim(&self, newest: u64) -> Result<(), Error> {
        let Some(oldest) = newest.checked_sub(KEPT_DECISIONS) else { return Ok(()) };
        let numbers = oldest.saturating_sub(TRIMMED_AT_ONCE - 1)..=oldest;
        let then = numbers.map(|number| Op::Delete { key: keys::decision(self.uid, number) }).collect();
        self.write(Vec::new(), then).await.map(drop)
    }

    /// Removes the records of a rollout that is gone from the hub and from every member. The header goes last, so
    /// that a crash in between is finished by the next leader.
    async fn clean_up(&self, state: &RolloutState) -> Result<Outcome, Error> {
        let spent = state.is_spent() && self.world.hub().rollout_by_uid(self.uid).is_none();
        if !spent {
            return Ok(Outcome::Nothing);
        }
        for prefix in [keys::samples_of(self.uid), keys::decisions_of(self.uid), keys::payloads_of(self.uid)] {
            let outcome = self.remove_all(&prefix).await?;
            if outcome == Outcome::Fenced {
                return Ok(outcome);
            }
        }
        let then =
            [keys::plan(self.uid), keys::history(self.uid), keys::header(self.uid)].map(|key| Op::Delete { key });
        self.write(Vec::new(), then.into()).await
    }

    /// Removes everything below a prefix.
    async fn remove_all(&self, prefix: &str) -> Result<Outcome, Error> {
        loop {
            let page = self.world.store.range(prefix, None, REMOVED_AT_ONCE).await?;
            if page.items.is_empty() {
                return Ok(Outcome::Nothing);
            }
            let then = page.items.into_iter().map(|item| Op::Delete { key: item.key }).collect();
            let outcome = self.write(Vec::new(), then).await?;
            if !page.more || !matches!(outcome, Outcome::Committed { .. }) {
                return Ok(outcome);
            }
        }
    }
}

fn bytes(op: &Op) -> usize {
    match op {
        Op::Put { key, value } => key.len() + value.len(),
        Op::Delete { key } => key.len(),
    }
}
