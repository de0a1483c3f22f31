//! What end-to-end tests share: waiting for conditions, sampling a fleet's images, folders that explain failures.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use crds::WorkloadKind;
use kube::Client;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::assets::{Assets, Program};
use crate::cluster_client::{self, WorkloadView};
use crate::control_plane::{ControlPlane, Role, Spec};
use crate::progress::{Progress, human};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(100);

/// Waits until `look` says `Ok(Ok(value))`. What it says instead, `Ok(Err(state))` or an error (a server may be
/// down for a while), is shown when `deadline` has passed.
pub async fn wait_for<T, F, Fut>(what: &str, deadline: Duration, mut look: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Result<T, String>>>,
{
    let started = Instant::now();
    let mut state = "nothing was seen".to_owned();
    loop {
        let left = deadline.saturating_sub(started.elapsed());
        match tokio::time::timeout(left, look()).await {
            Ok(Ok(Ok(value))) => return Ok(value),
            Ok(Ok(Err(seen))) => state = seen,
            Ok(Err(error)) => state = format!("{error:#}"),
            Err(_) => state.push_str(" (and no answer to the last look)"),
        }
        if started.elapsed() >= deadline {
            bail!("waited {} for {what}, in vain; in the end: {state}", human(deadline));
        }
        sleep(POLL).await;
    }
}

/// A test's own folder, removed at its end unless the test fails: then it stays and its path is printed.
#[derive(Debug)]
pub struct TestFolder(PathBuf);

impl TestFolder {
    /// A new folder for a test of this name.
    pub fn new(test: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix(&format!("clusterrollout-{test}-")).tempdir()?;
        Ok(Self(folder.keep()))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TestFolder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the test's folder, with all logs, is kept: {}", self.0.display());
        } else {
            // What can't be removed lies in the temporary folder and harms nobody.
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// One cluster in a folder of its own, started and ready.
pub async fn start_cluster(folder: &Path, name: &str, role: Role) -> Result<ControlPlane> {
    let assets = Assets::ensure(&Program::CLUSTERS, &Progress::stderr()).await?;
    let spec = Spec { name: name.to_owned(), dir: folder.join(name), logs: folder.join("logs"), role, durable: false };
    let plane = ControlPlane::prepare(&assets, &spec)?;
    plane.start().await?;
    Ok(plane)
}

/// A workload of a fleet, as sampled.
#[derive(Clone, Copy, Debug)]
pub struct Watched<'a> {
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The container whose image counts.
    pub container: &'a str,
}

/// The Deployment of every member of a playground.
pub const CHECKOUT: Watched<'static> =
    Watched { kind: WorkloadKind::Deployment, namespace: "shop", name: "checkout", container: "app" };
/// The `StatefulSet` of every member of a playground.
pub const LEDGER: Watched<'static> =
    Watched { kind: WorkloadKind::StatefulSet, namespace: "shop", name: "ledger", container: "app" };
/// The `DaemonSet` of every member of a playground.
pub const EDGE: Watched<'static> =
    Watched { kind: WorkloadKind::DaemonSet, namespace: "shop", name: "edge", container: "app" };

/// The workload on each member, read from the members' own API servers at about the same time.
pub async fn views(clients: &BTreeMap<String, Client>, watched: Watched<'_>) -> Result<BTreeMap<String, WorkloadView>> {
    let reads = clients.iter().map(|(member, client)| async move {
        let Watched { kind, namespace, name, container } = watched;
        let view = cluster_client::workload(client, kind, namespace, name, container).await?;
        anyhow::Ok((member.clone(), view))
    });
    futures::future::try_join_all(reads).await.map(|all| all.into_iter().collect())
}

/// One look at all members.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When the first member was read, since the sampler was started.
    pub from: Duration,
    /// When the last one was.
    pub to: Duration,
    /// The workload on each member.
    pub views: BTreeMap<String, WorkloadView>,
}

impl Sample {
    /// Members that run this image.
    pub fn running(&self, image: &str) -> usize {
        self.views.values().filter(|view| view.image == image).count()
    }

    /// Members that were told to run this image and are not there yet.
    pub fn in_flux(&self, image: &str) -> BTreeSet<&str> {
        let flux = self.views.iter().filter(|(_, view)| view.image == image && !view.is_rolled_out());
        flux.map(|(member, _)| member.as_str()).collect()
    }
}

/// Looks at a whole fleet over and over, in the background.
#[derive(Debug)]
pub struct Sampler {
    samples: Arc<Mutex<Vec<Sample>>>,
    task: JoinHandle<()>,
}

/// How often a fleet is sampled.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);
/// Most samples that are kept: at ten a second, over an hour.
const MAX_SAMPLES: usize = 40_000;

impl Sampler {
    /// Starts sampling. A sample in which a member can't be read is left out.
    pub fn start(clients: BTreeMap<String, Client>, watched: Watched<'static>) -> Self {
        let samples = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&samples);
        let task = tokio::spawn(async move {
            let started = Instant::now();
            loop {
                let from = started.elapsed();
                if let Ok(views) = views(&clients, watched).await {
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    if kept.len() < MAX_SAMPLES {
                        kept.push(Sample { from, to: started.elapsed(), views });
                    }
                }
                sleep(SAMPLE_EVERY).await;
            }
        });
        Self { samples, task }
    }

    /// Ends sampling and hands the samples out.
    pub fn stop(self) -> Vec<Sample> {
        self.task.abort();
        std::mem::take(&mut *self.samples.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.task.abort();
    }
}
