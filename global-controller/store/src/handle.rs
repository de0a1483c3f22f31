//! The embedded backend's handle: one replica of ours behind [`crate::Store`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use store_node::{Fence, KeyValue, Op, ProposalOutcome, ReplicaInfo, SharedTable, Txn, TxnOutcome, Versioned, When};
use tokio::sync::{Notify, Semaphore, SemaphorePermit, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::config::{Checked, Config, OpenError, Tuning};
use crate::disk::Layout;
use crate::disk::identity::Identity;
use crate::disk::space::LogSpace;
use crate::history::History;
use crate::inbox::{Command, Lost};
use crate::leadership::Leadership;
use crate::roster::Roster;
use crate::transport::forward::{self, Forwarded};
use crate::watch::Watch;

/// A write is answered within this time: several elections fit into it, and no caller should wait longer.
pub(crate) const WRITE_DEADLINE: Duration = Duration::from_secs(5);
/// A read is answered within this time, for the same reasons.
pub(crate) const READ_DEADLINE: Duration = Duration::from_secs(5);
/// Reads and writes under way at once; the rest waits for its turn within its deadline.
pub(crate) const OPERATIONS: usize = 4096;
/// Before a write is offered again to a leader that said it isn't one, or a command to a full inbox.
const RETRY_PAUSE: Duration = Duration::from_millis(10);
/// Keys of one page, whatever the caller asks for: a page is read under the table's lock.
pub(crate) const MAX_PAGE: usize = 10_000;

/// One page of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The keys, in order.
    pub items: Vec<KeyValue>,
    /// Revision of the whole store at which this page was read.
    pub revision: u64,
    /// Whether keys follow after this page.
    pub more: bool,
}

/// Why a read failed. Nothing was changed; it may be repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No majority answered within the deadline.
    #[error("no leader confirmed the read within {} s", READ_DEADLINE.as_secs())]
    Unavailable,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// Why a write failed, and whether it may have happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// It certainly didn't happen, and never will.
    #[error("not applied: {reason}")]
    NotApplied {
        /// Why.
        reason: String,
    },
    /// It may have happened, or may still happen.
    #[error("perhaps applied: {reason}")]
    Unknown {
        /// Why.
        reason: String,
    },
    /// It is outside the limits.
    #[error("invalid transaction: {reason}")]
    Invalid {
        /// Why.
        reason: String,
    },
}

pub(crate) fn not_applied(reason: impl Into<String>) -> WriteError {
    WriteError::NotApplied { reason: reason.into() }
}

pub(crate) fn unknown(reason: impl Into<String>) -> WriteError {
    WriteError::Unknown { reason: reason.into() }
}

/// What the handle, the router and the connections share.
pub(crate) struct Shared {
    pub(crate) config: Checked,
    pub(crate) layout: Layout,
    pub(crate) tuning: Tuning,
    pub(crate) identity: Mutex<Identity>,
    pub(crate) inbox: SyncSender<Command>,
    pub(crate) table: SharedTable,
    pub(crate) history: Arc<History>,
    pub(crate) leadership: watch::Sender<Leadership>,
    /// Who belongs to the store; empty before it is formed.
    pub(crate) roster: watch::Sender<Roster>,
    /// Names of members that the state itself doesn't name.
    pub(crate) names: Mutex<HashMap<u64, ReplicaInfo>>,
    /// Someone was refused who isn't known here.
    pub(crate) strangers: Notify,
    /// This replica was removed from the store.
    pub(crate) removed: AtomicBool,
    /// Known once the replica has started.
    pub(crate) log_space: OnceLock<Arc<LogSpace>>,
    pub(crate) operations: Semaphore,
    pub(crate) snapshot_reception: Semaphore,
    /// Backups sent at once.
    pub(crate) backups: Arc<Semaphore>,
    /// Nothing new is begun any more.
    pub(crate) closed: CancellationToken,
    /// Threads end without finishing what they were given.
    pub(crate) abandoned: Arc<AtomicBool>,
    pub(crate) threads: Mutex<Vec<JoinHandle<()>>>,
    /// Held while the folder's beginning is written and the threads are started.
    pub(crate) starting: tokio::sync::Mutex<()>,
}

/// Ends the threads when the last handle is dropped without [`Embedded::close`].
struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abandoned.store(true, Ordering::Relaxed);
        self.0.closed.cancel();
    }
}

/// A replica of ours. Clones share it; when the last one is dropped, its threads end.
#[derive(Clone)]
pub struct Embedded {
    shared: Arc<Shared>,
    _guard: Arc<Guard>,
}

