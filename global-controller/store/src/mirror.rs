//! A copy of the state in `sled`, written behind by one thread.
//!
//! It is off the path of every acknowledgement and is never recovered: sled's flush makes no `fdatasync`, and syncing
//! its files doesn't save it. Each start begins in an empty folder and fills it from the state in memory. Nothing is
//! served from it yet; it is there for inspection and for history that need not be in memory.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use futures::StreamExt;
use store_node::{Change, KeyValue, SharedTable};
use tokio_util::sync::CancellationToken;

use crate::history::History;
use crate::watch::{Watch, WatchEvent};

/// Keys written at once while filling.
const PAGE: usize = 1_000;
/// Changes written at once; a batch of 64 or more costs a tenth of single writes.
const BATCH: usize = 512;
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
        let from = self.fill()?;
        let watch = Watch::new(Arc::clone(&self.history), self.closed.clone(), "", from);
        // Whatever is ready at once goes into one batch.
        let mut events = watch.ready_chunks(BATCH);
        while let Some(events) = events.next().await {
            let mut batch = sled::Batch::default();
            for event in events {
                match event {
                    WatchEvent::Changes { changes, .. } => changes.into_iter().for_each(|c| add(&mut batch, c)),
                    WatchEvent::Progress { .. } => {}
                    WatchEvent::Resync { .. } => {
                        self.db.apply_batch(std::mem::take(&mut batch))?;
                        self.db.clear()?;
                        self.fill()?;
                    }
                }
            }
            self.db.apply_batch(batch)?;
        }
        Ok(())
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

fn add(batch: &mut sled::Batch, change: Change) {
    match change.value {
        Some(value) => batch.insert(change.key.as_bytes(), value.as_ref()),
        None => batch.remove(change.key.as_bytes()),
    }
}
