//! Who belongs to the store, as this replica knows it: the newest membership that it applied itself or heard of.
//!
//! A replica that lags must let replicas in that joined after its last entry, or it could never catch up with them.
//! So a membership that a known member tells counts like one of its own, and the one with the highest index holds.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use store_node::{Membership, ReplicaInfo, Role, SnapshotMeta};

use crate::config::{Checked, ReplicaConfig};
use crate::disk::identity::Identity;

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Peer {
    pub(crate) number: u64,
    pub(crate) id: String,
    pub(crate) url: String,
    pub(crate) incarnation: u64,
    pub(crate) role: Role,
}

/// All members as of an index of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Roster {
    pub(crate) index: u64,
    pub(crate) members: Vec<Peer>,
    pub(crate) retired: BTreeMap<u64, String>,
}

impl Roster {
    /// The membership of the applied state. Members without a name get that of `names`.
    pub(crate) fn of(meta: &SnapshotMeta, names: &HashMap<u64, ReplicaInfo>) -> Self {
        let membership = &meta.membership;
        let peer = |number: u64| {
            let ReplicaInfo { name, url, incarnation } =
                membership.replicas.get(&number).or_else(|| names.get(&number))?.clone();
            Some(Peer { number, id: name, url, incarnation, role: membership.role(number)? })
        };
        let members = membership.members().into_iter().filter_map(peer).collect();
        Self { index: meta.position.index, members, retired: membership.retired.clone() }
    }

    /// Takes what is newer; says whether anything changed.
    pub(crate) fn learn(&mut self, other: Self) -> bool {
        let newer = other.index >= self.index && other != *self;
        if newer {
            *self = other;
        }
        newer
    }

    pub(crate) fn by_number(&self, number: u64) -> Option<&Peer> {
        self.members.iter().find(|peer| peer.number == number)
    }

    pub(crate) fn by_id(&self, id: &str) -> Option<&Peer> {
        self.members.iter().find(|peer| peer.id == id)
    }

    /// Whether this very replica belongs to the store, and not one of the same name with another memory.
    pub(crate) fn has(&self, identity: &Identity) -> bool {
        self.by_number(identity.number)
            .is_some_and(|peer| peer.id == identity.id && peer.incarnation == identity.incarnation)
    }

    pub(crate) fn is_retired(&self, id: &str) -> bool {
        self.retired.values().any(|retired| retired == id)
    }

    /// The configured url of a member wins over the one that it was added with: a replica that moved must be reachable
    /// before the membership can say so.
    pub(crate) fn with_configured_urls(mut self, config: &Checked) -> Self {
        for peer in &mut self.members {
            if let Some(url) = configured_url(config, peer) {
                peer.url = url.to_owned();
            }
        }
        self
    }
}

fn configured_url<'a>(config: &'a Checked, peer: &Peer) -> Option<&'a str> {
    let configured = config.by_id(&peer.id)?;
    (configured.number == peer.number && configured.url != peer.url).then_some(configured.url.as_str())
}

/// Names for a store that was formed before its state held any: incarnations of the formation, the rest as configured.
pub(crate) fn formed_names(config: &Checked, identity: &Identity) -> HashMap<u64, ReplicaInfo> {
    let Some(formation) = &identity.formation else { return HashMap::new() };
    let named = config.config.replicas.iter().filter_map(|replica| {
        let ReplicaConfig { id, number, url } = replica.clone();
        let incarnation = *formation.members.get(&id)?;
        Some((number, ReplicaInfo { name: id, url, incarnation }))
    });
    named.collect()
}

/// Says where configuration and membership differ; the membership holds.
pub(crate) fn compare(config: &Checked, membership: &Membership) {
    let members: BTreeMap<_, _> = membership.replicas.iter().map(|(number, info)| (*number, &info.name)).collect();
    let configured: BTreeMap<_, _> = config.config.replicas.iter().map(|r| (r.number, &r.id)).collect();
    if members != configured {
        tracing::warn!(
            ?members,
            ?configured,
            "the configuration names other replicas than belong to the store; the store's membership holds"
        );
    }
    for (number, ReplicaInfo { name, url, .. }) in &membership.replicas {
        let configured = config.by_id(name).filter(|replica| replica.number == *number && replica.url != *url);
        if let Some(replica) = configured {
            tracing::info!(replica = name, url, configured = replica.url, "the configured url of a member is used");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use store_node::Position;

    use super::*;
    use crate::config::Config;

    fn roster(index: u64, voters: &[u64], names: &[(u64, &str)]) -> Roster {
        let names = names.iter().map(|(number, name)| {
            (*number, ReplicaInfo { name: (*name).to_owned(), url: "https://there".to_owned(), incarnation: 7 })
        });
        let membership = Membership::of_voters(voters.to_vec());
        Roster::of(&SnapshotMeta { position: Position { term: 1, index }, membership }, &names.collect())
    }

    #[test]
    fn the_membership_of_the_highest_index_holds() {
        let mut known = roster(10, &[1, 2], &[(1, "a"), (2, "b")]);
        assert!(!known.learn(roster(9, &[1], &[(1, "a")])));
        assert!(known.learn(roster(12, &[1, 3], &[(1, "a"), (3, "c")])));
        assert!(!known.learn(roster(12, &[1, 3], &[(1, "a"), (3, "c")])));
        assert_eq!(known.by_id("c").map(|peer| peer.number), Some(3));
        assert!(known.by_id("b").is_none());
    }

    #[test]
    fn the_configured_url_of_a_member_wins_and_that_of_another_number_does_not() {
        let config = |number| {
            let own = ReplicaConfig { id: "a".to_owned(), number, url: "https://moved".to_owned() };
            let (cluster, id, data_dir) = ("test".to_owned(), "a".to_owned(), "unused".into());
            let (replicas, tick) = (vec![own], Config::TICK);
            Checked::new(Config { cluster, id, data_dir, replicas, join: false, client: None, tick }).unwrap()
        };
        let known = roster(10, &[1], &[(1, "a")]);
        assert_eq!(known.clone().with_configured_urls(&config(1)).members[0].url, "https://moved");
        assert_eq!(known.with_configured_urls(&config(2)).members[0].url, "https://there");
    }

    #[test]
    fn a_member_whose_name_nobody_knows_is_not_on_the_roster() {
        assert_eq!(roster(10, &[1, 2], &[(1, "a")]).members.len(), 1);
    }
}