impl Embedded {
    /// Opens this replica. Returns once it has recovered from its folder and doesn't wait for others; the router,
    /// whose routes are under `/raft/`, must be served with mutual TLS for the replicas to reach each other.
    pub async fn open(config: Config) -> Result<(Self, Router), OpenError> {
        Self::open_with(config, Tuning::default()).await
    }

    /// [`Embedded::open`] with other sizes.
    pub async fn open_with(config: Config, tuning: Tuning) -> Result<(Self, Router), OpenError> {
        let (shared, router) = crate::open::open(config, tuning).await?;
        let guard = Arc::new(Guard(Arc::clone(&shared)));
        Ok((Self { shared, _guard: guard }, router))
    }

    /// A key's value, linearizable: at least as new as anything acknowledged before the call.
    pub async fn get(&self, key: &str) -> Result<Option<Versioned>, ReadError> {
        self.confirm_read().await?;
        Ok(self.shared.table.read().get(key).cloned())
    }

    /// Up to `limit` keys under `prefix` that come after the key `after`. Each page is linearizable; the pages
    /// together are no snapshot. A page has at most 10,000 keys.
    pub async fn range(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, ReadError> {
        self.confirm_read().await?;
        let table = self.shared.table.read();
        let (items, more) = table.page(prefix, after, limit.min(MAX_PAGE));
        Ok(Page { items, revision: table.revision(), more })
    }

    /// Applies `then` as one revision if all of `when` holds and the fence, if given, is the current term's.
    /// Conditions and operations count together towards the limit of 100.
    pub async fn txn(&self, fence: Option<Fence>, when: Vec<When>, then: Vec<Op>) -> Result<TxnOutcome, WriteError> {
        let txn = Txn::new(fence, when, then).map_err(|error| WriteError::Invalid { reason: error.to_string() })?;
        self.shared.write(txn).await
    }

    /// Changes under `prefix` with revisions above `from`, in order, as this replica learns of them.
    pub fn watch(&self, prefix: &str, from: u64) -> Watch {
        Watch::new(Arc::clone(&self.shared.history), self.shared.closed.clone(), prefix, from)
    }

    /// Who leads, as it changes.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.shared.leadership.subscribe()
    }

    /// Hands leadership over if this replica has it, writes what is queued, and ends the threads.
    pub async fn close(self) {
        self.shared.tell(Command::Close).await;
        let starting = self.shared.end_start(false).await;
        self.shared.join().await;
        self.shared.closed.cancel();
        drop(starting);
    }

    /// Ends the threads at once: leadership isn't handed over and what is queued isn't written. As close to a crash
    /// as a process can come without ending.
    pub async fn abort(self) {
        self.shared.abandoned.store(true, Ordering::Relaxed);
        let starting = self.shared.end_start(true).await;
        self.shared.join().await;
        drop(starting);
    }

    /// Whether this replica may lead. One that may not hands leadership over and doesn't campaign.
    pub async fn stand(&self, stands: bool) {
        self.shared.tell(Command::Stand(stands)).await;
    }

    /// Urls of the other members.
    pub fn others(&self) -> Vec<String> {
        let own = self.shared.config.own.number;
        let roster = self.shared.roster.borrow();
        roster.members.iter().filter(|peer| peer.number != own).map(|peer| peer.url.clone()).collect()
    }

