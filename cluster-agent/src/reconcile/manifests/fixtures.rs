//! Objects for the tests of the modules here.

// Data is written where it is used, with json!.
#![allow(clippy::needless_pass_by_value)]

use crds::{AssignedManifests, Manifest, ObjectRef, Previous, RolloutAssignment};
use serde_json::{Map, Value, json};

use super::readiness::Readiness;
use super::sight::{Live, Lives};
use crate::assignment::fixtures::assignment;

/// The field manager of the rollout in [`assignment`].
pub(crate) const OURS: &str = "rollout.example.com:checkout";

/// A `ConfigMap` in namespace shop.
pub(crate) fn config(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"}, "data": data})
}

/// That `ConfigMap`.
pub(crate) fn config_ref(name: &str) -> ObjectRef {
    Manifest(config(name, json!({}))).object()
}

/// An entry of managed fields: who owns which keys of a `ConfigMap`, since when (seconds).
pub(crate) fn managed(manager: &str, operation: &str, seconds: u8, keys: &[&str]) -> Value {
    let fields: Map<String, Value> = keys.iter().map(|key| (format!("f:{key}"), json!({}))).collect();
    json!({"manager": manager, "operation": operation, "time": format!("2026-01-01T00:00:{seconds:02}Z"),
        "fieldsType": "FieldsV1", "fieldsV1": {"f:data": fields}})
}

/// A `ConfigMap` as the API server has it.
pub(crate) fn live(name: &str, uid: &str, data: Value, managed: Vec<Value>) -> Value {
    let mut object = config(name, data);
    object["metadata"]["uid"] = uid.into();
    object["metadata"]["managedFields"] = managed.into();
    object
}

/// One that only the rollout owns.
pub(crate) fn ours(name: &str, uid: &str, data: Value) -> Value {
    let keys: Vec<&str> = data.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    let managed = vec![managed(OURS, "Apply", 1, &keys)];
    live(name, uid, data.clone(), managed)
}

/// What was read: these `ConfigMap`s, which are ready, or missing.
pub(crate) fn lives(all: &[(&str, Option<Value>)]) -> Lives {
    let ready = |value: &Value| Live {
        value: value.clone(),
        readiness: Readiness::Ready,
        awaits_owner: false,
        is_partial: false,
    };
    Lives(all.iter().map(|(name, value)| (config_ref(name), value.as_ref().map(ready))).collect())
}

/// `Apply` of these objects, over a snapshot named "before".
pub(crate) fn order(objects: &[Value]) -> RolloutAssignment {
    let mut order = assignment(5);
    order.spec.workload = None;
    let objects = objects.iter().cloned().map(Manifest).collect();
    order.spec.manifests =
        Some(AssignedManifests { hash: "wanted".to_owned(), overrides: Vec::new(), force_conflicts: false, objects });
    order.spec.previous = Some(Previous {
        uid: String::new(),
        images: std::collections::BTreeMap::new(),
        healthy: true,
        snapshot: Some("before".to_owned()),
    });
    order
}
