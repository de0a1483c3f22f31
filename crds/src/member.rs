//! `MemberCluster`: a cluster that an agent looks after.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the hub reaches a member. Its labels, in metadata, are what selectors match.
#[derive(Clone, Debug, Default, PartialEq, Eq, CustomResource, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "rollout.example.com",
    version = "v1alpha1",
    kind = "MemberCluster",
    plural = "memberclusters",
    shortname = "mc",
    category = "rollouts",
    status = "MemberClusterStatus",
    derive = "PartialEq",
    doc = "A MemberCluster is a cluster of the fleet, looked after by the agent that runs in it.",
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 63").message("metadata.name: must be a DNS label of at most 63 characters").reason(Reason::FieldValueInvalid),
    printcolumn(name = "Reachable", type_ = "string", json_path = ".status.conditions[?(@.type==\"Reachable\")].status", description = "Whether the agent was heard of lately"),
    printcolumn(name = "Cordoned", type_ = "boolean", json_path = ".spec.cordoned", description = "Whether it is kept out of new waves"),
    printcolumn(name = "Agent", type_ = "string", json_path = ".status.agentVersion", description = "Version of the agent"),
    printcolumn(name = "Kubernetes", type_ = "string", json_path = ".status.kubernetesVersion", description = "Version of the member's API server"),
    printcolumn(name = "Nodes", type_ = "integer", json_path = ".status.nodes", description = "Nodes of the member", priority = 1),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".spec.connection.endpoint", description = "Webhook of the agent, if it has one", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct MemberClusterSpec {
    /// How the hub reaches the member. Default: through its agent, over the stream that the agent opens.
    #[serde(default)]
    pub connection: Connection,
    /// Keeps the member out of new waves, for example while someone works on it: nothing new is applied to it. It still counts
    /// among the members, in no budget, and is owed what it misses; it gets that when this is false again. What it has
    /// been told already goes on, and so does a rollback. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cordoned: bool,
}

/// How the hub reaches the member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// Who applies the work in the member. Default Agent: a DaemonSet in the member.
    #[serde(default, rename = "type")]
    pub connection_type: ConnectionType,
    /// Base URL of the agent's webhook, for example "https://agent.prod-us-east.example:9443"; the
    /// controller posts to its path /reconcile. Optional: without it everything goes over the stream that
    /// the agent opens, which is enough behind NAT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 9, max = 512), regex(pattern = "^https://[^\\s/?#]+/?$"))]
    pub endpoint: Option<String>,
}

/// Who applies the work in the member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConnectionType {
    /// An agent in the member.
    #[default]
    Agent,
}

/// What is known of a member. Coarse on purpose: heartbeats do not write to the hub.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberClusterStatus {
    /// Registered (an agent has introduced itself) and Reachable (it was heard of lately).
    #[serde(default)]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Version of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub agent_version: Option<String>,
    /// Version of the member's API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub kubernetes_version: Option<String>,
    /// Nodes of the member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<i32>,
    /// Nodes of the member that are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_nodes: Option<i32>,
    /// When the agent was last heard of, as of the last change of this status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_heartbeat: Option<Time>,
}
