//! The agents: one process for each member.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;

use super::charts::NAMESPACE;
use super::controllers::Controller;
use super::folder::Folder;
use super::programs::Programs;
use crate::control_plane::ControlPlane;
use crate::part::{Part, Ready};
use crate::pki::{Authority, MEMBER_ORGANIZATION};
use crate::ports::Port;
use crate::process::Launch;
use crate::prometheus::Prometheus;

/// A member's agent.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) part: Arc<Part>,
    /// Its rights on the member; written when the member is there.
    pub(super) kubeconfig: PathBuf,
    /// Base URL of its webhook, if the hub is to know it.
    pub(super) endpoint: Option<String>,
    _ports: [Port; 2],
}

/// What an agent is told of what is outside of its cluster.
pub(super) struct HubSide<'a> {
    pub(super) authority: &'a Authority,
    pub(super) controllers: &'a [Controller],
    /// One for all clusters: each agent asks it as if it were its own.
    pub(super) prometheus: Option<&'a Prometheus>,
}

/// Makes its certificate and command line; starts nothing.
pub(super) fn prepare(
    plane: &ControlPlane,
    dir: &Path,
    folder: &Folder,
    programs: &Programs,
    hub: &HubSide<'_>,
    webhook: bool,
) -> Result<Agent> {
    let name = plane.name();
    let dir = dir.join("agent");
    let HubSide { authority, controllers, prometheus } = hub;
    authority.write(&authority.issue(MEMBER_ORGANIZATION, name)?, &dir.join("tls"))?;
    let ports = [Port::take()?, Port::take()?];
    let [listen, operations] = ports.each_ref().map(|port| format!("127.0.0.1:{}", port.number()));
    let urls: Vec<&str> = controllers.iter().map(|controller| controller.agents_url.as_str()).collect();
    let kubeconfig = dir.join("member.kubeconfig");
    let launch = Launch::new(&programs.agent)
        .args(["--member", name, "--hub", &urls.join(",")])
        .arg("--tls-dir")
        .arg(dir.join("tls"))
        .args(["--listen", &listen, "--operations", &operations])
        .arg("--kubeconfig")
        .arg(&kubeconfig)
        .args(["--namespace", NAMESPACE, "--identity", &format!("{name}-agent-1"), "--log-format", "text"]);
    let launch = match prometheus {
        Some(prometheus) => launch.args(["--prometheus-url", prometheus.url()]),
        None => launch,
    };
    let ready = Ready::Http { url: format!("http://{operations}/readyz"), ca: None };
    Ok(Agent {
        part: Part::new(&format!("{name}/agent"), launch, &folder.logs(), ready),
        kubeconfig,
        endpoint: webhook.then(|| format!("https://{listen}")),
        _ports: ports,
    })
}
