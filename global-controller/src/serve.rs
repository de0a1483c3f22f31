//! Wires everything up, runs it, and ends it in order.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use mutual_tls::{Credentials, Peer, Role};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::config::Config;
use crate::driver::EpochKeeper;
use crate::leader::Tools;
use crate::remote::Secrets;
use crate::world::World;
use crate::{fault, http, hub, leader, mirror, notices, presence, publish, quorum, reload, skew, store};

/// Deadlines of requests to the hub that have none of their own.
const HUB_CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// A watch is silent for 15 s at most, so this never cuts a living one.
const HUB_READ_DEADLINE: Duration = Duration::from_secs(30);
/// How long handing leadership over may take before the process ends anyway.
const CLOSE_DEADLINE: Duration = Duration::from_secs(3);

/// Why the controller can't run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Certificates can't be used.
    #[error("failed to load the certificates from '{dir}'")]
    Credentials {
        /// The folder.
        dir: PathBuf,
        /// Why.
        source: mutual_tls::Error,
    },
    /// The certificate is another's.
    #[error("the certificate in '{dir}' is of {found}, but this is replica '{id}'")]
    Identity {
        /// The folder.
        dir: PathBuf,
        /// Whose it is.
        found: String,
        /// This replica.
        id: String,
    },
    /// The TLS client can't be built.
    #[error("failed to set up TLS")]
    Tls(#[source] mutual_tls::Error),
    /// The kubeconfig can't be used.
    #[error("failed to load the hub's kubeconfig")]
    Kubeconfig(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store can't be opened.
    #[error("failed to set up the store")]
    Store(#[from] store::Error),
    /// An address is taken or not ours.
    #[error("failed to listen on {what} address {address}")]
    Listen {
        /// Which of the three.
        what: &'static str,
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A server ended by itself.
    #[error("a server ended")]
    Server(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Runs the controller until `stop` fires, then hands leadership over and ends. `config_path` is read again when it
/// changes.
pub async fn serve(config: Config, config_path: PathBuf, stop: CancellationToken) -> Result<(), Error> {
    fault::arm();
    let credentials = load_credentials(&config)?;
    let replicas = mutual_tls::client(&credentials, Role::Replica).map_err(Error::Tls)?;
    let agents = mutual_tls::client(&credentials, Role::Member).map_err(Error::Tls)?;
    let client = hub_client(&config).await?;
    let listeners = Listeners::bind(&config).await?;
    let (store, raft) = store::open(&config, replicas.clone()).await?;
    let (events, notices) = notices::queue();
    let secrets = Secrets::of(client.clone(), &config.hub.namespace);
    let world = World::new(config.id.clone(), store.clone(), config.settings.clone(), secrets.clone(), events);
    let world = Arc::new(world);
    let board = Board::new(Arc::clone(&world), config.store.cluster.clone());

    let mut tasks = JoinSet::new();
    let mut servers = JoinSet::new();
    // The store's routes must outlive the tasks: leadership is handed over through them.
    let serving = CancellationToken::new();
    let people = http::people::router(Arc::clone(&world), Arc::clone(&board), secrets.clone());
    listeners.serve(&mut servers, credentials, (raft, replicas.clone()), &world, people, &serving);
    let epoch = EpochKeeper { client: client.clone(), namespace: config.hub.namespace.clone() };
    let tools = Tools { hub: client.clone(), epoch, agents, secrets };
    tasks.spawn(mirror::follow(Arc::clone(&world), stop.clone()));
    tasks.spawn(hub::follow(Arc::clone(&world), client.clone(), stop.clone()));
    tasks.spawn(quorum::run(Arc::clone(&world), stop.clone()));
    tasks.spawn(skew::run(Arc::clone(&world), replicas.clone(), stop.clone()));
    tasks.spawn(presence::forward(Arc::clone(&world), replicas, stop.clone()));
    tasks.spawn(publish::events(Arc::clone(&world), client, notices, stop.clone()));
    tasks.spawn(Arc::clone(&board).run(stop.clone()));
    tasks.spawn(reload::run(Arc::clone(&world), config_path, config, stop.clone()));
    tasks.spawn(leader::run(Arc::clone(&world), tools, stop.clone()));

    let failure = tokio::select! {
        () = stop.cancelled() => None,
        Some(ended) = servers.join_next() => Some(Error::Server(ended_early(ended))),
        Some(Err(panicked)) = tasks.join_next() => Some(Error::Server(Box::new(panicked))),
    };
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    if tokio::time::timeout(CLOSE_DEADLINE, store.close()).await.is_err() {
        tracing::warn!("the store did not close in time; what was acknowledged is on disk");
    }
    serving.cancel();
    while servers.join_next().await.is_some() {}
    failure.map_or(Ok(()), Err)
}

type ServerResult = Result<Result<(), Box<dyn std::error::Error + Send + Sync>>, tokio::task::JoinError>;

fn ended_early(ended: ServerResult) -> Box<dyn std::error::Error + Send + Sync> {
    match ended {
        Ok(Ok(())) => "it ended without being told to".into(),
        Ok(Err(error)) => error,
        Err(panicked) => Box::new(panicked),
    }
}

/// This replica's certificate, and whom it trusts.
pub(crate) fn load_credentials(config: &Config) -> Result<Credentials, Error> {
    let dir = config.tls_dir.clone();
    let credentials = Credentials::from_dir(&dir).map_err(|source| Error::Credentials { dir: dir.clone(), source })?;
    let Peer { role, name } = credentials.subject();
    if *role == Role::Replica && *name == config.id {
        return Ok(credentials);
    }
    Err(Error::Identity { dir, found: format!("{role:?} '{name}'"), id: config.id.clone() })
}

/// A client with this replica's rights on the hub.
pub(crate) async fn hub_client(config: &Config) -> Result<Client, Error> {
    let unusable = |error: Box<dyn std::error::Error + Send + Sync>| Error::Kubeconfig(error);
    let mut hub = match &config.hub.kubeconfig {
        Some(path) => {
            let kubeconfig = kube::config::Kubeconfig::read_from(path).map_err(|error| unusable(error.into()))?;
            kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default())
                .await
                .map_err(|error| unusable(error.into()))?
        }
        None => kube::Config::incluster().map_err(|error| unusable(error.into()))?,
    };
    hub.connect_timeout = Some(HUB_CONNECT_DEADLINE);
    hub.read_timeout = Some(HUB_READ_DEADLINE);
    hub.write_timeout = Some(HUB_READ_DEADLINE);
    Client::try_from(hub).map_err(|error| unusable(error.into()))
}

struct Listeners {
    agents: TcpListener,
    people: TcpListener,
    operations: TcpListener,
}

impl Listeners {
    async fn bind(config: &Config) -> Result<Self, Error> {
        let bind = |what, address| async move {
            TcpListener::bind(address).await.map_err(|source| Error::Listen { what, address, source })
        };
        Ok(Self {
            agents: bind("the agents'", config.listen.agents).await?,
            people: bind("the people's", config.listen.people).await?,
            operations: bind("the operations'", config.listen.operations).await?,
        })
    }

    fn serve(
        self,
        servers: &mut JoinSet<Result<(), Box<dyn std::error::Error + Send + Sync>>>,
        credentials: Credentials,
        (raft, replicas): (axum::Router, reqwest::Client),
        world: &Arc<World>,
        people: axum::Router,
        stop: &CancellationToken,
    ) {
        let agents = http::agents::router(Arc::clone(world), replicas).merge(raft);
        let operations = http::operations::router(Arc::clone(world));
        let token = stop.clone();
        servers.spawn(async move { Ok(mutual_tls::serve(self.agents, &credentials, agents, token).await?) });
        let token = stop.clone();
        servers.spawn(async move { Ok(http::plain(self.people, people, token).await?) });
        let token = stop.clone();
        servers.spawn(async move { Ok(http::plain(self.operations, operations, token).await?) });
    }
}
