//! Setting images: the body, which is pure, and the write, for which a client is required.

use std::collections::BTreeMap;
use std::fmt::Debug;

use crds::{AssignedWorkload, WORKLOAD_MANAGER_PREFIX, WorkloadKind};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::workload::Workload;
use crate::cluster::{Error, call};

/// Field manager of a rollout on its workload.
pub fn manager(rollout: &str) -> String {
    format!("{WORKLOAD_MANAGER_PREFIX}{rollout}")
}

/// The body of the server-side apply: the images and nothing else, on exactly the object that was read. Containers
/// that the manager owns from an earlier revision keep their live image: leaving them out would give up the field, and
/// with no other owner the API server would remove it.
pub fn body(target: &AssignedWorkload, live: &Workload, images: &BTreeMap<String, String>, manager: &str) -> Value {
    let owned = live.owned_by(manager);
    let of = |containers: &BTreeMap<String, String>| -> Vec<Value> {
        let kept = |(name, image): (&String, &String)| {
            let image = images.get(name).or_else(|| owned.contains(name).then_some(image))?;
            Some(json!({"name": name, "image": image}))
        };
        containers.iter().filter_map(kept).collect()
    };
    let lists = [("containers", of(&live.containers)), ("initContainers", of(&live.init_containers))];
    let pods: serde_json::Map<String, Value> = lists
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(key, list)| (key.to_owned(), list.into()))
        .collect();
    json!({
        "apiVersion": "apps/v1",
        "kind": target.kind.as_str(),
        "metadata": {
            "name": target.name,
            "namespace": target.namespace,
            "uid": live.uid,
            "resourceVersion": live.resource_version,
        },
        "spec": {"template": {"spec": pods}},
    })
}

/// Applies a body; returns the workload as it is then.
pub async fn apply(client: &Client, target: &AssignedWorkload, body: &Value, manager: &str) -> Result<Workload, Error> {
    Ok(match target.kind {
        WorkloadKind::Deployment => Workload::from(&patch::<Deployment>(client, target, body, manager).await?),
        WorkloadKind::StatefulSet => Workload::from(&patch::<StatefulSet>(client, target, body, manager).await?),
        WorkloadKind::DaemonSet => Workload::from(&patch::<DaemonSet>(client, target, body, manager).await?),
    })
}

async fn patch<K>(client: &Client, target: &AssignedWorkload, body: &Value, manager: &str) -> Result<K, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), &target.namespace);
    let parameters = PatchParams::apply(manager).force();
    call("set the images", api.patch(&target.name, &parameters, &Patch::Apply(body))).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::workload::fixtures::{DEPLOYMENT, workload};
    use super::*;
    use crate::assignment::fixtures::assignment;

    fn images(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, image)| ((*name).to_owned(), (*image).to_owned())).collect()
    }

    #[test]
    fn semantics_14_the_body_holds_images_and_preconditions_and_nothing_else() {
        let target = assignment(5).spec.workload.unwrap();
        let live = workload(DEPLOYMENT, &[]);
        let wanted = images(&[("app", "shop:v2"), ("init", "init:v2")]);
        let body = body(&target, &live, &wanted, &manager("another"));
        let expected = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "checkout", "namespace": "shop", "uid": "w1", "resourceVersion": "4711"},
            "spec": {"template": {"spec": {
                "containers": [{"name": "app", "image": "shop:v2"}],
                "initContainers": [{"name": "init", "image": "init:v2"}],
            }}},
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn a_container_that_is_no_longer_named_keeps_its_image() {
        let target = assignment(5).spec.workload.unwrap();
        let live = workload(DEPLOYMENT, &[]);
        let body = body(&target, &live, &images(&[("app", "shop:v2")]), &manager("checkout"));
        let containers = &body["spec"]["template"]["spec"]["containers"];
        assert_eq!(*containers, json!([{"name": "app", "image": "shop:v2"}, {"name": "proxy", "image": "proxy:v1"}]));
        assert!(body["spec"]["template"]["spec"].get("initContainers").is_none());
    }
}
