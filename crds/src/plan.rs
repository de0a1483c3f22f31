//! What a rollout would do on the fleet as it is: question and answer of `POST /api/v1/plan`.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};

use crate::{Approval, ClusterScopeRollout, MeasuredFrom, ObjectRef, Revision, Verdict, WaitingOnStatus};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanRequest {
    /// The rollout; it need not be on the hub. With its uid there, what it holds already is no conflict.
    pub rollout: ClusterScopeRollout,
    /// Seconds of the past over which its gates are to be tried: 60 to 2592000 (30 days); none: they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_test_seconds: Option<i64>,
}

/// What it would do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanAnswer {
    /// metadata.name.
    pub name: String,
    /// Hash of the payload; none where there is nothing to deliver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// Members that it means.
    pub members: usize,
    /// What they get: first what those get that no override is for.
    #[serde(default)]
    pub delivers: Vec<PlannedContent>,
    /// What keeps it from starting; none: it starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_on: Option<WaitingOnStatus>,
    /// Its steps, the implicit last one included.
    pub steps: Vec<PlannedStep>,
    /// Seconds of all pauses and the soak: it takes at least so long.
    pub shortest_seconds: i64,
    /// What one might not expect, for people.
    pub notes: Vec<String>,
    /// How its gates would have done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_test: Option<BackTest>,
}

/// What some of the members get.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedContent {
    /// Container to image, overrides applied.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, String>,
    /// Whole objects, in the order in which they are written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<PlannedObject>,
    /// Members that get exactly this, in their order.
    pub members: Vec<String>,
}

/// One of the whole objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedObject {
    /// Which it is.
    pub object: ObjectRef,
    /// What an override changes of it, as "replace /spec/replicas: 3".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<String>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedStep {
    /// From 1.
    pub number: usize,
    /// Cumulative percent.
    pub weight: u8,
    /// Members that run the revision after it.
    pub members: usize,
    /// Those that it newly updates, in their order.
    pub adds: Vec<String>,
    /// Members in flux at a time.
    pub max_concurrency: usize,
    /// Members that may fail by its end.
    pub max_failures: usize,
    /// Members that may be silent in it.
    pub max_unreachable: usize,
    /// Seconds of its pause; of the last step those of the soak.
    pub pause_seconds: u32,
    /// Whether a person has to approve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// What is measured in the pause; none where nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<PlannedGate>,
}

/// What is measured in a pause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedGate {
    /// Name of the Prometheus in the controller's configuration, or its address; empty where only alerts are looked at, or
    /// agents ask.
    pub source: String,
    /// Who asks.
    #[serde(default)]
    pub from: MeasuredFrom,
    /// Series: metrics, each for every member that it is measured for.
    pub series: usize,
    /// Seconds between two measurements.
    pub interval_seconds: u32,
    /// Measurements that each series needs.
    pub measurements: u32,
    /// What is asked.
    pub metrics: Vec<PlannedMetric>,
}

/// One metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedMetric {
    /// Its name.
    pub name: String,
    /// Whose queries are shown, where it is measured for each member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// The queries as they are asked first, everything filled in.
    pub queries: Vec<String>,
    /// What the answer must be, for people.
    pub must: String,
}

/// How the gates of a rollout would have done in the past, if its pauses had been then. Members ran what they ran: a gate
/// that fails here fails on what is thought to be good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackTest {
    /// Beginning of the first pause.
    pub from: Time,
    /// End of the last one.
    pub to: Time,
    /// The gates, by step.
    pub gates: Vec<BackTestedGate>,
    /// In what it differs from a rollout, for people.
    pub notes: Vec<String>,
}

/// How one gate would have done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackTestedGate {
    /// Number of the step, from 1.
    pub step: usize,
    /// Members that were asked about.
    pub members: usize,
    /// Pauses that were tried, spread evenly.
    pub pauses: usize,
    /// Of these, those in which it would have passed,
    pub passed: usize,
    /// failed,
    pub failed: usize,
    /// told nothing,
    pub inconclusive: usize,
    /// or found nothing to measure.
    pub no_data: usize,
    /// Seconds between two measurements.
    pub interval_seconds: u32,
    /// The first of those that did not pass, of each sort.
    pub examples: Vec<BackTestExample>,
}

/// A pause that would not have passed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackTestExample {
    /// When it would have begun.
    pub began_at: Time,
    /// How it would have ended.
    pub verdict: Verdict,
    /// On what, for people.
    pub found: String,
}
