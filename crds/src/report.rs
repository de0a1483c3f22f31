//! Messages between agent, replicas and leader that are not objects of an API server.
//!
//! Lists, not single items: a follower forwards what many agents told it in one request. An agent may only
//! send items of its own member, which the receiver checks against the certificate.

use serde::{Deserialize, Serialize};

use crate::{Fence, Inquiry, RolloutAssignment, RolloutAssignmentStatus};

/// What one agent saw of one rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The member that reports.
    pub member: String,
    /// metadata.name of the rollout on the hub.
    pub rollout: String,
    /// metadata.uid of the rollout on the hub.
    pub rollout_uid: String,
    /// What was seen; the fence in it names the assignment that it answers.
    pub status: RolloutAssignmentStatus,
}

/// Body of `POST /v1/reports`. Answered with 204 once the reports are committed in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reports {
    /// At most 256.
    pub reports: Vec<Report>,
}

/// Body of `POST /v1/uploads`: what a member was told before, for a store that was lost or went back. Answered with 204
/// once it is committed in the store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Upload {
    /// The member.
    pub member: String,
    /// The highest fence that the member has ever seen, that of withdrawn assignments included.
    pub seen: Fence,
    /// Its local assignments, each with its status: at most 8.
    pub orders: Vec<RolloutAssignment>,
    /// Whether this is the last part: with the parts before it, these are all that the member has.
    pub complete: bool,
}

/// What agents understand that say nothing of it: images of workloads.
pub const FIRST_API_LEVEL: i32 = 1;
/// What agents must understand for whole objects.
pub const OBJECTS_API_LEVEL: i32 = 2;
/// What agents of this release understand. It rises with what a rollout may need of an agent; an agent is never sent what is
/// above its own level.
pub const AGENT_API_LEVEL: i32 = OBJECTS_API_LEVEL;

fn first_level() -> i32 {
    FIRST_API_LEVEL
}

/// What an agent says about itself and its member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentInfo {
    /// Version of the agent.
    pub agent_version: String,
    /// Version of the member's API server, for example "v1.37.2".
    pub kubernetes_version: String,
    /// Nodes of the member.
    pub nodes: i32,
    /// Nodes that are ready.
    pub ready_nodes: i32,
    /// What it understands: [`AGENT_API_LEVEL`] of its release; 1 of those that are older than this field.
    #[serde(default = "first_level")]
    pub api_level: i32,
    /// Whether it has a Prometheus beside it to ask (`--prometheus-url`); absent: it is older than that question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asks_prometheus: Option<bool>,
}

/// Body of `POST /v1/register`: an agent introduces itself, at its start and when what it says changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Register {
    /// The member.
    pub member: String,
    /// What it says.
    pub info: AgentInfo,
}

/// A sign of life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// The member that is alive.
    pub member: String,
    /// Milliseconds since the sender heard it: 0 from the agent itself, more from a replica that forwards.
    #[serde(default)]
    pub age_millis: u64,
}

/// Body of `POST /v1/heartbeats`. Answered with 204.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeats {
    /// At most 10,000.
    pub heartbeats: Vec<Heartbeat>,
}

/// One line of `GET /v1/assignments`, a stream of JSON lines that stays open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "type", content = "assignment")]
#[allow(clippy::large_enum_variant)] // One is made, written and dropped at a time.
pub enum AssignmentEvent {
    /// The current assignment of a rollout for this member. After connecting each current one is sent.
    Assign(RolloutAssignment),
    /// All current assignments have been sent; what follows is new. Also sent every 10 seconds as a sign of life.
    Synced,
    /// The store does not know what this member was told before: send all of it (`POST /v1/uploads`). Repeated until it
    /// has come.
    Upload,
    /// Ask the Prometheus beside the agent and send what it says (`POST /v1/samples`).
    Ask(Inquiry),
}

/// Answer of `GET /api/v1/leader`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// Id of the leading replica as configured, for example "controller-1"; null while there is none.
    pub id: Option<String>,
    /// The leader's term; 0 while there is none.
    pub term: u64,
}
