//! The second backend: an etcd that somebody else runs, behind the same handle.
//!
//! Keys lie under a prefix, revisions are etcd's own, leadership is a key on a lease and its create revision the
//! fence. Nothing is ever compacted here: the etcd may be shared.

mod connection;
mod election;
mod failure;
mod keys;
mod lease;
mod reading;
mod transaction;
mod watching;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use store_node::{Fence, Op, Txn, TxnOutcome, Versioned, When};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::config::OpenError;
use crate::etcd_config::EtcdConfig;
use crate::handle::{OPERATIONS, Page, READ_DEADLINE, ReadError, WRITE_DEADLINE, WriteError, not_applied, unknown};
use crate::leadership::Leadership;
use crate::watch::Watch;
use connection::Connection;
use election::Election;
use failure::Failure;
use keys::Keys;

/// Before a request is sent again that certainly wasn't executed: a refused connection answers at once.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// A write isn't sent again with less time left than this: cut off by the deadline, it would turn an outcome that is
/// certain into one that isn't.
const LAST_ATTEMPT: Duration = Duration::from_secs(1);
/// One attempt to read. A member that hangs is left for another one before the whole deadline has passed.
const READ_ATTEMPT: Duration = Duration::from_millis(1500);

/// What the handles and their tasks share.
struct Shared {
    connection: Connection,
    keys: Arc<Keys>,
    leadership: watch::Sender<Leadership>,
    /// The highest revision in any answer: watches see to it that they hear of at least as much.
    heard: watch::Sender<u64>,
    operations: Semaphore,
    /// Leadership is to be given up in order.
    resigned: CancellationToken,
    /// Nothing is begun any more.
    closed: CancellationToken,
    election: Mutex<Option<JoinHandle<()>>>,
}

/// Ends the tasks when the last handle is dropped without [`Etcd::close`].
struct Guard(CancellationToken);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// An etcd. Clones share one connection and one candidacy.
#[derive(Clone)]
pub(crate) struct Etcd {
    shared: Arc<Shared>,
    _guard: Arc<Guard>,
}

