//! Changes of the membership: what may be asked for, how it lies in the log, and what became of it.
//!
//! A change is an entry of a kind that `raft` recognizes by its type alone. What it asks for stands in the entry's
//! context in our own encoding, and the data, which `raft`'s protobuf parser reads when an entry is proposed, is always
//! empty: of type `EntryConfChange` that is "some single change" to the parser, of type `EntryConfChangeV2` it is
//! "leave the joint configuration".

use bytes::Bytes;
use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2, Entry, EntryType};
use serde::{Deserialize, Serialize};

use crate::RequestId;
use crate::codec::{self, Reader, Writer};
use crate::membership::{MAX_NAME_BYTES, MAX_URL_BYTES, Membership, ReplicaInfo};
use crate::placed::{Fate, Placed};
use crate::table::Position;

/// Largest encoded change in bytes.
pub(crate) const MAX_CHANGE_BYTES: usize = MAX_NAME_BYTES + MAX_URL_BYTES + 64;
const ENCODING_VERSION: u8 = 1;
const ADD_LEARNER: u8 = 1;
const PROMOTE: u8 = 2;
const REMOVE: u8 = 3;
const LEAVE_JOINT: u8 = 4;

/// A change of the membership; one at a time, and each moves at most one vote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MembershipChange {
    /// A new replica follows without a vote.
    AddLearner {
        /// Its Raft id, never used before.
        number: u64,
        /// Who it is.
        info: ReplicaInfo,
    },
    /// A learner gets a vote.
    Promote {
        /// Its Raft id.
        number: u64,
    },
    /// A replica leaves for good; neither its number nor its name can be used again.
    Remove {
        /// Its Raft id.
        number: u64,
    },
}

/// Why a change is not made. Nothing of it entered the log, or took effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Changes follow one another; a new leader first settles what its predecessors began.
    #[error("another change is still in progress")]
    InProgress,
    /// A voter that lags would count in each majority and help none.
    #[error("replica {number} has not caught up: it holds entries up to {matched} of {last}")]
    NotCaughtUp {
        /// The learner.
        number: u64,
        /// The last entry that it is known to hold.
        matched: u64,
        /// The leader's last entry.
        last: u64,
    },
    /// Too few of the voters that there would be are heard from.
    #[error("only {heard} of the {voters} voters that there would be are heard from")]
    NoQuorum {
        /// Voters that are heard from, the leader included.
        heard: usize,
        /// Voters that there would be.
        voters: usize,
    },
    /// No replica has this number.
    #[error("there is no replica {number}")]
    Unknown {
        /// The number.
        number: u64,
    },
    /// The number belonged to a replica that was removed.
    #[error("replica {number} was removed; its number is never used again")]
    Retired {
        /// The number.
        number: u64,
    },
    /// The name belonged to a replica that was removed.
    #[error("a replica '{name}' was removed; its name is never used again")]
    RetiredName {
        /// The name.
        name: String,
    },
    /// A member has this number, name or incarnation.
    #[error("a member has this number, name or incarnation already")]
    Taken,
    /// It has a vote already.
    #[error("replica {number} votes already")]
    AlreadyVoter {
        /// The number.
        number: u64,
    },
    /// The last voter can't leave.
    #[error("no voter would be left")]
    NoVoter,
    /// A number or incarnation of zero, or a name or url that is empty or too long.
    #[error("number and incarnation must be above zero, name and url neither empty nor too long")]
    Unfit,
    /// The bound on members, or on all that ever were.
    #[error("too many replicas belong or belonged to this store")]
    TooManyMembers,
    /// The bound on removed replicas.
    #[error("too many replicas were removed from this store")]
    TooManyRetired,
    /// There is nothing to leave.
    #[error("the configuration isn't a joint one")]
    NotJoint,
    /// Another leader's entry took its place in the log.
    #[error("another leader took over before the change was committed")]
    Replaced,
}

impl Refusal {
    /// Whether the same change may well be made a moment later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::InProgress | Self::Replaced)
    }
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembershipOutcome {
    /// It took effect; the membership after it.
    Applied(Membership),
    /// This replica doesn't lead, or is handing over because it is the one to be removed.
    NotLeader,
    /// It takes no effect.
    Refused {
        /// Why.
        reason: Refusal,
    },
    /// It entered the log of a leader that lost its office; perhaps it takes effect.
    Unknown,
}

/// What an entry of the log asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reconfiguration {
    Change(MembershipChange),
    /// Leaves a joint configuration; only found where another version entered one.
    LeaveJoint,
}

