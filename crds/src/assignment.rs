//! `RolloutAssignment`: the order to one member, and what its agent saw.
//!
//! The same object is the message on the wire, the record in the store and the custom resource in the
//! member, where it is the last known state: an agent that restarts without the hub carries on from it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::deadline::{Deadline, OnDeadline};
use crate::drift::OnDrift;
use crate::{AssignedManifests, Revision, WorkloadKind, images_hash};

/// The order "on this member, make this rollout be at this revision". Its object has the rollout's name.
#[derive(Clone, Debug, PartialEq, Eq, CustomResource, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "rollout.example.com",
    version = "v1alpha1",
    kind = "RolloutAssignment",
    plural = "rolloutassignments",
    shortname = "roas",
    category = "rollouts",
    status = "RolloutAssignmentStatus",
    derive = "PartialEq",
    doc = "A RolloutAssignment is the order of the hub to this cluster for one rollout. The agent writes and obeys it; people only read it.",
    printcolumn(name = "Intent", type_ = "string", json_path = ".spec.intent"),
    printcolumn(name = "Revision", type_ = "string", json_path = ".spec.revision"),
    printcolumn(name = "Outcome", type_ = "string", json_path = ".status.outcome"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.workload) != has(self.manifests)").message("give workload or manifests").reason(Reason::FieldValueInvalid).field_path(".workload"))]
pub struct RolloutAssignmentSpec {
    /// Name of this member on the hub. An agent refuses an assignment for another one.
    #[schemars(length(min = 1, max = 63))]
    pub member: String,
    /// The rollout on the hub.
    pub rollout: AssignedRollout,
    /// Hash of the payload.
    pub revision: Revision,
    /// What to do.
    pub intent: Intent,
    /// Position in the order of all assignments; an agent never goes back to a lower one.
    pub fence: Fence,
    /// The workload that is meant, and its images. Either this or manifests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<AssignedWorkload>,
    /// The objects that are meant. Either this or workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifests: Option<AssignedManifests>,
    /// For Apply: hash (16 hexadecimal digits) of what was observed before, that is the images of all containers, or the
    /// snapshot of the objects. The agent answers PreviousChanged, and applies nothing, when there is neither this nor
    /// what is assigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub expected_hash: Option<String>,
    /// What the member ran when this rollout first touched it: where Return goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
    /// Seconds from taking up this assignment until the workload must be healthy.
    #[schemars(range(min = 1, max = 86_400))]
    pub deadline_seconds: i64,
    /// For Apply: what the agent does by itself when the workload is not healthy within deadlineSeconds. Return: it sets
    /// the images of previous for the containers of workload.images, or makes the objects what they were in its snapshot, also
    /// when cut off from the hub, and stays there until another assignment comes. Hold: it goes on as before. Default Hold.
    #[serde(default, skip_serializing_if = "OnDeadline::is_hold")]
    pub on_deadline: OnDeadline,
    /// For Apply and Return: what the agent does when somebody else changes the images or fields that it has set. Repair: it sets
    /// them again, until another field manager has changed them three times within 10 minutes (outcome Contended). Report:
    /// it leaves them alone and says so (outcome Drifted). Default Repair.
    #[serde(default, skip_serializing_if = "OnDrift::is_repair")]
    pub on_drift: OnDrift,
}

/// The rollout that an assignment belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AssignedRollout {
    /// metadata.name on the hub.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// metadata.uid on the hub: tells a recreated rollout of the same name from the old one.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
    /// Number of the run.
    pub run: i64,
}

/// The workload that is meant, and its images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AssignedWorkload {
    /// Kind, of apiVersion apps/v1.
    pub kind: WorkloadKind,
    /// Namespace.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Container name to image: what Apply sets. For Return: the containers that this rollout has set, and their
    /// images before.
    #[schemars(extend("maxProperties" = 64))]
    pub images: BTreeMap<String, String>,
}

/// What to do with the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Intent {
    /// Report what is there and change nothing.
    Observe,
    /// Set the images, report health, and keep them set, as onDrift says.
    Apply,
    /// Set the images of `previous`, report health, and keep them set, as onDrift says.
    Return,
    /// Forget this assignment and touch no workload.
    Withdraw,
}

impl Intent {
    /// The intent as it is written in the spec.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "Observe",
            Self::Apply => "Apply",
            Self::Return => "Return",
            Self::Withdraw => "Withdraw",
        }
    }
}

/// Position in the order of all assignments: first by epoch, then by generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fence {
    /// Rises when the store is restored from a backup or rebuilt.
    pub epoch: i64,
    /// Revision of the assignment in the store: one counter for all of them.
    pub generation: i64,
}

impl std::fmt::Display for Fence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.epoch, self.generation)
    }
}

/// What a member ran before a rollout first touched it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Previous {
    /// metadata.uid of the workload.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// Images of all its containers, init containers included.
    #[schemars(extend("maxProperties" = 64))]
    pub images: BTreeMap<String, String>,
    /// Whether it was healthy.
    pub healthy: bool,
    /// With manifests: name of what the objects were (16 hexadecimal digits). The agent keeps it, in its own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub snapshot: Option<String>,
}

