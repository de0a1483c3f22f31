//! What a rollout delivers, and the hash that names it.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{ClusterScopeRolloutSpec, Manifests, Override};

/// What a rollout delivers, and which members get something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Payload {
    /// What members get that no override is for.
    #[serde(flatten)]
    pub content: Content,
    /// What the others get instead; of several for the same member and container, or object, the last one counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Override>,
}

/// What is delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    /// New images of one workload.
    Images(WorkloadPayload),
    /// Whole objects.
    Manifests(Manifests),
}

impl Payload {
    /// That of a specification; none where there is nothing to deliver.
    pub fn of(spec: &ClusterScopeRolloutSpec) -> Option<Self> {
        let content = match &spec.workload {
            Some(workload) => Content::Images(workload.clone()),
            None if spec.manifests.is_empty() => return None,
            None => Content::Manifests(Manifests::of(&spec.manifests)),
        };
        Some(Self { content, overrides: spec.overrides.clone() })
    }

    /// The images of one workload, if it is that.
    pub fn workload(&self) -> Option<&WorkloadPayload> {
        match &self.content {
            Content::Images(workload) => Some(workload),
            Content::Manifests(_) => None,
        }
    }

    /// Whole objects, if it is that.
    pub fn manifests(&self) -> Option<&Manifests> {
        match &self.content {
            Content::Images(_) => None,
            Content::Manifests(manifests) => Some(manifests),
        }
    }

    /// What is done about a member without the workload. Objects are made where they are missing.
    pub fn if_missing(&self) -> IfMissing {
        self.workload().map_or_else(IfMissing::default, |workload| workload.if_missing)
    }

    /// Container to image, as a member of this name and these labels gets it; none where whole objects are delivered.
    pub fn images_for(&self, member: &str, labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut images = self.workload().map_or_else(BTreeMap::new, |workload| workload.images.clone());
        for other in self.overrides.iter().filter(|other| other.is_for(member, labels)) {
            images.extend(other.images.clone());
        }
        images
    }

    /// Which overrides are for a member of this name and these labels, from 0.
    pub fn overrides_for(&self, member: &str, labels: &BTreeMap<String, String>) -> Vec<i32> {
        (0..).zip(&self.overrides).filter(|(_, other)| other.is_for(member, labels)).map(|(index, _)| index).collect()
    }

    /// The lowest [`crate::AGENT_API_LEVEL`] of an agent that can carry it out.
    pub fn api_level(&self) -> i32 {
        match &self.content {
            Content::Images(_) => crate::FIRST_API_LEVEL,
            Content::Manifests(_) => crate::OBJECTS_API_LEVEL,
        }
    }
}

/// Without any override.
impl From<WorkloadPayload> for Payload {
    fn from(workload: WorkloadPayload) -> Self {
        Self { content: Content::Images(workload), overrides: Vec::new() }
    }
}

/// New images for containers of one existing workload. The agent changes these images and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadPayload {
    /// Kind of the workload, of apiVersion apps/v1: Deployment, StatefulSet or DaemonSet. Immutable.
    #[x_kube(validation = Rule::new("self == oldSelf").message("kind is immutable: delete the rollout and create one for the other workload").reason(Reason::FieldValueInvalid))]
    pub kind: WorkloadKind,
    /// Namespace of the workload in each member. Immutable.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("namespace is immutable: delete the rollout and create one for the other workload").reason(Reason::FieldValueInvalid))]
    pub namespace: String,
    /// Name of the workload in each member. Immutable.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("name is immutable: delete the rollout and create one for the other workload").reason(Reason::FieldValueInvalid))]
    pub name: String,
    /// Container name to image, for example `app: "registry/checkout@sha256:…"`. Containers and init
    /// containers that are not named keep their image. 1 to 32 entries; an image has 1 to 512 characters.
    #[schemars(schema_with = "images_schema")]
    #[x_kube(validation = Rule::new("self.all(name, name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && size(name) <= 63)").message("each key must be the name of a container: a DNS label of at most 63 characters").reason(Reason::FieldValueInvalid))]
    pub images: BTreeMap<String, String>,
    /// What is done about a member that doesn't have the workload, or not all of these containers, when it is first asked
    /// what it runs. Hold: the run holds and names the member. Skip: the member is left out of the rollout, of its
    /// percentages too, and nothing is touched there; when the workload appears it joins the steps that have not begun,
    /// or gets the accepted revision after them. It is no part of the payload: a change of it starts no run. Default Hold.
    #[serde(default, skip_serializing_if = "IfMissing::is_hold")]
    pub if_missing: IfMissing,
}

/// What is done about a member without the workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IfMissing {
    /// The run holds and names it.
    #[default]
    Hold,
    /// It is left out.
    Skip,
}

impl IfMissing {
    /// Whether the run holds.
    pub fn is_hold(&self) -> bool {
        *self == Self::Hold
    }
}

/// Kinds of workload whose images can be rolled out, all of apiVersion apps/v1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum WorkloadKind {
    /// A Deployment.
    Deployment,
    /// A StatefulSet.
    StatefulSet,
    /// A DaemonSet.
    DaemonSet,
}

impl WorkloadKind {
    /// The kind as it is written in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
        }
    }

    /// The plural resource name, as in a URL or a role.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Deployment => "deployments",
            Self::StatefulSet => "statefulsets",
            Self::DaemonSet => "daemonsets",
        }
    }
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Name of an immutable payload: the first 16 hexadecimal digits of the SHA-256 of its canonical JSON.
/// 64 bits are plenty to tell the revisions of one rollout apart and short enough to read aloud.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Revision(#[schemars(length(max = 64))] pub String);

