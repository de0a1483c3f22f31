//! What the driver hands in: the hub, the committed assignments and the newest reports.

use std::collections::BTreeMap;

use crate::{ActionFacts, Claims, GateSettings, HeardAlerts, HubFacts, MemberStage, Millis, Run, Samples};
use crds::{ClusterScopeRolloutStatus, RolloutAssignment, RolloutAssignmentStatus};
use serde::{Deserialize, Serialize};

/// Everything outside the state that a decision depends on.
///
/// The driver fills it only from complete lists: an empty `members` means that the hub has none, and every
/// assignment is forgotten then. `assignments` must be at least as new as the state.
#[derive(Clone, Copy, Debug)]
pub struct Observations<'a> {
    /// Every `MemberCluster` on the hub.
    pub members: &'a BTreeMap<String, MemberFacts>,
    /// Member to committed assignment of this rollout, with `spec.fence` as the store's revision made it.
    pub assignments: &'a BTreeMap<String, RolloutAssignment>,
    /// Member to newest report about this rollout's uid.
    pub reports: &'a BTreeMap<String, RolloutAssignmentStatus>,
    /// Who has claims on what this rollout changes; as new as the state.
    pub claims: &'a Claims,
    /// What people do to this rollout's runs, as far as its outcome is not on the hub yet, by (`created_at`, uid).
    pub actions: &'a [ActionFacts],
    /// What was measured, each series of this rollout with its latest gate.
    pub samples: &'a Samples,
    /// What Alertmanagers have told of, by fingerprint.
    pub alerts: &'a HeardAlerts,
    /// What the configuration says about gates.
    pub gates: &'a GateSettings,
    /// Whether the hub's watch is alive. While it is silent nothing goes forward.
    pub hub_fresh: bool,
    /// When this leader began to decide; 0 for who only looks. What fell due before, while nobody may have been able
    /// to report, is not held against a member before its report had time to arrive.
    pub judging_since: Millis,
    /// What is known of the hub, beside the rollout's own object.
    pub hub: HubFacts<'a>,
    /// What tells of runs that the store may not know; none in a store that was never lost nor went back.
    pub recovery: Option<Recovery<'a>>,
}

/// What tells of runs that the store may not know, because it was lost or went back (SEMANTICS 42).
#[derive(Clone, Copy, Debug)]
pub struct Recovery<'a> {
    /// Epoch of the store. Records of an earlier one are adopted before anything else is decided.
    pub epoch: i64,
    /// Status of the rollout on the hub; the default of a rollout that has none, or is gone.
    pub status: &'a ClusterScopeRolloutStatus,
    /// Whether the status speaks of the specification of now.
    pub is_current: bool,
    /// Member to the order of this rollout that it has, with its status, as uploaded and not taken up yet.
    pub orders: &'a BTreeMap<String, RolloutAssignment>,
}

/// What is known of one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberFacts {
    /// Labels of the `MemberCluster`.
    pub labels: BTreeMap<String, String>,
    /// Whether its agent is heard.
    pub reachable: Reachability,
    /// Whether a person keeps it out of new waves.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cordoned: bool,
    /// Whether the store knows what it was told before: always, but in a store that was lost or went back, which the
    /// member has to tell first.
    pub uploaded: bool,
    /// What its agent understands, see [`crds::AGENT_API_LEVEL`]; 1 where it has not said so.
    #[serde(default = "first_level", skip_serializing_if = "is_first_level")]
    pub api_level: i32,
}

fn first_level() -> i32 {
    crds::FIRST_API_LEVEL
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As serde hands it over.
fn is_first_level(level: &i32) -> bool {
    *level == first_level()
}

/// Whether a member's agent is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reachability {
    /// Heard lately.
    Reachable,
    /// Silent for too long.
    Unreachable,
    /// A new leader has not heard it yet and can't judge.
    Unknown,
}

impl MemberFacts {
    /// Value of a label; empty where the member doesn't have it.
    pub(crate) fn label(&self, key: &str) -> &str {
        self.labels.get(key).map_or("", String::as_str)
    }
}

impl<'a> Observations<'a> {
    /// Whether a member's agent is heard; one without `MemberCluster` is not. One that has not told yet what it was told
    /// before can't be judged.
    pub fn reachability(&self, member: &str) -> Reachability {
        match self.members.get(member) {
            None => Reachability::Unreachable,
            Some(MemberFacts { reachable: Reachability::Reachable, uploaded: false, .. }) => Reachability::Unknown,
            Some(facts) => facts.reachable,
        }
    }

    /// Whether the store knows what the member was told before; there is nothing to know of one without `MemberCluster`.
    pub fn is_known(&self, member: &str) -> bool {
        self.members.get(member).is_none_or(|facts| facts.uploaded)
    }

    /// Container to image, as a member gets it in a run by its labels of this moment.
    pub(crate) fn images_for(&self, run: &Run, member: &str) -> BTreeMap<String, String> {
        run.payload.images_for(member, self.labels_of(member))
    }

    /// Whether a member of which these images were seen runs what it gets in a run by now. Whether whole objects are as they
    /// are to be the hub can't see.
    pub(crate) fn runs_it(&self, run: &Run, member: &str, images: &BTreeMap<String, String>) -> bool {
        let wanted = self.images_for(run, member);
        run.payload.workload().is_some() && wanted.iter().all(|(container, image)| images.get(container) == Some(image))
    }

    /// The labels of a member; one without `MemberCluster` has none.
    pub(crate) fn labels_of(&self, member: &str) -> &'a BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.members.get(member).map_or(&NONE, |facts| &facts.labels)
    }

    /// Whether a person keeps a member out of new waves.
    pub fn is_cordoned(&self, member: &str) -> bool {
        self.members.get(member).is_some_and(|facts| facts.cordoned)
    }

    /// Whether a member's agent is too old for what a run delivers (SEMANTICS 49): it would not understand the order.
    pub(crate) fn is_too_old(&self, run: &Run, member: &str) -> bool {
        self.members.get(member).is_some_and(|facts| facts.api_level < run.payload.api_level())
    }

    /// Whether that keeps it from being told to run the revision: one that was told before goes on.
    pub(crate) fn keeps_out(&self, member: &str, stage: MemberStage) -> bool {
        self.is_cordoned(member) && !stage.is_assigned()
    }

    /// The member's report, if it answers its committed assignment. One that answers an earlier assignment
    /// says nothing about the present one: its health is that of another revision.
    pub fn answer(&self, member: &str) -> Option<(&'a RolloutAssignment, &'a RolloutAssignmentStatus)> {
        let assignment = self.assignments.get(member)?;
        let report = self.reports.get(member)?;
        (report.fence == assignment.spec.fence).then_some((assignment, report))
    }
}
