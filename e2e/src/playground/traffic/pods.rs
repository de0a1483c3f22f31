//! Which images really serve: the ready pods of a member.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client};

use super::super::samples;

/// An API server on this machine answers in milliseconds, unless it is stopped.
const DEADLINE: Duration = Duration::from_secs(2);

/// Workload to the tags of its ready pods, one for each pod.
pub(super) type Pods = BTreeMap<String, Vec<String>>;

/// Asks a member's API server.
pub(super) async fn ready(client: &Client) -> Result<Pods> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), samples::NAMESPACE);
    let list =
        tokio::time::timeout(DEADLINE, pods.list(&ListParams::default())).await.context("no answer in time")??;
    let mut found = Pods::new();
    for pod in list.items.iter().filter(|pod| is_ready(pod)) {
        if let Some((workload, tag)) = workload_and_tag(pod) {
            found.entry(workload).or_default().push(tag);
        }
    }
    Ok(found)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let ready = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

fn workload_and_tag(pod: &Pod) -> Option<(String, String)> {
    let workload = pod.metadata.labels.as_ref()?.get("app")?;
    let image = pod.spec.as_ref()?.containers.first()?.image.as_deref()?;
    // A colon before the last slash belongs to the registry's port.
    let name = image.rsplit('/').next().unwrap_or(image);
    let tag = name.split_once(':').map_or("latest", |(_, tag)| tag);
    Some((workload.clone(), tag.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn pod(image: &str, ready: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"labels": {"app": "checkout"}},
            "spec": {"containers": [{"name": "app", "image": image}]},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }))
        .unwrap()
    }

    #[test]
    fn a_pod_tells_its_workload_and_tag() {
        let tag = |image: &str| workload_and_tag(&pod(image, "True")).unwrap();
        assert_eq!(tag("registry.example.com:5000/checkout:v2-e2"), ("checkout".to_owned(), "v2-e2".to_owned()));
        assert_eq!(tag("registry.example.com:5000/checkout").1, "latest");
    }

    #[test]
    fn only_ready_pods_that_are_not_going_away_serve() {
        assert!(is_ready(&pod("a:v1", "True")));
        assert!(!is_ready(&pod("a:v1", "False")));
        let mut going = serde_json::to_value(pod("a:v1", "True")).unwrap();
        going["metadata"]["deletionTimestamp"] = json!("2030-01-01T00:00:00Z");
        assert!(!is_ready(&serde_json::from_value(going).unwrap()));
    }
}
