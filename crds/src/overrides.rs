//! What some of the members get instead of what the others get.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::payload::images_schema;
use crate::{ClusterSelector, PatchOperation, PatchTarget};

/// What some of the members get instead: other images of workload, or one of manifests with a patch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.images) != has(self.jsonPatch)").message("give images or jsonPatch").reason(Reason::FieldValueInvalid).field_path(".images"))]
#[x_kube(validation = Rule::new("has(self.target) == has(self.jsonPatch)").message("target and jsonPatch belong together").reason(Reason::FieldValueInvalid).field_path(".target"))]
pub struct Override {
    /// The members that it is for, by the labels of their MemberCluster. For one member:
    /// matchLabels: {rollout.example.com/member: NAME}.
    pub cluster_selector: ClusterSelector,
    /// Container name to image, for containers that workload.images names: what these members get instead. 1 to 32
    /// entries; an image has 1 to 512 characters. Only with workload.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "images_schema")]
    pub images: BTreeMap<String, String>,
    /// The one of manifests that jsonPatch is for. Of several overrides for the same member and object the last one counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<PatchTarget>,
    /// A JSON patch (RFC 6902) on that object, as it stands in manifests: 1 to 32 operations. One that does not apply, or
    /// changes which object it is, keeps the run from starting. Only with manifests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub json_patch: Vec<PatchOperation>,
}

impl Override {
    /// Whether it is for this member.
    pub fn is_for(&self, member: &str, labels: &BTreeMap<String, String>) -> bool {
        self.cluster_selector.selects(member, labels)
    }
}
