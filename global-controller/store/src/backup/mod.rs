//! Backups: the whole state as of one revision, in the form of a snapshot file that also says where it comes from.
//!
//! [`fetch`] takes one from a running store over mutual TLS, [`crate::Embedded::backup`] from within the process, and
//! [`from_folder`] from the folder of a stopped replica. Each writes under a temporary name, makes the file durable,
//! reads all of it back, and only then gives it its name; a file that exists is never replaced. [`crate::restore`]
//! begins a new store from one.

mod file;
mod folder;
mod remote;

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use file::Backup;
pub use folder::{Entries, from_folder};
pub(crate) use folder::{replayed, state_of};
pub use remote::fetch;

pub(crate) use crate::disk::snapshot::Origin;

use crate::disk::{identity, recover, snapshot};
use crate::handle::{Embedded, ReadError};

/// What a backup holds, without its contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Name of the store.
    pub cluster: String,
    /// The replica that it was taken from.
    pub replica: String,
    /// When, in seconds since 1970 by that replica's clock.
    pub taken_seconds: u64,
    /// Term of the last entry that it covers.
    pub term: u64,
    /// Index of the last entry that it covers.
    pub index: u64,
    /// Revision of the last change.
    pub revision: u64,
    /// The store's epoch.
    pub epoch: u64,
    /// How many keys it holds.
    pub keys: usize,
    /// Length of the file.
    pub bytes: u64,
    /// Names the contents: the same for each copy of the file.
    pub checksum: String,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is a file already.
    #[error("'{path}' exists, and a backup replaces nothing")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file can't be read or written.
    #[error("failed to access '{path}'")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is damaged, or no snapshot at all.
    #[error("failed to read '{path}'")]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: snapshot::Error,
    },
    /// A snapshot, but none that says which store it is of.
    #[error("'{path}' is a snapshot and no backup: it doesn't say which store it is of")]
    NoOrigin {
        /// The file.
        path: PathBuf,
    },
    /// Bytes follow after the end.
    #[error("'{path}' is damaged: bytes follow after its end")]
    Trailing {
        /// The file.
        path: PathBuf,
    },
    /// The store can't confirm what is current.
    #[error("the store can't be read")]
    Read(#[from] ReadError),
    /// No replica sent one.
    #[error("no replica sent a backup: {reasons}")]
    Unreachable {
        /// What happened with each url.
        reasons: String,
    },
    /// The folder doesn't say whose it is.
    #[error("the folder '{path}' has no readable identity")]
    Identity {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: identity::Error,
    },
    /// The folder belongs to a replica of a store that was never formed.
    #[error("the folder '{path}' belongs to a replica that is part of no store yet")]
    Unformed {
        /// The folder.
        path: PathBuf,
    },
    /// The folder lost what it held and is not repaired yet.
    #[error(
        "the folder '{path}' is in repair and lacks what was lost, up to index {index} of term {term} ({problem}): take \
         the backup from another replica"
    )]
    InRepair {
        /// The folder.
        path: PathBuf,
        /// What was found.
        problem: String,
        /// Term of the last entry that was lost.
        term: u64,
        /// Index of the last entry that was lost.
        index: u64,
    },
    /// The folder belongs to a replica that joined a store and got nothing of it yet.
    #[error("the folder '{path}' holds no state: its replica joined the store, but got no snapshot yet")]
    NoState {
        /// The folder.
        path: PathBuf,
    },
    /// The folder's contents can't be trusted.
    #[error("nothing can be recovered from the folder '{path}'")]
    Recover {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: recover::Error,
    },
    /// An entry can't be applied.
    #[error("failed to apply the log")]
    Replay(#[from] store_node::Error),
    /// Work on another thread ended early.
    #[error("the work was stopped")]
    Stopped(#[from] tokio::task::JoinError),
}

impl Embedded {
    /// Writes the state as it is now to a new file: everything that was acknowledged before the call is in it, and
    /// nothing is there in part. `now_seconds` is noted in it.
    pub async fn backup(&self, to: PathBuf, now_seconds: u64) -> Result<Summary, Error> {
        let shared = self.shared();
        shared.confirm(tokio::time::Instant::now() + crate::handle::READ_DEADLINE).await?;
        // Keys and values are shared, so the copy is of pointers.
        let table = shared.table.read().clone();
        let origin = Origin {
            cluster: shared.config.config.cluster.clone(),
            replica: shared.config.own.id.clone(),
            taken_seconds: now_seconds,
        };
        tokio::task::spawn_blocking(move || file::save(&to, &table, &origin)).await?
    }
}
