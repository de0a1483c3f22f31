//! The shapes of `/api/v1/rollouts`, `/api/v1/clusters` and of the events' data.

use std::collections::BTreeMap;
use std::time::Duration;

use crds::{
    AgentInfo, ClusterScopeRollout, ClusterStatus, Counts, GateStatus, Outcome, Phase, Revision, RolloutAssignmentSpec,
    WaitingOnStatus, WorkloadKind, WorkloadObservation, WorkloadPayload,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use rollout_core::{MemberFacts, Reachability, Summary};
use serde::Serialize;

use crate::clock::millis;
use crate::mirror::Mirror;

/// A rollout, as its status says it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RolloutView {
    /// metadata.name.
    pub name: String,
    pub phase: Option<Phase>,
    pub paused: bool,
    pub run: i64,
    /// Current step, from 1.
    pub step: i32,
    /// Weight in percent of each step, the implicit last one included.
    pub steps: Vec<i32>,
    pub weight: i32,
    pub counts: Counts,
    pub workload: Option<WorkloadPayload>,
    /// The whole objects that it delivers instead, as "Deployment shop/checkout".
    pub objects: Vec<String>,
    pub revision: Option<Revision>,
    pub accepted_revision: Option<Revision>,
    pub waiting_on: Option<WaitingOnStatus>,
    pub gate: Option<GateStatus>,
    pub started_at: Option<Time>,
    pub finished_at: Option<Time>,
    /// Members that need attention, at most 50.
    pub clusters: Vec<ClusterStatus>,
}

impl RolloutView {
    pub fn of(object: &ClusterScopeRollout, Summary { status, .. }: Summary) -> Self {
        let spec = &object.spec;
        let steps = spec.rollout_strategy.canary.steps.iter().map(|step| step.set_weight).chain([100]).collect();
        Self {
            name: object.name_any(),
            phase: status.phase,
            paused: spec.paused,
            run: status.run,
            step: status.step,
            steps,
            weight: status.weight,
            counts: status.counts,
            workload: spec.workload.clone(),
            objects: spec.manifests.iter().map(|manifest| manifest.object().to_string()).collect(),
            revision: status.revision,
            accepted_revision: status.accepted_revision,
            waiting_on: status.waiting_on,
            gate: status.gate,
            started_at: status.started_at,
            finished_at: status.finished_at,
            clusters: status.clusters,
        }
    }
}

/// A member: what its agent says, and what is known of its workloads.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClusterView {
    /// metadata.name.
    pub name: String,
    pub labels: BTreeMap<String, String>,
    /// Null: nobody can judge yet.
    pub reachable: Option<bool>,
    /// Milliseconds since its agent was heard; null: never.
    pub last_heartbeat_age_millis: Option<u64>,
    #[serde(flatten)]
    pub info: Option<AgentInfo>,
    pub workloads: Vec<WorkloadView>,
}

/// A workload of a member.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WorkloadView {
    pub rollout: String,
    #[serde(flatten)]
    pub subject: Subject,
    /// As last reported; null: never.
    pub images: Option<BTreeMap<String, String>>,
    /// The agent's answer to the present assignment; null: none yet.
    pub outcome: Option<Outcome>,
    /// Whether it is healthy although a partition keeps pods of an older template.
    pub partial: bool,
    pub message: String,
}

/// What a rollout changes in a member.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub(crate) enum Subject {
    Workload {
        kind: WorkloadKind,
        namespace: String,
        name: String,
    },
    Objects {
        /// How many objects are assigned, as last reported; 0: never.
        objects: i32,
        /// How many of them are ready.
        ready_objects: i32,
    },
}

impl Subject {
    fn of(spec: &RolloutAssignmentSpec, seen: Option<&WorkloadObservation>) -> Self {
        match &spec.workload {
            Some(workload) => Self::Workload {
                kind: workload.kind,
                namespace: workload.namespace.clone(),
                name: workload.name.clone(),
            },
            None => Self::Objects {
                objects: seen.map_or(0, |seen| seen.desired),
                ready_objects: seen.map_or(0, |seen| seen.ready),
            },
        }
    }
}

impl ClusterView {
    pub fn of(name: &str, facts: &MemberFacts, mirror: &Mirror) -> Self {
        let workloads = mirror.assignments_of(name).map(|(rollout, assignment)| {
            let reported = mirror.report(name, rollout).filter(|one| one.uid == assignment.spec.rollout.uid);
            let answer = reported.filter(|one| one.status.fence == assignment.spec.fence);
            WorkloadView {
                rollout: rollout.clone(),
                subject: Subject::of(&assignment.spec, reported.and_then(|one| one.status.workload.as_ref())),
                images: reported.and_then(|one| Some(one.status.workload.as_ref()?.images.clone())),
                outcome: answer.map(|one| one.status.outcome),
                partial: answer.and_then(|one| one.status.workload.as_ref()).is_some_and(|one| one.partial),
                message: answer.map(|one| one.status.message.clone()).unwrap_or_default(),
            }
        });
        Self {
            name: name.to_owned(),
            labels: facts.labels.clone(),
            reachable: match facts.reachable {
                Reachability::Reachable => Some(true),
                Reachability::Unreachable => Some(false),
                Reachability::Unknown => None,
            },
            // Not part of what is compared: it changes all the time.
            last_heartbeat_age_millis: None,
            info: mirror.member(name).and_then(|member| member.info.clone()),
            workloads: workloads.collect(),
        }
    }

    /// The same with the age of its last heartbeat.
    pub fn aged(&self, age: Option<Duration>) -> Self {
        Self { last_heartbeat_age_millis: age.map(millis), ..self.clone() }
    }
}
