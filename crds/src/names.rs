//! Names that several programs must agree on: group, labels, finalizer, field managers.

/// API group of every resource here.
pub const GROUP: &str = "rollout.example.com";
/// Served and stored version.
pub const VERSION: &str = "v1alpha1";
/// Label that the controller sets on each `MemberCluster`, so that "all of them" can be selected.
pub const MEMBER_LABEL: &str = "rollout.example.com/member";
/// Finalizer of the controller on a `ClusterScopeRollout`.
pub const FINALIZER: &str = "rollout.example.com/withdraw";
/// Field manager of the controller for what it writes to the hub.
pub const CONTROLLER_MANAGER: &str = "global-controller";
/// Field manager of the agent for the local `RolloutAssignment`.
pub const AGENT_MANAGER: &str = "cluster-agent";
/// Prefix of the agent's field manager on a workload; the rollout's name follows, so that two rollouts
/// on one object never share, and so never drop, each other's fields.
pub const WORKLOAD_MANAGER_PREFIX: &str = "rollout.example.com:";
/// Longest name of a rollout and of a member, in bytes: both become labels and parts of file and key names.
pub const MAX_NAME_BYTES: usize = 63;
