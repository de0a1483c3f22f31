//! Opening a replica: identity, formation, recovery, and the threads that run it.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{Builder, JoinHandle};

use axum::Router;
use store_node::{Membership, Node, SharedTable, State, Table};
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::config::{Checked, Config, OpenError, StateEngine, Tuning};
use crate::disk::Layout;
use crate::disk::identity::{self, Formation, Identity};
use crate::disk::log::DiskLog;
use crate::disk::recover::{self, Start};
use crate::handle::{OPERATIONS, Shared};
use crate::history::History;
use crate::housekeeping::{Housekeeper, WAITING_CHORES};
use crate::inbox::{Command, INBOX};
use crate::leadership::Leadership;
use crate::mirror::Mirror;
use crate::node_thread::{NodeThread, Requests};
use crate::received::Received;
use crate::restore;
use crate::roster::{self, Roster};
use crate::transport::{self, Links};
use crate::writer::LogWriter;

/// Opens the replica and, if it needs no one else for it, starts it.
pub(crate) async fn open(config: Config, tuning: Tuning) -> Result<(Arc<Shared>, Router), OpenError> {
    let config = Checked::new(config)?;
    let (inbox, commands) = sync_channel(INBOX);
    let shared = blocking(move || prepare(config, tuning, inbox)).await?;
    let router = transport::router(Arc::clone(&shared));
    if shared.config.others().next().is_none() && shared.identity().formation.is_none() {
        let identity = shared.identity();
        let members = [(identity.id, identity.incarnation)].into();
        let forming = Arc::clone(&shared);
        blocking(move || form(&forming, Formation { members, restored: identity.restored })).await?;
    }
    if shared.identity().formation.is_some() {
        let starting = Arc::clone(&shared);
        let handle = tokio::runtime::Handle::current();
        blocking(move || start(&starting, commands, &handle)).await?;
    } else {
        let waiting = Arc::clone(&shared);
        if shared.config.joins(&shared.identity()) {
            tokio::spawn(crate::joining::run(waiting, commands));
        } else {
            tokio::spawn(crate::formation::run(waiting, commands));
        }
    }
    tokio::spawn(crate::strangers::look_for_newer_membership(Arc::clone(&shared)));
    Ok((shared, router))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OpenError> + Send + 'static,
) -> Result<T, OpenError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(stopped) => Err(OpenError::Thread(std::io::Error::other(stopped))),
    }
}

fn prepare(
    config: Checked,
    tuning: Tuning,
    inbox: std::sync::mpsc::SyncSender<Command>,
) -> Result<Arc<Shared>, OpenError> {
    let path = config.config.data_dir.clone();
    let layout = Layout::new(&path).map_err(|source| OpenError::Folder { path: path.clone(), source })?;
    let unfit = |source: identity::Error| OpenError::Identity { path: path.clone(), source };
    let (id, number) = (config.own.id.as_str(), config.own.number);
    let identity = Identity::open(&layout, &config.config.cluster, id, number).map_err(unfit)?;
    if identity.formation.is_none() {
        config.check_formation(&identity)?;
    }
    restore::check(&layout, &identity).map_err(|source| OpenError::Restore { path: path.clone(), source })?;
    Ok(Arc::new(Shared {
        config,
        layout,
        tuning,
        identity: Mutex::new(identity),
        inbox,
        table: SharedTable::new(Table::default()),
        history: Arc::new(History::new(tuning.history_revisions, tuning.history_bytes)),
        leadership: watch::Sender::new(Leadership::default()),
        roster: watch::Sender::new(Roster::default()),
        names: Mutex::new(HashMap::new()),
        strangers: Notify::new(),
        removed: AtomicBool::new(false),
        log_space: OnceLock::new(),
        operations: Semaphore::new(OPERATIONS),
        snapshot_reception: Semaphore::new(1),
        backups: Arc::new(Semaphore::new(1)),
        closed: CancellationToken::new(),
        abandoned: Arc::new(AtomicBool::new(false)),
        threads: Mutex::new(Vec::new()),
        starting: tokio::sync::Mutex::new(()),
    }))
}

/// Writes the beginning of a new store and then the fact that it was formed; without effect when it was before.
pub(crate) fn form(shared: &Shared, formation: Formation) -> Result<(), OpenError> {
    let path = shared.layout.root().to_owned();
    let mut identity = shared.identity.lock().unwrap_or_else(PoisonError::into_inner);
    if identity.formation.is_some() {
        return Ok(());
    }
    let mut formed = identity.clone();
    let restored = formation.restored.clone();
    formed.formation = Some(formation);
    formed.restored = None;
    let options = recovery(shared, &formed);
    match restored {
        None => recover::found(&shared.layout, &options)
            .map_err(|source| OpenError::Recover { path: path.clone(), source })?,
        Some(restored) => restore::found(&shared.layout, &restored, &options)
            .map_err(|source| OpenError::Restore { path: path.clone(), source })?,
    }
    formed.save(&shared.layout).map_err(|source| OpenError::Identity { path, source })?;
    restore::forget(&shared.layout);
    *identity = formed;
    Ok(())
}

