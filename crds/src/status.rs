//! What the controller writes about a rollout.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Approval, Revision};

/// Where the rollout stands. Bounded in size: the state of every member is served by the controller over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterScopeRolloutStatus {
    /// metadata.generation that this status speaks of.
    #[serde(default)]
    pub observed_generation: i64,
    /// Accepted, Ready, Reconciling, Stalled, Degraded and Complete, in the meaning of kstatus.
    #[serde(default)]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Where the rollout stands, in a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Number of the run: one attempt to bring the fleet to a revision. The first is 1.
    #[serde(default)]
    pub run: i64,
    /// Current step, from 1; the implicit last step is counted.
    #[serde(default)]
    pub step: i32,
    /// Current step of all steps, for people: "2/3".
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub step_summary: String,
    /// Required: the current step goes on only when a person approves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// Percent of the members that the current step may update.
    #[serde(default)]
    pub weight: i32,
    /// Members by state.
    #[serde(default)]
    pub counts: Counts,
    /// Members that are healthy at the revision, of all planned, for people: "5/10", or "5/10 (2 partial)".
    #[serde(default)]
    #[schemars(length(max = 40))]
    pub healthy_summary: String,
    /// Hash of the payload of the current run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// Hash of the payload of the last run that succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_revision: Option<Revision>,
    /// Hashes of payloads that were rolled back, at most 64, the latest last. This rollout rolls none of them out again
    /// unless a person retries it (RolloutAction Retry).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub quarantined_revisions: Vec<Revision>,
    /// Number of the last run that succeeded or was rolled back, 0 before the first. What members ran before that run is no
    /// longer where a rollback takes them.
    #[serde(default)]
    pub settled_run: i64,
    /// What the rollout waits for; absent when it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_on: Option<WaitingOn>,
    /// Whether metrics were checked before steps advanced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateStatus>,
    /// When the current run started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When the current run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// Members that need attention, and after them those that are partial; at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub clusters: Vec<ClusterStatus>,
}

/// Where a rollout stands, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Not started: something is missing.
    Pending,
    /// Members are being updated.
    Progressing,
    /// The members of the step are updated; its pause, or the soak, is running.
    Verifying,
    /// A person has paused it.
    Paused,
    /// It does not go on by itself; waitingOn says why.
    Holding,
    /// Too many members failed, or a person aborted the run: every touched member goes back to what it ran before.
    RollingBack,
    /// Every touched member whose agent is heard runs what it ran before, and is as healthy as then.
    RolledBack,
    /// Every member is healthy at the revision, but for failures within maxFailures and for unreachable ones within
    /// maxUnreachable, which are owed it. Members that join later, or are heard again, get it while the phase stays.
    Succeeded,
    /// Rolled back, and members are not back to what they ran before; or, with rollback.scope Member, too many failed and
    /// the healthy ones keep the revision. waitingOn says which.
    Failed,
}

impl Phase {
    /// The phase as it is written in the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Progressing => "Progressing",
            Self::Verifying => "Verifying",
            Self::Paused => "Paused",
            Self::Holding => "Holding",
            Self::RollingBack => "RollingBack",
            Self::RolledBack => "RolledBack",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }
}

/// Members by state. `total` counts all planned members; `healthy`, `inFlux`, `owed`, `returning`, `returned` and
/// `notStarted` add up to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// All planned members.
    #[serde(default)]
    pub total: i32,
    /// Told to run the revision, whether healthy yet or not.
    #[serde(default)]
    pub assigned: i32,
    /// Healthy at the revision.
    #[serde(default)]
    pub healthy: i32,
    /// Of the healthy ones, those that also run pods of an older template: the partition of their StatefulSet keeps them.
    #[serde(default)]
    pub partial: i32,
    /// Told to run the revision, not silent, and not (or no longer) healthy.
    #[serde(default)]
    pub in_flux: i32,
    /// Silent, and not healthy at the revision when last heard, though their wave has begun: they are owed it.
    #[serde(default)]
    pub owed: i32,
    /// Told to go back to what they ran before, and not back yet.
    #[serde(default)]
    pub returning: i32,
    /// Back to what they ran before.
    #[serde(default)]
    pub returned: i32,
    /// Failures in this run. Each member among them is also counted where it stands now, unless it has left.
    #[serde(default)]
    pub failed: i32,
    /// Not told yet.
    #[serde(default)]
    pub not_started: i32,
    /// Of all planned members, those whose agent is silent.
    #[serde(default)]
    pub unreachable: i32,
    /// Left out because they don't have the workload (ifMissing: Skip). They are not in total.
    #[serde(default)]
    pub skipped: i32,
}

/// What a rollout waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaitingOn {
    /// A word for programs, for example Pause, MemberHealth, TargetMissing, NoPayload.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// The same for people, with names, numbers and what to do.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// When the wait ends by itself, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

/// Which metrics are checked before steps advance, and how the latest measurements look.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateStatus {
    /// What the controller does at the end of a pause when no metric source is configured; absent when metrics are
    /// checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<GateMode>,
    /// How the gate of the current pause stands; absent between pauses, while it is open, and when no metric is checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// The same for people: the series that decides it, or one of those that pass, what was measured, and what it must be.
    #[schemars(length(max = 512))]
    pub message: String,
    /// What Prometheus was asked last about the series that the message speaks of, where that does not pass: of a success rate
    /// the query for good requests and that for all. Each is cut after 1024 characters. After a failed gate what failed it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2), inner(length(max = 1024)), extend("x-kubernetes-list-type" = "atomic"))]
    pub queries: Vec<String>,
    /// The moment that these queries were about: asked about it again, Prometheus says the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_at: Option<MicroTime>,
}

/// What a measurement, or a gate as a whole, shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Verdict {
    /// On evidence: as it must be.
    Pass,
    /// On evidence: not as it must be.
    Fail,
    /// Not enough to tell, or an answer that can't be right: an error, several series, an infinity.
    Inconclusive,
    /// Nothing to measure: no series, no number, too few requests.
    NoData,
}

impl Verdict {
    /// As it is written in the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "Pass",
            Self::Fail => "Fail",
            Self::Inconclusive => "Inconclusive",
            Self::NoData => "NoData",
        }
    }
}

/// What the controller does at the end of a pause when no metric source is configured
/// (`gates.whenUnconfigured` of its configuration).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GateMode {
    /// Nothing advances: silence is no evidence. The default.
    #[default]
    Hold,
    /// A pause is a timer only; no metric is checked.
    TimerOnly,
}

/// A member that needs attention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// Name of the member.
    #[schemars(length(max = 63))]
    pub name: String,
    /// A word for its state.
    #[schemars(length(max = 64))]
    pub state: String,
    /// What is the matter, for people.
    #[serde(default)]
    #[schemars(length(max = 512))]
    pub message: String,
}
