//! The hub's own past: whether it was restored from an older backup, and what is left of rollouts that it has lost
//! (SEMANTICS 43).

use std::collections::BTreeMap;

use crds::RolloutAssignment;
use rollout_core::{Header, Heir, HubFacts, Predecessor, Rewound, RolloutState, SpecHash, went_back};
use tokio::time::Instant;

use crate::hub::{HubCache, HubRollout, Wanted};
use crate::mirror::Mirror;
use crate::records;
use crate::world::World;

/// What decisions about one rollout depend on.
#[derive(Default)]
pub(crate) struct Past {
    spec: Option<SpecHash>,
    let_go: bool,
    accepted: u64,
    rewound: Option<records::Rewound>,
    heir: Option<Heir>,
    predecessor: Option<(RolloutState, BTreeMap<String, RolloutAssignment>)>,
}

impl Past {
    /// Of the rollout with this uid; `object` is what the hub has of it.
    pub fn of(world: &World, uid: &str, object: Option<&HubRollout>) -> Self {
        let hub = world.hub();
        let mirror = world.mirror();
        let mut past = Self {
            spec: object.map(|object| object.hash().clone()),
            let_go: hub.has_ended(uid),
            accepted: mirror.hub.accepted,
            rewound: mirror.hub.rewound.clone(),
            ..Self::default()
        };
        let header = mirror.rollout(uid).map(|stored| &stored.state.header);
        match (object, header) {
            _ if past.rewound.is_some() => {}
            (None, Some(header)) => past.heir = heir(&hub, &mirror, header),
            (None, None) => {}
            (Some(object), header) => {
                let begins = header.is_none_or(|header| header.runs_started == 0 && header.inherited_from.is_none());
                let name = object.metadata.name.as_deref().filter(|_| begins);
                past.predecessor = name.and_then(|name| predecessor(&hub, &mirror, name));
            }
        }
        past
    }

    /// The same, as decisions take it.
    pub fn facts(&self) -> HubFacts<'_> {
        let Self { spec, let_go, accepted, rewound, heir, predecessor } = self;
        HubFacts {
            spec: spec.as_ref(),
            let_go: *let_go,
            accepted: *accepted,
            rewound: rewound.as_ref().map(|records::Rewound { since, told }| Rewound { since: *since, told }),
            heir: *heir,
            predecessor: predecessor.as_ref().map(|(state, assignments)| Predecessor { state, assignments }),
        }
    }

    /// uid of the rollout that is inherited from.
    pub fn predecessor(&self) -> Option<&str> {
        self.predecessor.as_ref().map(|(state, _)| state.header.uid.as_str())
    }
}

impl World {
    /// What shows that the hub went back, if anything does.
    pub fn hub_went_back(&self) -> Option<String> {
        let hub = self.hub();
        let mirror = self.mirror();
        // What was seen before this leader's own list may be older than what the leader before it decided on.
        if !hub.is_fresh(Instant::now()) {
            return None;
        }
        let gone = Wanted::Deleted { generation: 0 };
        mirror.rollouts().find_map(|uid| {
            let header = &mirror.rollout(uid)?.state.header;
            let object = hub.rollout_by_uid(uid);
            let facts = HubFacts {
                spec: object.map(|object| object.hash()),
                let_go: hub.has_ended(uid),
                accepted: mirror.hub.accepted,
                ..HubFacts::default()
            };
            went_back(header, object.map_or(&gone, |object| object.wanted()).desired(), &facts)
        })
    }
}

/// The recreated one of a rollout that the hub has lost. One that is complete stays so while the lost one's records go.
fn heir(hub: &HubCache, mirror: &Mirror, header: &Header) -> Option<Heir> {
    let uid = hub.rollout(&header.name)?.metadata.uid.as_deref()?;
    let inherited = mirror.rollout(uid).and_then(|stored| stored.state.header.inherited_from.as_ref());
    if inherited == Some(&header.uid) {
        return Some(Heir::Installed);
    }
    is_lost(hub, header).then_some(Heir::Expected)
}

fn predecessor(
    hub: &HubCache,
    mirror: &Mirror,
    name: &str,
) -> Option<(RolloutState, BTreeMap<String, RolloutAssignment>)> {
    let all = mirror.rollouts().filter_map(|uid| mirror.rollout(uid));
    let lost =
        all.map(|stored| &stored.state).find(|state| state.header.name == name && is_lost(hub, &state.header))?;
    Some((lost.clone(), mirror.assigned(&lost.header.uid).cloned().unwrap_or_default()))
}

/// Whether the hub has a rollout no more, though nobody had let it go.
fn is_lost(hub: &HubCache, header: &Header) -> bool {
    let let_go = header.deleting || header.finalizer_released || hub.has_ended(&header.uid);
    hub.rollout_by_uid(&header.uid).is_none() && !let_go
}
