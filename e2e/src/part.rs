//! A part of a playground: one process that can be stopped and brought back on its old ports and data.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::time::sleep;

use crate::process::{Launch, Process, tail};
use crate::progress::human;

/// How long a part may take to become ready. An API server alone takes 3 s; eleven that start together on
/// two cores take a minute.
const READY_DEADLINE: Duration = Duration::from_mins(3);
/// How often readiness is asked for.
const READY_POLL: Duration = Duration::from_millis(100);
/// Deadline of one such question.
const PROBE_DEADLINE: Duration = Duration::from_secs(3);
/// How long a part may take to end before it is killed: etcd and the API server need about a second.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// Lines of the log that an error shows.
const TAIL_LINES: usize = 25;

/// How a part says that it is ready.
#[derive(Clone, Debug)]
pub enum Ready {
    /// A GET of the URL is answered with success.
    Http {
        /// What is asked.
        url: String,
        /// Authority of an https server, PEM.
        ca: Option<String>,
    },
    /// It is taken to be ready at once; what depends on it waits for its effects.
    AtOnce,
}

/// One process with its command line, log and readiness.
#[derive(Debug)]
pub struct Part {
    name: String,
    launch: Launch,
    log: PathBuf,
    ready: Ready,
    process: Mutex<Option<Arc<Process>>>,
    /// One start or stop at a time.
    turn: tokio::sync::Mutex<()>,
}

impl Part {
    /// A part that is not started yet. `name` is as in `hub/apiserver`.
    pub fn new(name: &str, launch: Launch, logs: &Path, ready: Ready) -> Arc<Self> {
        let log = logs.join(format!("{}.log", name.replace('/', "-")));
        Arc::new(Self {
            name: name.to_owned(),
            launch: launch.on_loopback_only(),
            log,
            ready,
            process: Mutex::new(None),
            turn: tokio::sync::Mutex::new(()),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says at `/metrics`, beside where it says that it is ready.
    pub async fn metrics(&self) -> Result<String> {
        Ok(self.ask("/metrics").await?.error_for_status()?.text().await?)
    }

    /// Its answer to a GET of a path beside the one at which it says that it is ready.
    pub async fn ask(&self, path: &str) -> Result<reqwest::Response> {
        let Ready::Http { url, ca } = &self.ready else { bail!("{} listens nowhere for operations", self.name) };
        let mut url = reqwest::Url::parse(url).with_context(|| format!("\"{url}\" is no URL"))?;
        url.set_path(path);
        Ok(http_client(ca.as_deref())?.get(url).send().await?)
    }

    /// Its log.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.running().map(|process| process.pid())
    }

    /// Starts it and waits until it is ready; when it runs already, only waits. One that fails to become
    /// ready is ended again.
    pub async fn start(&self) -> Result<()> {
        let _turn = self.turn.lock().await;
        let process = self.run()?;
        let ready = self.await_ready(&process).await;
        if ready.is_err() {
            *self.slot() = None;
            process.stop(STOP_GRACE).await;
        }
        ready
    }

    /// Starts it and does not wait: for a part that can't become ready because another one is down.
    pub async fn launch(&self) -> Result<()> {
        let _turn = self.turn.lock().await;
        self.run().map(drop)
    }

    /// Ends it: politely, then by force. Nothing happens when it does not run.
    pub async fn stop(&self) {
        let _turn = self.turn.lock().await;
        // Taken out first, so that its end is not taken for a death.
        let process = self.slot().take();
        if let Some(process) = process {
            process.stop(STOP_GRACE).await;
        }
    }

    /// Kills it and waits until it is gone; for `Drop`.
    pub fn kill(&self) {
        let process = self.slot().take();
        if let Some(process) = process {
            process.kill_and_reap();
        }
    }

    /// If it has ended by itself since it was started: how, as text. Says so once.
    pub fn take_death(&self) -> Option<String> {
        let mut slot = self.slot();
        let status = slot.as_ref()?.exit_status()?;
        *slot = None;
        Some(status.to_string())
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        tail(&self.log, TAIL_LINES)
    }

    fn run(&self) -> Result<Arc<Process>> {
        let process = match self.running() {
            Some(process) => process,
            None => Arc::new(Process::start(&self.launch, &self.log)?),
        };
        *self.slot() = Some(Arc::clone(&process));
        Ok(process)
    }

    fn running(&self) -> Option<Arc<Process>> {
        self.slot().as_ref().filter(|process| process.exit_status().is_none()).cloned()
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Arc<Process>>> {
        // An Option is replaced whole: a panic elsewhere can't have left it half done.
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn await_ready(&self, process: &Process) -> Result<()> {
        let Ready::Http { url, ca } = &self.ready else { return Ok(()) };
        let client = http_client(ca.as_deref())?;
        let deadline = Instant::now() + READY_DEADLINE;
        loop {
            let answer = match client.get(url).send().await {
                Ok(response) if response.status().is_success() => return Ok(()),
                Ok(response) => format!("{}: {}", response.status(), response.text().await.unwrap_or_default()),
                Err(error) => error.to_string(),
            };
            if let Some(status) = process.exit_status() {
                bail!("{} ended before it was ready ({status}); {}", self.name, self.log_for_errors());
            }
            if Instant::now() > deadline {
                let (name, log) = (&self.name, self.log_for_errors());
                bail!("{name} was not ready within {}; {url} last said: {answer}; {log}", human(READY_DEADLINE));
            }
            sleep(READY_POLL).await;
        }
    }

    fn log_for_errors(&self) -> String {
        format!("its command: {}\nthe end of \"{}\":\n{}", self.launch.display(), self.log.display(), self.log_tail())
    }
}

/// A client for loopback: no proxy, and only the given authority for https.
pub(crate) fn http_client(ca: Option<&str>) -> Result<reqwest::Client> {
    crate::install_crypto_provider();
    let mut builder = reqwest::Client::builder().no_proxy().timeout(PROBE_DEADLINE);
    // Without an authority only plain http is spoken, and the system's store needn't be there.
    let authority = ca.map(|ca| reqwest::Certificate::from_pem(ca.as_bytes())).transpose();
    builder = builder.tls_certs_only(authority.context("failed to read an authority's certificate")?);
    builder.build().context("failed to make an HTTP client")
}
