//! Leadership by a key on a lease: whoever created it leads, and its create revision is the fence.
//!
//! Each round reads the key. If nobody has it, this replica tries to create it; what became of that is read in the next
//! round, so that a lost answer needs no thought. If this replica has it, the lease is renewed; if another one has it,
//! the key is watched.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Compare, CompareOp, KeyValue, PutOptions, Txn, TxnOp, WatchOptions};
use serde::{Deserialize, Serialize};
use store_node::Fence;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::Shared;
use super::failure::Failure;
use super::lease::Lease;
use super::reading::{revision, unsigned};
use crate::etcd_config::EtcdConfig;
use crate::leadership::Leadership;

/// One request; a member that hangs is left for another one after it.
const ATTEMPT_DEADLINE: Duration = Duration::from_secs(1);
/// Before the next round when one failed, or a watch ended by itself.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// A lease that can't be revoked within this time runs out by itself.
const REVOKE_DEADLINE: Duration = Duration::from_secs(2);

/// What the leader writes into its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Candidate {
    id: String,
    url: String,
}

/// The leader's key as it was read.
struct Seat {
    candidate: Option<Candidate>,
    term: u64,
    lease: i64,
}

/// This replica's candidacy.
pub(super) struct Election {
    shared: Arc<Shared>,
    own: Candidate,
    duration: Duration,
    lease: Option<Lease>,
}

impl Election {
    pub(super) fn new(shared: Arc<Shared>, config: &EtcdConfig) -> Self {
        let own = Candidate { id: config.id.clone(), url: config.url.clone() };
        Self { shared, own, duration: config.lease, lease: None }
    }