/// Writes the beginning of a replica that joins a store, and then the fact that it belongs to it.
pub(crate) fn join(shared: &Shared, formation: Formation) -> Result<(), OpenError> {
    let path = shared.layout.root().to_owned();
    let mut identity = shared.identity.lock().unwrap_or_else(PoisonError::into_inner);
    let options = recovery(shared, &identity);
    recover::join(&shared.layout, &options).map_err(|source| OpenError::Recover { path: path.clone(), source })?;
    let mut joined = identity.clone();
    joined.formation = Some(formation);
    joined.restored = None;
    joined.save(&shared.layout).map_err(|source| OpenError::Identity { path, source })?;
    restore::forget(&shared.layout);
    *identity = joined;
    Ok(())
}

fn recovery(shared: &Shared, identity: &Identity) -> recover::Options {
    let membership = Membership::of_replicas(roster::formed_names(&shared.config, identity).into_iter().collect());
    let own = Some(shared.config.own.number);
    recover::Options { log: shared.tuning.log, closed: shared.closed.clone(), membership, own }
}

/// Recovers the replica from its folder and starts its threads and connections.
pub(crate) fn start(
    shared: &Arc<Shared>,
    commands: Receiver<Command>,
    runtime: &tokio::runtime::Handle,
) -> Result<(), OpenError> {
    let path = shared.layout.root().to_owned();
    let options = recovery(shared, &shared.identity());
    let Start { hard_state, mut snapshot, entries, mut table, log, repair } =
        recover::recover(&shared.layout, &options).map_err(|source| OpenError::Recover { path, source })?;
    tracing::info!(snapshot = snapshot.position.index, entries = entries.len(), "replica recovered");
    // It is left behind by a crash right after the store was formed.
    restore::forget(&shared.layout);
    // A store that was formed before its state named the members gets the names of its formation.
    let names = roster::formed_names(&shared.config, &shared.identity());
    table.name_replicas(names.clone());
    snapshot.membership = table.membership().clone();
    *shared.names.lock().unwrap_or_else(PoisonError::into_inner) = names;
    shared.history.restart(table.revision());
    let mut state = shared.table.clone();
    state.install(table);
    if snapshot.position.index > 0 {
        roster::compare(&shared.config, &snapshot.membership);
        shared.learn(shared.applied_roster());
    } else {
        // Nothing says yet who belongs to the store but its members.
        shared.strangers.notify_one();
    }
    let node_config = store_node::Config {
        id: shared.config.own.number,
        boot: crate::unique::number(),
        seed: crc32fast::hash(shared.config.config.cluster.as_bytes()).into(),
        snapshots: shared.tuning.snapshots,
        deviation: store_node::Deviation::None,
    };
    let node = Node::new(node_config, hard_state, snapshot, entries, state, &crate::logging::raft_logger())?;
    let node = match repair {
        Some(repair) => node.repairing(repair),
        None => node,
    };
    let _ = shared.log_space.set(log.space());
    let links = Links::start(shared, runtime);
    spawn_threads(shared, commands, node, links, log)?;
    start_mirror(shared, runtime)
}

fn spawn_threads(
    shared: &Arc<Shared>,
    commands: Receiver<Command>,
    node: Node<SharedTable>,
    links: Links,
    log: DiskLog,
) -> Result<(), OpenError> {
    let (batches, written) = channel();
    let (chores, waiting) = sync_channel(WAITING_CHORES);
    let received = Arc::<Received>::default();
    let snapshots = shared.layout.snapshots();
    let housekeeper = Housekeeper {
        table: shared.table.clone(),
        layout: shared.layout.clone(),
        purger: log.purger(),
        chores: waiting,
        inbox: shared.inbox.clone(),
    };
    let writer = LogWriter {
        log,
        snapshots,
        received: Arc::clone(&received),
        batches: written,
        inbox: shared.inbox.clone(),
        chores: chores.clone(),
        abandoned: Arc::clone(&shared.abandoned),
    };
    let thread = NodeThread {
        node,
        tick: shared.config.config.tick,
        commands,
        batches,
        chores,
        links,
        history: Arc::clone(&shared.history),
        leadership: shared.leadership.clone(),
        shared: Arc::clone(shared),
        received,
        abandoned: Arc::clone(&shared.abandoned),
        closed: shared.closed.clone(),
        requests: Requests::default(),
    };
    spawn(shared, "store-chores", || housekeeper.run())?;
    spawn(shared, "store-writer", || writer.run())?;
    spawn(shared, "store-node", || thread.run())
}

fn start_mirror(shared: &Arc<Shared>, runtime: &tokio::runtime::Handle) -> Result<(), OpenError> {
    if shared.tuning.state == StateEngine::Memory {
        if let Err(error) = Mirror::remove(&shared.layout.mirror()) {
            tracing::warn!(%error, "failed to remove the mirror of an earlier configuration");
        }
        return Ok(());
    }
    let (table, history) = (shared.table.clone(), Arc::clone(&shared.history));
    let (folder, closed, runtime) = (shared.layout.mirror(), shared.closed.clone(), runtime.clone());
    spawn(shared, "store-mirror", move || {
        let mirrored = Mirror::open(&folder, table, history, closed).and_then(|mirror| runtime.block_on(mirror.run()));
        if let Err(error) = mirrored {
            tracing::warn!(%error, "the mirror of the state stopped; the store goes on without it");
        }
    })
}

fn spawn(shared: &Shared, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), OpenError> {
    let thread: JoinHandle<()> = Builder::new().name(name.to_owned()).spawn(work).map_err(OpenError::Thread)?;
    shared.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
    Ok(())
}
