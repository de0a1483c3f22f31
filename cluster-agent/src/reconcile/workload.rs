//! A live workload, reduced to what the agent looks at: the same view of all three kinds. Pure, but for [`read`].

use std::collections::{BTreeMap, BTreeSet};

use crds::{AssignedWorkload, WorkloadKind};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, DeploymentCondition, StatefulSet};
use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ManagedFieldsEntry, ObjectMeta};
use kube::{Api, Client};

use crate::cluster::{Error, call};

/// When pods are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// All, by the workload's controller.
    Rolling,
    /// Those with this ordinal and above, by the workload's controller. `StatefulSet` only.
    Partition(i32),
    /// Each when somebody deletes it.
    OnDelete,
}

/// A live workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// Kind.
    pub kind: WorkloadKind,
    /// metadata.uid.
    pub uid: String,
    /// metadata.resourceVersion.
    pub resource_version: String,
    /// metadata.generation.
    pub generation: i64,
    /// status.observedGeneration.
    pub observed_generation: i64,
    /// Images of its containers.
    pub containers: BTreeMap<String, String>,
    /// Images of its init containers.
    pub init_containers: BTreeMap<String, String>,
    /// When pods are replaced.
    pub strategy: Strategy,
    /// Pods wanted.
    pub desired: i32,
    /// Pods there, old ones included.
    pub total: i32,
    /// Pods of the current template.
    pub updated: i32,
    /// Pods that are ready.
    pub ready: i32,
    /// Pods that have been ready for long enough.
    pub available: i32,
    /// What its controller complains about, or why it does nothing.
    pub complaint: Option<String>,
    /// Which pods are its own. Not of a `Deployment`.
    pub selector: LabelSelector,
    /// Seconds that a pod must be ready before it is available. `DaemonSet` only.
    pub min_ready_seconds: i32,
    /// Nodes that are left out of all numbers, as they are not ready or not schedulable. `DaemonSet` only.
    pub left_out: i32,
    /// The revision that its pods shall have. `StatefulSet` only.
    pub update_revision: Option<String>,
    managed_fields: Vec<ManagedFieldsEntry>,
}

impl Workload {
    /// Images of all containers, init containers included. Their names are unique among both.
    pub fn images(&self) -> BTreeMap<String, String> {
        self.containers.iter().chain(&self.init_containers).map(|(name, image)| (name.clone(), image.clone())).collect()
    }

    /// Whether all these containers run these images.
    pub fn runs(&self, images: &BTreeMap<String, String>) -> bool {
        let live = self.images();
        images.iter().all(|(name, image)| live.get(name) == Some(image))
    }

    /// Containers whose image this field manager has applied and still owns.
    pub fn owned_by(&self, manager: &str) -> BTreeSet<String> {
        let applied = |entry: &&ManagedFieldsEntry| {
            entry.manager.as_deref() == Some(manager) && entry.operation.as_deref() == Some("Apply")
        };
        self.managed_fields.iter().filter(applied).flat_map(owned_images).collect()
    }

    /// Who has set the image of a container last, of all field managers but `ours`; none that says so.
    pub fn set_by(&self, container: &str, ours: &str) -> Option<&str> {
        let others = self.managed_fields.iter().filter(|entry| entry.manager.as_deref() != Some(ours));
        let owners = others.filter(|entry| owned_images(entry).iter().any(|name| name == container));
        owners.max_by_key(|entry| entry.time.clone()).and_then(|entry| entry.manager.as_deref())
    }

    fn of(kind: WorkloadKind, metadata: &ObjectMeta, pods: Option<&PodSpec>) -> Self {
        let empty = Vec::new();
        Self {
            kind,
            uid: metadata.uid.clone().unwrap_or_default(),
            resource_version: metadata.resource_version.clone().unwrap_or_default(),
            generation: metadata.generation.unwrap_or(0),
            observed_generation: 0,
            containers: images(pods.map_or(&empty, |pods| &pods.containers)),
            init_containers: images(pods.and_then(|pods| pods.init_containers.as_ref()).unwrap_or(&empty)),
            strategy: Strategy::Rolling,
            desired: 0,
            total: 0,
            updated: 0,
            ready: 0,
            available: 0,
            complaint: None,
            selector: LabelSelector::default(),
            min_ready_seconds: 0,
            left_out: 0,
            update_revision: None,
            managed_fields: metadata.managed_fields.clone().unwrap_or_default(),
        }
    }
}

