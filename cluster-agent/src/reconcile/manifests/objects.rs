//! Single objects of any kind: reading, applying and deleting them. Client required; the body of an apply is pure.

use crds::{ObjectRef, ROLLOUT_LABEL, is_dns_label, is_dns_part};
use kube::api::{
    DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, PropagationPolicy, ValidationDirective,
};
use kube::{Api, Client};
use serde_json::{Value, json};

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

/// Why there can't be such an object, for people. What names it becomes part of a path.
pub fn malformed(object: &ObjectRef) -> Option<String> {
    let ObjectRef { api_version, kind, namespace, name } = object;
    let is_version = |part: &str| part.split('.').all(is_dns_part);
    let is_name = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '%']);
    match () {
        () if !api_version.split('/').all(is_version) || api_version.split('/').count() > 2 => {
            Some(format!("{object}: '{api_version}' is no apiVersion"))
        }
        () if kind.is_empty() => Some(format!("'{name}' of {api_version} needs a kind")),
        () if !namespace.is_empty() && !is_dns_label(namespace) => {
            Some(format!("{object}: '{namespace}' is no name of a namespace"))
        }
        () if name.is_empty() => Some(format!("{kind} of {api_version} needs metadata.name")),
        () if !is_name => Some(format!("{object}: '{name}' is no name")),
        () => None,
    }
}

/// The body of a server-side apply: what a person wrote, the label by which the agent finds what is the rollout's, and
/// exactly the object that was read, if there is one.
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
    manifest(object, &json!({"metadata": {"uid": uid(live)}}))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::fixtures::{config, config_ref, ours};
    use super::*;

    #[test]
    fn semantics_14_a_body_is_what_was_written_on_exactly_the_object_that_was_read() {
        let mut written = config("a", json!({"x": "1"}));
        written["metadata"]["resourceVersion"] = "7".into();
        let mut live = ours("a", "u1", json!({}));
        live["metadata"]["resourceVersion"] = "42".into();
        let mut expected = config("a", json!({"x": "1"}));
        expected["metadata"]["labels"] = json!({ROLLOUT_LABEL: "checkout"});
        assert_eq!(body(&written, "checkout", None), expected);
        expected["metadata"]["uid"] = "u1".into();
        expected["metadata"]["resourceVersion"] = "42".into();
        assert_eq!(body(&written, "checkout", Some(&live)), expected);
        let nothing = nothing(&config_ref("a"), &live);
        assert_eq!(nothing["metadata"], json!({"name": "a", "namespace": "shop", "uid": "u1"}));
        assert!(nothing.get("data").is_none());
    }

    #[test]
    fn fields_and_a_name_make_a_manifest() {
        let fields = json!({"metadata": {"labels": {"a": "b"}}, "data": {"x": "1"}});
        let mut expected = config("a", json!({"x": "1"}));
        expected["metadata"]["labels"] = json!({"a": "b"});
        assert_eq!(manifest(&config_ref("a"), &fields), expected);
        assert_eq!(
            manifest(&config_ref("a"), &json!({})),
            json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a", "namespace": "shop"}})
        );
    }

    #[test]
    fn a_name_that_would_lead_elsewhere_is_none() {
        let object = |api_version: &str, kind: &str, namespace: &str, name: &str| ObjectRef {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        for good in [
            object("v1", "ConfigMap", "shop", "kube-root-ca.crt"),
            object("rbac.authorization.k8s.io/v1", "ClusterRole", "", "system:aggregate"),
        ] {
            assert_eq!(malformed(&good), None);
        }
        for bad in [
            object("", "ConfigMap", "shop", "a"),
            object("apps/v1/../x", "Deployment", "shop", "a"),
            object("v1", "", "shop", "a"),
            object("v1", "ConfigMap", "../x", "a"),
            object("v1", "ConfigMap", "shop", ""),
            object("v1", "ConfigMap", "shop", "a/b"),
            object("v1", "ConfigMap", "shop", ".."),
        ] {
            assert!(malformed(&bad).is_some(), "{bad:?}");
        }
    }
}
