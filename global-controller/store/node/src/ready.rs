//! Working off what `raft` has ready: what may be sent at once, what waits for the disk, what is applied.

use raft::eraftpb::{Entry, HardState, Message, MessageType};
use raft::{Ready, StateRole};

use crate::log::{Batch, entry_bytes, to_raft_snapshot};
use crate::message::snapshot_meta;
use crate::node::{Error, Node, Outputs, SnapshotOrder};
use crate::reconfiguration::Reconfiguration;
use crate::table::{Command, Position, SnapshotMeta, State};
use crate::txn::Txn;

/// Messages that wait until a batch is on disk.
pub(crate) struct Held {
    number: u64,
    messages: Vec<Message>,
    /// Whether something is written under this number at all.
    writes: bool,
    /// Whether term or vote change with it.
    ballot: bool,
}

/// A leader's snapshot on its way to the disk.
pub(crate) struct Installing {
    number: u64,
    index: u64,
}

impl<S: State> Node<S> {
    /// Works until `raft` has nothing left to do.
    pub(crate) fn work(&mut self, out: &mut Outputs) -> Result<(), Error> {
        while self.raw.has_ready() {
            let ready = self.raw.ready();
            self.handle(ready, out)?;
            self.fix_timeout_after_work();
        }
        Ok(())
    }

    fn fix_timeout_after_work(&mut self) {
        let timeout = self.config.election_timeout(self.raw.raft.term);
        self.raw.raft.set_randomized_election_timeout(timeout);
    }

    fn handle(&mut self, mut ready: Ready, out: &mut Outputs) -> Result<(), Error> {
        let number = ready.number();
        let mut now = self.with_term(ready.take_messages());
        let mut held = self.with_term(ready.take_persisted_messages());
        for read in ready.take_read_states() {
            self.reads.confirm(&read.request_ctx, read.index);
        }
        let entries = ready.take_entries();
        let committed = ready.take_committed_entries();
        let ballot = ready.hs().is_some_and(|new| changes_ballot(self.raw.store().hard_state(), new));
        // A leader sends before its own flush, but not before its term is on disk: where it alone votes, it leads as
        // soon as it campaigns, and after a crash it would lead the same term again with other entries.
        if ballot || self.ballot_waits() {
            now.append(&mut held);
            held = std::mem::take(&mut now);
        }
        send(now, out);
        let writes = ready.hs().is_some() || !entries.is_empty() || !ready.snapshot().is_empty();
        let must_sync = ready.must_sync();
        if let Some(hard_state) = ready.hs() {
            let hard_state = hard_state.clone();
            self.raw.mut_store().set_hard_state(hard_state);
        }
        let snapshot = self.install(&ready, out)?;
        self.raw.mut_store().append(&entries);
        if writes {
            let hard_state = self.raw.store().hard_state().clone();
            let first_kept = self.first_kept.take();
            out.batches.push(Batch { number, snapshot, entries, hard_state, first_kept, must_sync });
        }
        self.raw.advance_append_async(ready);
        self.hold(Held { number, messages: held, writes, ballot }, out);
        self.apply(committed, out)
    }

    fn install(&mut self, ready: &Ready, out: &mut Outputs) -> Result<Option<SnapshotMeta>, Error> {
        if ready.snapshot().is_empty() {
            return Ok(None);
        }
        let index = ready.snapshot().get_metadata().index;
        // Raft's snapshot says the same without names.
        let wanted = |meta: &SnapshotMeta| to_raft_snapshot(meta) == *ready.snapshot();
        let Some((meta, table)) = self.incoming.take().filter(|(received, _)| wanted(received)) else {
            return Err(Error::MissingSnapshot { index });
        };
        self.membership = meta.membership.clone();
        out.membership = Some(self.membership.clone());
        out.replaced = Some(table.revision());
        out.changes.clear();
        self.state.install(table);
        self.raw.mut_store().install(meta.clone());
        self.installing = Some(Installing { number: ready.number(), index });
        (self.unsaved_entries, self.unsaved_bytes) = (0, 0);
        Ok(Some(meta))
    }

    /// Whether a term or vote is on its way to the disk.
    pub(crate) fn ballot_waits(&self) -> bool {
        self.held.iter().any(|earlier| earlier.ballot)
    }

