//! A copy of the state in `sled`, written behind by one thread.
//!
//! It is off the path of every acknowledgement and is never recovered: sled's flush makes no `fdatasync`, and syncing
//! its files doesn't save it. Each start begins in an empty folder and fills it from the state in memory. Nothing is
//! served from it yet; it is there for inspection and for history that need not be in memory.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use store_node::{Changes, KeyValue, SharedTable};
use tokio_util::sync::CancellationToken;

use crate::history::{Batch, History};

/// Keys written at once while filling.
const PAGE: usize = 1_000;
/// Revisions taken at once, a tenth of the history: the rest stays for the next turn.
const BATCH: usize = 5_000;
/// Between two turns. Nobody waits for the mirror, and of a key that is written often only the last value of a turn
/// goes into it; following each commit at once took a third of the processor and of the disk from those who do wait.
const PAUSE: Duration = Duration::from_millis(200);
/// sled's own cache in bytes; its default is 1 GiB, and the state is in memory anyway.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// Why the mirror stopped. The store goes on without it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to empty the mirror's folder")]
    Folder(#[from] std::io::Error),
    #[error("sled failed")]
    Sled(#[from] sled::Error),
}

pub(crate) struct Mirror {
    db: sled::Db,
    table: SharedTable,
    history: Arc<History>,
    closed: CancellationToken,
}

impl Mirror {
    pub(crate) fn open(
        folder: &Path,
        table: SharedTable,
        history: Arc<History>,
        closed: CancellationToken,
    ) -> Result<Self, Error> {
        Self::remove(folder)?;
        let db = sled::Config::new().path(folder).cache_capacity(CACHE_BYTES).open()?;
        Ok(Self { db, table, history, closed })
    }

    /// Removes what an earlier start left.
    pub(crate) fn remove(folder: &Path) -> std::io::Result<()> {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Fills the mirror and then follows the state until the store is closed.
    pub(crate) async fn run(self) -> Result<(), Error> {
        let mut latest = self.history.subscribe();
        let mut position = self.fill()?;
        loop {
            tokio::select! {
                () = self.closed.cancelled() => return Ok(()),
                changed = latest.wait_for(|latest| *latest > position) => {
                    if changed.is_err() {
                        return Ok(());
                    }
                }
            }
            position = self.follow(position)?;
            tokio::select! {
                () = self.closed.cancelled() => return Ok(()),
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Writes everything after `position`, and returns what comes next.
    fn follow(&self, mut position: u64) -> Result<u64, Error> {
        loop {
            let revisions = match self.history.batch(position, BATCH) {
                Batch::Revisions(revisions) => revisions,
                Batch::Compacted => {
                    self.db.clear()?;
                    return self.fill();
                }
            };
            let Some(last) = revisions.last() else { return Ok(position) };
            position = last.revision;
            self.db.apply_batch(coalesced(&revisions))?;
            if revisions.len() < BATCH {
                return Ok(position);
            }
        }
    }

    /// Copies the whole state, and returns the revision of the first page: what changed since comes by watch.
    fn fill(&self) -> Result<u64, Error> {
        let mut first = None;
        let mut after: Option<String> = None;
        loop {
            let table = self.table.read();
            first.get_or_insert(table.revision());
            let (items, more) = table.page("", after.as_deref(), PAGE);
            drop(table);
            after = items.last().map(|item| item.key.clone());
            let mut batch = sled::Batch::default();
            for KeyValue { key, value, .. } in items {
                batch.insert(key.as_bytes(), value.as_ref());
            }
            self.db.apply_batch(batch)?;
            if !more {
                return Ok(first.unwrap_or(0));
            }
        }
    }
}

/// The last value of each key.
fn coalesced(revisions: &[Arc<Changes>]) -> sled::Batch {
    let changes = revisions.iter().flat_map(|revision| &revision.changes);
    let last: HashMap<&str, Option<&Bytes>> =
        changes.map(|change| (change.key.as_str(), change.value.as_ref())).collect();
    let mut batch = sled::Batch::default();
    for (key, value) in last {
        match value {
            Some(value) => batch.insert(key.as_bytes(), value.as_ref()),
            None => batch.remove(key.as_bytes()),
        }
    }
    batch
}