impl Previous {
    /// What was observed.
    pub fn of(observed: &WorkloadObservation) -> Self {
        let WorkloadObservation { uid, images, healthy, snapshot, .. } = observed.clone();
        Self { uid, images, healthy, snapshot }
    }
}

impl RolloutAssignmentSpec {
    /// Hash of what is assigned, as the agent reports it when it has applied that; none where nothing is.
    pub fn content_hash(&self) -> Option<String> {
        let images = || self.workload.as_ref().map(|workload| images_hash(&workload.images));
        self.manifests.as_ref().map(|manifests| manifests.hash.clone()).or_else(images)
    }

    /// Container to image, where that is what is assigned; none in an order of whole objects.
    pub fn images(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.workload.as_ref().map_or(&NONE, |workload| &workload.images)
    }

    /// Whether what an agent saw may be what is assigned: its controllers have seen it, and it has the images. Whether
    /// objects are as assigned the agent alone can tell.
    pub fn may_be(&self, seen: &WorkloadObservation) -> bool {
        let images = self.images().iter().all(|(container, image)| seen.images.get(container) == Some(image));
        seen.observed_generation >= seen.generation && images
    }
}

/// What the agent saw, tied to the fence that it answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutAssignmentStatus {
    /// Fence of the assignment that this answers.
    #[serde(default)]
    pub fence: Fence,
    /// Rises with each status under any fence, not by one, so that a late report never hides a newer one.
    #[serde(default)]
    pub sequence: i64,
    /// The agent's answer.
    #[serde(default)]
    pub outcome: Outcome,
    /// Hash of the images that the agent last applied under this fence's rollout uid and revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub applied_hash: Option<String>,
    /// The workload as last seen; absent when it does not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadObservation>,
    /// For people: what is being waited for, or what went wrong.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// When the outcome last changed, by the member's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Time>,
    /// How far the deadline is; absent when the agent does nothing by itself at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Deadline>,
}

/// The agent's answer to an assignment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Outcome {
    /// Taken up, nothing to say yet.
    #[default]
    Accepted,
    /// Answer to Observe: the workload is as described.
    Observed,
    /// The images are set; the workload is not healthy yet, or no longer.
    Progressing,
    /// The images are set, and the workload's owner has to delete old pods: its update strategy is OnDelete. Those that are
    /// there are available. No deadline runs.
    PodDeletionByOwner,
    /// The images are set and the workload is healthy.
    Healthy,
    /// Nothing was applied: the workload no longer has the images that were observed.
    PreviousChanged,
    /// Nothing was applied: the workload, or a container of it, does not exist.
    WorkloadMissing,
    /// Nothing was applied: the member's API server refused it. The message says why; the agent goes on trying.
    Refused,
    /// Answer to Withdraw: the assignment is gone.
    Withdrawn,
    /// Answer to Apply with onDeadline Return: the workload was not healthy in time, and has its previous images again.
    /// It keeps them until another assignment comes.
    Reverted,
    /// Answer to an assignment with onDrift Report: the workload no longer has the images that were set, and is left
    /// alone. The message says who set which.
    Drifted,
    /// Another field manager has changed the images three times within 10 minutes. The message names it; the agent sets
    /// nothing until another assignment comes.
    Contended,
}

impl Outcome {
    /// Whether somebody else has changed the images, and the agent leaves them as they are.
    pub fn is_drift(self) -> bool {
        matches!(self, Self::Drifted | Self::Contended)
    }

    /// The outcome as it is written in the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::Observed => "Observed",
            Self::Progressing => "Progressing",
            Self::PodDeletionByOwner => "PodDeletionByOwner",
            Self::Healthy => "Healthy",
            Self::PreviousChanged => "PreviousChanged",
            Self::WorkloadMissing => "WorkloadMissing",
            Self::Refused => "Refused",
            Self::Withdrawn => "Withdrawn",
            Self::Reverted => "Reverted",
            Self::Drifted => "Drifted",
            Self::Contended => "Contended",
        }
    }
}

/// A workload as the agent saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadObservation {
    /// metadata.uid.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// metadata.generation.
    pub generation: i64,
    /// status.observedGeneration.
    pub observed_generation: i64,
    /// Images of all containers, init containers included.
    #[schemars(extend("maxProperties" = 64))]
    pub images: BTreeMap<String, String>,
    /// Pods wanted.
    pub desired: i32,
    /// Pods of the current template.
    pub updated: i32,
    /// Pods that are ready.
    pub ready: i32,
    /// Pods that have been ready for long enough.
    pub available: i32,
    /// Whether the workload is healthy by its own status.
    pub healthy: bool,
    /// Whether it is healthy although pods are of an older template: those below the StatefulSet's partition.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// With manifests: name of what the objects are (16 hexadecimal digits), that is the values of all fields that the rollout
    /// sets or has set, and which objects are missing. Then all numbers above are of objects, not of pods: wanted, as
    /// assigned, ready, and ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub snapshot: Option<String>,
}

impl WorkloadObservation {
    /// Hash of what was seen, as an order to apply names what it expects.
    pub fn content_hash(&self) -> String {
        self.snapshot.clone().unwrap_or_else(|| images_hash(&self.images))
    }
}
