//! Space for the log: whether the next writes certainly fit, and what is refused when they might not.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Between two attempts to get space: short enough that a store goes on soon after someone freed it.
pub(crate) const RETRY: Duration = Duration::from_secs(1);

/// What the writer, the thread that prepares files and the callers of the store know about the log's space.
#[derive(Debug)]
pub(crate) struct LogSpace {
    /// Why no further space can be had, as long as that is so.
    problem: Mutex<Option<String>>,
    /// Bytes that can be written without further space.
    room: AtomicU64,
    /// Kept free for term, vote and commit index: entries of a leader are not taken into it.
    reserve: u64,
    /// Nobody waits for space any more.
    closed: CancellationToken,
}

impl LogSpace {
    /// Of a log that keeps `reserve` bytes for what isn't an entry.
    pub(crate) fn new(reserve: u64, closed: CancellationToken) -> Arc<Self> {
        Arc::new(Self { problem: Mutex::new(None), room: AtomicU64::new(u64::MAX), reserve, closed })
    }

    /// Why proposals have to be refused. What is left is for what a leader sends, and for term and vote.
    pub(crate) fn refusal(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether not even a leader's entries are taken: they are dropped like lost messages until space returns.
    pub(crate) fn exhausted(&self) -> bool {
        self.room.load(Ordering::Relaxed) < self.reserve && self.refusal().is_some()
    }

    pub(crate) fn set_room(&self, bytes: u64) {
        self.room.store(bytes, Ordering::Relaxed);
    }

    /// Says once what is wrong, and once that it is over.
    pub(crate) fn report(&self, problem: Option<String>) {
        let mut known = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        match (known.as_ref(), &problem) {
            (None, Some(problem)) => tracing::error!(problem, "no space for the log: writes are refused"),
            (Some(_), None) => tracing::info!("the log has space again: writes are taken"),
            _ => {}
        }
        *known = problem;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }
}

/// Bytes that the file system of `folder` has left for this process.
pub(crate) fn free_bytes(folder: &Path) -> std::io::Result<u64> {
    let found = nix::sys::statvfs::statvfs(folder)?;
    Ok(found.blocks_available().saturating_mul(found.fragment_size()))
}
