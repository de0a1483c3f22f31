//! Who leads, as callers see it.

use store_node::{Fence, ReplicaView};

use crate::roster::Roster;

/// Who leads, seen from this replica.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Leadership {
    /// Id of the leading replica, if one is known.
    pub leader: Option<String>,
    /// Its url.
    pub url: Option<String>,
    /// The current Raft term.
    pub term: u64,
    /// Set when this replica leads and has applied everything that was committed before its term.
    pub fence: Option<Fence>,
}

impl Leadership {
    /// A leader that isn't a known member can't be spoken with, so it isn't named.
    pub(crate) fn describe(roster: &Roster, view: ReplicaView) -> Self {
        let leader = view.leader.and_then(|number| roster.by_number(number));
        Self {
            leader: leader.map(|peer| peer.id.clone()),
            url: leader.map(|peer| peer.url.clone()),
            term: view.term,
            fence: view.fence,
        }
    }
}
