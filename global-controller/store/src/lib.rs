//! The replicated store: a small linearizable key-value store for the controller's own state.
//!
//! [`Store`] is the handle, and all that callers see, with either of two backends: replicas of our own, or an etcd. Around the synchronous replica of `store-node` this crate puts
//! what touches the world: the thread that runs it, the log and snapshots on disk, the connections between replicas,
//! and watching. `OVERVIEW.md` beside the manifest draws the read path, the write path and the life-cycle.

pub mod admin;
pub mod backup;
mod config;
mod disk;
#[cfg(feature = "etcd")]
mod etcd;
mod etcd_config;
mod fatal;
mod formation;
mod handle;
mod history;
mod housekeeping;
mod inbox;
pub mod inspect;
mod joining;
mod leadership;
mod logging;
mod members;
mod mirror;
mod node_thread;
mod open;
mod peers;
mod received;
pub mod restore;
mod roster;
mod store;
mod strangers;
mod transport;
mod unique;
mod watch;
mod writer;

pub use config::{Config, OpenError, ReplicaConfig, StateEngine, Tuning};
pub use disk::identity::Error as IdentityError;
pub use disk::log::{DiskLog, Error as LogError, LogKind, LogOptions, Purger, Recovered};
pub use disk::log_engine::Error as RaftEngineError;
pub use disk::recover::Error as RecoverError;
pub use disk::snapshot::Error as SnapshotError;
pub use disk::wal::{Damage, Error as WalError};
pub use etcd_config::{EtcdConfig, EtcdTls, EtcdUser};
pub use handle::{Embedded, Page, ReadError, WriteError};
pub use leadership::Leadership;
pub use members::{Member, MemberProgress};
pub use store::Store;
pub use store_node::{
    Change, Fence, KeyValue, MAX_KEY_BYTES, MAX_OPERATIONS, MAX_TXN_BYTES, Op, Role, SnapshotPolicy, TxnOutcome,
    Versioned, When,
};
pub use watch::{Watch, WatchEvent};