impl Revision {
    /// Hash of a payload.
    pub fn of(payload: &Payload) -> Self {
        let Payload { content, overrides } = payload;
        let mut text = match content {
            // What is done where the workload is missing changes nothing where it is there.
            Content::Images(WorkloadPayload { kind, namespace, name, images, if_missing: _ }) => {
                let mut text = format!("{kind}\n{namespace}\n{name}\n");
                push_images(&mut text, images);
                text
            }
            Content::Manifests(Manifests { objects: _, hash }) => format!("manifests\n{hash}\n"),
        };
        if !overrides.is_empty() {
            // Plain data: there is nothing in it that can't be written as JSON.
            text.push_str(&serde_json::to_string(overrides).unwrap_or_default());
        }
        Self(short_sha256(&text))
    }

    /// The revision as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Hash of a whole specification, as this release reads it: 16 hexadecimal digits.
pub fn spec_hash(spec: &ClusterScopeRolloutSpec) -> String {
    // Plain data: there is nothing in it that can't be written as JSON.
    short_sha256(&serde_json::to_string(spec).unwrap_or_default())
}

/// Hash of a set of container images: 16 hexadecimal digits. Equal sets, and only they, have equal hashes.
pub fn images_hash(images: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    push_images(&mut text, images);
    short_sha256(&text)
}

/// Neither container names nor images hold a line feed, so the text is unambiguous.
fn push_images(text: &mut String, images: &BTreeMap<String, String>) {
    for (container, image) in images {
        text.push_str(container);
        text.push('\n');
        text.push_str(image);
        text.push('\n');
    }
}

/// Hash of a text: the first 16 hexadecimal digits of its SHA-256.
pub fn short_sha256(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(8).fold(String::with_capacity(16), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

pub(crate) fn images_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "minProperties": 1,
        "maxProperties": 32,
        "additionalProperties": {"type": "string", "minLength": 1, "maxLength": 512, "pattern": "^[^\\s]+$"},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ClusterSelector;

    fn workload(image: &str) -> WorkloadPayload {
        WorkloadPayload {
            kind: WorkloadKind::Deployment,
            namespace: "shop".to_owned(),
            name: "checkout".to_owned(),
            images: BTreeMap::from([("app".to_owned(), image.to_owned())]),
            if_missing: IfMissing::Hold,
        }
    }

    fn payload(image: &str) -> Payload {
        workload(image).into()
    }

    /// The image for members with the label `region` of this value.
    fn other(region: &str, image: &str) -> Override {
        let match_labels = BTreeMap::from([("region".to_owned(), region.to_owned())]);
        let cluster_selector = ClusterSelector { match_labels, match_expressions: Vec::new() };
        let images = BTreeMap::from([("app".to_owned(), image.to_owned())]);
        Override { cluster_selector, images, target: None, json_patch: Vec::new() }
    }

    #[test]
    fn semantics_02_a_revision_is_the_hash_of_its_payload() {
        assert_eq!(Revision::of(&payload("shop:v2")), Revision::of(&payload("shop:v2")));
        assert_ne!(Revision::of(&payload("shop:v2")), Revision::of(&payload("shop:v3")));
        let stateful = WorkloadPayload { kind: WorkloadKind::StatefulSet, ..workload("shop:v2") };
        assert_ne!(Revision::of(&payload("shop:v2")), Revision::of(&stateful.into()));
        assert_eq!(Revision::of(&payload("shop:v2")).as_str().len(), 16);
    }

    #[test]
    fn semantics_01_what_is_done_where_the_workload_is_missing_makes_no_new_revision() {
        let skipping = WorkloadPayload { if_missing: IfMissing::Skip, ..workload("shop:v2") };
        assert_eq!(Revision::of(&skipping.into()), Revision::of(&payload("shop:v2")));
    }

    #[test]
    fn semantics_02_the_rules_of_overrides_and_their_order_are_part_of_the_revision() {
        let with = |overrides: &[Override]| Payload { overrides: overrides.to_vec(), ..payload("shop:v2") };
        let (east, west) = (other("east", "east/shop:v2"), other("west", "west/shop:v2"));
        let revision = |overrides: &[Override]| Revision::of(&with(overrides));
        assert_ne!(revision(&[]), revision(std::slice::from_ref(&east)));
        assert_ne!(revision(&[east.clone(), west.clone()]), revision(&[west, east]));
    }

    #[test]
    fn semantics_02_a_member_gets_what_the_last_override_for_it_says() {
        let mut both = other("east", "special/shop:v2");
        both.cluster_selector.match_labels = BTreeMap::from([(crate::MEMBER_LABEL.to_owned(), "m2".to_owned())]);
        let payload = Payload { overrides: vec![other("east", "east/shop:v2"), both], ..payload("shop:v2") };
        let labels = |region: &str| BTreeMap::from([("region".to_owned(), region.to_owned())]);
        let image = |member: &str, region: &str| payload.images_for(member, &labels(region))["app"].clone();
        assert_eq!(image("m1", "west"), "shop:v2");
        assert_eq!(image("m1", "east"), "east/shop:v2");
        assert_eq!(image("m2", "east"), "special/shop:v2");
        assert_eq!(image("m2", "west"), "special/shop:v2");
    }

    #[test]
    fn the_hash_of_a_revision_never_changes_between_releases() {
        assert_eq!(Revision::of(&payload("shop:v2")).as_str(), "2821cde69523ab29");
    }
}
