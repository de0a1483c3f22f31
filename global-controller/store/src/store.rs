//! The handle: what callers of the store see, whichever backend is behind it.

use axum::Router;
use store_node::{Fence, Op, TxnOutcome, Versioned, When};
use tokio::sync::watch;

use crate::config::{Config, OpenError, Tuning};
#[cfg(feature = "etcd")]
use crate::etcd::Etcd;
use crate::etcd_config::EtcdConfig;
use crate::handle::{Embedded, Page, ReadError, WriteError};
use crate::leadership::Leadership;
use crate::watch::Watch;

#[derive(Clone)]
enum Backend {
    Embedded(Embedded),
    #[cfg(feature = "etcd")]
    Etcd(Etcd),
}

/// The store. Clones share one replica, or one connection to an etcd; it ends when the last one is dropped.
#[derive(Clone)]
pub struct Store {
    backend: Backend,
}

impl Store {
    /// Opens a replica of our own. Returns once it has recovered from its folder and doesn't wait for others; the
    /// router, whose routes are under `/raft/`, must be served with mutual TLS for the replicas to reach each other.
    pub async fn open(config: Config) -> Result<(Self, Router), OpenError> {
        Self::open_with(config, Tuning::default()).await
    }

    /// [`Store::open`] with other sizes.
    pub async fn open_with(config: Config, tuning: Tuning) -> Result<(Self, Router), OpenError> {
        let (embedded, router) = Embedded::open_with(config, tuning).await?;
        Ok((Self { backend: Backend::Embedded(embedded) }, router))
    }

    /// Opens an etcd as the store. Doesn't wait until it can be reached; refuses what waiting can't mend, as a wrong
    /// password. Needs the feature `etcd`.
    #[cfg(feature = "etcd")]
    pub async fn open_etcd(config: EtcdConfig) -> Result<Self, OpenError> {
        Ok(Self { backend: Backend::Etcd(Etcd::open(config).await?) })
    }

    /// Refuses: the feature `etcd` is off.
    #[cfg(not(feature = "etcd"))]
    #[expect(clippy::unused_async, reason = "callers needn't know with which features this was built")]
    pub async fn open_etcd(_config: EtcdConfig) -> Result<Self, OpenError> {
        Err(OpenError::NoEtcd)
    }

    /// The replica of our own, for what that backend alone can do; `None` on an etcd.
    pub fn embedded(&self) -> Option<&Embedded> {
        match &self.backend {
            Backend::Embedded(embedded) => Some(embedded),
            #[cfg(feature = "etcd")]
            Backend::Etcd(_) => None,
        }
    }

    /// A key's value, linearizable: at least as new as anything acknowledged before the call.
    pub async fn get(&self, key: &str) -> Result<Option<Versioned>, ReadError> {
        match &self.backend {
            Backend::Embedded(embedded) => embedded.get(key).await,
            #[cfg(feature = "etcd")]
            Backend::Etcd(etcd) => etcd.get(key).await,
        }
    }

    /// Up to `limit` keys under `prefix` that come after the key `after`. Each page is linearizable; the pages
    /// together are no snapshot. A page has at most 10,000 keys.
    pub async fn range(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, ReadError> {
        match &self.backend {
            Backend::Embedded(embedded) => embedded.range(prefix, after, limit).await,
            #[cfg(feature = "etcd")]
            Backend::Etcd(etcd) => etcd.range(prefix, after, limit).await,
        }
    }

    /// Applies `then` as one revision if all of `when` holds and the fence, if given, is the current leader's.
    /// Conditions and operations count together towards the limit of 100.
    pub async fn txn(&self, fence: Option<Fence>, when: Vec<When>, then: Vec<Op>) -> Result<TxnOutcome, WriteError> {
        match &self.backend {
            Backend::Embedded(embedded) => embedded.txn(fence, when, then).await,
            #[cfg(feature = "etcd")]
            Backend::Etcd(etcd) => etcd.txn(fence, when, then).await,
        }
    }

    /// Changes under `prefix` with revisions above `from`, in order, as this handle learns of them.
    pub fn watch(&self, prefix: &str, from: u64) -> Watch {
        match &self.backend {
            Backend::Embedded(embedded) => embedded.watch(prefix, from),
            #[cfg(feature = "etcd")]
            Backend::Etcd(etcd) => etcd.watch(prefix, from),
        }
    }

    /// Who leads, as it changes.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        match &self.backend {
            Backend::Embedded(embedded) => embedded.leadership(),
            #[cfg(feature = "etcd")]
            Backend::Etcd(etcd) => etcd.leadership(),
        }
    }

    /// Hands leadership over if this replica has it, finishes what is queued, and ends.
    pub async fn close(self) {
        match self.backend {
            Backend::Embedded(embedded) => embedded.close().await,
            #[cfg(feature = "etcd")]
            Backend::Etcd(etcd) => etcd.close().await,
        }
    }

    /// Ends at once: leadership isn't handed over and what is queued isn't written. As close to a crash as a process
    /// can come without ending.
    pub async fn abort(self) {
        match self.backend {
            Backend::Embedded(embedded) => embedded.abort().await,
            #[cfg(feature = "etcd")]
            Backend::Etcd(etcd) => etcd.abort().await,
        }
    }
}
