//! Clients for the clusters here, and what tests ask them most.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use crds::WorkloadKind;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

/// Deadlines of one connection and one read: the servers are on this machine, but may be stopped.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
const READ_DEADLINE: Duration = Duration::from_secs(30);

/// A client with the rights of a kubeconfig.
pub async fn client(kubeconfig: &Path) -> Result<Client> {
    crate::install_crypto_provider();
    let say = || format!("failed to use the kubeconfig \"{}\"", kubeconfig.display());
    let file = Kubeconfig::read_from(kubeconfig).with_context(say)?;
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.with_context(say)?;
    config.proxy_url = None;
    config.connect_timeout = Some(CONNECT_DEADLINE);
    config.read_timeout = Some(READ_DEADLINE);
    Client::try_from(config).with_context(say)
}

/// What a workload's own status says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadView {
    /// Image of the container in the template.
    pub image: String,
    /// metadata.generation: grows with each change of the spec.
    pub generation: i64,
    /// Whether the controller has seen that generation.
    pub observed: bool,
    /// Pods wanted.
    pub desired: i32,
    /// Pods of the newest template.
    pub updated: i32,
    /// Pods that are ready.
    pub ready: i32,
    /// Pods of every template.
    pub total: i32,
}

impl WorkloadView {
    /// Every pod is of the newest template and ready.
    pub fn is_rolled_out(&self) -> bool {
        let desired = self.desired;
        self.observed && [self.updated, self.ready, self.total].iter().all(|count| *count == desired)
    }
}

/// Reads a workload and the image of its container `container`.
pub async fn workload(
    client: &Client,
    kind: WorkloadKind,
    namespace: &str,
    name: &str,
    container: &str,
) -> Result<WorkloadView> {
    let say = || format!("failed to read {kind} \"{namespace}/{name}\"");
    match kind {
        WorkloadKind::Deployment => {
            let object = Api::<Deployment>::namespaced(client.clone(), namespace).get(name).await.with_context(say)?;
            let (spec, status) = (object.spec, object.status.unwrap_or_default());
            let seen = (object.metadata.generation, status.observed_generation);
            let ready = status.available_replicas.unwrap_or(0);
            let counts =
                [spec.replicas.unwrap_or(1), status.updated_replicas.unwrap_or(0), ready, status.replicas.unwrap_or(0)];
            view(&spec.template, container, seen, counts)
        }
        WorkloadKind::StatefulSet => {
            let object = Api::<StatefulSet>::namespaced(client.clone(), namespace).get(name).await.with_context(say)?;
            let (spec, status) = (object.spec, object.status.unwrap_or_default());
            let seen = (object.metadata.generation, status.observed_generation);
            let ready = status.available_replicas.unwrap_or(0);
            let counts = [spec.replicas.unwrap_or(1), status.updated_replicas.unwrap_or(0), ready, status.replicas];
            view(&spec.template, container, seen, counts)
        }
        WorkloadKind::DaemonSet => {
            let object = Api::<DaemonSet>::namespaced(client.clone(), namespace).get(name).await.with_context(say)?;
            let (spec, status) = (object.spec, object.status.unwrap_or_default());
            let seen = (object.metadata.generation, status.observed_generation);
            let ready = status.number_available.unwrap_or(0);
            let counts = [
                status.desired_number_scheduled,
                status.updated_number_scheduled.unwrap_or(0),
                ready,
                status.current_number_scheduled,
            ];
            view(&spec.template, container, seen, counts)
        }
    }
}

fn view(
    template: &PodTemplateSpec,
    container: &str,
    (generation, observed): (Option<i64>, Option<i64>),
    [desired, updated, ready, total]: [i32; 4],
) -> Result<WorkloadView> {
    let containers = template.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let image = containers.iter().find(|candidate| candidate.name == container).and_then(|found| found.image.clone());
    let image = image.with_context(|| format!("there is no container \"{container}\""))?;
    let generation = generation.unwrap_or(0);
    Ok(WorkloadView { image, generation, observed: observed == Some(generation), desired, updated, ready, total })
}
