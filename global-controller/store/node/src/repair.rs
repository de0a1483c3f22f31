//! Coming back after a part of the own log was lost.
//!
//! A replica that lost entries it may have acknowledged must not help a leader into office that lacks them. Until it has
//! applied everything that it may have acknowledged, it doesn't vote, doesn't stand for election, and asks the leader to
//! forget what it once acknowledged, so that the entries are sent again. It only knows what it may have acknowledged by
//! where its log ended; so its vote and that position must be known, or it can't be repaired but only replaced.

use raft::eraftpb::{Message, MessageType};
use raft::{ProgressState, StateRole};

use crate::node::{Node, Outputs};
use crate::table::{Position, State};

/// Between two requests to the leader: half an election period, so that an answer comes in between.
const ASK_TICKS: u32 = 5;

/// What a replica has to make up for before it votes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repair {
    /// Where its log ended before the loss, or any position after it.
    pub last: Position,
}

#[derive(Debug)]
pub(crate) struct Repairing {
    last: Position,
    /// The term in which the leader sent something that follows this replica's log: nothing is left to ask for.
    heard: u64,
    ticks: u32,
}

impl<S: State> Node<S> {
    /// Makes the replica catch up before it votes; to be called before the first step. [`Outputs::repaired`] says when
    /// it is done.
    #[must_use]
    pub fn repairing(mut self, repair: Repair) -> Self {
        self.repairing = Some(Repairing { last: repair.last, heard: 0, ticks: 0 });
        self
    }

    /// Whether this replica is being repaired, and so doesn't vote.
    pub fn is_repairing(&self) -> bool {
        self.repairing.is_some()
    }

    /// Whether a message is taken during a repair; adapts those that rely on what was lost.
    pub(crate) fn admit_in_repair(&mut self, message: &mut Message) -> bool {
        let Some(repairing) = &mut self.repairing else { return true };
        let last = self.raw.raft.raft_log.last_index();
        match message.get_msg_type() {
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote | MessageType::MsgTimeoutNow => return false,
            // The leader goes by what was acknowledged before the loss. What was taken since then came from this very
            // leader: the term that is kept keeps earlier ones out, and a later one would have raised it. So the log
            // agrees with the leader's up to its end.
            MessageType::MsgHeartbeat => message.commit = message.commit.min(last),
            MessageType::MsgAppend if message.index <= last => repairing.heard = message.term,
            // It counts on what was lost again: an answer from before the loss came late.
            MessageType::MsgAppend => repairing.heard = 0,
            _ => {}
        }
        true
    }

    /// Asks the leader to begin again where this replica's log ends now. The answer only names the term, which is on
    /// disk by then.
    pub(crate) fn ask_for_repair(&mut self, out: &mut Outputs) {
        let (leader, term) = (self.raw.raft.leader_id, self.raw.raft.term);
        let waits = self.ballot_waits() || self.installing.is_some() || leader == raft::INVALID_ID;
        let Some(repairing) = self.repairing.as_mut().filter(|repairing| !waits && repairing.heard != term) else {
            return;
        };
        repairing.ticks += 1;
        if !repairing.ticks.is_multiple_of(ASK_TICKS) {
            return;
        }
        let last = self.raw.raft.raft_log.last_index();
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgAppendResponse);
        (message.from, message.to, message.term) = (self.config.id, leader, term);
        (message.reject, message.index, message.reject_hint) = (true, last, last);
        message.log_term = self.raw.raft.raft_log.term(last).unwrap_or(0);
        // Raft's own request for a snapshot is ignored below what the leader believes to be acknowledged; in this
        // store the field means "forget what I acknowledged".
        message.request_snapshot = repairing.last.index.max(1);
        out.messages.push(message);
    }

    /// The leader's side: true when the message was such a request and raft needn't see it.
    pub(crate) fn forget_acknowledged(&mut self, message: &mut Message) -> bool {
        let asks = message.get_msg_type() == MessageType::MsgAppendResponse && message.request_snapshot != 0;
        let raft = &mut self.raw.raft;
        if !asks || raft.state != StateRole::Leader || raft.term != message.term {
            message.request_snapshot = 0;
            return false;
        }
        let end = raft.raft_log.last_index() + 1;
        let Some(peer) = raft.mut_prs().get_mut(message.from) else { return true };
        // What is committed stays committed: this only keeps the leader from counting on what was lost.
        peer.matched = 0;
        peer.recent_active = true;
        if peer.state != ProgressState::Snapshot {
            peer.become_probe();
            peer.next_idx = (message.reject_hint + 1).min(end);
            self.raw.raft.send_append(message.from);
        }
        true
    }

    /// Ends the repair once nothing that was acknowledged can be missing any more. An applied entry of a later term also
    /// proves it: its leader's log had everything that was committed before its term, or it couldn't have won.
    pub(crate) fn settle_repair(&mut self, out: &mut Outputs) {
        let applied = self.state.applied();
        let made_up = |last: Position| applied.index >= last.index || applied.term > last.term;
        if self.installing.is_none() && self.repairing.take_if(|repairing| made_up(repairing.last)).is_some() {
            out.repaired = true;
        }
    }
}