impl Etcd {
    pub(crate) async fn open(config: EtcdConfig) -> Result<Self, OpenError> {
        config.check()?;
        let closed = CancellationToken::new();
        let shared = Arc::new(Shared {
            connection: Connection::open(&config, closed.clone()).await?,
            keys: Arc::new(Keys::new(&config.full_prefix())),
            leadership: watch::Sender::new(Leadership::default()),
            heard: watch::Sender::new(0),
            operations: Semaphore::new(OPERATIONS),
            resigned: CancellationToken::new(),
            closed: closed.clone(),
            election: Mutex::new(None),
        });
        let election = tokio::spawn(Election::new(Arc::clone(&shared), &config).run());
        *shared.election.lock().unwrap_or_else(PoisonError::into_inner) = Some(election);
        Ok(Self { shared, _guard: Arc::new(Guard(closed)) })
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<Versioned>, ReadError> {
        let keys = &self.shared.keys;
        self.shared.read(|client| reading::get(client, keys, key)).await
    }

    pub(crate) async fn range(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, ReadError> {
        let keys = &self.shared.keys;
        self.shared.read(|client| reading::page(client, keys, prefix, after, limit)).await
    }

    pub(crate) async fn txn(
        &self,
        fence: Option<Fence>,
        when: Vec<When>,
        then: Vec<Op>,
    ) -> Result<TxnOutcome, WriteError> {
        let txn = Txn::new(fence, when, then).map_err(|error| WriteError::Invalid { reason: error.to_string() })?;
        self.shared.write(&txn).await
    }

    pub(crate) fn watch(&self, prefix: &str, from: u64) -> Watch {
        let Shared { connection, keys, heard, closed, .. } = &*self.shared;
        let follower = watching::Follower::new(
            connection.clone(),
            Arc::clone(keys),
            heard.subscribe(),
            closed.clone(),
            prefix,
            from,
        );
        follower.into_watch()
    }

    pub(crate) fn leadership(&self) -> watch::Receiver<Leadership> {
        self.shared.leadership.subscribe()
    }

    pub(crate) async fn close(self) {
        self.shared.resigned.cancel();
        self.shared.end().await;
    }

    pub(crate) async fn abort(self) {
        self.shared.closed.cancel();
        self.shared.end().await;
    }
}

impl Shared {
    /// Asks until there is an answer or the deadline has passed: reading twice does no harm.
    async fn read<T, F>(&self, ask: impl Fn(etcd_client::KvClient) -> F) -> Result<T, ReadError>
    where
        F: Future<Output = Result<(T, u64), Failure>>,
    {
        let deadline = Instant::now() + READ_DEADLINE;
        let work = async {
            let _permit = self.operations.acquire().await.map_err(|_| ReadError::Closed)?;
            loop {
                let client = self.connection.kv().await.ok_or(ReadError::Closed)?;
                match tokio::time::timeout(READ_ATTEMPT, ask(client)).await {
                    Ok(Ok((answer, revision))) => {
                        self.hear(revision);
                        return Ok(answer);
                    }
                    Ok(Err(Failure::Refused(reason))) => {
                        tracing::warn!(reason, "etcd refuses to be read");
                        return Err(ReadError::Unavailable);
                    }
                    Ok(Err(_)) | Err(_) => sleep(RETRY_PAUSE).await,
                }
            }
        };
        tokio::select! {
            () = self.closed.cancelled() => Err(ReadError::Closed),
            done = timeout_at(deadline, work) => done.unwrap_or(Err(ReadError::Unavailable)),
        }
    }

    async fn write(&self, txn: &Txn) -> Result<TxnOutcome, WriteError> {
        let deadline = Instant::now() + WRITE_DEADLINE;
        let _permit = self.permit(deadline).await?;
        loop {
            let client = tokio::select! {
                () = self.closed.cancelled() => return Err(not_applied("the store is closed")),
                client = timeout_at(deadline, self.connection.kv()) => client,
            };
            let client = match client {
                Ok(Some(client)) => client,
                Ok(None) => return Err(not_applied("the store is closed")),
                Err(_) => return Err(not_applied("no connection to the etcd within the deadline")),
            };
            let answer = tokio::select! {
                () = self.closed.cancelled() => return Err(unknown("the store was closed before an answer came")),
                answer = timeout_at(deadline, transaction::execute(client, &self.keys, txn)) => answer,
            };
            let not_sent = match answer {
                Ok(Ok((outcome, revision))) => {
                    self.hear(revision);
                    return Ok(outcome);
                }
                Ok(Err(Failure::NotSent(reason))) => reason,
                Ok(Err(Failure::Refused(reason))) => return Err(not_applied(reason)),
                Ok(Err(failure @ (Failure::Perhaps(_) | Failure::TooLarge))) => {
                    return Err(unknown(failure.to_string()));
                }
                Err(_) => return Err(unknown("no answer within the deadline")),
            };
            if Instant::now() + LAST_ATTEMPT >= deadline {
                return Err(not_applied(not_sent));
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    async fn permit(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, WriteError> {
        if self.closed.is_cancelled() {
            return Err(not_applied("the store is closed"));
        }
        match timeout_at(deadline, self.operations.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(not_applied("the store is closed")),
            Err(_) => Err(not_applied("too many operations are under way")),
        }
    }

    /// Notes a revision that an answer named.
    fn hear(&self, revision: u64) {
        self.heard.send_if_modified(|heard| {
            let newer = revision > *heard;
            *heard = revision.max(*heard);
            newer
        });
    }

    /// Waits for the election to end, then ends everything else.
    async fn end(&self) {
        let election = self.election.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(election) = election {
            // It has its own deadlines; a panic in it has been reported by the runtime.
            let _ = election.await;
        }
        self.closed.cancel();
    }
}
