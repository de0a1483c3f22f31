//! Proposals on their way: which request lies at which place of the log.

use std::collections::BTreeMap;

use crate::RequestId;
use crate::table::Position;
use crate::txn::TxnOutcome;

/// Ticks after which a proposal is answered with [`ProposalOutcome::Unknown`]: longer than any caller waits, so that
/// it only frees what nobody listens for any more.
const EXPIRY_TICKS: u64 = 1_000;

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProposalOutcome {
    /// It went through the log.
    Applied(TxnOutcome),
    /// It never entered the log: this replica doesn't lead.
    NotLeader,
    /// It never entered the log: too much is proposed and not yet committed.
    Overloaded,
    /// It lost its place in the log to another leader's entry, and never takes effect.
    Replaced,
    /// It entered the log of a leader that lost its office; perhaps it takes effect.
    Unknown,
}

#[derive(Debug, Default)]
pub(crate) struct Proposals {
    placed: BTreeMap<(u64, u64), (RequestId, u64)>,
    now: u64,
}

impl Proposals {
    pub(crate) fn place(&mut self, id: RequestId, position: Position) {
        self.placed.insert((position.index, position.term), (id, self.now));
    }

    /// Everything placed up to and with `position`, which was applied with `outcome`.
    pub(crate) fn applied(
        &mut self,
        position: Position,
        outcome: Option<TxnOutcome>,
        answers: &mut Vec<(RequestId, ProposalOutcome)>,
    ) {
        let mut outcome = outcome;
        while let Some(first) = self.placed.first_entry() {
            let (index, term) = *first.key();
            if index > position.index {
                break;
            }
            let (id, _) = first.remove();
            let answer = match (index == position.index, term == position.term) {
                (true, true) => outcome.take().map_or(ProposalOutcome::Unknown, ProposalOutcome::Applied),
                (true, false) => ProposalOutcome::Replaced,
                // Only a leader's snapshot skips entries, and it doesn't say what became of each.
                (false, _) => ProposalOutcome::Unknown,
            };
            answers.push((id, answer));
        }
    }

    pub(crate) fn tick(&mut self, answers: &mut Vec<(RequestId, ProposalOutcome)>) {
        self.now += 1;
        if !self.now.is_multiple_of(EXPIRY_TICKS / 10) {
            return;
        }
        let now = self.now;
        self.placed.retain(|_, (id, placed)| {
            let keep = now - *placed < EXPIRY_TICKS;
            if !keep {
                answers.push((*id, ProposalOutcome::Unknown));
            }
            keep
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn at(term: u64, index: u64) -> Position {
        Position { term, index }
    }

    #[test]
    fn a_proposal_whose_place_went_to_another_term_certainly_has_no_effect() {
        let mut proposals = Proposals::default();
        proposals.place(1, at(3, 10));
        proposals.place(2, at(5, 10));
        proposals.place(3, at(3, 11));
        let mut answers = Vec::new();
        let outcome = TxnOutcome::Committed { revision: 7 };
        proposals.applied(at(5, 10), Some(outcome.clone()), &mut answers);
        assert_eq!(answers, vec![(1, ProposalOutcome::Replaced), (2, ProposalOutcome::Applied(outcome))]);
    }

    #[test]
    fn a_proposal_that_a_snapshot_skips_is_unknown() {
        let mut proposals = Proposals::default();
        proposals.place(1, at(3, 10));
        let mut answers = Vec::new();
        proposals.applied(at(4, 20), None, &mut answers);
        assert_eq!(answers, vec![(1, ProposalOutcome::Unknown)]);
    }
}