    /// Takes part until the store is closed. A lease goes back only when leadership is given up in order.
    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let revoke = tokio::select! {
            biased;
            () = shared.closed.cancelled() => false,
            () = shared.resigned.cancelled() => true,
            () = self.take_part() => false,
        };
        // First: from here on nobody acts as the leader in this process.
        self.shared.leadership.send_replace(Leadership::default());
        if revoke {
            let _ = timeout(REVOKE_DEADLINE, self.give_lease_back()).await;
        }
    }

    /// Ends only when there is no client any more.
    async fn take_part(&mut self) {
        loop {
            match self.round().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(failure) => {
                    tracing::debug!(%failure, "a round of the election failed");
                    self.show_nobody();
                    sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    async fn round(&mut self) -> Result<bool, Failure> {
        let Some((seat, at)) = self.read().await? else { return Ok(false) };
        match seat {
            None => self.campaign().await,
            Some(seat) => match self.lease {
                Some(lease) if lease.id == seat.lease => self.lead(&seat, lease).await,
                _ => self.follow(&seat, at).await,
            },
        }
    }

    /// Reads the key, and gives up before a fence that was shown can be outlived by another's.
    async fn read(&self) -> Result<Option<(Option<Seat>, u64)>, Failure> {
        let give_up = match self.lease {
            Some(lease) if self.shared.leadership.borrow().fence.is_some() => lease.trusted_until(),
            _ => Instant::now() + self.duration,
        };
        let read = async {
            loop {
                let mut client = self.shared.connection.kv().await?;
                match timeout(ATTEMPT_DEADLINE, client.get(self.shared.keys.leader(), None)).await {
                    Ok(Ok(mut answer)) => {
                        let seat = answer.take_kvs().first().map(Seat::read);
                        return Some((seat, revision(answer.header())));
                    }
                    Ok(Err(error)) => tracing::debug!(%error, "the leader's key wasn't read, trying again"),
                    Err(_) => tracing::debug!("no answer about the leader's key, trying again"),
                }
                sleep(RETRY_PAUSE).await;
            }
        };
        timeout_at(give_up, read).await.map_err(|_| Failure::NotSent("the leader's key can't be read".to_owned()))
    }

    async fn campaign(&mut self) -> Result<bool, Failure> {
        self.show_nobody();
        let connection = &self.shared.connection;
        let (Some(mut leases), Some(mut client)) = (connection.lease().await, connection.kv().await) else {
            return Ok(false);
        };
        let granted = timeout(ATTEMPT_DEADLINE, Lease::grant(&mut leases, self.duration)).await;
        let lease = granted.map_err(|_| Failure::Perhaps("no answer to a lease's request".to_owned()))??;
        self.lease = Some(lease);
        let key = self.shared.keys.leader();
        let value = serde_json::to_vec(&self.own).map_err(|error| Failure::Refused(error.to_string()))?;
        let put = TxnOp::put(key, value, Some(PutOptions::new().with_lease(lease.id)));
        let txn = Txn::new().when([Compare::create_revision(key, CompareOp::Equal, 0)]).and_then([put]);
        // Whether it was won is read in the next round, and so is what became of it when no answer came.
        match timeout(ATTEMPT_DEADLINE, client.txn(txn)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Err(Failure::Perhaps("no answer to a candidacy".to_owned())),
        }
        Ok(true)
    }

    /// Leads until the next renewal is confirmed.
    async fn lead(&mut self, seat: &Seat, lease: Lease) -> Result<bool, Failure> {
        let Some(mut leases) = self.shared.connection.lease().await else { return Ok(false) };
        let trusted = Instant::now() < lease.trusted_until();
        if trusted {
            let (leader, url) = (Some(self.own.id.clone()), Some(self.own.url.clone()));
            self.show(Leadership { leader, url, term: seat.term, fence: Some(Fence(seat.term)) });
            sleep_until(lease.renew_at()).await;
        } else {
            self.show_nobody();
        }
        // One that isn't trusted any more shows no fence: it may take its time.
        let give_up = if trusted { lease.trusted_until() } else { Instant::now() + self.duration };
        match timeout_at(give_up, lease.renew(&mut leases)).await {
            Ok(Some(renewed)) => self.lease = Some(renewed),
            Ok(None) => {
                tracing::warn!("the lease of the leader's key ran out");
                self.lease = None;
                self.show_nobody();
                sleep(RETRY_PAUSE).await;
            }
            Err(_) => return Err(Failure::NotSent("the lease of the leader's key isn't confirmed in time".to_owned())),
        }
        Ok(true)
    }

    /// Follows until the key changes, or for as long as a lease lasts.
    async fn follow(&mut self, seat: &Seat, at: u64) -> Result<bool, Failure> {
        let (leader, url) = match &seat.candidate {
            Some(Candidate { id, url }) => (Some(id.clone()), Some(url.clone())),
            None => (None, None),
        };
        self.show(Leadership { leader, url, term: seat.term, fence: None });
        if self.lease.is_some() {
            let _ = timeout(ATTEMPT_DEADLINE, self.give_lease_back()).await;
        }
        let Some(mut watches) = self.shared.connection.watch().await else { return Ok(false) };
        let next = i64::try_from(at.saturating_add(1)).unwrap_or(i64::MAX);
        let options = WatchOptions::new().with_start_revision(next);
        let changed = async {
            let mut events = watches.watch(self.shared.keys.leader(), Some(options)).await?;
            while let Some(message) = events.message().await? {
                if message.canceled() {
                    break;
                }
                if !message.events().is_empty() {
                    return Ok::<bool, Failure>(true);
                }
            }
            Ok(false)
        };
        if !matches!(timeout(self.duration, changed).await, Ok(Ok(true)) | Err(_)) {
            sleep(RETRY_PAUSE).await;
        }
        Ok(true)
    }

    async fn give_lease_back(&mut self) {
        let Some(lease) = self.lease.take() else { return };
        let Some(mut leases) = self.shared.connection.lease().await else { return };
        if let Err(error) = leases.revoke(lease.id).await {
            tracing::debug!(%error, "a lease wasn't revoked, it runs out");
        }
    }

    fn show_nobody(&self) {
        let term = self.shared.leadership.borrow().term;
        self.show(Leadership { leader: None, url: None, term, fence: None });
    }

    fn show(&self, now: Leadership) {
        self.shared.leadership.send_if_modified(|shown| {
            let differs = *shown != now;
            *shown = now;
            differs
        });
    }
}

impl Seat {
    fn read(found: &KeyValue) -> Self {
        let candidate = serde_json::from_slice(found.value()).ok();
        if candidate.is_none() {
            tracing::warn!("the leader's key holds something that isn't ours");
        }
        Self { candidate, term: unsigned(found.create_revision()), lease: found.lease() }
    }
}
