//! Whether an object is ready, by what it says itself: workloads of apps/v1 as in [`super::super::health`], everything
//! else as kstatus defines it (sigs.k8s.io/cli-utils, pkg/kstatus). Pure.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use serde::Deserialize;
use serde_json::Value;

use super::super::health::{Health, health};
use super::super::workload::Workload;

/// Whether an object is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It is what it is meant to be.
    Ready,
    /// It is on its way; for people, what is missing.
    InProgress(String),
    /// Its controller has given up, or says that it can't; for people, why.
    Failed(String),
}

impl Readiness {
    /// What is missing, or why it failed; none when it is ready.
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Ready => None,
            Self::InProgress(message) | Self::Failed(message) => Some(message),
        }
    }
}

/// Judges a live object. Nodes that are left out of a `DaemonSet` (SEMANTICS 19) are known to [`readiness_of`] only.
pub fn readiness(object: &Value) -> Readiness {
    readiness_of(object, workload(object).map(|workload| health(&workload)).as_ref())
}

/// The view of an object that is a workload of apps/v1, from which [`health`] tells more than whether it is ready: that
/// it waits for its owner, or is partial.
pub fn workload(object: &Value) -> Option<Workload> {
    if text(object, "/apiVersion") != "apps/v1" {
        return None;
    }
    match text(object, "/kind") {
        "Deployment" => Deployment::deserialize(object).ok().map(|object| Workload::from(&object)),
        "StatefulSet" => StatefulSet::deserialize(object).ok().map(|object| Workload::from(&object)),
        "DaemonSet" => DaemonSet::deserialize(object).ok().map(|object| Workload::from(&object)),
        _ => None,
    }
}

/// Judges a live object of whose workload the health is known.
pub fn readiness_of(object: &Value, workload: Option<&Health>) -> Readiness {
    if !text(object, "/metadata/deletionTimestamp").is_empty() {
        return Readiness::InProgress("it is being deleted".to_owned());
    }
    if let Some(health) = workload {
        return of_workload(object, health);
    }
    unseen(object).or_else(|| by_standard_conditions(object)).unwrap_or_else(|| by_kind(object))
}

/// Whether the API server serves the kind that this definition is of.
pub fn is_established(definition: &Value) -> bool {
    condition(definition, "Established").is_some_and(|condition| condition.status == "True")
}

fn of_workload(object: &Value, health: &Health) -> Readiness {
    let is_seen = health.observation.observed_generation >= health.observation.generation;
    let has_given_up =
        condition(object, "Progressing").is_some_and(|condition| condition.reason == "ProgressDeadlineExceeded");
    match health.message.clone() {
        _ if health.is_healthy() => Readiness::Ready,
        message if is_seen && has_given_up => Readiness::Failed(message),
        message => Readiness::InProgress(message),
    }
}

/// What its controller has not looked at yet says nothing. Objects without one of the two numbers have no such
/// controller.
fn unseen(object: &Value) -> Option<Readiness> {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
    let (generation, observed) = (number("/metadata/generation")?, number("/status/observedGeneration")?);
    let kind = text(object, "/kind");
    (observed != generation).then(|| {
        let message = format!("waiting for the {kind}'s controller: it has seen generation {observed} of {generation}");
        Readiness::InProgress(message)
    })
}

/// Conditions that mean the same on every kind.
fn by_standard_conditions(object: &Value) -> Option<Readiness> {
    let is_standard = |one: &Condition| one.status == "True" && matches!(one.kind, "Reconciling" | "Stalled");
    conditions(object).find(is_standard).map(|condition| match condition.kind {
        "Stalled" => Readiness::Failed(condition.words()),
        _ => Readiness::InProgress(condition.words()),
    })
}

