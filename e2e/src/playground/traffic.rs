//! Simulated traffic: counters as if users' requests reached the workloads of the members.
//!
//! No request is made and no pod answers one: pods here have no container. What is real is which pods are ready and which
//! images they run; that is read from each member's own API server, and requests are counted as good or bad by the tag,
//! so a bad image shows in the metrics exactly where and while it runs. `traffic.json` in the playground's folder
//! changes the behaviour while all runs.

mod counters;
mod pods;
mod rules;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::http::header;
use axum::routing::get;
use kube::Client;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use rules::Rules;
pub use rules::{EVERYBODY, Rule};

use crate::ports::Port;
use crate::progress::Progress;
use counters::Counters;
use pods::Pods;

/// The file with the rules, in the playground's folder.
pub(super) const FILE: &str = "traffic.json";
/// How often requests are counted and the file is looked at: several times between two scrapes.
const COUNT_EVERY: Duration = Duration::from_millis(200);
/// How often each member is asked for its pods.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The simulator's place, before it runs.
#[derive(Debug)]
pub(super) struct Traffic {
    port: Port,
    file: PathBuf,
    shared: Arc<Shared>,
}

impl Traffic {
    /// Takes a port; starts nothing.
    pub(super) fn prepare(dir: &Path) -> Result<Self> {
        Ok(Self { port: Port::take()?, file: dir.join(FILE), shared: Arc::default() })
    }

    /// `host:port` of its `/metrics`.
    pub(super) fn target(&self) -> String {
        format!("127.0.0.1:{}", self.port.number())
    }

    /// URL of its counters.
    pub(super) fn url(&self) -> String {
        format!("http://{}/metrics", self.target())
    }

    /// Replaces the rules; whole, so that the simulator never reads half of them.
    pub(super) fn write_rules(&self, rules: &Rules) -> Result<()> {
        let unfinished = self.file.with_extension("json.unfinished");
        let text = serde_json::to_string_pretty(rules).context("failed to write rules as JSON")?;
        std::fs::write(&unfinished, text).with_context(|| format!("failed to write \"{}\"", unfinished.display()))?;
        std::fs::rename(&unfinished, &self.file)
            .with_context(|| format!("failed to put \"{}\" in place", self.file.display()))
    }

    /// From now on a member that nobody looks at has these ready pods.
    pub(super) fn serve(&self, member: &str, pods: Pods) {
        lock(&self.shared.pods).insert(member.to_owned(), pods);
    }

    /// Runs until the tasks are aborted.
    pub(super) async fn start(
        &self,
        members: BTreeMap<String, Client>,
        progress: &Progress,
    ) -> Result<Vec<JoinHandle<()>>> {
        let address = self.target();
        let listener = TcpListener::bind(&address).await;
        let listener = listener.with_context(|| format!("failed to listen on {address} for the traffic simulator"))?;
        let shared = Arc::clone(&self.shared);
        let looks = members.into_iter().map(|(name, client)| tokio::spawn(look(Arc::clone(&shared), name, client)));
        let mut tasks: Vec<_> = looks.collect();
        tasks.push(tokio::spawn(count(Arc::clone(&shared), self.file.clone(), progress.clone())));
        tasks.push(tokio::spawn(serve(shared, listener)));
        Ok(tasks)
    }
}

/// What its tasks share.
#[derive(Debug, Default)]
struct Shared {
    /// Ready pods of each member, as last seen.
    pods: Mutex<BTreeMap<String, Pods>>,
    counters: Mutex<Counters>,
}

/// Keeps the picture of one member fresh. Users' requests don't go through the API server: while it is down, the last
/// picture stays.
async fn look(shared: Arc<Shared>, member: String, client: Client) {
    loop {
        if let Ok(pods) = pods::ready(&client).await {
            lock(&shared.pods).insert(member.clone(), pods);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn count(shared: Arc<Shared>, file: PathBuf, progress: Progress) {
    let mut rules = rules::Follower::new(file);
    let mut counted = Instant::now();
    loop {
        tokio::time::sleep(COUNT_EVERY).await;
        if let Some(news) = rules.look() {
            progress.line(news);
        }
        let now = Instant::now();
        let pods = lock(&shared.pods).clone();
        lock(&shared.counters).advance(&pods, rules.rules(), now.duration_since(counted));
        counted = now;
    }
}

async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let metrics = move || async move {
        let text = lock(&shared.counters).render();
        ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
    };
    // It ends only when it is aborted: axum goes on after failed accepts.
    let _ = axum::serve(listener, Router::new().route("/metrics", get(metrics))).await;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere may have left a count half done, and these are no real requests.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
