//! The node's part in a change of the membership: checking and proposing it, applying it, and what follows from it.

use raft::eraftpb::{Message, MessageType};
use raft::{StateRole, raw_node::RawNode};

use crate::RequestId;
use crate::log::LogMirror;
use crate::membership::Membership;
use crate::node::{Error, Node, Outputs};
use crate::reconfiguration::{MembershipChange, MembershipOutcome, Reconfiguration, Refusal};
use crate::table::{Position, State};

/// Entries that a learner may lag behind when it is promoted: about a second of a busy store, so that the leader need
/// not wait for it noticeably once its vote counts.
const MAX_LAG: u64 = 1_024;
/// Ticks after which a replica that was silent doesn't count as there: two of the leader's own quorum checks.
const SILENT_TICKS: u64 = 20;

/// How far a replica has come, as its leader knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The replica's Raft id.
    pub number: u64,
    /// The last entry that it is known to hold.
    pub matched: u64,
    /// Whether it was heard from lately.
    pub active: bool,
}

impl<S: State> Node<S> {
    /// Who belongs to the store, as far as this replica has applied the log.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// How far each member has come; empty unless this replica leads.
    pub fn progress(&self) -> Vec<Progress> {
        if self.raw.raft.state != StateRole::Leader {
            return Vec::new();
        }
        let mut progress: Vec<_> = self.raw.raft.prs().iter().map(|(number, peer)| (*number, peer.matched)).collect();
        progress.sort_unstable();
        let known = |(number, matched)| Progress { number, matched, active: self.hears(number) };
        progress.into_iter().map(known).collect()
    }

    /// Index of the last entry, also of one that isn't on disk yet.
    pub fn last_index(&self) -> u64 {
        self.raw.raft.raft_log.last_index()
    }

    /// Whether this replica knows no store yet: it started from nothing and has installed no leader's snapshot.
    pub fn joins(&self) -> bool {
        self.membership == Membership::default()
    }

    fn hears(&self, number: u64) -> bool {
        let lately = |at: &u64| self.ticks.saturating_sub(*at) < SILENT_TICKS;
        number == self.config.id || self.heard.get(&number).is_some_and(lately)
    }

    /// Whether a message of this kind is taken from `from`. A replica that lags doesn't know yet who joined
    /// after its last entry, so it must follow a leader and vote for a candidate that are strangers to it; the
    /// connection has made sure that they belong to the store. One that was removed has nothing to say any more.
    pub(crate) fn listens_to(&self, from: u64, kind: MessageType) -> bool {
        if self.membership.retired.contains_key(&from) {
            return false;
        }
        let asks_for_vote = matches!(kind, MessageType::MsgRequestVote | MessageType::MsgRequestPreVote);
        if self.joins() {
            // Its vote would count without a memory behind it.
            return matches!(kind, MessageType::MsgAppend | MessageType::MsgHeartbeat | MessageType::MsgSnapshot);
        }
        let leads = matches!(kind, MessageType::MsgAppend | MessageType::MsgHeartbeat | MessageType::MsgSnapshot);
        self.membership.contains(from) || asks_for_vote || leads
    }

    /// Answers at once unless the change enters the log.
    pub(crate) fn change_membership(
        &mut self,
        id: RequestId,
        change: MembershipChange,
        out: &mut Outputs,
    ) -> Result<(), Error> {
        if self.raw.raft.state != StateRole::Leader || self.raw.raft.lead_transferee.is_some() {
            out.membership_answers.push((id, MembershipOutcome::NotLeader));
            return Ok(());
        }
        if let Err(reason) = self.check_change(&change) {
            out.membership_answers.push((id, MembershipOutcome::Refused { reason }));
            return Ok(());
        }
        if change == (MembershipChange::Remove { number: self.config.id }) {
            // Whoever leads next removes this replica: a leader that is no member can't commit its own removal.
            self.hand_over();
            out.membership_answers.push((id, MembershipOutcome::NotLeader));
            return Ok(());
        }
        match self.propose_change(&Reconfiguration::Change(change))? {
            Some(position) => self.changing.place(id, position),
            None => out.membership_answers.push((id, MembershipOutcome::Refused { reason: Refusal::InProgress })),
        }
        Ok(())
    }

