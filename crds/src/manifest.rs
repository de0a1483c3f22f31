//! Whole objects as a payload: what a person writes into a rollout, what the hub remembers of it, and what a member is told.

use std::fmt;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Override, Payload, short_sha256};

/// One object, as `kubectl apply` takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Manifest(pub Value);

impl Manifest {
    /// Which object it is; parts that are missing or no strings are empty.
    pub fn object(&self) -> ObjectRef {
        let text = |pointer: &str| self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        ObjectRef {
            api_version: text("/apiVersion"),
            kind: text("/kind"),
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
        }
    }
}

/// Any object: what is in it is known to the member's API server alone.
impl JsonSchema for Manifest {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Manifest".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "object",
            "x-kubernetes-embedded-resource": true,
            "x-kubernetes-preserve-unknown-fields": true,
        })
    }
}

/// Which object of a cluster is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// API group and version, for example apps/v1.
    #[schemars(length(min = 1, max = 317))]
    pub api_version: String,
    /// Kind.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Namespace; empty for objects that have none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

impl ObjectRef {
    /// The API group; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// Whether it is the same object as the other one, in whichever version of its API group.
    pub fn is_same(&self, other: &Self) -> bool {
        let Self { api_version: _, kind, namespace, name } = self;
        self.group() == other.group() && (kind, namespace, name) == (&other.kind, &other.namespace, &other.name)
    }
}

/// "Deployment shop/checkout", or "Namespace shop" where there is no namespace.
impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { api_version: _, kind, namespace, name } = self;
        match namespace.as_str() {
            "" => write!(f, "{kind} {name}"),
            namespace => write!(f, "{kind} {namespace}/{name}"),
        }
    }
}

/// What the hub remembers of a payload of whole objects: which they are, and the hash of all that is in them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifests {
    /// The objects, in the order in which they are written.
    pub objects: Vec<ObjectRef>,
    /// Hash of their canonical JSON: 16 hexadecimal digits.
    pub hash: String,
}

impl Manifests {
    /// That of these objects.
    pub fn of(manifests: &[Manifest]) -> Self {
        // Plain data: there is nothing in it that can't be written as JSON. Keys of maps are sorted.
        let text = serde_json::to_string(manifests).unwrap_or_default();
        Self { objects: manifests.iter().map(Manifest::object).collect(), hash: short_sha256(&text) }
    }

    /// The first workload among them, whose namespace and name queries of metrics are about.
    pub fn workload(&self) -> Option<&ObjectRef> {
        let kinds = ["Deployment", "StatefulSet", "DaemonSet"];
        self.objects.iter().find(|object| object.group() == "apps" && kinds.contains(&object.kind.as_str()))
    }
}

/// "Deployment shop/checkout", or "5 objects".
impl fmt::Display for Manifests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.objects.as_slice() {
            [one] => one.fmt(f),
            objects => write!(f, "{} objects", objects.len()),
        }
    }
}

/// A payload with everything in it, as the hub keeps it and undo writes it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FullPayload {
    /// What is delivered, and the overrides.
    #[serde(flatten)]
    pub payload: Payload,
    /// The objects themselves; none where images of a workload are delivered, or nobody knows them any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<Manifest>,
}

impl FullPayload {
    /// Whether all that it delivers is in it.
    pub fn is_whole(&self) -> bool {
        self.payload.manifests().is_none() || !self.manifests.is_empty()
    }
}

/// The objects that one member gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AssignedManifests {
    /// Name of what these objects are: a hash of the rollout's manifests and of the overrides that are for this member (16
    /// hexadecimal digits). For Return: the snapshot of previous, which the agent keeps.
    #[schemars(length(max = 64))]
    pub hash: String,
    /// Which entries of the rollout's overrides are for this member, from 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub overrides: Vec<i32>,
    /// Whether fields that belong to another field manager are taken over. Default false: nothing is applied then, and the
    /// outcome is Refused, with field and manager.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force_conflicts: bool,
    /// The objects, overrides applied. None for Return and Withdraw.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub objects: Vec<Manifest>,
}

impl AssignedManifests {
    /// What a member gets of `manifests` by these overrides, without the objects themselves.
    pub fn of(manifests: &Manifests, overrides: &[Override], for_member: Vec<i32>) -> Self {
        let meant = for_member.iter().filter_map(|index| overrides.get(usize::try_from(*index).ok()?));
        let meant: Vec<&Override> = meant.collect();
        let text = if meant.is_empty() { String::new() } else { serde_json::to_string(&meant).unwrap_or_default() };
        let hash = short_sha256(&format!("{}\n{text}", manifests.hash));
        Self { hash, overrides: for_member, force_conflicts: false, objects: Vec::new() }
    }
}

/// One operation of a JSON patch (RFC 6902).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.op in ['move', 'copy'] ? has(self.from) : !has(self.from)").message("from belongs to move and copy, and to no other operation").reason(Reason::FieldValueInvalid).field_path(".op"))]
pub struct PatchOperation {
    /// add, remove, replace, move, copy or test.
    pub op: PatchOp,
    /// Where in the object, as a JSON pointer, for example /spec/replicas; "~1" stands for "/" within a name.
    #[schemars(length(max = 512), regex(pattern = "^(/.*)?$"))]
    pub path: String,
    /// For move and copy: from where, as a JSON pointer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), regex(pattern = "^(/.*)?$"))]
    pub from: Option<String>,
    /// For add, replace and test: any value.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "even_null")]
    #[schemars(schema_with = "any_schema")]
    pub value: Option<Value>,
}

/// What an operation of a JSON patch does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PatchOp {
    /// Adds a value, or inserts it into a list.
    Add,
    /// Removes a value, which must be there.
    Remove,
    /// Replaces a value, which must be there.
    Replace,
    /// Moves a value, which must be there.
    Move,
    /// Copies a value, which must be there.
    Copy,
    /// Does nothing; the patch doesn't apply unless the value is this one.
    Test,
}

/// "replace /spec/replicas: 3".
impl fmt::Display for PatchOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { op, path, from, value } = self;
        write!(f, "{} {path}", op.as_str())?;
        match (from, value) {
            (Some(from), _) => write!(f, " from {from}"),
            (None, Some(value)) => write!(f, ": {value}"),
            (None, None) => Ok(()),
        }
    }
}

impl PatchOp {
    /// The operation as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Replace => "replace",
            Self::Move => "move",
            Self::Copy => "copy",
            Self::Test => "test",
        }
    }
}

/// A null that is there is a value; only what is missing is none.
fn even_null<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

fn any_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"nullable": true, "x-kubernetes-preserve-unknown-fields": true})
}

/// The object of a rollout's manifests that a patch is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PatchTarget {
    /// API group and version; default: of any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 317))]
    pub api_version: String,
    /// Kind.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Namespace; default: in any, or in none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

impl PatchTarget {
    /// Whether it means this object.
    pub fn is(&self, object: &ObjectRef) -> bool {
        let any_or = |wanted: &str, there: &str| wanted.is_empty() || wanted == there;
        self.kind == object.kind
            && self.name == object.name
            && any_or(&self.namespace, &object.namespace)
            && any_or(&self.api_version, &object.api_version)
    }
}

/// "Deployment shop/checkout".
impl fmt::Display for PatchTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { api_version, kind, namespace, name } = self.clone();
        ObjectRef { api_version, kind, namespace, name }.fmt(f)
    }
}
