//! The replica: takes a batch of inputs, lets `raft` work, and says what has to happen outside.

use std::collections::{BTreeMap, VecDeque};

use raft::eraftpb::{Entry, HardState, Message, MessageType};
use raft::{RawNode, SnapshotStatus, StateRole};

use crate::RequestId;
use crate::config::Config;
use crate::log::{Batch, LogMirror};
use crate::membership::Membership;
use crate::message::{PeerMessage, SnapshotMessage};
use crate::proposals::{ProposalOutcome, Proposals};
use crate::reads::Reads;
use crate::ready::{Held, Installing};
use crate::reconfiguration::{Changing, MembershipChange, MembershipOutcome};
use crate::repair::Repairing;
use crate::table::{SnapshotMeta, State, Table};
use crate::txn::{Changes, Fence, Txn};

/// Entries proposed in one message; the rest of a batch of inputs follows in the next.
const MAX_PROPOSED_AT_ONCE: usize = 1024;
/// Ticks between two looks for a member that no snapshot knows: not each tick, as writing one may keep failing.
const SNAPSHOT_RETRY_TICKS: u64 = 10;

/// Why a node can't start or go on. It must not take part any more; nothing was promised that isn't kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was recovered from disk doesn't fit together.
    #[error("unfit log: snapshot at {snapshot}, entries up to {last}, commit index {commit}")]
    UnfitLog {
        /// Index of the snapshot.
        snapshot: u64,
        /// Index of the last entry.
        last: u64,
        /// The commit index.
        commit: u64,
    },
    /// Raft refused to go on.
    #[error("raft failed")]
    Raft(#[from] raft::Error),
    /// A committed entry can't be read: damage, or an entry of a later version.
    #[error("failed to read the committed entry at index {index}")]
    Entry {
        /// Index of the entry.
        index: u64,
        /// What is wrong with it.
        source: crate::txn::Error,
    },
    /// A committed change of the membership can't be read: damage, or a change of a later version.
    #[error("failed to read the committed membership change at index {index}")]
    Change {
        /// Index of the entry.
        index: u64,
        /// What is wrong with it.
        source: crate::codec::Error,
    },
    /// Raft wants to install a snapshot whose contents weren't received.
    #[error("the contents of the snapshot at index {index} are missing")]
    MissingSnapshot {
        /// Index of the snapshot.
        index: u64,
    },
}

/// Something that happened outside.
#[derive(Debug)]
pub enum Input {
    /// One tick of the shell's clock passed.
    Tick,
    /// A checked message arrived.
    Message(PeerMessage),
    /// A caller wants a transaction.
    Propose {
        /// Names the answer.
        id: RequestId,
        /// The transaction.
        txn: Txn,
    },
    /// A caller wants to change the membership.
    ChangeMembership {
        /// Names the answer.
        id: RequestId,
        /// The change.
        change: MembershipChange,
    },
    /// A caller wants to read.
    Read {
        /// Names the answer.
        id: RequestId,
    },
    /// All batches up to this number are on disk.
    Persisted {
        /// [`Batch::number`].
        number: u64,
    },
    /// Messages to this peer were lost or can't be delivered.
    Unreachable {
        /// The peer's Raft id.
        peer: u64,
    },
    /// A leader's snapshot was received in full, and its contents lie ready to be made durable.
    Snapshot {
        /// The leader's announcement.
        message: Box<SnapshotMessage>,
        /// The contents.
        table: Box<Table>,
    },
    /// A snapshot was delivered to a follower, or couldn't be.
    SnapshotSent {
        /// The follower's Raft id.
        peer: u64,
        /// Whether it was delivered.
        delivered: bool,
    },
    /// A snapshot of our own state is durable.
    SnapshotTaken(SnapshotMeta),
    /// A snapshot of our own state couldn't be written.
    SnapshotFailed,
    /// Don't wait for an election timeout: this replica is the only one, so nobody else can be leading.
    Campaign,
    /// This replica is about to stop: hand leadership over.
    HandOver,
    /// Whether this replica may lead. One that may not hands leadership over and doesn't campaign; it votes and
    /// acknowledges as ever.
    Stand(bool),
}

/// A snapshot that a follower needs, to be sent as a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotOrder {
    /// The follower's Raft id.
    pub to: u64,
    /// The leader's term.
    pub term: u64,
    /// What the follower is told that the snapshot covers; a newer one may be sent.
    pub meta: SnapshotMeta,
}

