//! Who belongs to the store: Raft's configuration in our own terms, with names and addresses, as it lies in snapshots.

use std::collections::{BTreeMap, BTreeSet};

use raft::eraftpb::ConfState;
use serde::{Deserialize, Serialize};

use crate::codec::{self, Reader, Writer};
use crate::reconfiguration::{MembershipChange, Refusal};

/// Replicas in one list of a configuration that is read; more than any sensible store has.
const MAX_LISTED: usize = 64;
/// Replicas that may belong to a store at once: five voters, and room for replacing each of them.
pub const MAX_MEMBERS: usize = 16;
/// Replicas that may be removed in a store's life. Their ids are kept for ever, in memory and in each snapshot, and
/// a thousand of the longest names are a quarter of a mebibyte.
pub const MAX_RETIRED: usize = 1024;
/// Longest name of a replica in bytes: that of a DNS name.
pub const MAX_NAME_BYTES: usize = 253;
/// Longest url of a replica in bytes: a name, a scheme and a port need far less.
pub const MAX_URL_BYTES: usize = 1024;

const AUTO_LEAVE: u8 = 1;
/// Snapshots before membership changes existed end with the auto-leave byte, and this bit was never set in them.
const REPLICAS_FOLLOW: u8 = 2;
const REPLICAS_VERSION: u8 = 1;

/// Who a replica is, beside its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaInfo {
    /// Its id, also the common name of its certificate.
    pub name: String,
    /// Where its listener is.
    pub url: String,
    /// Made when its folder was new: a replica whose folder was lost comes back with another one.
    pub incarnation: u64,
}

/// What a replica does in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// It counts in elections and commits.
    Voter,
    /// It only follows.
    Learner,
}

/// Replica numbers by role, and who they are. All five lists of Raft are kept, so that a snapshot taken in the middle
/// of a change is complete.
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
    /// Who the members are, by number. A store formed before memberships could change names nobody here.
    pub replicas: BTreeMap<u64, ReplicaInfo>,
    /// Names of the replicas that were removed, by number. Neither is ever used again.
    pub retired: BTreeMap<u64, String>,
}

impl Membership {
    /// A settled configuration of voters only, whose names aren't known.
    pub fn of_voters(mut voters: Vec<u64>) -> Self {
        voters.sort_unstable();
        Self { voters, ..Self::default() }
    }

    /// A settled configuration of named voters.
    pub fn of_replicas(replicas: BTreeMap<u64, ReplicaInfo>) -> Self {
        Self { voters: replicas.keys().copied().collect(), replicas, ..Self::default() }
    }

    /// Numbers of all members, also of those that are about to leave.
    pub fn members(&self) -> BTreeSet<u64> {
        let lists = [&self.voters, &self.learners, &self.voters_outgoing, &self.learners_next];
        lists.into_iter().flatten().copied().collect()
    }

    /// Whether a replica belongs to the store.
    pub fn contains(&self, number: u64) -> bool {
        let lists = [&self.voters, &self.learners, &self.voters_outgoing, &self.learners_next];
        lists.into_iter().any(|list| list.contains(&number))
    }

    /// What a member does; `None` for a stranger.
    pub fn role(&self, number: u64) -> Option<Role> {
        if self.voters.contains(&number) || self.voters_outgoing.contains(&number) {
            return Some(Role::Voter);
        }
        self.contains(number).then_some(Role::Learner)
    }

    /// Whether one configuration is being left for another.
    pub fn is_joint(&self) -> bool {
        !self.voters_outgoing.is_empty()
    }

    /// What the membership is after `change`, or why the change isn't allowed. It only looks at what all replicas
    /// know alike, so that all of them come to the same result.
    pub fn after(&self, change: &MembershipChange) -> Result<Self, Refusal> {
        if self.is_joint() {
            return Err(Refusal::InProgress);
        }
        let mut next = self.clone();
        match change {
            MembershipChange::AddLearner { number, info } => {
                self.check_new(*number, info)?;
                next.learners.push(*number);
                next.learners.sort_unstable();
                next.replicas.insert(*number, info.clone());
            }
            MembershipChange::Promote { number } => {
                self.check_member(*number)?;
                if self.voters.contains(number) {
                    return Err(Refusal::AlreadyVoter { number: *number });
                }
                next.learners.retain(|learner| learner != number);
                next.voters.push(*number);
                next.voters.sort_unstable();
            }
            MembershipChange::Remove { number } => {
                self.check_member(*number)?;
                if self.retired.len() >= MAX_RETIRED {
                    return Err(Refusal::TooManyRetired);
                }
                next.voters.retain(|voter| voter != number);
                next.learners.retain(|learner| learner != number);
                if next.voters.is_empty() {
                    return Err(Refusal::NoVoter);
                }
                next.retire_strangers();
                next.retired.entry(*number).or_default();
            }
        }
        Ok(next)
    }

    fn check_member(&self, number: u64) -> Result<(), Refusal> {
        match self.contains(number) {
            true => Ok(()),
            false if self.retired.contains_key(&number) => Err(Refusal::Retired { number }),
            false => Err(Refusal::Unknown { number }),
        }
    }

