//! Who votes: Raft's configuration in our own terms, as it lies in snapshots.

use raft::eraftpb::ConfState;

use crate::codec::{self, Reader, Writer};

/// Replicas in one list of a configuration; more than any sensible store has.
const MAX_REPLICAS: usize = 64;

/// Raft ids by role. All five lists are kept, so that a snapshot taken in the middle of a change is complete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// Replicas that vote.
    pub voters: Vec<u64>,
    /// Replicas that only follow.
    pub learners: Vec<u64>,
    /// Voters of the configuration that is being left.
    pub voters_outgoing: Vec<u64>,
    /// Voters that become learners when the outgoing configuration is left.
    pub learners_next: Vec<u64>,
    /// Whether Raft leaves the outgoing configuration by itself.
    pub auto_leave: bool,
}

impl Membership {
    /// A settled configuration of voters only.
    pub fn of_voters(mut voters: Vec<u64>) -> Self {
        voters.sort_unstable();
        Self { voters, ..Self::default() }
    }

    pub(crate) fn to_raft(&self) -> ConfState {
        let Self { voters, learners, voters_outgoing, learners_next, auto_leave } = self.clone();
        let mut state = ConfState::default();
        state.set_voters(voters);
        state.set_learners(learners);
        state.set_voters_outgoing(voters_outgoing);
        state.set_learners_next(learners_next);
        state.set_auto_leave(auto_leave);
        state
    }

    pub(crate) fn from_raft(state: &ConfState) -> Self {
        Self {
            voters: state.get_voters().to_vec(),
            learners: state.get_learners().to_vec(),
            voters_outgoing: state.get_voters_outgoing().to_vec(),
            learners_next: state.get_learners_next().to_vec(),
            auto_leave: state.get_auto_leave(),
        }
    }

    /// Writes all five fields.
    pub fn encode(&self, writer: &mut Writer) {
        let Self { voters, learners, voters_outgoing, learners_next, auto_leave } = self;
        for ids in [voters, learners, voters_outgoing, learners_next] {
            writer.count(ids.len());
            for id in ids {
                writer.u64(*id);
            }
        }
        writer.flag(*auto_leave);
    }

    /// Reads what [`Membership::encode`] wrote.
    pub fn decode(reader: &mut Reader) -> Result<Self, codec::Error> {
        let mut ids = || -> Result<Vec<u64>, codec::Error> {
            let count = reader.count("replicas", MAX_REPLICAS)?;
            (0..count).map(|_| reader.u64("replica")).collect()
        };
        let (voters, learners, voters_outgoing, learners_next) = (ids()?, ids()?, ids()?, ids()?);
        Ok(Self { voters, learners, voters_outgoing, learners_next, auto_leave: reader.flag("auto leave")? })
    }
}
