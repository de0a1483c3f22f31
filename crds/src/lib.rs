//! Every API and wire type of the project: the custom resources, the assignment that the controller
//! sends to an agent, and the report that comes back.
//!
//! This crate knows no client and does no I/O. What travels between controller and agent is the same
//! type that the API servers store, so there is nothing to convert and nothing to forget.

// These docs become the text of `kubectl explain`, where back-ticks and brackets would only be noise.
#![allow(clippy::doc_markdown)]
// One `printcolumn` a column is how `kube` wants them.
#![allow(clippy::duplicated_attributes)]

mod action;
mod analysis;
mod assignment;
mod crd;
mod deadline;
mod drift;
mod history;
mod inquiry;
mod intorpercent;
mod manifest;
mod member;
mod names;
mod overrides;
mod payload;
mod plan;
mod report;
mod rollout;
mod selector;
mod status;
mod time;
pub mod yaml;

pub use action::{ActedRollout, ActionKind, ActionOutcome, RolloutAction, RolloutActionSpec, RolloutActionStatus};
pub use analysis::{
    AlertGate, Analysis, Compare, Confidence, ControlGroup, MeasuredFrom, Metric, OnNoData, ParsePercentageError,
    Percentage, PrometheusRef, SuccessRate, Watchdog,
};
pub use assignment::{
    AssignedRollout, AssignedWorkload, Fence, Intent, Outcome, Previous, RolloutAssignment, RolloutAssignmentSpec,
    RolloutAssignmentStatus, WorkloadObservation,
};
pub use crd::all as custom_resource_definitions;
pub use deadline::{Deadline, DeadlineState, OnDeadline};
pub use drift::OnDrift;
pub use history::{PastRun, RolloutHistory, RunOutcome};
pub use inquiry::{Finding, Found, Inquiry};
pub use intorpercent::{IntOrPercent, ParsePercentError};
pub use manifest::{
    AssignedManifests, FullPayload, Manifest, Manifests, ObjectRef, PatchOp, PatchOperation, PatchTarget,
};
pub use member::{Connection, ConnectionType, MemberCluster, MemberClusterSpec, MemberClusterStatus};
pub use names::*;
pub use overrides::Override;
pub use payload::{
    Content, IfMissing, Payload, Revision, WorkloadKind, WorkloadPayload, images_hash, short_sha256, spec_hash,
};
pub use plan::{
    BackTest, BackTestExample, BackTestedGate, PlanAnswer, PlanRequest, PlannedContent, PlannedGate, PlannedMetric,
    PlannedObject, PlannedStep,
};
pub use report::{
    AGENT_API_LEVEL, AgentInfo, AssignmentEvent, FIRST_API_LEVEL, Heartbeat, Heartbeats, Leader, OBJECTS_API_LEVEL,
    Register, Report, Reports, Upload,
};
pub use rollout::{
    Approval, Canary, ClusterScopeRollout, ClusterScopeRolloutSpec, FailureTolerance, Rollback, RollbackMode,
    RollbackScope, RolloutStrategy, Step, WaveOrder,
};
pub use selector::{ClusterSelector, SelectorOperator, SelectorRequirement};
pub use status::{
    ClusterScopeRolloutStatus, ClusterStatus, Counts, GateMode, GateStatus, Phase, Verdict,
    WaitingOn as WaitingOnStatus,
};
pub use time::{micro_time_from_millis, millis_from_time, time_from_millis};