impl Reconfiguration {
    /// The entry to propose.
    pub(crate) fn to_entry(&self) -> Entry {
        let mut entry = Entry { context: self.encode().into(), ..Entry::default() };
        entry.set_entry_type(match self {
            Self::Change(_) => EntryType::EntryConfChange,
            Self::LeaveJoint => EntryType::EntryConfChangeV2,
        });
        entry
    }

    /// Reads an entry; `None` when it is no reconfiguration. Its type and its context must say the same.
    pub(crate) fn of_entry(entry: &Entry) -> Result<Option<Self>, codec::Error> {
        let kind = entry.get_entry_type();
        if kind == EntryType::EntryNormal {
            return Ok(None);
        }
        let unfit = codec::Error::Unknown { field: "entry kind", found: 0 };
        if !entry.data.is_empty() {
            return Err(unfit);
        }
        // Raft's own way to leave, where a snapshot says that it does so by itself.
        if kind == EntryType::EntryConfChangeV2 && entry.context.is_empty() {
            return Ok(Some(Self::LeaveJoint));
        }
        let read = Self::decode(entry.context.clone())?;
        if read.to_entry().get_entry_type() == kind { Ok(Some(read)) } else { Err(unfit) }
    }

    /// What `raft` is told when the entry is applied.
    pub(crate) fn to_raft(&self) -> ConfChangeV2 {
        let (kind, number) = match self {
            Self::Change(MembershipChange::AddLearner { number, .. }) => (ConfChangeType::AddLearnerNode, *number),
            Self::Change(MembershipChange::Promote { number }) => (ConfChangeType::AddNode, *number),
            Self::Change(MembershipChange::Remove { number }) => (ConfChangeType::RemoveNode, *number),
            Self::LeaveJoint => return ConfChangeV2::default(),
        };
        let mut single = ConfChangeSingle::default();
        single.set_change_type(kind);
        single.node_id = number;
        let mut change = ConfChangeV2::default();
        change.set_changes(vec![single].into());
        change
    }

    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(64);
        writer.u8(ENCODING_VERSION);
        match self {
            Self::Change(MembershipChange::AddLearner { number, info }) => {
                writer.u8(ADD_LEARNER);
                writer.u64(*number);
                info.encode(&mut writer);
            }
            Self::Change(MembershipChange::Promote { number }) => {
                writer.u8(PROMOTE);
                writer.u64(*number);
            }
            Self::Change(MembershipChange::Remove { number }) => {
                writer.u8(REMOVE);
                writer.u64(*number);
            }
            Self::LeaveJoint => writer.u8(LEAVE_JOINT),
        }
        writer.finish()
    }

    fn decode(bytes: Bytes) -> Result<Self, codec::Error> {
        let mut reader = Reader::new(bytes);
        match reader.u8("change version")? {
            ENCODING_VERSION => {}
            found => return Err(codec::Error::Unknown { field: "change version", found: found.into() }),
        }
        let change = match reader.u8("change")? {
            ADD_LEARNER => {
                let number = reader.u64("number")?;
                Self::Change(MembershipChange::AddLearner { number, info: ReplicaInfo::decode(&mut reader)? })
            }
            PROMOTE => Self::Change(MembershipChange::Promote { number: reader.u64("number")? }),
            REMOVE => Self::Change(MembershipChange::Remove { number: reader.u64("number")? }),
            LEAVE_JOINT => Self::LeaveJoint,
            found => return Err(codec::Error::Unknown { field: "change", found: found.into() }),
        };
        reader.finish()?;
        Ok(change)
    }
}

/// Changes on their way: a leader has one at most.
#[derive(Debug, Default)]
pub(crate) struct Changing(Placed);

impl Changing {
    pub(crate) fn place(&mut self, id: RequestId, position: Position) {
        self.0.place(id, position);
    }

    /// Everything placed up to and with `position`, which was applied; `outcome` if it was a change.
    pub(crate) fn applied(
        &mut self,
        position: Position,
        outcome: Option<&MembershipOutcome>,
        answers: &mut Vec<(RequestId, MembershipOutcome)>,
    ) {
        self.0.settle(position, |id, fate| {
            let answer = match fate {
                Fate::Applied => outcome.cloned().unwrap_or(MembershipOutcome::Unknown),
                Fate::Replaced => MembershipOutcome::Refused { reason: Refusal::Replaced },
                Fate::Skipped => MembershipOutcome::Unknown,
            };
            answers.push((id, answer));
        });
    }

    pub(crate) fn tick(&mut self, answers: &mut Vec<(RequestId, MembershipOutcome)>) {
        self.0.tick(|id| answers.push((id, MembershipOutcome::Unknown)));
    }
}

#[cfg(test)]
#[path = "reconfiguration_test.rs"]
mod tests;
