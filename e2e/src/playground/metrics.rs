//! Prometheus and what it scrapes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use kube::Client;
use tokio::task::JoinHandle;

use super::folder::Folder;
use super::traffic::Traffic;
use crate::assets::Assets;
use crate::harness::wait_for;
use crate::progress::Progress;
use crate::prometheus::{Prometheus, Setup};

/// How long the first scrape may take: one comes each second.
const SCRAPE_DEADLINE: Duration = Duration::from_mins(1);

/// A Prometheus and the traffic that it sees.
#[derive(Debug)]
pub(super) struct Metrics {
    pub(super) prometheus: Prometheus,
    pub(super) traffic: Arc<Traffic>,
}

impl Metrics {
    /// Makes the folder and takes ports; starts nothing.
    pub(super) fn prepare(assets: &Assets, folder: &Folder) -> Result<Self> {
        let traffic = Arc::new(Traffic::prepare(folder.path())?);
        let targets = [("traffic", traffic.target())];
        let dir = folder.path().join("prometheus");
        let setup = Setup { dir: &dir, logs: &folder.logs(), targets: &targets, web: None };
        let prometheus = Prometheus::prepare(assets, &setup)?;
        Ok(Self { prometheus, traffic })
    }

    /// Starts the simulator; it runs until the tasks are aborted.
    pub(super) async fn start_traffic(
        &self,
        members: BTreeMap<String, Client>,
        progress: &Progress,
    ) -> Result<Vec<JoinHandle<()>>> {
        let tasks = self.traffic.start(members, progress).await?;
        progress.line(format!("traffic is simulated, see {}", self.traffic.url()));
        Ok(tasks)
    }

    /// Waits until Prometheus has seen the counters of somebody.
    pub(super) async fn await_scrape(&self) -> Result<()> {
        wait_for("Prometheus to see the simulated traffic", SCRAPE_DEADLINE, || async {
            let seen = self.prometheus.query("count(http_requests_total)").await?;
            Ok(if seen.is_empty() { Err("no series".to_owned()) } else { Ok(()) })
        })
        .await
    }
}
