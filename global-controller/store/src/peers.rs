//! What a running replica knows of the others: learning a newer membership, and finding a peer in it.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use crate::config::ReplicaConfig;
use crate::handle::Shared;
use crate::leadership::Leadership;
use crate::roster::{Peer, Roster};

impl Shared {
    /// The membership of the applied state.
    pub(crate) fn applied_roster(&self) -> Roster {
        let meta = self.table.read().meta();
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        Roster::of(&meta, &names).with_configured_urls(&self.config)
    }

    /// Takes a newer membership over, from the applied state or from a member.
    pub(crate) fn learn(&self, roster: Roster) {
        let roster = roster.with_configured_urls(&self.config);
        let changed = self.roster.send_if_modified(|known| known.learn(roster));
        if changed && self.roster.borrow().retired.contains_key(&self.config.own.number) {
            self.note_removal("the membership");
        }
    }

    /// This replica no longer belongs to the store: it says so once, and takes no part in elections any more.
    pub(crate) fn note_removal(&self, told_by: &str) {
        if !self.removed.swap(true, Ordering::Relaxed) {
            tracing::error!(
                replica = self.config.own.id,
                told_by,
                "this replica was removed from the store and takes no part in it any more; to bring the machine back,                  give it a new id and number and an empty folder, configure it to join, and add it"
            );
            self.leadership.send_replace(Leadership::default());
            // Connections end, also where the membership known here still names this replica.
            self.roster.send_modify(|_| {});
        }
    }

    /// A member by its name, with where it can be reached.
    pub(crate) fn peer_by_id(&self, id: &str) -> Option<Peer> {
        self.roster.borrow().by_id(id).cloned()
    }

    /// A member by its Raft id.
    pub(crate) fn peer_by_number(&self, number: u64) -> Option<Peer> {
        self.roster.borrow().by_number(number).cloned()
    }

    /// All other replicas that are members or configured.
    pub(crate) fn peers_to_ask(&self) -> Vec<ReplicaConfig> {
        let own = self.config.own.number;
        let members = self.roster.borrow().members.clone();
        let members = members.into_iter().filter(|peer| peer.number != own);
        let members = members.map(|Peer { number, id, url, .. }| ReplicaConfig { id, number, url });
        let mut found: Vec<_> = members.collect();
        let configured = self.config.others().filter(|other| found.iter().all(|member| member.id != other.id));
        let configured: Vec<_> = configured.cloned().collect();
        found.extend(configured);
        found
    }
}
