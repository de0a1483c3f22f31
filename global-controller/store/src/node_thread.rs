//! The node's thread: feeds inputs and ticks into the node and does what comes out.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender};
use std::time::{Duration, Instant};

use store_node::{
    Batch, Input, MembershipOutcome, Node, Outputs, ProposalOutcome, ReplicaView, RequestId, SharedTable,
};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::handle::Shared;
use crate::history::History;
use crate::housekeeping::Chore;
use crate::inbox::{Command, Lost};
use crate::leadership::Leadership;
use crate::received::Received;
use crate::transport::Links;

/// Commands taken into one step; proposals among them share one entry batch and one message to each follower.
const COMMANDS_AT_ONCE: usize = 1024;
/// Peers' messages among them: each may hold 1 MiB of entries, and one step's entries go into one log write.
const MESSAGES_AT_ONCE: usize = 64;
/// Ticks made up for after the thread was kept from running. More would start elections for lost time only.
const MOST_TICKS_BEHIND: u32 = 3;
/// Ticks that a closing leader waits for its successor: the longest election timeout.
const HAND_OVER_TICKS: u32 = 20;

pub(crate) struct NodeThread {
    pub(crate) node: Node<SharedTable>,
    pub(crate) tick: Duration,
    pub(crate) commands: Receiver<Command>,
    pub(crate) batches: Sender<Batch>,
    pub(crate) chores: SyncSender<Chore>,
    pub(crate) links: Links,
    pub(crate) history: Arc<History>,
    pub(crate) leadership: watch::Sender<Leadership>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) received: Arc<Received>,
    pub(crate) abandoned: Arc<AtomicBool>,
    pub(crate) closed: CancellationToken,
    pub(crate) requests: Requests,
}

/// Callers who wait for an answer.
#[derive(Default)]
pub(crate) struct Requests {
    next: RequestId,
    txns: HashMap<RequestId, oneshot::Sender<ProposalOutcome>>,
    reads: HashMap<RequestId, oneshot::Sender<Result<(), Lost>>>,
    changes: HashMap<RequestId, oneshot::Sender<MembershipOutcome>>,
    snapshot: Option<(u64, PathBuf, oneshot::Sender<()>)>,
}

impl Requests {
    fn id(&mut self) -> RequestId {
        self.next += 1;
        self.next
    }

    fn answer(
        &mut self,
        proposals: Vec<(RequestId, ProposalOutcome)>,
        changes: Vec<(RequestId, MembershipOutcome)>,
        reads: &[RequestId],
        lost: &[RequestId],
    ) {
        for (id, outcome) in proposals {
            if let Some(answer) = self.txns.remove(&id) {
                let _ = answer.send(outcome);
            }
        }
        for (id, outcome) in changes {
            if let Some(answer) = self.changes.remove(&id) {
                let _ = answer.send(outcome);
            }
        }
        for (ids, answer) in [(reads, Ok(())), (lost, Err(Lost))] {
            for waiting in ids.iter().filter_map(|id| self.reads.remove(id)) {
                let _ = waiting.send(answer);
            }
        }
    }
}

impl NodeThread {
    /// Runs until the store is closed or abandoned.
    pub(crate) fn run(mut self) {
        let _guard = crate::fatal::PanicGuard("node");
        // Connections, watchers and the mirror end with the node.
        let _closing = self.closed.clone().drop_guard();
        self.step(if self.alone() { vec![Input::Campaign] } else { Vec::new() });
        let mut next_tick = Instant::now() + self.tick;
        let mut closing: Option<u32> = None;
        loop {
            let mut inputs = Vec::new();
            let close = self.collect(next_tick, &mut inputs);
            if self.abandoned.load(Ordering::Relaxed) {
                return;
            }
            if close && closing.is_none() {
                closing = Some(HAND_OVER_TICKS);
                inputs.push(Input::HandOver);
            }
            let now = Instant::now();
            if now >= next_tick {
                if !self.shared.removed.load(Ordering::Relaxed) {
                    inputs.push(Input::Tick);
                }
                next_tick = (next_tick + self.tick).max(now.checked_sub(self.tick * MOST_TICKS_BEHIND).unwrap_or(now));
                closing = closing.map(|left| left.saturating_sub(1));
            }
            self.step(inputs);
            self.follow_membership();
            if closing.is_some_and(|left| left == 0 || self.may_end()) {
                self.leadership.send_replace(Leadership::default());
                return;
            }
        }
    }

    /// Whether this replica is the only voter, so that nobody else can lead.
    fn alone(&self) -> bool {
        let membership = self.node.membership();
        membership.voters == [self.shared.config.own.number] && !membership.is_joint()
    }

    /// Connections and the name of the leader follow the membership, whoever it was heard from.
    fn follow_membership(&mut self) {
        if self.links.follow_changes() {
            self.show_leader(self.node.view());
        }
    }

    fn show_leader(&self, view: ReplicaView) {
        let shown = Leadership::describe(&self.shared.roster.borrow(), view);
        let removed = self.shared.removed.load(Ordering::Relaxed);
        self.leadership.send_replace(if removed { Leadership::default() } else { shown });
    }

    /// Whether nobody waits for this replica any more: neither callers nor the others for a new leader.
    fn may_end(&self) -> bool {
        self.requests.txns.is_empty() && (!self.node.leads() || self.alone())
    }