/// Who leads, seen from this replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicaView {
    /// Raft id of the leader, if one is known.
    pub leader: Option<u64>,
    /// The current term.
    pub term: u64,
    /// This replica's fence: it leads, and has applied everything committed before its term.
    pub fence: Option<Fence>,
}

/// What has to happen outside. Everything in it may be done at once and in any order, except that batches are
/// written in order.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Messages to send now, in order per peer. What a message promises is already on disk.
    pub messages: Vec<Message>,
    /// What to write; answered by [`Input::Persisted`].
    pub batches: Vec<Batch>,
    /// Answers to [`Input::Propose`].
    pub proposals: Vec<(RequestId, ProposalOutcome)>,
    /// Answers to [`Input::ChangeMembership`].
    pub membership_answers: Vec<(RequestId, MembershipOutcome)>,
    /// Set when the membership changed, by an entry or by a leader's snapshot.
    pub membership: Option<Membership>,
    /// Reads that may be served from the state as it is now or later.
    pub reads: Vec<RequestId>,
    /// Reads that are given up.
    pub lost_reads: Vec<RequestId>,
    /// What changed, by revision.
    pub changes: Vec<Changes>,
    /// Set when the whole state was replaced by a snapshot: the revision it is at. Comes before `changes`.
    pub replaced: Option<u64>,
    /// Set when the view of who leads changed.
    pub view: Option<ReplicaView>,
    /// Snapshots to send; answered by [`Input::SnapshotSent`].
    pub snapshots: Vec<SnapshotOrder>,
    /// Whether to write a snapshot of the state; answered by [`Input::SnapshotTaken`] or [`Input::SnapshotFailed`].
    pub snapshot_due: bool,
    /// Whether a repair ended with this step: the replica votes again.
    pub repaired: bool,
}

/// What was refused or dropped, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages of peers that don't belong to the store or claim what can't be.
    pub messages_refused: u64,
    /// Proposals refused because too much was uncommitted.
    pub proposals_refused: u64,
}

/// One replica.
pub struct Node<S> {
    pub(crate) raw: RawNode<LogMirror>,
    pub(crate) state: S,
    pub(crate) config: Config,
    pub(crate) proposals: Proposals,
    pub(crate) changing: Changing,
    pub(crate) membership: Membership,
    pub(crate) ticks: u64,
    /// The tick at which each member was last heard from.
    pub(crate) heard: BTreeMap<u64, u64>,
    pub(crate) reads: Reads,
    pub(crate) held: VecDeque<Held>,
    pub(crate) installing: Option<Installing>,
    pub(crate) incoming: Option<(SnapshotMeta, Table)>,
    pub(crate) first_kept: Option<u64>,
    pub(crate) unsaved_entries: u64,
    pub(crate) unsaved_bytes: u64,
    pub(crate) snapshot_running: bool,
    pub(crate) counters: Counters,
    pub(crate) repairing: Option<Repairing>,
    stands: bool,
    proposed: Vec<(RequestId, Entry)>,
    view: ReplicaView,
}

impl<S: State> Node<S> {
    /// Starts a replica from what its disk holds: the state as of `snapshot`, and the entries that follow it. A replica
    /// that joins starts from nothing at all: a default snapshot and no entries; it gets a leader's snapshot first.
    pub fn new(
        config: Config,
        mut hard_state: HardState,
        snapshot: SnapshotMeta,
        entries: Vec<Entry>,
        state: S,
        logger: &slog::Logger,
    ) -> Result<Self, Error> {
        let index = snapshot.position.index;
        let joins = snapshot == SnapshotMeta::default() && entries.is_empty() && hard_state.commit == 0;
        let membership = snapshot.membership.clone();
        hard_state.commit = hard_state.commit.max(index);
        let mirror = LogMirror::new(hard_state, snapshot, entries);
        let (commit, last) = (mirror.hard_state().commit, mirror.last());
        if commit > last || state.applied().index != index || (index == 0 && !joins) {
            return Err(Error::UnfitLog { snapshot: index, last, commit });
        }
        let raw = RawNode::new(&config.to_raft(index), mirror, logger)?;
        let mut node = Self {
            raw,
            state,
            reads: Reads::new(config.id, config.boot, config.deviation),
            config,
            proposals: Proposals::default(),
            changing: Changing::default(),
            membership,
            ticks: 0,
            heard: BTreeMap::new(),
            held: VecDeque::new(),
            installing: None,
            incoming: None,
            first_kept: None,
            unsaved_entries: 0,
            unsaved_bytes: 0,
            snapshot_running: false,
            counters: Counters::default(),
            repairing: None,
            stands: true,
            proposed: Vec::new(),
            view: ReplicaView::default(),
        };
        node.fix_election_timeout();
        Ok(node)
    }

