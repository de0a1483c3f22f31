//! Whole objects, as far as they can be judged without the member's API server.

use std::collections::BTreeSet;

use crds::{Manifest, ObjectRef, is_dns_part};
use serde_json::Value;

use super::{Concern, Problem, Problems};
use crate::Target;
use crate::manifests::MAX_BYTES;

/// Most objects of one payload.
const MAX_OBJECTS: usize = 100;
/// Longest name of an object, in bytes.
const MAX_NAME_BYTES: usize = 253;
/// Most values within each other. Readers of JSON give up at 128, and an order has some levels of its own.
const MAX_DEPTH: usize = 64;
/// Longest kind, and longest group and version, in bytes: with member, namespace and name they make a key of the store.
const MAX_KIND_BYTES: usize = 63;
const MAX_VERSION_BYTES: usize = 317;
/// What a member's API server writes, and a manifest can't set.
const NOT_OURS: [&str; 6] =
    ["managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "deletionTimestamp"];

const FIELD: &str = "spec.manifests";

pub(super) fn check(manifests: &[Manifest], problems: &mut Problems) {
    let count = manifests.len();
    problems.require(count <= MAX_OBJECTS, FIELD, &count.to_string(), "must have at most 100 objects");
    check_size(FIELD, manifests, problems);
    let mut known = BTreeSet::new();
    for (index, manifest) in manifests.iter().enumerate() {
        let field = format!("{FIELD}[{index}]");
        let object = manifest.object();
        check_one(&field, manifest, &object, problems);
        problems.require(
            known.insert(Target::of_object(&object)),
            &field,
            &object.to_string(),
            "must not be there twice",
        );
    }
}

/// The objects as one member gets them.
pub(super) fn check_size(field: &str, manifests: &[Manifest], problems: &mut Problems) {
    // Plain data: there is nothing in it that can't be written as JSON.
    let bytes = serde_json::to_string(manifests).map_or(0, |json| json.len());
    if bytes > MAX_BYTES {
        problems.0.push(Problem {
            field: field.to_owned(),
            value: format!("{bytes} bytes"),
            message: "must have at most 196608 bytes as JSON, all together: use several rollouts".to_owned(),
            concern: Concern::Size,
        });
    }
}

/// One object, as it is written or as a patch has made it.
pub(super) fn check_one(field: &str, manifest: &Manifest, object: &ObjectRef, problems: &mut Problems) {
    let ObjectRef { api_version, kind, namespace, name } = object;
    let parts: Vec<&str> = api_version.split('/').collect();
    let is_part = |part: &&str| !part.is_empty() && part.split('.').all(is_dns_part);
    let grouped = api_version.len() <= MAX_VERSION_BYTES && parts.len() <= 2 && parts.iter().all(is_part);
    problems.require(grouped, &format!("{field}.apiVersion"), api_version, "must be VERSION or GROUP/VERSION");
    let known = (1..=MAX_KIND_BYTES).contains(&kind.len()) && kind.chars().all(|one| one.is_ascii_alphanumeric());
    problems.require(known, &format!("{field}.kind"), kind, "must be a kind of at most 63 letters and digits");
    let is_list = kind.ends_with("List") && manifest.0.get("items").is_some_and(Value::is_array);
    problems.require(!is_list, &format!("{field}.kind"), kind, "must be one object: write the items of the list");
    let named = (1..=MAX_NAME_BYTES).contains(&name.len()) && !name.contains(['/', '%']);
    problems.require(named, &format!("{field}.metadata.name"), name, "must be a name of 1 to 253 characters");
    if !namespace.is_empty() {
        problems.dns_label(&format!("{field}.metadata.namespace"), namespace);
    }
    let depth = depth(&manifest.0);
    problems.require(depth <= MAX_DEPTH, field, &format!("{depth} levels"), "must have at most 64 levels");
    let is_secret = api_version == "v1" && kind == "Secret";
    problems.require(
        !is_secret,
        field,
        &object.to_string(),
        "must be no Secret: whoever may read rollouts could read it",
    );
    for key in NOT_OURS {
        let absent = manifest.0.pointer("/metadata").is_none_or(|metadata| metadata.get(key).is_none());
        let message = "must not be set: the member's API server writes it";
        problems.require(absent, &format!("{field}.metadata.{key}"), &object.to_string(), message);
    }
    let label = manifest.0.pointer("/metadata/labels").is_none_or(|labels| labels.get(crds::ROLLOUT_LABEL).is_none());
    let message = "must not be set: the agents write it";
    problems.require(label, &format!("{field}.metadata.labels"), crds::ROLLOUT_LABEL, message);
}

/// How many values are within each other.
fn depth(value: &Value) -> usize {
    let inner = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(fields) => fields.values().map(depth).max(),
        _ => return 1,
    };
    1 + inner.unwrap_or(0)
}