    /// Takes what waits, or waits for something until the next tick. True when the store is to be closed.
    fn collect(&mut self, deadline: Instant, inputs: &mut Vec<Input>) -> bool {
        let mut close = false;
        let mut messages = 0;
        let wait = deadline.saturating_duration_since(Instant::now());
        let mut next = match self.commands.recv_timeout(wait) {
            Ok(command) => Some(command),
            Err(RecvTimeoutError::Timeout) => None,
            // Nobody can ask anything any more.
            Err(RecvTimeoutError::Disconnected) => return true,
        };
        while let Some(command) = next {
            messages += usize::from(matches!(command, Command::Message(_)));
            match command {
                Command::Close => close = true,
                Command::Progress { answer } => drop(answer.send(self.node.progress())),
                command => inputs.extend(self.input(command)),
            }
            if inputs.len() >= COMMANDS_AT_ONCE || messages >= MESSAGES_AT_ONCE || self.requests.snapshot.is_some() {
                break;
            }
            next = self.commands.try_recv().ok();
        }
        close
    }

    /// The node's input for a command; `None` for what isn't the node's business.
    fn input(&mut self, command: Command) -> Option<Input> {
        let input = match command {
            Command::Message(message) => Input::Message(message),
            Command::Txn { txn, answer } => {
                let id = self.requests.id();
                self.requests.txns.insert(id, answer);
                Input::Propose { id, txn }
            }
            Command::ChangeMembership { change, answer } => {
                let id = self.requests.id();
                self.requests.changes.insert(id, answer);
                Input::ChangeMembership { id, change }
            }
            Command::Read { answer } => {
                let id = self.requests.id();
                self.requests.reads.insert(id, answer);
                Input::Read { id }
            }
            Command::Persisted(number) => Input::Persisted { number },
            Command::Unreachable(peer) => Input::Unreachable { peer },
            Command::SnapshotReceived { message, table, file, answer } => {
                let index = message.meta().position.index;
                self.received.offer(index, &file);
                self.requests.snapshot = Some((index, file, answer));
                Input::Snapshot { message, table }
            }
            Command::SnapshotSent { peer, delivered } => Input::SnapshotSent { peer, delivered },
            Command::SnapshotTaken(meta) => Input::SnapshotTaken(meta),
            Command::SnapshotFailed => Input::SnapshotFailed,
            Command::Stand(stands) => Input::Stand(stands),
            Command::Close | Command::Progress { .. } => return None,
        };
        Some(input)
    }

    fn step(&mut self, mut inputs: Vec<Input>) {
        loop {
            let outputs = match self.node.step(inputs) {
                Ok(outputs) => outputs,
                Err(error) => crate::fatal::end("the replica can't go on", &error),
            };
            inputs = self.deliver(outputs);
            if inputs.is_empty() {
                return;
            }
        }
    }

    /// Does what came out; returns what the node has to be told of it at once.
    fn deliver(&mut self, outputs: Outputs) -> Vec<Input> {
        let Outputs {
            messages,
            batches,
            proposals,
            membership_answers,
            membership,
            reads,
            lost_reads,
            changes,
            replaced,
            view,
            snapshots,
            snapshot_due,
            repaired,
        } = outputs;
        if membership.is_some() {
            // Before the messages: the first ones to a new replica need its connection. Connections to those that
            // left end after this step.
            self.shared.learn(self.shared.applied_roster());
            self.links.add_new();
        }
        // Raft probes a peer that lost messages, instead of waiting for an answer that can't come.
        let lost = self.links.send(messages);
        let mut inputs: Vec<_> = lost.into_iter().map(|peer| Input::Unreachable { peer }).collect();
        self.settle_snapshot(&batches);
        for batch in batches {
            // An error means that the writer is gone, which only happens when the process ends or abandons the store.
            let _ = self.batches.send(batch);
        }
        if let Some(revision) = replaced {
            self.history.restart(revision);
        }
        self.history.extend(changes);
        self.requests.answer(proposals, membership_answers, &reads, &lost_reads);
        for order in snapshots {
            self.links.send_snapshot(order);
        }
        if snapshot_due && self.chores.try_send(Chore::Snapshot).is_err() {
            tracing::warn!("a snapshot is due, but other chores wait; it is tried again later");
            inputs.push(Input::SnapshotFailed);
        }
        if repaired && self.chores.try_send(Chore::EndRepair).is_err() {
            tracing::warn!("a repair ended, but other chores wait; it is done again at the next start");
        }
        if let Some(view) = view {
            self.show_leader(view);
        }
        inputs
    }

    /// A received snapshot that raft didn't want leaves its file behind.
    fn settle_snapshot(&mut self, batches: &[Batch]) {
        let Some((index, file, answer)) = self.requests.snapshot.take() else { return };
        let wanted =
            batches.iter().any(|batch| batch.snapshot.as_ref().is_some_and(|meta| meta.position.index == index));
        if !wanted {
            self.received.withdraw(index, &file);
            if let Err(error) = std::fs::remove_file(&file) {
                tracing::warn!(%error, "failed to remove a snapshot that wasn't needed");
            }
        }
        let _ = answer.send(());
    }
}
