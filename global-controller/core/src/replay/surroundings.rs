//! What is known of the hub, and of a store that was lost, as values.

use std::collections::BTreeMap;

use crds::{ClusterScopeRolloutStatus, RolloutAssignment};
use serde::{Deserialize, Serialize};

use crate::{Heir, HubFacts, Millis, Observations, Predecessor, Recovery, Rewound, RolloutState, SpecHash};

/// See [`Observations::hub`] and [`Observations::recovery`]. Both are seldom other than at the decision before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Surroundings {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spec: Option<SpecHash>,
    let_go: bool,
    accepted: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rewound: Option<RewoundValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    predecessor: Option<Box<PredecessorValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    heir: Option<Heir>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recovery: Option<Box<RecoveryValue>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RewoundValue {
    since: Millis,
    told: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PredecessorValue {
    state: RolloutState,
    assignments: BTreeMap<String, RolloutAssignment>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecoveryValue {
    epoch: i64,
    status: ClusterScopeRolloutStatus,
    is_current: bool,
    orders: BTreeMap<String, RolloutAssignment>,
}

impl Surroundings {
    /// A copy.
    pub(super) fn of(observations: &Observations<'_>) -> Self {
        let HubFacts { spec, let_go, accepted, rewound, predecessor, heir } = observations.hub;
        let predecessor = predecessor.map(|Predecessor { state, assignments }| {
            Box::new(PredecessorValue { state: state.clone(), assignments: assignments.clone() })
        });
        let recovery = observations.recovery.map(|Recovery { epoch, status, is_current, orders }| {
            Box::new(RecoveryValue { epoch, status: status.clone(), is_current, orders: orders.clone() })
        });
        let rewound = rewound.map(|Rewound { since, told }| RewoundValue { since, told: told.to_owned() });
        Self { spec: spec.cloned(), let_go, accepted, rewound, predecessor, heir, recovery }
    }

    /// As decisions take it.
    pub(super) fn hub(&self) -> HubFacts<'_> {
        let Self { spec, let_go, accepted, rewound, predecessor, heir, recovery: _ } = self;
        HubFacts {
            spec: spec.as_ref(),
            let_go: *let_go,
            accepted: *accepted,
            rewound: rewound.as_ref().map(|RewoundValue { since, told }| Rewound { since: *since, told }),
            predecessor: predecessor
                .as_ref()
                .map(|value| Predecessor { state: &value.state, assignments: &value.assignments }),
            heir: *heir,
        }
    }

    /// As decisions take it.
    pub(super) fn recovery(&self) -> Option<Recovery<'_>> {
        let RecoveryValue { epoch, status, is_current, orders } = self.recovery.as_deref()?;
        Some(Recovery { epoch: *epoch, status, is_current: *is_current, orders })
    }

    /// Members of which it tells.
    pub(super) fn entries(observations: &Observations<'_>) -> usize {
        let inherited =
            observations.hub.predecessor.map_or(0, |past| past.state.members.len() + past.assignments.len());
        inherited + observations.recovery.map_or(0, |recovery| recovery.orders.len())
    }

    /// A decision has taken up what a member told of.
    pub(super) fn take_up(&mut self, member: &str) {
        if let Some(recovery) = &mut self.recovery {
            recovery.orders.remove(member);
        }
    }
}
