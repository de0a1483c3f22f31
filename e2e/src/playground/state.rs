//! `state.json`: where everything is, for people and programs.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::Fleet;
use crate::control_plane::ControlPlane;

/// What `state.json` says. A part that is not there, or is stopped, is null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The hub.
    pub hub: HubState,
    /// The members, in order.
    pub members: Vec<MemberState>,
    /// The controllers, in order.
    pub controllers: Vec<ControllerState>,
    /// URL of the dashboard.
    pub dashboard: Option<String>,
    /// Base URL of Prometheus; null when none was asked for.
    pub prometheus: Option<String>,
    /// Base URL of the first Alertmanager; null when none was asked for.
    pub alertmanager: Option<String>,
    /// URL of the simulated traffic's counters; null when there is no Prometheus.
    pub traffic: Option<String>,
    /// Path of a kubectl that fits the clusters.
    pub kubectl: PathBuf,
}

/// The hub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubState {
    /// Kubeconfig of its administrator.
    pub kubeconfig: PathBuf,
    /// Process of its API server.
    pub apiserver_pid: Option<u32>,
    /// Process of its etcd.
    pub etcd_pid: Option<u32>,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberState {
    /// Its name.
    pub name: String,
    /// Kubeconfig of its administrator.
    pub kubeconfig: PathBuf,
    /// Process of its API server.
    pub apiserver_pid: Option<u32>,
    /// Process of its etcd.
    pub etcd_pid: Option<u32>,
    /// Processes of its agents.
    pub agent_pids: Vec<u32>,
}

/// A controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControllerState {
    /// Its id.
    pub id: String,
    /// Its process.
    pub pid: Option<u32>,
    /// Base URL of its listener for people.
    pub url: String,
}

impl Fleet {
    pub(super) fn state(&self) -> State {
        let pid = |plane: &ControlPlane, name: &str| plane.part(name).and_then(|part| part.pid());
        let hub = HubState {
            kubeconfig: self.hub.kubeconfig().to_path_buf(),
            apiserver_pid: pid(&self.hub, "apiserver"),
            etcd_pid: pid(&self.hub, "etcd"),
        };
        let members = self.members.iter().map(|member| MemberState {
            name: member.plane.name().to_owned(),
            kubeconfig: member.plane.kubeconfig().to_path_buf(),
            apiserver_pid: pid(&member.plane, "apiserver"),
            etcd_pid: pid(&member.plane, "etcd"),
            agent_pids: member.agent.part.pid().into_iter().collect(),
        });
        let controllers = self.controllers.iter().map(|controller| ControllerState {
            id: controller.id.clone(),
            pid: controller.part.pid(),
            url: controller.url.clone(),
        });
        State {
            hub,
            members: members.collect(),
            controllers: controllers.collect(),
            dashboard: self.controllers.first().map(|controller| format!("{}/", controller.url)),
            prometheus: self.metrics.as_ref().map(|metrics| metrics.prometheus.url().to_owned()),
            alertmanager: self.alertmanagers.first().map(|one| one.url().to_owned()),
            traffic: self.metrics.as_ref().map(|metrics| metrics.traffic.url()),
            kubectl: self.kubectl.clone(),
        }
    }

    /// Writes `state.json`: whole, or not at all.
    pub(super) async fn write_state(&self) -> Result<()> {
        let _turn = self.writing.lock().await;
        let path = self.folder.state();
        let unfinished = path.with_extension("json.unfinished");
        let text = serde_json::to_string_pretty(&self.state()).context("failed to write the state as JSON")?;
        fs::write(&unfinished, text + "\n").with_context(|| format!("failed to write \"{}\"", unfinished.display()))?;
        fs::rename(&unfinished, &path).with_context(|| format!("failed to put \"{}\" in place", path.display()))
    }
}
