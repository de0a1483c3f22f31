//! Beginning a new store from a backup.
//!
//! [`prepare`] fills the empty folder of one replica; it has to be done for every replica of the configuration, with
//! the same file. The replicas then form a new store when they are started, as those of an empty one do: each tells
//! the others what it was restored from, and they wait while that differs. The new store has the configured replicas,
//! a new incarnation of each, and the contents and revision of the backup; whether they are configured to join another
//! store doesn't matter. Its epoch is above all that was known: its revisions begin below those of the store that was
//! lost.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use store_node::{KeyValue, SnapshotMeta, Table};

use crate::backup::{self, Backup};
use crate::disk::identity::{self, Identity, Restored};
use crate::disk::{Layout, files, recover};

/// What the root of a freshly made file system holds.
const ALWAYS_THERE: &str = "lost+found";
/// Names of files listed in an error.
const NAMES_SHOWN: usize = 5;

/// Why a replica can't be restored, or can't begin from what it was restored from.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder holds something.
    #[error("the folder '{path}' is not empty, it holds {found}: a backup is only restored into an empty folder")]
    NotEmpty {
        /// The folder.
        path: PathBuf,
        /// Names of some files in it.
        found: String,
    },
    /// The backup is of another store.
    #[error("the backup is of cluster '{found}', not of '{wanted}'; if the cluster was renamed, say so")]
    Cluster {
        /// Name in the backup.
        found: String,
        /// Name expected.
        wanted: String,
    },
    /// The backup can't be read.
    #[error("the backup can't be used")]
    Backup(#[from] backup::Error),
    /// The folder holds another backup than it was restored from.
    #[error("the folder was restored from the backup {wanted}, but holds {found}")]
    Differs {
        /// Checksum written down.
        wanted: String,
        /// Checksum found.
        found: String,
    },
    /// A file can't be read or written.
    #[error("failed to access '{path}'")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder's identity can't be written.
    #[error("failed to write the folder's identity")]
    Identity(#[from] identity::Error),
    /// The beginning of the store can't be written.
    #[error("failed to write the beginning of the store")]
    Recover(#[from] recover::Error),
}

/// Which replica is restored, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// Name of the new store.
    pub cluster: String,
    /// Name of the store in the backup when it isn't that of the new one.
    pub renamed_from: Option<String>,
    /// This replica's id.
    pub id: String,
    /// This replica's Raft id.
    pub number: u64,
    /// Its folder: empty, or not there yet.
    pub data_dir: PathBuf,
    /// See [`next_epoch`].
    pub epoch: u64,
}

/// The epoch of a restored store: above `known`, the highest that anyone remembers, and not below the time, so that it
/// is also above what nobody remembers (SEMANTICS 41).
pub fn next_epoch(now_seconds: u64, known: u64) -> u64 {
    now_seconds.max(known.saturating_add(1))
}

/// Prepares the folder of one replica. Nothing is written when the backup or the folder doesn't fit.
pub fn prepare(backup: &Backup, request: &Request) -> Result<(), Error> {
    let Request { cluster, renamed_from, id, number, data_dir, epoch } = request;
    let summary = backup.summary();
    let wanted = renamed_from.as_ref().unwrap_or(cluster);
    if summary.cluster != *wanted {
        return Err(Error::Cluster { found: summary.cluster.clone(), wanted: wanted.clone() });
    }
    check_empty(data_dir)?;
    let failed = |source| Error::Io { path: data_dir.clone(), source };
    let layout = Layout::new(data_dir).map_err(failed)?;
    let restored = Restored { checksum: summary.checksum.clone(), epoch: (*epoch).max(backup.table().epoch() + 1) };
    let mut identity = Identity::new(cluster, id, *number, crate::unique::number());
    identity.restored = Some(restored);
    // First the mark: after a crash in between, the replica refuses to start instead of starting empty.
    identity.save(&layout)?;
    let temporary = layout.restored().with_extension("tmp");
    fs::copy(backup.path(), &temporary).map_err(failed)?;
    fs::File::open(&temporary).and_then(|file| file.sync_all()).map_err(failed)?;
    files::publish(&temporary, &layout.restored()).map_err(failed)?;
    check(&layout, &identity)
}

fn check_empty(folder: &Path) -> Result<(), Error> {
    let failed = |source| Error::Io { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        if name != ALWAYS_THERE {
            names.push(format!("'{}'", name.display()));
        }
    }
    names.sort();
    if names.is_empty() {
        return Ok(());
    }
    let found = if names.len() > NAMES_SHOWN {
        format!("{} and {} more", names[..NAMES_SHOWN].join(", "), names.len() - NAMES_SHOWN)
    } else {
        names.join(", ")
    };
    Err(Error::NotEmpty { path: folder.to_owned(), found })
}

/// Checks that a replica that still has to begin from a backup can.
pub(crate) fn check(layout: &Layout, identity: &Identity) -> Result<(), Error> {
    match &identity.restored {
        Some(restored) if identity.formation.is_none() => read(layout, restored).map(drop),
        _ => Ok(()),
    }
}

fn read(layout: &Layout, restored: &Restored) -> Result<Backup, Error> {
    let backup = Backup::read(&layout.restored())?;
    let (wanted, found) = (restored.checksum.clone(), backup.summary().checksum.clone());
    if wanted == found { Ok(backup) } else { Err(Error::Differs { wanted, found }) }
}

/// Writes the beginning of the store: the same on every replica, as the formation says the epoch.
pub(crate) fn found(layout: &Layout, restored: &Restored, options: &recover::Options) -> Result<(), Error> {
    let backup = read(layout, restored)?;
    let old = backup.table();
    let meta = SnapshotMeta { position: old.meta().position, membership: options.membership.clone() };
    let mut table = Table::with_header(meta, old.revision(), restored.epoch);
    for (key, found) in old.iter() {
        table.load(KeyValue { key: key.to_owned(), value: found.value.clone(), revision: found.revision });
    }
    Ok(recover::found_with(layout, options, &table)?)
}

/// Removes the backup once the store begins with a snapshot of its own.
pub(crate) fn forget(layout: &Layout) {
    match fs::remove_file(layout.restored()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, "failed to remove the backup that the store began from");
        }
        _ => {}
    }
}

#[cfg(test)]
#[path = "restore_test.rs"]
mod tests;
