//! Other images for some of the members.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::payload::images_schema;
use crate::{ClusterSelector, MEMBER_LABEL};

/// Other images for some of the members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Override {
    /// The members that it is for, by the labels of their MemberCluster. For one member:
    /// matchLabels: {rollout.example.com/member: NAME}.
    pub cluster_selector: ClusterSelector,
    /// Container name to image, for containers that workload.images names: what these members get instead. 1 to 32
    /// entries; an image has 1 to 512 characters.
    #[schemars(schema_with = "images_schema")]
    pub images: BTreeMap<String, String>,
}

impl Override {
    /// Whether it is for this member. The label that names a member is there from its beginning on, whether it has been
    /// written yet or not.
    pub fn is_for(&self, member: &str, labels: &BTreeMap<String, String>) -> bool {
        if labels.contains_key(MEMBER_LABEL) {
            return self.cluster_selector.matches(labels);
        }
        let mut labels = labels.clone();
        labels.insert(MEMBER_LABEL.to_owned(), member.to_owned());
        self.cluster_selector.matches(&labels)
    }
}