    /// Messages wait for their own batch and all before it; a ready that writes nothing waits for nothing of its own.
    fn hold(&mut self, mut held: Held, out: &mut Outputs) {
        if self.held.is_empty() && !held.writes {
            self.raw.on_persist_ready(held.number);
            send(held.messages, out);
            return;
        }
        // That this replica is alive, and a question to the leader, promise nothing but term and vote.
        if !held.ballot && !self.ballot_waits() {
            let early = held.messages.extract_if(.., |message| promises_nothing(message)).collect();
            send(early, out);
        }
        self.held.push_back(held);
    }

    /// Batches up to `number` are on disk: what waited for them may leave.
    pub(crate) fn persisted(&mut self, number: u64, out: &mut Outputs) {
        let mut done = None;
        while self.held.front().is_some_and(|held| held.number <= number || !held.writes) {
            if let Some(held) = self.held.pop_front() {
                done = Some(held.number);
                send(held.messages, out);
            }
        }
        let Some(done) = done else { return };
        self.raw.on_persist_ready(done);
        if let Some(installed) = self.installing.take_if(|installing| installing.number <= done) {
            self.raw.advance_apply_to(installed.index);
        }
    }

    /// Raft forwards reads without a term, like local messages; with ours a leader of an older term learns that it is
    /// deposed, and one of a newer term ignores the round, which is then retried. The term is that of the ready: a
    /// later one may not be on disk yet when a held message leaves.
    fn with_term(&self, mut messages: Vec<Message>) -> Vec<Message> {
        for message in &mut messages {
            if message.get_msg_type() == MessageType::MsgReadIndex {
                message.term = self.raw.raft.term;
            }
        }
        messages
    }

    fn apply(&mut self, entries: Vec<Entry>, out: &mut Outputs) -> Result<(), Error> {
        let Some(last) = entries.last().map(|entry| entry.index) else { return Ok(()) };
        self.unsaved_entries += entries.len() as u64;
        self.unsaved_bytes += entries.iter().map(entry_bytes).sum::<u64>();
        let mut commands = Vec::with_capacity(entries.len());
        for entry in entries {
            let position = Position { term: entry.term, index: entry.index };
            let unfit = |source| Error::Change { index: position.index, source };
            match Reconfiguration::of_entry(&entry).map_err(unfit)? {
                None => commands.push(command(position, entry)?),
                // Raft has to hear of it before it hears that the entry is applied.
                Some(change) => {
                    self.apply_commands(&std::mem::take(&mut commands), out);
                    self.apply_change(position, &change, out)?;
                }
            }
        }
        self.apply_commands(&commands, out);
        self.raw.advance_apply_to(last);
        let policy = self.config.snapshots;
        if self.unsaved_entries >= policy.entries || self.unsaved_bytes >= policy.bytes || self.member_lacks_snapshot()
        {
            self.order_snapshot(out);
        }
        Ok(())
    }

    fn apply_commands(&mut self, commands: &[Command], out: &mut Outputs) {
        if commands.is_empty() {
            return;
        }
        let applied = self.state.apply(commands);
        for (command, applied) in commands.iter().zip(applied) {
            self.proposals.applied(command.position, applied.outcome, &mut out.proposals);
            self.changing.applied(command.position, None, &mut out.membership_answers);
            out.changes.extend(applied.changes);
        }
    }

    /// One snapshot at a time; what comes due meanwhile is looked at again after it.
    pub(crate) fn order_snapshot(&mut self, out: &mut Outputs) {
        if !self.snapshot_running {
            self.snapshot_running = true;
            (self.unsaved_entries, self.unsaved_bytes) = (0, 0);
            out.snapshot_due = true;
        }
    }

    /// Whether this replica leads.
    pub fn leads(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }
}

fn send(messages: Vec<Message>, out: &mut Outputs) {
    for message in messages {
        match message.get_msg_type() {
            MessageType::MsgSnapshot => out.snapshots.push(SnapshotOrder {
                to: message.to,
                term: message.term,
                meta: snapshot_meta(message.get_snapshot()),
            }),
            _ => out.messages.push(message),
        }
    }
}

fn changes_ballot(old: &HardState, new: &HardState) -> bool {
    old.term != new.term || old.vote != new.vote
}

fn promises_nothing(message: &Message) -> bool {
    matches!(message.get_msg_type(), MessageType::MsgHeartbeatResponse | MessageType::MsgReadIndex)
}

fn command(position: Position, entry: Entry) -> Result<Command, Error> {
    if entry.data.is_empty() {
        return Ok(Command { position, txn: None });
    }
    let txn = Txn::decode(entry.data).map_err(|source| Error::Entry { index: position.index, source })?;
    Ok(Command { position, txn: Some(txn) })
}
