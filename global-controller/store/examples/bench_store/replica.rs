//! One replica of ours: in this process, or as the whole of a child process that is told what to do line by line.

use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use federated_store::{Config, ReplicaConfig, Store};
use mutual_tls::{Credentials, Role};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::handle::Handle;
use crate::{load, service};

/// What a child finds in its folder.
pub const SPEC: &str = "replica.json";
/// The port of a replica that was just killed may be taken for a moment.
const PATIENCE: Duration = Duration::from_secs(10);
const BACKLOG: u32 = 1_024;

/// What a replica is told.
#[derive(Clone, Serialize, Deserialize)]
pub struct Spec {
    /// Its id.
    pub id: String,
    /// Its own folder.
    pub folder: PathBuf,
    /// The folder of its certificate.
    pub credentials: PathBuf,
    /// Ids and urls of all replicas; their numbers are their places.
    pub replicas: Vec<(String, String)>,
}

impl Spec {
    fn config(&self) -> Result<Config> {
        let replicas = (1_u64..).zip(&self.replicas);
        let replicas = replicas.map(|(number, (id, url))| ReplicaConfig { id: id.clone(), number, url: url.clone() });
        Ok(Config {
            join: false,
            cluster: "bench".to_owned(),
            id: self.id.clone(),
            data_dir: self.data_dir(),
            replicas: replicas.collect(),
            client: Some(mutual_tls::client(&Credentials::from_dir(&self.credentials)?, Role::Replica)?),
            tick: Config::TICK,
        })
    }

    /// Where its data is.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn address(&self) -> Result<std::net::SocketAddr> {
        let own = self.replicas.iter().find(|(id, _)| *id == self.id).context("it is not among the replicas")?;
        own.1.strip_prefix("https://").context("not https")?.parse().context("not an address")
    }
}

/// A replica in this process.
pub struct Running {
    /// Its handle.
    pub store: Store,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

impl Running {
    /// Opens the store and serves its routes and the bench's.
    pub async fn start(spec: &Spec) -> Result<Self> {
        let listener = listen(spec).await?;
        let (store, router) = Store::open(spec.config()?).await?;
        let router = router.merge(service::router(store.clone()));
        let credentials = Credentials::from_dir(&spec.credentials)?;
        let shutdown = CancellationToken::new();
        let ended = shutdown.clone();
        let serving = tokio::spawn(async move {
            if let Err(error) = mutual_tls::serve(listener, &credentials, router, ended).await {
                eprintln!("a replica can't serve: {error}");
            }
        });
        Ok(Self { store, shutdown, serving })
    }

    /// Ends it in order: a leader hands over first.
    pub async fn close(self) {
        self.store.close().await;
        self.shutdown.cancel();
        let _ = self.serving.await;
    }
}

async fn listen(spec: &Spec) -> Result<TcpListener> {
    let address = spec.address()?;
    let give_up = Instant::now() + PATIENCE;
    loop {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        match socket.bind(address).and_then(|()| socket.listen(BACKLOG)) {
            Ok(listener) => return Ok(listener),
            Err(error) if Instant::now() > give_up => return Err(error).context("failed to listen"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// A child process. It says on its output whether it leads, and ends when its input does.
pub async fn run(folder: &Path) -> Result<ExitCode> {
    let spec: Spec = serde_json::from_slice(&std::fs::read(folder.join(SPEC))?)?;
    let mut commands = lines();
    let running = Running::start(&spec).await?;
    let mut leadership = running.store.leadership();
    let mut told = None;
    loop {
        let view = {
            let view = leadership.borrow_and_update();
            (view.term, view.fence.is_some())
        };
        if told != Some(view) {
            println!("view {} {}", view.0, if view.1 { "leads" } else { "follows" });
            told = Some(view);
        }
        tokio::select! {
            changed = leadership.changed() => changed.context("the store ended")?,
            command = commands.recv() => {
                let Some(command) = command else { return Ok(ExitCode::SUCCESS) };
                match command.split(' ').collect::<Vec<_>>().as_slice() {
                    ["close"] => {
                        running.close().await;
                        return Ok(ExitCode::SUCCESS);
                    }
                    ["load", puts, clients] => {
                        let handles = [Handle::Store(running.store.clone())];
                        let failed = load::put_count(&handles, clients.parse()?, puts.parse()?).await?;
                        println!("loaded {failed}");
                    }
                    _ => bail!("unknown command '{command}'"),
                }
            }
        }
    }
}

fn lines() -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