    fn check_new(&self, number: u64, info: &ReplicaInfo) -> Result<(), Refusal> {
        let ReplicaInfo { name, url, incarnation } = info;
        let fits = (1..=MAX_NAME_BYTES).contains(&name.len()) && (1..=MAX_URL_BYTES).contains(&url.len());
        if number == 0 || *incarnation == 0 || !fits {
            return Err(Refusal::Unfit);
        }
        if self.retired.contains_key(&number) {
            return Err(Refusal::Retired { number });
        }
        if self.retired.values().any(|retired| retired == name) {
            return Err(Refusal::RetiredName { name: name.clone() });
        }
        let taken = |other: &ReplicaInfo| other.name == *name || other.incarnation == *incarnation;
        if self.contains(number) || self.replicas.values().any(taken) {
            return Err(Refusal::Taken);
        }
        // Each member must be removable one day, or a broken one could never be replaced.
        if self.members().len() >= MAX_MEMBERS || self.retired.len() + self.members().len() >= MAX_RETIRED {
            return Err(Refusal::TooManyMembers);
        }
        Ok(())
    }

    fn retire_strangers(&mut self) {
        let members = self.members();
        let gone: Vec<_> = self.replicas.extract_if(.., |number, _| !members.contains(number)).collect();
        self.retired.extend(gone.into_iter().map(|(number, info)| (number, info.name)));
    }

    /// Takes over what Raft made of a change.
    pub(crate) fn adopt(&mut self, state: &ConfState) {
        let Self { voters, learners, voters_outgoing, learners_next, auto_leave, .. } = Self::from_raft(state);
        (self.voters, self.learners) = (voters, learners);
        (self.voters_outgoing, self.learners_next, self.auto_leave) = (voters_outgoing, learners_next, auto_leave);
        self.retire_strangers();
    }

    pub(crate) fn to_raft(&self) -> ConfState {
        let Self { voters, learners, voters_outgoing, learners_next, auto_leave, replicas: _, retired: _ } =
            self.clone();
        let mut state = ConfState::default();
        state.set_voters(voters);
        state.set_learners(learners);
        state.set_voters_outgoing(voters_outgoing);
        state.set_learners_next(learners_next);
        state.set_auto_leave(auto_leave);
        state
    }

    /// Raft's part alone. Raft keeps sets, so the order of its lists means nothing.
    pub(crate) fn from_raft(state: &ConfState) -> Self {
        let sorted = |ids: &[u64]| {
            let mut ids = ids.to_vec();
            ids.sort_unstable();
            ids
        };
        Self {
            voters: sorted(state.get_voters()),
            learners: sorted(state.get_learners()),
            voters_outgoing: sorted(state.get_voters_outgoing()),
            learners_next: sorted(state.get_learners_next()),
            auto_leave: state.get_auto_leave(),
            ..Self::default()
        }
    }

    /// Writes all fields. A membership that names nobody is written as before names existed.
    pub fn encode(&self, writer: &mut Writer) {
        let Self { voters, learners, voters_outgoing, learners_next, auto_leave, replicas, retired } = self;
        for ids in [voters, learners, voters_outgoing, learners_next] {
            writer.count(ids.len());
            for id in ids {
                writer.u64(*id);
            }
        }
        let named = !replicas.is_empty() || !retired.is_empty();
        let auto_leave = if *auto_leave { AUTO_LEAVE } else { 0 };
        writer.u8(auto_leave | if named { REPLICAS_FOLLOW } else { 0 });
        if !named {
            return;
        }
        writer.u8(REPLICAS_VERSION);
        writer.count(replicas.len());
        for (number, info) in replicas {
            writer.u64(*number);
            info.encode(writer);
        }
        writer.count(retired.len());
        for (number, name) in retired {
            writer.u64(*number);
            writer.bytes(name.as_bytes());
        }
    }

    /// Reads what [`Membership::encode`] wrote, in this version or before replicas had names.
    pub fn decode(reader: &mut Reader) -> Result<Self, codec::Error> {
        let mut ids = || -> Result<Vec<u64>, codec::Error> {
            let count = reader.count("replicas", MAX_LISTED)?;
            (0..count).map(|_| reader.u64("replica")).collect()
        };
        let (voters, learners, voters_outgoing, learners_next) = (ids()?, ids()?, ids()?, ids()?);
        let flags = reader.u8("membership flags")?;
        if flags & !(AUTO_LEAVE | REPLICAS_FOLLOW) != 0 {
            return Err(codec::Error::Unknown { field: "membership flags", found: flags.into() });
        }
        let auto_leave = flags & AUTO_LEAVE != 0;
        let mut membership = Self { voters, learners, voters_outgoing, learners_next, auto_leave, ..Self::default() };
        if flags & REPLICAS_FOLLOW != 0 {
            membership.decode_replicas(reader)?;
        }
        Ok(membership)
    }

    fn decode_replicas(&mut self, reader: &mut Reader) -> Result<(), codec::Error> {
        match reader.u8("replicas version")? {
            REPLICAS_VERSION => {}
            found => return Err(codec::Error::Unknown { field: "replicas version", found: found.into() }),
        }
        for _ in 0..reader.count("named replicas", MAX_LISTED)? {
            self.replicas.insert(reader.u64("replica")?, ReplicaInfo::decode(reader)?);
        }
        for _ in 0..reader.count("retired replicas", MAX_RETIRED)? {
            self.retired.insert(reader.u64("replica")?, reader.text("name", MAX_NAME_BYTES)?);
        }
        Ok(())
    }
}

impl ReplicaInfo {
    pub(crate) fn encode(&self, writer: &mut Writer) {
        let Self { name, url, incarnation } = self;
        writer.bytes(name.as_bytes());
        writer.bytes(url.as_bytes());
        writer.u64(*incarnation);
    }

    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, codec::Error> {
        let (name, url) = (reader.text("name", MAX_NAME_BYTES)?, reader.text("url", MAX_URL_BYTES)?);
        Ok(Self { name, url, incarnation: reader.u64("incarnation")? })
    }
}

#[cfg(test)]
#[path = "membership_test.rs"]
mod tests;