    /// The epoch of the state that was last read: 1 in a new store, raised by each restore.
    pub fn epoch(&self) -> u64 {
        self.shared.table.read().epoch()
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    async fn confirm_read(&self) -> Result<(), ReadError> {
        self.shared.confirm(Instant::now() + READ_DEADLINE).await
    }
}

impl Shared {
    /// Waits until a majority has confirmed that the state is as new as anything acknowledged before the call.
    pub(crate) async fn confirm(&self, deadline: Instant) -> Result<(), ReadError> {
        let _permit = match timeout_at(deadline, self.operations.acquire()).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(ReadError::Closed),
            Err(_) => return Err(ReadError::Unavailable),
        };
        let (answer, answered) = oneshot::channel();
        if self.closed.is_cancelled() || self.inbox.try_send(Command::Read { answer }).is_err() {
            return Err(if self.closed.is_cancelled() { ReadError::Closed } else { ReadError::Unavailable });
        }
        match timeout_at(deadline, answered).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(Lost))) | Err(_) => Err(ReadError::Unavailable),
            Ok(Err(_)) => Err(ReadError::Closed),
        }
    }

    /// Brings a transaction to the leader, wherever it is, and its outcome back.
    async fn write(&self, txn: Txn) -> Result<TxnOutcome, WriteError> {
        let deadline = Instant::now() + WRITE_DEADLINE;
        let _permit = self.permit(deadline).await?;
        let mut leadership = self.leadership.subscribe();
        loop {
            let leader = self.await_leader(&mut leadership, deadline).await?;
            let outcome = if leader == self.config.own.id {
                self.write_here(txn.clone(), deadline).await?
            } else {
                forward::txn(self, &leader, &txn, deadline).await?
            };
            match outcome {
                Forwarded::Outcome(outcome) => return Ok(outcome),
                // It didn't enter any log, so it may be offered again.
                Forwarded::NotLeader => self.pause(&mut leadership, deadline).await?,
            }
        }
    }

    async fn permit(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, WriteError> {
        match timeout_at(deadline, self.operations.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(not_applied("the store is closed")),
            Err(_) => Err(not_applied("too many operations are under way")),
        }
    }

    pub(crate) async fn await_leader(
        &self,
        leadership: &mut watch::Receiver<Leadership>,
        deadline: Instant,
    ) -> Result<String, WriteError> {
        let leader = async {
            let found = leadership.wait_for(|view| view.leader.is_some()).await;
            found.ok().and_then(|view| view.leader.clone())
        };
        tokio::select! {
            () = self.closed.cancelled() => Err(not_applied("the store is closed")),
            () = sleep_until(deadline) => Err(not_applied("no leader within the deadline")),
            leader = leader => leader.ok_or_else(|| not_applied("the store is closed")),
        }
    }

    pub(crate) async fn pause(
        &self,
        leadership: &mut watch::Receiver<Leadership>,
        deadline: Instant,
    ) -> Result<(), WriteError> {
        if Instant::now() + RETRY_PAUSE >= deadline {
            return Err(not_applied("no leader within the deadline"));
        }
        let _ = tokio::time::timeout(RETRY_PAUSE, leadership.changed()).await;
        Ok(())
    }

    /// Proposes a transaction on this replica.
    pub(crate) async fn write_here(&self, txn: Txn, deadline: Instant) -> Result<Forwarded, WriteError> {
        let (answer, answered) = oneshot::channel();
        self.check_proposable()?;
        if self.inbox.try_send(Command::Txn { txn, answer }).is_err() {
            return Err(not_applied("the replica is overloaded or closed"));
        }
        match timeout_at(deadline, answered).await {
            Ok(Ok(ProposalOutcome::Applied(outcome))) => Ok(Forwarded::Outcome(outcome)),
            Ok(Ok(ProposalOutcome::NotLeader)) => Ok(Forwarded::NotLeader),
            Ok(Ok(ProposalOutcome::Overloaded)) => Err(not_applied("too much is proposed and not yet committed")),
            Ok(Ok(ProposalOutcome::Replaced)) => Err(not_applied("another leader took over before it was committed")),
            Ok(Ok(ProposalOutcome::Unknown)) => Err(unknown("another leader took over")),
            Ok(Err(_)) => Err(unknown("the store was closed before an answer came")),
            Err(_) => Err(unknown("no answer within the deadline")),
        }
    }

    /// Refuses what would not fit into the log, before it is appended anywhere; what is left is for term and vote, and
    /// for what another leader sends.
    pub(crate) fn check_proposable(&self) -> Result<(), WriteError> {
        if self.closed.is_cancelled() {
            return Err(not_applied("the store is closed"));
        }
        match self.log_space.get().and_then(|space| space.refusal()) {
            Some(problem) => Err(not_applied(format!("no log space on replica '{}': {problem}", self.config.own.id))),
            None => Ok(()),
        }
    }

    /// Sends a command that must not be lost, waiting while the inbox is full; it is drained all the time.
    pub(crate) async fn tell(&self, mut command: Command) {
        while let Err(TrySendError::Full(refused)) = self.inbox.try_send(command) {
            command = refused;
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// Waits for a start under way, which may still write to the folder and spawn threads, and keeps another from beginning
    /// while the answer is held. A start that waits itself, for space on the disk, is told.
    async fn end_start(&self, at_once: bool) -> tokio::sync::MutexGuard<'_, ()> {
        let free = self.starting.try_lock();
        if at_once || free.is_err() {
            self.closed.cancel();
        }
        match free {
            Ok(guard) => guard,
            Err(_) => self.starting.lock().await,
        }
    }

    /// Waits until all threads have ended.
    async fn join(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let joined = tokio::task::spawn_blocking(move || {
            // A thread that panicked has ended the process already.
            for thread in threads {
                drop(thread.join());
            }
        });
        let _ = joined.await;
        // What was still waiting in the inbox is answered by dropping its channel.
        self.leadership.send_replace(Leadership::default());
    }

    /// The identity as it is now.
    pub(crate) fn identity(&self) -> Identity {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
