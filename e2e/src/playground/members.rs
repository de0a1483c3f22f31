//! What the hub and the members are filled with: CRDs, rights, workloads, `MemberCluster` objects.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use crds::{Connection, MemberCluster, MemberClusterSpec};

use super::agents::Agent;
use super::charts::Charts;
use super::controllers::Controller;
use super::{Member, samples};
use crate::cluster_client::workload;
use crate::control_plane::ControlPlane;
use crate::harness::wait_for;
use crate::repository;

/// Regions that members are spread over, one after the other.
const REGIONS: usize = 3;
/// How long the sample workloads may take to run.
const WORKLOADS_DEADLINE: Duration = Duration::from_mins(2);

/// CRDs, the controllers' rights, and one `MemberCluster` for each member.
pub(super) async fn fill_hub(
    hub: &ControlPlane,
    members: &[Member],
    charts: &Charts,
    controllers: &[Controller],
) -> Result<()> {
    let kubectl = hub.kubectl();
    let definitions = ["clusterscoperollouts", "memberclusters", "rolloutactions"];
    kubectl.apply_server_side(&format!("{}{}", custom_resources(&definitions)?, charts.hub.manifests)).await?;
    kubectl.await_resources(&definitions).await?;
    let mut objects = String::new();
    for (index, member) in members.iter().enumerate() {
        objects.push_str("---\n");
        objects.push_str(&member_cluster(index, member)?);
    }
    kubectl.apply_server_side(&objects).await?;
    for controller in controllers {
        charts.hub.write_kubeconfig(hub, &controller.kubeconfig).await?;
    }
    Ok(())
}

/// The CRD of assignments, the agent's rights, and the sample workloads, which are running in the end.
pub(super) async fn fill_member(plane: &ControlPlane, agent: &Agent, charts: &Charts) -> Result<()> {
    let definitions = custom_resources(&["rolloutassignments"])?;
    let all = format!("{definitions}{}---\n{}", charts.member.manifests, samples::workloads("v1"));
    plane.kubectl().apply_server_side(&all).await.with_context(|| format!("failed to fill {}", plane.name()))?;
    charts.member.write_kubeconfig(plane, &agent.kubeconfig).await?;
    let client = plane.client().await?;
    wait_for(&format!("the workloads of {}", plane.name()), WORKLOADS_DEADLINE, || async {
        for (kind, name) in samples::WORKLOADS {
            let view = workload(&client, kind, samples::NAMESPACE, name, "app").await?;
            // A DaemonSet that no controller has looked at yet wants no pod.
            if !view.is_rolled_out() || view.desired == 0 {
                return Ok(Err(format!("{kind} {name}: {view:?}")));
            }
        }
        Ok(Ok(()))
    })
    .await
}

fn custom_resources(names: &[&str]) -> Result<String> {
    let mut text = String::new();
    for name in names {
        let path = repository().join("deploy/crds").join(format!("{name}.yaml"));
        let yaml = fs::read_to_string(&path).with_context(|| format!("failed to read \"{}\"", path.display()))?;
        text.push_str("---\n");
        text.push_str(&yaml);
        text.push('\n');
    }
    Ok(text)
}

fn member_cluster(index: usize, member: &Member) -> Result<String> {
    let connection = Connection { endpoint: member.agent.endpoint.clone(), ..Connection::default() };
    let mut object = MemberCluster::new(member.plane.name(), MemberClusterSpec { connection, cordoned: false });
    let region = format!("r{}", index % REGIONS + 1);
    let labels = [("env", "prod"), ("region", region.as_str())];
    object.metadata.labels = Some(labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect());
    crds::yaml::to_string(&object).context("failed to write a MemberCluster")
}
