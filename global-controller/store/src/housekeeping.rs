//! The thread for slow work: snapshots of the state, and freeing log files.

use std::sync::mpsc::{Receiver, SyncSender};

use store_node::SharedTable;

use crate::disk::log::Purger;
use crate::disk::{Layout, repair, snapshot};
use crate::inbox::Command;

/// Chores that may wait; more of the same kind would do nothing new.
pub(crate) const WAITING_CHORES: usize = 4;

/// A piece of slow work.
#[derive(Debug)]
pub(crate) enum Chore {
    /// Write a snapshot of the state.
    Snapshot,
    /// Free log files that are no longer needed.
    Purge,
    /// A repair ended: forget it.
    EndRepair,
}

pub(crate) struct Housekeeper {
    pub(crate) table: SharedTable,
    pub(crate) layout: Layout,
    pub(crate) purger: Purger,
    pub(crate) chores: Receiver<Chore>,
    pub(crate) inbox: SyncSender<Command>,
}

impl Housekeeper {
    /// Works until the node and the writer are gone.
    pub(crate) fn run(self) {
        let _guard = crate::fatal::PanicGuard("housekeeper");
        while let Ok(chore) = self.chores.recv() {
            match chore {
                Chore::Snapshot => self.snapshot(),
                Chore::Purge => self.purge(),
                Chore::EndRepair => self.end_repair(),
            }
        }
    }

    fn snapshot(&self) {
        // Keys and values are shared, so the copy is of pointers, and the node waits only for it and not for the disk.
        let table = self.table.read().clone();
        let answer = match snapshot::save(&self.layout.snapshots(), &table) {
            Ok(file) => {
                tracing::info!(index = file.position.index, keys = table.len(), "snapshot written");
                Command::SnapshotTaken(table.meta())
            }
            Err(error) => {
                tracing::error!(%error, "failed to write a snapshot; the log grows until one succeeds");
                Command::SnapshotFailed
            }
        };
        if let Err(error) = snapshot::prune(&self.layout.snapshots()) {
            tracing::warn!(%error, "failed to remove old snapshots");
        }
        let _ = self.inbox.send(answer);
    }

    fn end_repair(&self) {
        match repair::finish(&self.layout) {
            Ok(()) => tracing::info!("this replica is repaired and votes again"),
            Err(error) => tracing::warn!(%error, "failed to forget a repair; it is done again at the next start"),
        }
    }

    fn purge(&self) {
        if let Err(error) = self.purger.purge() {
            tracing::warn!(%error, "failed to free log files");
        }
    }
}