/// Containers whose image a field manager owns.
fn owned_images(entry: &ManagedFieldsEntry) -> Vec<String> {
    let Some(fields) = &entry.fields_v1 else { return Vec::new() };
    let lists = ["f:containers", "f:initContainers"]
        .map(|list| fields.0.pointer(&format!("/f:spec/f:template/f:spec/{list}")).and_then(|list| list.as_object()));
    lists
        .into_iter()
        .flatten()
        .flatten()
        .filter(|(_, fields)| fields.get("f:image").is_some())
        // The key of a list item: `k:{"name":"app"}`.
        .filter_map(|(key, _)| serde_json::from_str::<serde_json::Value>(key.strip_prefix("k:")?).ok())
        .filter_map(|key| key.get("name")?.as_str().map(ToOwned::to_owned))
        .collect()
}

fn images(containers: &[Container]) -> BTreeMap<String, String> {
    let image = |container: &Container| (container.name.clone(), container.image.clone().unwrap_or_default());
    containers.iter().map(image).collect()
}

impl From<&Deployment> for Workload {
    fn from(object: &Deployment) -> Self {
        let spec = &object.spec;
        let status = object.status.clone().unwrap_or_default();
        let paused = spec.paused.unwrap_or(false);
        let stuck = status.conditions.iter().flatten().find(|one| is_stuck(one));
        let stuck = stuck.map(|one| one.message.clone().unwrap_or_else(|| "ProgressDeadlineExceeded".to_owned()));
        Self {
            observed_generation: status.observed_generation.unwrap_or(0),
            desired: spec.replicas.unwrap_or(1),
            total: status.replicas.unwrap_or(0),
            updated: status.updated_replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            complaint: if paused { Some("the Deployment is paused".to_owned()) } else { stuck },
            ..Self::of(WorkloadKind::Deployment, &object.metadata, spec.template.spec.as_ref())
        }
    }
}

fn is_stuck(condition: &DeploymentCondition) -> bool {
    condition.type_.as_deref() == Some("Progressing") && condition.status.as_deref() == Some("False")
}

impl From<&StatefulSet> for Workload {
    fn from(object: &StatefulSet) -> Self {
        let spec = &object.spec;
        let status = object.status.clone().unwrap_or_default();
        let update = spec.update_strategy.as_ref();
        let partition = update.and_then(|update| update.rolling_update.as_ref()?.partition).unwrap_or(0);
        let strategy = match update.and_then(|update| update.type_.as_deref()) {
            Some("OnDelete") => Strategy::OnDelete,
            _ if partition > 0 => Strategy::Partition(partition),
            _ => Strategy::Rolling,
        };
        Self {
            observed_generation: status.observed_generation.unwrap_or(0),
            strategy,
            desired: spec.replicas.unwrap_or(1),
            total: status.replicas,
            updated: status.updated_replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            selector: spec.selector.clone(),
            update_revision: status.update_revision.clone(),
            available: status.available_replicas.unwrap_or(0),
            ..Self::of(WorkloadKind::StatefulSet, &object.metadata, spec.template.spec.as_ref())
        }
    }
}

impl From<&DaemonSet> for Workload {
    fn from(object: &DaemonSet) -> Self {
        let spec = &object.spec;
        let status = object.status.clone().unwrap_or_default();
        let update = spec.update_strategy.as_ref().and_then(|update| update.type_.as_deref());
        Self {
            observed_generation: status.observed_generation.unwrap_or(0),
            strategy: if update == Some("OnDelete") { Strategy::OnDelete } else { Strategy::Rolling },
            desired: status.desired_number_scheduled,
            total: status.current_number_scheduled,
            updated: status.updated_number_scheduled.unwrap_or(0),
            ready: status.number_ready,
            available: status.number_available.unwrap_or(0),
            selector: spec.selector.clone(),
            min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
            ..Self::of(WorkloadKind::DaemonSet, &object.metadata, spec.template.spec.as_ref())
        }
    }
}

