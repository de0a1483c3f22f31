//! Proposals on their way: which request lies at which place of the log.

use crate::RequestId;
use crate::placed::{Fate, Placed};
use crate::table::Position;
use crate::txn::TxnOutcome;

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
pub(crate) struct Proposals(Placed);

impl Proposals {
    pub(crate) fn place(&mut self, id: RequestId, position: Position) {
        self.0.place(id, position);
    }

    /// Everything placed up to and with `position`, which was applied with `outcome`.
    pub(crate) fn applied(
        &mut self,
        position: Position,
        mut outcome: Option<TxnOutcome>,
        answers: &mut Vec<(RequestId, ProposalOutcome)>,
    ) {
        self.0.settle(position, |id, fate| {
            let answer = match fate {
                Fate::Applied => outcome.take().map_or(ProposalOutcome::Unknown, ProposalOutcome::Applied),
                Fate::Replaced => ProposalOutcome::Replaced,
                Fate::Skipped => ProposalOutcome::Unknown,
            };
            answers.push((id, answer));
        });
    }

    pub(crate) fn tick(&mut self, answers: &mut Vec<(RequestId, ProposalOutcome)>) {
        self.0.tick(|id| answers.push((id, ProposalOutcome::Unknown)));
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