    fn check_change(&self, change: &MembershipChange) -> Result<(), Refusal> {
        let raft = &self.raw.raft;
        // Until an entry of its own term is applied, a leader doesn't know what its predecessors committed.
        if raft.has_pending_conf() || self.state.applied().term != raft.term {
            return Err(Refusal::InProgress);
        }
        let next = self.membership.after(change)?;
        match change {
            MembershipChange::AddLearner { .. } => return Ok(()),
            MembershipChange::Promote { number } => self.check_caught_up(*number)?,
            MembershipChange::Remove { .. } => {}
        }
        let heard = next.voters.iter().filter(|voter| self.hears(**voter)).count();
        let voters = next.voters.len();
        if heard * 2 > voters { Ok(()) } else { Err(Refusal::NoQuorum { heard, voters }) }
    }

    fn check_caught_up(&self, number: u64) -> Result<(), Refusal> {
        let last = self.last_index();
        let matched = self.raw.raft.prs().get(number).map_or(0, |peer| peer.matched);
        if self.hears(number) && matched + MAX_LAG >= last && matched > 0 {
            return Ok(());
        }
        Err(Refusal::NotCaughtUp { number, matched, last })
    }

    /// `None` when `raft` would have put an empty entry in its place, or refuses proposals.
    fn propose_change(&mut self, change: &Reconfiguration) -> Result<Option<Position>, Error> {
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.config.id;
        message.set_entries(vec![change.to_entry()].into());
        let index = self.last_index() + 1;
        match self.raw.raft.step(message) {
            Ok(()) if self.raw.raft.pending_conf_index == index => {
                Ok(Some(Position { term: self.raw.raft.term, index }))
            }
            Ok(()) | Err(raft::Error::ProposalDropped) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A joint configuration is never entered here, but a snapshot may hold one; it is left as soon as it can be.
    pub(crate) fn leave_joint(&mut self) -> Result<(), Error> {
        let raft = &self.raw.raft;
        let due = self.membership.is_joint() && raft.state == StateRole::Leader && raft.lead_transferee.is_none();
        if due && !raft.has_pending_conf() && self.state.applied().term == raft.term {
            self.propose_change(&Reconfiguration::LeaveJoint)?;
        }
        Ok(())
    }

    /// Applies a committed change. All replicas come to the same result: it only depends on what was applied before.
    pub(crate) fn apply_change(
        &mut self,
        position: Position,
        change: &Reconfiguration,
        out: &mut Outputs,
    ) -> Result<(), Error> {
        let next = match change {
            Reconfiguration::Change(change) => self.membership.after(change),
            Reconfiguration::LeaveJoint if self.membership.is_joint() => Ok(self.membership.clone()),
            Reconfiguration::LeaveJoint => Err(Refusal::NotJoint),
        };
        let outcome = match next {
            Ok(mut next) => {
                let state = self.raw.apply_conf_change(&change.to_raft())?;
                next.adopt(&state);
                self.membership = next.clone();
                self.heard.retain(|number, _| next.contains(*number));
                out.membership = Some(next.clone());
                MembershipOutcome::Applied(next)
            }
            Err(reason) => MembershipOutcome::Refused { reason },
        };
        let membership = match &outcome {
            MembershipOutcome::Applied(membership) => Some(membership.clone()),
            _ => None,
        };
        self.state.reconfigure(position, membership);
        self.proposals.applied(position, None, &mut out.proposals);
        self.changing.applied(position, Some(&outcome), &mut out.membership_answers);
        self.step_down_if_removed();
        Ok(())
    }

    /// A leader that won its office before it applied its own removal gives it up, and tells the best of the others
    /// to take it at once. Raft would go on leading without being a member, and fail at the next commit.
    fn step_down_if_removed(&mut self) {
        if self.raw.raft.state != StateRole::Leader || self.membership.role(self.config.id).is_some() {
            return;
        }
        if let Some(successor) = most_complete_voter(&self.raw) {
            self.raw.raft.send_timeout_now(successor);
        }
        let term = self.raw.raft.term;
        self.raw.raft.become_follower(term, raft::INVALID_ID);
    }

    /// Whether this replica leads and its newest snapshot knows nothing of a member, which then can't install it.
    pub(crate) fn member_lacks_snapshot(&self) -> bool {
        let known = &self.raw.store().newest_snapshot().membership;
        let members = || self.membership.members().into_iter();
        self.raw.raft.state == StateRole::Leader && members().any(|member| !known.contains(member))
    }
}

fn most_complete_voter(raw: &RawNode<LogMirror>) -> Option<u64> {
    let progress = raw.raft.prs();
    let voters = progress.iter().filter(|(id, _)| progress.conf().voters().contains(**id));
    voters.max_by_key(|(id, peer)| (peer.matched, **id)).map(|(id, _)| *id)
}
