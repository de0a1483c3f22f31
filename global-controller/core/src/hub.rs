//! What a rollout knows of the hub beside its own object, and how it tells that the hub was restored from an older backup
//! (SEMANTICS 43).

use std::collections::BTreeMap;

use crds::RolloutAssignment;
use serde::{Deserialize, Serialize};

use crate::{Desired, Header, Millis, RolloutState};

/// What is known of the hub, beside the rollout's own object.
#[derive(Clone, Copy, Debug, Default)]
pub struct HubFacts<'a> {
    /// The rollout's specification; none when the object is gone.
    pub spec: Option<&'a SpecHash>,
    /// Whether it was watched how the object went: its finalizer was taken away, by whomever.
    pub let_go: bool,
    /// How often people have accepted the hub as it is. What was seen before says nothing after that.
    pub accepted: u64,
    /// That the hub went back, until a person accepts it.
    pub rewound: Option<Rewound<'a>>,
    /// What is left of a rollout of the same name whose object is gone, though nobody had let it go.
    pub predecessor: Option<Predecessor<'a>>,
    /// Of a rollout whose object is gone, though nobody had let it go: whether another of the same name is there.
    pub heir: Option<Heir>,
}

/// That the hub was restored from an older backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewound<'a> {
    /// Since when that is known.
    pub since: Millis,
    /// What shows it, in words: see [`went_back`].
    pub told: &'a str,
}

/// What a recreated rollout inherits from the one that had its name.
#[derive(Clone, Copy, Debug)]
pub struct Predecessor<'a> {
    /// All that was decided about it.
    pub state: &'a RolloutState,
    /// Member to committed assignment.
    pub assignments: &'a BTreeMap<String, RolloutAssignment>,
}

/// How far a rollout has inherited from the one that had its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Heir {
    /// It has yet to.
    Expected,
    /// It has everything.
    Installed,
}

/// What tells two specifications apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpecHash {
    /// Release of the controller that read it: another may know other fields and defaults.
    pub release: String,
    /// Hash of all that it read.
    pub hash: String,
}

impl SpecHash {
    fn contradicts(&self, other: &Self) -> bool {
        self.release == other.release && self.hash != other.hash
    }
}

/// The specification that was last decided on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeenSpec {
    /// metadata.generation.
    pub generation: i64,
    /// The same, whatever its generation.
    pub spec: SpecHash,
    /// How often people had accepted the hub by then.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub accepted: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As serde hands it over.
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What the hub says of a rollout that it can only say when it went back, in words; none when there is nothing of the kind.
/// Of a hub that is silent, or was not listed by this leader yet, it says nothing: what is seen of it may be old.
pub fn went_back(header: &Header, desired: Desired<'_>, hub: &HubFacts<'_>) -> Option<String> {
    let seen = header.seen.as_ref().filter(|seen| seen.accepted == hub.accepted)?;
    let Some(spec) = hub.spec else {
        let left = header.deleting || header.finalizer_released || hub.let_go || hub.heir == Some(Heir::Installed);
        return (!left).then(|| format!("{} is gone, though nobody took its finalizer away", header.name));
    };
    let generation = generation(desired);
    if generation < seen.generation {
        return Some(format!("{} has generation {generation}, and had {} before", header.name, seen.generation));
    }
    let other = generation == seen.generation && spec.contradicts(&seen.spec);
    other.then(|| format!("{} has generation {generation}, and had another specification with the same", header.name))
}

/// metadata.generation.
pub(crate) fn generation(desired: Desired<'_>) -> i64 {
    match desired {
        Desired::Present(rollout) => rollout.generation,
        Desired::Invalid { generation, .. } | Desired::Deleted { generation } => generation,
    }
}
