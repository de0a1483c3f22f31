//! The agent as a whole: what every pod does, and what only the holder of the Lease does.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use mutual_tls::{Credentials, Role};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::accept::fences::Fences;
use crate::accept::{Acceptor, webhook};
use crate::cluster;
use crate::hub::outbox::Outbox;
use crate::hub::resync::Resync;
use crate::hub::stream::Stream;
use crate::hub::{Hub, introduce};
use crate::lease::{Held, Keeper};
use crate::metrics::Metrics;
use crate::operations::{self, Operations, Vitals};
use crate::options::Settings;
use crate::prometheus::Inquirer;
use crate::reconcile::Reconciler;
use crate::reconcile::contention::Repairs;
use crate::reconcile::deadline::Deadlines;
use crate::reconcile::manifests::kinds::Kinds;
use crate::reconcile::manifests::rights::Rights;
use crate::reconcile::manifests::store::Store;
use crate::reconcile::said::Said;
use crate::work::cache::{self, Cache, Writer};
use crate::work::queue::Queue;
use crate::work::{self, interests, watches};

/// Before the holder's tasks start again after one of them ended by a fault of ours.
const PAUSE: Duration = Duration::from_secs(1);
/// For open requests at the end; with the release of the Lease (1 s) the whole shutdown takes less than 3 s.
const GRACE: Duration = Duration::from_millis(1_500);

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The certificate is unusable.
    #[error("failed to load the certificate")]
    Credentials(#[from] mutual_tls::Error),
    /// The certificate is somebody else's.
    #[error("the certificate in --tls-dir is that of {role} '{name}'; it must be that of member '{member}' (--member)")]
    Subject {
        /// What the certificate says.
        role: &'static str,
        /// Whom it names.
        name: String,
        /// Whom it must name.
        member: String,
    },
    /// The member's API server can't be used.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// A port can't be had.
    #[error("failed to listen on '{address}'")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A part that runs for ever ended.
    #[error("'{0}' ended")]
    Ended(&'static str),
}

/// Runs until `stop` fires.
pub async fn run(settings: Settings, stop: CancellationToken) -> Result<(), Error> {
    let credentials = Arc::new(Credentials::from_dir(&settings.tls_dir)?);
    check_subject(&credentials, &settings.member)?;
    let hub = Hub::new(mutual_tls::client(&credentials, Role::Replica)?, settings.hub.clone());
    let client = cluster::client(settings.kubeconfig.as_deref()).await?;
    let listeners = (listen(settings.listen).await?, listen(settings.operations).await?);
    let (agent, writer, keeper) = Agent::new(&settings, client, hub);
    tracing::info!(member = settings.member, identity = settings.identity, "the agent starts");

    let mut forever: JoinSet<&'static str> = JoinSet::new();
    agent.serve(&mut forever, listeners, credentials, &stop);
    let keeper = Arc::new(keeper);
    let (cache, queue) = (Arc::clone(&agent.cache), Arc::clone(&agent.queue));
    let (resync, metrics) = (Arc::clone(&agent.resync), Arc::clone(&agent.metrics));
    let follow = cache::follow(agent.client.clone(), cache, writer, queue, resync, metrics);
    forever.spawn(async move {
        follow.await;
        "the watch of assignments"
    });
    let renewals = Arc::clone(&keeper);
    let renewals = forever.spawn(async move {
        renewals.run().await;
        "the Lease"
    });
    let ended = tokio::select! {
        () = stop.cancelled() => None,
        () = agent.terms() => None,
        ended = forever.join_next() => ended,
    };
    stop.cancel();
    // Or it takes the Lease again.
    renewals.abort();
    keeper.release().await;
    let _ = tokio::time::timeout(GRACE, drain(&mut forever)).await;
    match ended {
        None => Ok(()),
        Some(ended) => Err(Error::Ended(ended.unwrap_or("a part that panicked"))),
    }
}

/// Waits for the servers; the watch and the Lease never end by themselves.
async fn drain(forever: &mut JoinSet<&'static str>) {
    let mut servers = 2;
    while let Some(ended) = forever.join_next().await {
        servers -= usize::from(ended.is_ok());
        if servers == 0 {
            return;
        }
    }
}

fn check_subject(credentials: &Credentials, member: &str) -> Result<(), Error> {
    let subject = credentials.subject();
    if subject.role == Role::Member && subject.name == member {
        return Ok(());
    }
    let role = match subject.role {
        Role::Replica => "replica",
        Role::Member => "member",
    };
    Err(Error::Subject { role, name: subject.name.clone(), member: member.to_owned() })
}

async fn listen(address: std::net::SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })
}

struct Agent {
    member: String,
    client: Client,
    hub: Arc<Hub>,
    cache: Arc<Cache>,
    queue: Arc<Queue>,
    acceptor: Arc<Acceptor>,
    outbox: Arc<Outbox>,
    held: Held,
    reconciler: Arc<Reconciler>,
    resync: Arc<Resync>,
    inquirer: Arc<Inquirer>,
    vitals: Arc<Vitals>,
    metrics: Arc<Metrics>,
}

