//! The one thread that writes the log: everything that queues up during a flush goes into the next one.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use store_node::{Batch, DurableLog, Position};

use crate::disk::log::DiskLog;
use crate::disk::{files, snapshot};
use crate::housekeeping::Chore;
use crate::inbox::Command;
use crate::received::Received;

/// Batches taken at once; each holds at most what one step of the node produces.
const BATCHES_AT_ONCE: usize = 256;
/// After this long without a write the log bears witness to its last flush: one more small write, once.
const IDLE: Duration = Duration::from_secs(1);

/// What stops the writer, and with it the process.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("failed to write the log")]
    Log(#[from] crate::disk::log::Error),
    #[error("failed to publish a received snapshot")]
    Snapshot(#[from] std::io::Error),
    #[error("the received snapshot at index {index} has no file")]
    NoFile { index: u64 },
}

pub(crate) struct LogWriter {
    pub(crate) log: DiskLog,
    pub(crate) snapshots: PathBuf,
    pub(crate) received: Arc<Received>,
    pub(crate) batches: Receiver<Batch>,
    pub(crate) inbox: SyncSender<Command>,
    pub(crate) chores: SyncSender<Chore>,
    pub(crate) abandoned: Arc<AtomicBool>,
}

impl LogWriter {
    /// Writes until the node is gone. A replica that can't write can't keep its promises: the process ends then.
    pub(crate) fn run(mut self) {
        let _guard = crate::fatal::PanicGuard("log writer");
        loop {
            let first = match self.batches.recv_timeout(IDLE) {
                Ok(first) => first,
                Err(_) if self.abandoned.load(Ordering::Relaxed) => return,
                Err(ended) => match self.log.witness() {
                    Ok(()) if ended == RecvTimeoutError::Timeout => continue,
                    Ok(()) => return,
                    Err(error) => crate::fatal::end("the log can't be written", &error),
                },
            };
            let mut batches = vec![first];
            batches.extend(self.batches.try_iter().take(BATCHES_AT_ONCE - 1));
            if self.abandoned.load(Ordering::Relaxed) {
                return;
            }
            if let Err(error) = self.write(&batches) {
                if matches!(&error, Error::Log(error) if error.is_closed()) {
                    tracing::warn!("the log got no space before the store was closed; what waited is given up");
                    return;
                }
                crate::fatal::end("the log can't be written", &error);
            }
        }
    }

    fn write(&mut self, batches: &[Batch]) -> Result<(), Error> {
        for batch in batches {
            if let Some(meta) = &batch.snapshot {
                self.publish(meta.position)?;
            }
        }
        self.log.write(batches)?;
        if let Some(last) = batches.last() {
            // The node drains its inbox without ever waiting for this thread, so this can't lock up; an error means
            // that the node is gone.
            let _ = self.inbox.send(Command::Persisted(last.number));
        }
        if batches.iter().any(|batch| batch.first_kept.is_some() || batch.snapshot.is_some()) {
            // A chore that is dropped because others wait is made up for after the next snapshot.
            let _ = self.chores.try_send(Chore::Purge);
        }
        Ok(())
    }

    /// The file first, then the log that starts after it: a crash between the two leaves an old log, which recovery
    /// recognizes, and never a log without its beginning.
    fn publish(&self, position: Position) -> Result<(), Error> {
        let index = position.index;
        let file = self.received.take(index).ok_or(Error::NoFile { index })?;
        files::publish(&file, &snapshot::path_of(&self.snapshots, position))?;
        Ok(())
    }
}