/// Reads a workload from a quorum; `None` when it does not exist. Client required.
pub async fn read(client: &Client, target: &AssignedWorkload) -> Result<Option<Workload>, Error> {
    let (namespace, name) = (&target.namespace, &target.name);
    let what = "read the workload";
    let client = client.clone();
    Ok(match target.kind {
        WorkloadKind::Deployment => {
            let object = call(what, Api::<Deployment>::namespaced(client, namespace).get_opt(name)).await?;
            object.as_ref().map(Workload::from)
        }
        WorkloadKind::StatefulSet => {
            let object = call(what, Api::<StatefulSet>::namespaced(client, namespace).get_opt(name)).await?;
            object.as_ref().map(Workload::from)
        }
        WorkloadKind::DaemonSet => {
            let object = call(what, Api::<DaemonSet>::namespaced(client, namespace).get_opt(name)).await?;
            object.as_ref().map(Workload::from)
        }
    })
}

#[cfg(test)]
pub(crate) mod fixtures {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A Deployment of three replicas, all of them up, with an init container and a sidecar.
    pub(crate) const DEPLOYMENT: &str = include_str!("fixtures/deployment.yaml");
    /// A `StatefulSet` of three replicas, all of them up.
    pub(crate) const STATEFUL_SET: &str = include_str!("fixtures/statefulset.yaml");
    /// A `DaemonSet` on two nodes, both up.
    pub(crate) const DAEMON_SET: &str = include_str!("fixtures/daemonset.yaml");

    /// The view of a manifest, with some texts in it replaced.
    pub(crate) fn workload(manifest: &str, replacements: &[(&str, &str)]) -> Workload {
        let text = replacements.iter().fold(manifest.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "'{from}' is not in the fixture");
            text.replace(from, to)
        });
        if text.contains("kind: Deployment") {
            Workload::from(&crds::yaml::from_str::<Deployment>(&text).unwrap())
        } else if text.contains("kind: StatefulSet") {
            Workload::from(&crds::yaml::from_str::<StatefulSet>(&text).unwrap())
        } else {
            Workload::from(&crds::yaml::from_str::<DaemonSet>(&text).unwrap())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fixtures::{DEPLOYMENT, workload};
    use super::*;

    #[test]
    fn images_are_those_of_init_containers_too() {
        let live = workload(DEPLOYMENT, &[]);
        let images: Vec<_> = live.images().into_iter().collect();
        let pair = |name: &str, image: &str| (name.to_owned(), image.to_owned());
        assert_eq!(images, [pair("app", "shop:v1"), pair("init", "init:v1"), pair("proxy", "proxy:v1")]);
        assert!(live.runs(&BTreeMap::from([pair("app", "shop:v1")])));
        assert!(!live.runs(&BTreeMap::from([pair("app", "shop:v2")])));
    }

    #[test]
    fn ownership_is_read_from_the_applied_fields_of_one_manager() {
        let live = workload(DEPLOYMENT, &[]);
        assert_eq!(live.owned_by("rollout.example.com:checkout"), BTreeSet::from(["proxy".to_owned()]));
        assert!(live.owned_by("rollout.example.com:check").is_empty());
        assert!(live.owned_by("kubectl-client-side-apply").is_empty());
    }

    #[test]
    fn semantics_22_who_has_set_an_image_is_its_latest_owner_beside_us() {
        let live = workload(DEPLOYMENT, &[]);
        let ours = "rollout.example.com:checkout";
        assert_eq!(live.set_by("app", ours), Some("kubectl-client-side-apply"));
        // An image that nobody else owns, and one that no entry is about.
        assert_eq!((live.set_by("proxy", ours), live.set_by("init", ours)), (None, None));
        // For another rollout of ours this one is somebody else.
        assert_eq!(live.set_by("proxy", "rollout.example.com:other"), Some(ours));
        let later = "    operation: Update\n    time: '2026-01-01T00:00:00Z'\n";
        let second = "manager: rollout.example.com:checkout\n    operation: Apply\n    time: '2026-01-01T00:00:01Z'\n";
        let both = [
            ("    operation: Update\n", later),
            ("manager: rollout.example.com:checkout\n    operation: Apply\n", second),
            ("k:{\"name\":\"proxy\"}", "k:{\"name\":\"app\"}"),
        ];
        assert_eq!(workload(DEPLOYMENT, &both).set_by("app", "rollout.example.com:other"), Some(ours));
    }
}