    /// Takes a batch of inputs in order and does all work that follows from them.
    pub fn step(&mut self, inputs: impl IntoIterator<Item = Input>) -> Result<Outputs, Error> {
        let mut out = Outputs::default();
        for input in inputs {
            self.take(input, &mut out)?;
            self.fix_election_timeout();
        }
        self.propose(&mut out)?;
        self.leave_joint()?;
        if let Some(context) = self.reads.start_round() {
            self.raw.read_index(context);
        }
        self.work(&mut out)?;
        self.settle_repair(&mut out);
        out.reads = self.reads.ready(self.state.applied().index);
        let view = self.current_view();
        if view != self.view {
            self.view = view;
            out.view = Some(view);
        }
        Ok(out)
    }

    /// The applied state.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// Who leads, seen from this replica.
    pub fn view(&self) -> ReplicaView {
        self.view
    }

    /// What was refused or dropped.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// First and last index of the entries held in memory.
    pub fn log_span(&self) -> (u64, u64) {
        (self.raw.store().first(), self.raw.store().last())
    }

    fn take(&mut self, input: Input, out: &mut Outputs) -> Result<(), Error> {
        match input {
            Input::Tick => self.tick(out),
            Input::Message(message) => self.receive(message.0),
            Input::Propose { id, txn } => {
                let data = txn.encode().into();
                self.proposed.push((id, Entry { data, ..Entry::default() }));
            }
            Input::ChangeMembership { id, change } => self.change_membership(id, change, out)?,
            Input::Read { id } => self.reads.add(id),
            Input::Persisted { number } => self.persisted(number, out),
            Input::Unreachable { peer } => self.raw.report_unreachable(peer),
            Input::Snapshot { message, table } => self.receive_snapshot(*message, *table),
            Input::SnapshotSent { peer, delivered } => {
                let status = if delivered { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
                self.raw.report_snapshot(peer, status);
            }
            Input::SnapshotTaken(meta) => self.snapshot_taken(meta),
            Input::SnapshotFailed => self.snapshot_running = false,
            // Raft ignores it where it can't be.
            Input::Campaign if self.repairing.is_some() => {}
            Input::Campaign => drop(self.raw.campaign()),
            Input::HandOver => self.hand_over(),
            Input::Stand(stands) => self.stands = stands,
        }
        Ok(())
    }

    fn tick(&mut self, out: &mut Outputs) {
        self.ticks += 1;
        self.proposals.tick(&mut out.proposals);
        self.changing.tick(&mut out.membership_answers);
        if self.ticks.is_multiple_of(SNAPSHOT_RETRY_TICKS) && self.member_lacks_snapshot() {
            self.order_snapshot(out);
        }
        out.lost_reads.extend(self.reads.tick());
        // Raft reads the entries after its applied index when it campaigns, and a snapshot that is being installed
        // has already replaced them.
        if self.repairing.is_some() {
            // A follower's ticks only lead to elections.
            self.ask_for_repair(out);
        } else if self.installing.is_none() {
            if !self.stands {
                self.stand_back();
            }
            self.raw.tick();
        }
    }

    /// Leads no longer than until somebody else can, and never begins an election. The time since it heard a leader is not
    /// set back: it would refuse its vote to others for as long as it believed in that one.
    fn stand_back(&mut self) {
        if self.raw.raft.state == StateRole::Leader {
            return self.hand_over();
        }
        let raft = &mut self.raw.raft;
        raft.election_elapsed = raft.election_elapsed.min(raft.election_timeout());
    }

    /// Raft panics on a few claims that no honest replica makes; they are refused here.
    fn receive(&mut self, mut message: Message) {
        if !self.admit_in_repair(&mut message) || self.forget_acknowledged(&mut message) {
            return;
        }
        let last = self.raw.raft.raft_log.last_index();
        let from = message.from;
        let refused = message.to != self.config.id
            || !self.listens_to(from, message.get_msg_type())
            || match message.get_msg_type() {
                MessageType::MsgHeartbeat => message.commit > last,
                MessageType::MsgAppendResponse => !message.reject && message.index > last,
                MessageType::MsgTimeoutNow => self.installing.is_some() || !self.stands,
                _ => false,
            };
        if refused || self.raw.step(message).is_err() {
            self.counters.messages_refused += 1;
        } else if self.membership.contains(from) {
            self.heard.insert(from, self.ticks);
        }
    }

    fn receive_snapshot(&mut self, message: SnapshotMessage, table: Table) {
        let meta = message.meta().clone();
        let known = self.listens_to(message.0.from, MessageType::MsgSnapshot) && message.0.to == self.config.id;
        if !known || self.installing.is_some() || self.raw.step(message.0).is_err() {
            self.counters.messages_refused += 1;
            return;
        }
        let wanted = self.raw.snap().is_some_and(|snapshot| snapshot.get_metadata().index == meta.position.index);
        if wanted {
            self.incoming = Some((meta, table));
        }
    }

    fn snapshot_taken(&mut self, meta: SnapshotMeta) {
        self.snapshot_running = false;
        let mirror = self.raw.mut_store();
        let older = mirror.newest_snapshot().clone();
        if meta.position.index <= older.position.index {
            return;
        }
        // The log is kept back to the older of the two snapshots, in case the newer one can't be read one day.
        mirror.compact(&older);
        mirror.snapshot_taken(meta);
        self.first_kept = Some(older.position.index + 1);
    }

    /// Leadership goes to the follower whose log is most complete.
    pub(crate) fn hand_over(&mut self) {
        let own = self.config.id;
        let raft = &self.raw.raft;
        if raft.state != StateRole::Leader {
            return;
        }
        let voters = raft.prs().conf().voters();
        let others = raft.prs().iter().filter(|(id, peer)| **id != own && peer.recent_active && voters.contains(**id));
        let best = others.max_by_key(|(id, peer)| (peer.matched, **id)).map(|(id, _)| *id);
        if let Some(peer) = best {
            self.raw.transfer_leader(peer);
        }
    }

    /// All proposals of a batch of inputs go as one message, so that each follower gets one append for all of them.
    fn propose(&mut self, out: &mut Outputs) -> Result<(), Error> {
        while !self.proposed.is_empty() {
            let count = self.proposed.len().min(MAX_PROPOSED_AT_ONCE);
            let (ids, entries): (Vec<_>, Vec<_>) = self.proposed.drain(..count).unzip();
            if self.raw.raft.state != StateRole::Leader {
                out.proposals.extend(ids.into_iter().map(|id| (id, ProposalOutcome::NotLeader)));
                continue;
            }
            let mut message = Message::default();
            message.set_msg_type(MessageType::MsgPropose);
            message.from = self.config.id;
            message.set_entries(entries.into());
            let before = self.raw.raft.raft_log.last_index();
            match self.raw.raft.step(message) {
                Ok(()) => self.place(before, ids),
                Err(raft::Error::ProposalDropped) => {
                    self.counters.proposals_refused += ids.len() as u64;
                    out.proposals.extend(ids.into_iter().map(|id| (id, ProposalOutcome::Overloaded)));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn place(&mut self, before: u64, ids: Vec<RequestId>) {
        let term = self.raw.raft.term;
        for (index, id) in (before + 1..).zip(ids) {
            self.proposals.place(id, crate::table::Position { term, index });
        }
    }

    fn fix_election_timeout(&mut self) {
        let drawn = self.config.election_timeout(self.raw.raft.term);
        // Further than one that stands back counts.
        let timeout = if self.stands { drawn } else { Config::longest_election_timeout() };
        self.raw.raft.set_randomized_election_timeout(timeout);
    }

    fn current_view(&self) -> ReplicaView {
        let raft = &self.raw.raft;
        let leads = raft.state == StateRole::Leader;
        let caught_up = leads && self.state.applied().term == raft.term;
        ReplicaView {
            leader: (raft.leader_id != raft::INVALID_ID).then_some(raft.leader_id),
            term: raft.term,
            fence: caught_up.then_some(Fence(raft.term)),
        }
    }
}