fn by_kind(object: &Value) -> Readiness {
    let group = text(object, "/apiVersion").split_once('/').map_or("", |(group, _)| group);
    match (group, text(object, "/kind")) {
        ("", "Namespace") => namespace(object),
        ("", "PersistentVolumeClaim") => claim(object),
        ("", "Pod") => pod(object),
        ("", "Service") => service(object),
        ("apps" | "extensions", "ReplicaSet") => replica_set(object),
        ("batch", "Job") => job(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        // One that could be read has been judged by its health.
        ("apps", kind @ ("Deployment" | "StatefulSet" | "DaemonSet")) => {
            Readiness::InProgress(format!("it can't be read as a {kind} of apps/v1"))
        }
        _ => by_ready_condition(object),
    }
}

/// Kinds that the agent doesn't know are ready when they say so, or say nothing about it.
fn by_ready_condition(object: &Value) -> Readiness {
    match condition(object, "Ready").filter(|condition| matches!(condition.status, "False" | "Unknown")) {
        Some(condition) => Readiness::InProgress(condition.words()),
        None => Readiness::Ready,
    }
}

fn namespace(object: &Value) -> Readiness {
    when(text(object, "/status/phase") != "Terminating", || "it is being deleted".to_owned())
}

fn claim(object: &Value) -> Readiness {
    let phase = text(object, "/status/phase");
    when(phase == "Bound", || format!("it is not bound: its phase is '{phase}'"))
}

/// A pod that has ended is what it is meant to be, however it ended: nothing starts it again.
fn pod(object: &Value) -> Readiness {
    let progress = |message: &str| Readiness::InProgress(message.to_owned());
    let is_ready = condition(object, "Ready").is_some_and(|condition| condition.status == "True");
    let unscheduled = condition(object, "PodScheduled").filter(|condition| condition.status == "False");
    match text(object, "/status/phase") {
        "Succeeded" | "Failed" => Readiness::Ready,
        "Running" if is_ready => Readiness::Ready,
        "Running" => match crash_looping(object) {
            names if names.is_empty() => progress("it runs, but is not ready"),
            names => Readiness::Failed(format!("containers that crash again and again: {}", names.join(", "))),
        },
        // kstatus calls it failed after 15 seconds; but a node may come.
        "Pending" => match unscheduled {
            Some(condition) => Readiness::InProgress(format!("it is on no node: {}", condition.words())),
            None => progress("it is pending"),
        },
        "" => progress("nobody has looked at it yet"),
        phase => Readiness::InProgress(format!("its phase is '{phase}'")),
    }
}

fn crash_looping(pod: &Value) -> Vec<&str> {
    list(pod, "/status/containerStatuses")
        .filter(|status| text(status, "/state/waiting/reason") == "CrashLoopBackOff")
        .map(|status| text(status, "/name"))
        .collect()
}

fn service(object: &Value) -> Readiness {
    let waits = text(object, "/spec/type") == "LoadBalancer" && text(object, "/spec/clusterIP").is_empty();
    when(!waits, || "it has no cluster IP".to_owned())
}

fn replica_set(object: &Value) -> Readiness {
    if let Some(failure) = condition(object, "ReplicaFailure").filter(|condition| condition.status == "True") {
        return Readiness::InProgress(failure.words());
    }
    let desired = number(object, "/spec/replicas", 1);
    let [total, labelled, available, ready] =
        ["replicas", "fullyLabeledReplicas", "availableReplicas", "readyReplicas"]
            .map(|name| number(object, &format!("/status/{name}"), 0));
    let is_complete = labelled.min(available).min(ready) >= desired && total <= desired;
    when(is_complete, || format!("{ready} of {desired} pods ready, {available} available, {total} there"))
}

/// A job is ready as soon as it has started: how it goes on is not awaited.
fn job(object: &Value) -> Readiness {
    let is_true = |kind: &str| condition(object, kind).filter(|condition| condition.status == "True");
    let is_suspended = object.pointer("/spec/suspend").and_then(Value::as_bool).unwrap_or(false);
    if is_true("Complete").is_some() {
        return Readiness::Ready;
    }
    if let Some(failed) = is_true("Failed") {
        return Readiness::Failed(failed.words());
    }
    let is_suspended = is_suspended && is_true("Suspended").is_some();
    when(is_suspended || !text(object, "/status/startTime").is_empty(), || "it has not started".to_owned())
}

fn definition(object: &Value) -> Readiness {
    let is_false = |kind: &str| condition(object, kind).filter(|condition| condition.status == "False");
    let failed = is_false("NamesAccepted")
        .or_else(|| is_false("Established").filter(|condition| condition.reason != "Installing"));
    match failed {
        Some(failed) => Readiness::Failed(failed.words()),
        None => when(is_established(object), || "the API server does not serve its kind yet".to_owned()),
    }
}

fn when(is_ready: bool, missing: impl FnOnce() -> String) -> Readiness {
    if is_ready { Readiness::Ready } else { Readiness::InProgress(missing()) }
}

/// A condition, as most kinds have them. What is missing is empty.
struct Condition<'a> {
    kind: &'a str,
    status: &'a str,
    reason: &'a str,
    message: &'a str,
}

impl Condition<'_> {
    /// What it says to people.
    fn words(&self) -> String {
        let said = [self.message, self.reason].into_iter().find(|text| !text.is_empty());
        said.map_or_else(|| format!("its condition {} is {}", self.kind, self.status), ToOwned::to_owned)
    }
}

fn conditions(object: &Value) -> impl Iterator<Item = Condition<'_>> {
    list(object, "/status/conditions").map(|one| Condition {
        kind: text(one, "/type"),
        status: text(one, "/status"),
        reason: text(one, "/reason"),
        message: text(one, "/message"),
    })
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<Condition<'a>> {
    conditions(object).find(|condition| condition.kind == kind)
}

fn list<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn number(object: &Value, pointer: &str, default: i64) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(default)
}

#[cfg(test)]
#[path = "readiness_test.rs"]
mod tests;
