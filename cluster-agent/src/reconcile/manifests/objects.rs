//! Single objects of any kind: reading, applying and deleting them. Client required; the body of an apply is pure.

use crds::ObjectRef;
use kube::api::{
    DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, PropagationPolicy, ValidationDirective,
};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::fields::ROLLOUT_LABEL;
use super::kinds::Kind;
use super::state::uid;
use crate::cluster::{Error, call};

/// How an object is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct How {
    /// Whether fields of others are taken over.
    pub force: bool,
    /// Whether it is only tried.
    pub dry_run: bool,
}

/// Objects of one kind, where one of them is.
fn api(client: &Client, object: &ObjectRef, kind: &Kind) -> Api<DynamicObject> {
    match object.namespace.as_str() {
        "" => Api::all_with(client.clone(), &kind.resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &kind.resource),
    }
}

fn value(object: &DynamicObject) -> Value {
    // It came as JSON, and it goes as JSON.
    serde_json::to_value(object).unwrap_or_default()
}

/// Reads an object from a quorum; none when it does not exist.
pub async fn read(client: &Client, object: &ObjectRef, kind: &Kind) -> Result<Option<Value>, Error> {
    let found = call("read an object", api(client, object, kind).get_opt(&object.name)).await?;
    Ok(found.as_ref().map(value))
}

/// Applies a [`body`] for this field manager; returns the object as it is then, or would be.
pub async fn apply(
    client: &Client,
    (object, kind): (&ObjectRef, &Kind),
    body: &Value,
    manager: &str,
    How { force, dry_run }: How,
) -> Result<Value, Error> {
    // As kubectl does: a field that the kind doesn't have is a mistake, and not left out.
    let field_validation = Some(ValidationDirective::Strict);
    let parameters = PatchParams { force, dry_run, field_validation, ..PatchParams::apply(manager) };
    let api = api(client, object, kind);
    let applied = call("apply an object", api.patch(&object.name, &parameters, &Patch::Apply(body))).await?;
    Ok(value(&applied))
}

/// Deletes exactly the object of this uid, and what it owns in the background. One that is gone is fine.
pub async fn delete(client: &Client, object: &ObjectRef, kind: &Kind, uid: &str) -> Result<(), Error> {
    let only_this = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    let parameters =
        DeleteParams { propagation_policy: Some(PropagationPolicy::Background), ..DeleteParams::default() }
            .preconditions(only_this);
    match call("delete an object", api(client, object, kind).delete(&object.name, &parameters)).await {
        // It is gone, or another one has its name.
        Err(error) if error.is_missing() || error.is_conflict() => Ok(()),
        deleted => deleted.map(drop),
    }
}

/// The body of a server-side apply: what a person wrote, the label by which the agent finds what is the rollout's, and exactly
/// the object that was read, if there is one.
pub fn body(manifest: &Value, rollout: &str, live: Option<&Value>) -> Value {
    let mut body = manifest.clone();
    let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) else { return body };
    if let Some(labels) = metadata.entry("labels").or_insert_with(|| json!({})).as_object_mut() {
        labels.insert(ROLLOUT_LABEL.to_owned(), rollout.into());
    }
    for field in ["uid", "resourceVersion"] {
        match live.and_then(|live| live.pointer(&format!("/metadata/{field}"))) {
            Some(there) => metadata.insert(field.to_owned(), there.clone()),
            None => metadata.remove(field),
        };
    }
    body
}

/// The body by which a field manager gives up all that it has applied to exactly this object.
pub fn nothing(object: &ObjectRef, live: &Value) -> Value {
    let mut metadata = json!({"name": object.name, "uid": uid(live)});
    if !object.namespace.is_empty() {
        metadata["namespace"] = object.namespace.clone().into();
    }
    json!({"apiVersion": object.api_version, "kind": object.kind, "metadata": metadata})
}

/// The manifest that gives an object these fields.
pub fn manifest(object: &ObjectRef, fields: &Value) -> Value {
    let mut manifest = fields.clone();
    let mut metadata = fields.get("metadata").cloned().unwrap_or_else(|| json!({}));
    metadata["name"] = object.name.clone().into();
    if !object.namespace.is_empty() {
        metadata["namespace"] = object.namespace.clone().into();
    }
    manifest["apiVersion"] = object.api_version.clone().into();
    manifest["kind"] = object.kind.clone().into();
    manifest["metadata"] = metadata;
    manifest
}
