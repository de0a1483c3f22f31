//! A hub that is restored from an older backup.

use std::collections::BTreeMap;

use crds::RolloutAssignment;
use rollout_core::{Heir, HubFacts, Millis, Predecessor, Rewound, RolloutState, SpecHash, went_back};

use super::{Spec, World};

/// What the hub tells of its own past, and what is left of a rollout that it has lost.
#[derive(Clone, Default)]
pub struct Hub {
    pub spec: SpecHash,
    pub gone: bool,
    pub let_go: bool,
    pub accepted: u64,
    /// Since when, and what shows it.
    pub rewound: Option<(Millis, String)>,
    pub heir: Option<Heir>,
    predecessor: Option<(RolloutState, BTreeMap<String, RolloutAssignment>)>,
}

impl Hub {
    pub fn facts(&self) -> HubFacts<'_> {
        let Self { spec, gone, let_go, accepted, rewound, heir, predecessor } = self;
        let predecessor = predecessor.as_ref().filter(|_| rewound.is_none());
        HubFacts {
            spec: (!gone).then_some(spec),
            let_go: *let_go,
            accepted: *accepted,
            rewound: rewound.as_ref().map(|(since, told)| Rewound { since: *since, told }),
            heir: *heir,
            predecessor: predecessor.map(|(state, assignments)| Predecessor { state, assignments }),
        }
    }

    /// As the commit of the action does.
    pub fn accept(&mut self) {
        (self.accepted, self.rewound) = (self.accepted + 1, None);
    }

    /// Uid of the rollout that was lost.
    pub fn lost(&self) -> Option<&str> {
        self.predecessor.as_ref().map(|(state, _)| state.header.uid.as_str())
    }
}

impl World {
    /// The object is as it was, and the driver notices.
    pub fn rewind_to(&mut self, spec: Spec) {
        self.spec = spec;
        self.edit(|spec| spec.generation -= 1);
        self.notice();
    }

    /// The object is gone, and nobody had taken its finalizer away.
    pub fn lose_object(&mut self) {
        (self.deleted, self.hub.gone, self.spec.generation) = (true, true, 0);
        self.notice();
    }

    /// Somebody creates it again, perhaps with another specification.
    pub fn recreate(&mut self, edit: impl FnOnce(&mut Spec)) {
        let state = RolloutState::new("checkout", "22c9-0001");
        let old = std::mem::replace(&mut self.state, state);
        self.hub.predecessor = Some((old, std::mem::take(&mut self.assignments)));
        self.reports.clear();
        (self.deleted, self.hub.gone) = (false, false);
        self.edit(|spec| {
            (spec.uid, spec.generation) = ("22c9-0001".to_owned(), 0);
            edit(spec);
        });
    }

    fn notice(&mut self) {
        let told = went_back(&self.state.header, self.desired(), &self.hub.facts());
        self.hub.rewound = Some((self.now, told.expect("something shows that the hub went back")));
    }
}
