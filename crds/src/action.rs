//! `RolloutAction`: what a person does to a run.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Revision;

/// What a person does to one run of a rollout, as they saw it.
#[derive(Clone, Debug, PartialEq, Eq, CustomResource, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "rollout.example.com",
    version = "v1alpha1",
    kind = "RolloutAction",
    plural = "rolloutactions",
    shortname = "ra",
    category = "rollouts",
    status = "RolloutActionStatus",
    derive = "PartialEq",
    doc = "A RolloutAction is what a person does to a run of a ClusterScopeRollout: approve a step, abort, retry, resume, accept the hub. The controller takes it up once and writes the outcome.",
    printcolumn(
        name = "Rollout",
        type_ = "string",
        json_path = ".spec.rollout.name",
        description = "Name of the rollout"
    ),
    printcolumn(
        name = "Action",
        type_ = "string",
        json_path = ".spec.action",
        description = "What is done to its run"
    ),
    printcolumn(name = "Run", type_ = "integer", json_path = ".spec.run", description = "Number of the run"),
    printcolumn(name = "Step", type_ = "integer", json_path = ".spec.step", description = "Step of the run, from 1"),
    printcolumn(name = "Who", type_ = "string", json_path = ".spec.who", description = "User who did it"),
    printcolumn(name = "Outcome", type_ = "string", json_path = ".status.outcome", description = "What became of it"),
    printcolumn(
        name = "Why",
        type_ = "string",
        json_path = ".spec.why",
        description = "Reason that the user gave",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.message",
        description = "What became of it, in words",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("an action is immutable: create another one").reason(Reason::FieldValueInvalid))]
#[x_kube(validation = Rule::new("self.action == 'Approve' || (has(self.why) && size(self.why) > 0)").message("say why: only Approve goes without a reason").reason(Reason::FieldValueRequired).field_path(".why"))]
pub struct RolloutActionSpec {
    /// The rollout.
    pub rollout: ActedRollout,
    /// status.run of the rollout as the user saw it, from 1. An action for another run is refused, but for AcceptHub.
    #[schemars(range(min = 1))]
    pub run: i64,
    /// status.step of the rollout as the user saw it, from 1; the implicit last step is counted. Approve counts for this
    /// step only; the other actions concern the whole run, and the step tells how far it was. 1 to 33.
    #[schemars(range(min = 1, max = 33))]
    pub step: i32,
    /// Hash of the payload that is meant: for Approve, Abort and Resume status.revision of the rollout, for Retry the hash of its
    /// spec.workload, or, after a run that was rolled back or given up, status.acceptedRevision for the members that failed to
    /// catch up with that; AcceptHub takes any. An action for another revision is refused. 1 to 64 characters.
    #[schemars(schema_with = "revision_schema")]
    pub revision: Revision,
    /// Approve: lets a step go on that has approval Required. Abort: ends the run now, and every touched member goes back
    /// to what it ran before. Retry: rolls a revision out again that was rolled back or given up, gives it again to members
    /// whose failure was tolerated or that failed to catch up, or starts deadlines again that have passed. Resume: lets a run
    /// go on that waits for StoreRebuilt. AcceptHub: takes the hub as it is while rollouts wait for HubRewound, for all of
    /// them at once.
    pub action: ActionKind,
    /// Name of the user, as the API server knows it ("kubectl auth whoami"); any other name is refused. The user needs the
    /// verb of the action (approve, abort, retry, resume, accept-hub) on the rollout. 1 to 512 characters.
    #[schemars(length(min = 1, max = 512))]
    pub who: String,
    /// Why, in the user's words; required but for Approve. At most 1024 characters, default empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub why: String,
}

/// The rollout that an action is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActedRollout {
    /// metadata.name. 1 to 63 characters.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// metadata.uid: tells a recreated rollout of the same name from the old one. 1 to 64 characters.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
}

/// What can be done to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ActionKind {
    /// Lets a step go on that has `approval: Required`. Verb: approve.
    Approve,
    /// Ends the run now: every touched member goes back to what it ran before. Verb: abort.
    Abort,
    /// Tries again what has failed. Verb: retry.
    Retry,
    /// Lets a run go on that holds because the controller's store was lost. Verb: resume.
    Resume,
    /// Takes the hub as it is after it was restored from an older backup. Verb: accept-hub.
    AcceptHub,
}

impl ActionKind {
    /// All actions.
    pub const ALL: [Self; 5] = [Self::Approve, Self::Abort, Self::Retry, Self::Resume, Self::AcceptHub];

    /// The action as it is written in the spec.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "Approve",
            Self::Abort => "Abort",
            Self::Retry => "Retry",
            Self::Resume => "Resume",
            Self::AcceptHub => "AcceptHub",
        }
    }

    /// The virtual verb on `clusterscoperollouts` that the user needs, which is also the word of the kubectl plugin.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Abort => "abort",
            Self::Retry => "retry",
            Self::Resume => "resume",
            Self::AcceptHub => "accept-hub",
        }
    }
}

/// What became of an action.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutActionStatus {
    /// What became of it; absent means Pending.
    #[serde(default)]
    pub outcome: ActionOutcome,
    /// The same for people: what follows, what it waits for, or why it was refused and what to do instead.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// When it was taken up; absent while it is Pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
}

/// What became of an action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ActionOutcome {
    /// Not taken up yet.
    #[default]
    Pending,
    /// Done, once.
    Applied,
    /// It did not fit the run as it was; nothing was done.
    Refused,
}

impl ActionOutcome {
    /// The outcome as it is written in the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Applied => "Applied",
            Self::Refused => "Refused",
        }
    }
}

fn revision_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "string", "minLength": 1, "maxLength": 64})
}