impl Agent {
    fn new(settings: &Settings, client: Client, hub: Hub) -> (Self, Writer, Keeper) {
        let (metrics, vitals) = (Arc::new(Metrics::default()), Arc::new(Vitals::default()));
        let (cache, writer) = Cache::new();
        let (keeper, held) = Keeper::new(client.clone(), &settings.namespace, &settings.identity, Arc::clone(&vitals));
        let fences = Fences::new(client.clone(), &settings.namespace);
        let outbox = Arc::new(Outbox::new(Arc::clone(&metrics)));
        let resync = Arc::new(Resync::default());
        let (known, figures) = (Arc::clone(&cache), Arc::clone(&metrics));
        let acceptor = Acceptor::new(&settings.member, client.clone(), fences.clone(), known, figures);
        let reconciler = Reconciler {
            client: client.clone(),
            cache: Arc::clone(&cache),
            fences,
            outbox: Arc::clone(&outbox),
            held: held.clone(),
            resync: Arc::clone(&resync),
            said: Said::default(),
            deadlines: Deadlines::default(),
            repairs: Repairs::default(),
            records: Store::new(client.clone(), &settings.namespace),
            kinds: Kinds::default(),
            rights: Rights::default(),
            interests: Arc::default(),
            metrics: Arc::clone(&metrics),
        };
        let hub = Arc::new(hub);
        let inquirer =
            Inquirer::new(&settings.member, Arc::clone(&hub), settings.prometheus.clone(), Arc::clone(&metrics));
        let agent = Self {
            member: settings.member.clone(),
            client,
            hub,
            cache,
            queue: Arc::default(),
            acceptor: Arc::new(acceptor),
            outbox,
            held,
            reconciler: Arc::new(reconciler),
            resync,
            inquirer: Arc::new(inquirer),
            vitals,
            metrics,
        };
        (agent, writer, keeper)
    }

    fn serve(
        &self,
        tasks: &mut JoinSet<&'static str>,
        (webhook, operations): (TcpListener, TcpListener),
        credentials: Arc<Credentials>,
        stop: &CancellationToken,
    ) {
        let router = webhook::router(Arc::clone(&self.acceptor), Arc::clone(&self.outbox), self.held.clone());
        let stopping = stop.clone();
        tasks.spawn(async move {
            if let Err(error) = mutual_tls::serve(webhook, &credentials, router, stopping).await {
                tracing::error!(%error, "failed to serve the webhook");
            }
            "the webhook"
        });
        let state = Operations {
            vitals: Arc::clone(&self.vitals),
            cache: Arc::clone(&self.cache),
            metrics: Arc::clone(&self.metrics),
        };
        let stopping = stop.clone();
        tasks.spawn(async move {
            if let Err(error) = operations::serve(operations, state, stopping).await {
                tracing::error!(%error, "failed to serve the operations' routes");
            }
            "the operations' routes"
        });
    }

    /// Does the holder's work whenever the Lease is held, for ever.
    async fn terms(&self) {
        let mut held = self.held.clone();
        loop {
            held.gained().await;
            self.metrics.lease_held.set(1);
            let mut tasks = self.term();
            tokio::select! {
                () = held.lost() => tracing::warn!("the Lease is not held any more: stopped acting"),
                ended = tasks.join_next() => tracing::error!(?ended, "a task of the holder ended, starting all again"),
            }
            self.metrics.lease_held.set(0);
            self.metrics.stream_connected.set(0);
            tasks.shutdown().await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The tasks of the Lease's holder. None ends by itself; all end when the set is dropped.
    fn term(&self) -> JoinSet<()> {
        let connected = Arc::new(Notify::new());
        let stream = Stream {
            member: self.member.clone(),
            hub: Arc::clone(&self.hub),
            acceptor: Arc::clone(&self.acceptor),
            outbox: Arc::clone(&self.outbox),
            cache: Arc::clone(&self.cache),
            resync: Arc::clone(&self.resync),
            inquirer: Arc::clone(&self.inquirer),
            connected: Arc::clone(&connected),
            metrics: Arc::clone(&self.metrics),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(stream.run());
        tasks.spawn(introduce::heartbeat(self.member.clone(), Arc::clone(&self.hub)));
        tasks.spawn(introduce::register(
            self.member.clone(),
            self.client.clone(),
            Arc::clone(&self.hub),
            self.inquirer.asks(),
            connected,
        ));
        let (outbox, hub) = (Arc::clone(&self.outbox), Arc::clone(&self.hub));
        tasks.spawn(async move { outbox.run(&hub).await });
        let (cache, queue) = (Arc::clone(&self.cache), Arc::clone(&self.queue));
        tasks.spawn(watches::run(self.client.clone(), Arc::clone(&cache), Arc::clone(&queue)));
        let interests = Arc::clone(&self.reconciler.interests);
        tasks.spawn(interests::run(self.client.clone(), interests, Arc::clone(&queue)));
        tasks.spawn(work::run(cache, queue, Arc::clone(&self.reconciler)));
        tasks
    }
}
