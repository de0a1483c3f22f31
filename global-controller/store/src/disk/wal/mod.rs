//! A write-ahead log of our own: records in zeroed files of a fixed size, of which the next is always ready.
//!
//! Every record has a checksum, the number of its file, a running number, and says up to which number everything had
//! been flushed when it was written. So recovery tells three things apart where `raft-engine` sees one:
//!
//! - A **torn tail**: an unreadable record, and nothing after it bears witness that it was flushed. It was never
//!   acknowledged, and is cut off.
//! - **Old bytes** of a file that is used again: their file number is another one.
//! - **Damage**: an unreadable record of which a later one says that it was flushed. The replica doesn't vote.
//!
//! What can't be told apart from a torn tail is damage to the last flushed records as long as no later one was written.
//! Each write of a commit index is such a later one, and an idle log writes one of its own.

mod record;
mod recovery;
mod segments;
mod writer;

#[cfg(test)]
#[path = "wal_test.rs"]
mod tests;

use std::path::PathBuf;

use store_node::{HardState, Position};

pub(crate) use writer::Wal;

/// Size of a file: small enough that a purge frees space soon after a snapshot, and that zeroing one takes some 30 ms
/// in the background; large enough that rolls are rare. Tests take less.
pub(crate) const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

/// What goes wrong with the log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can't be read or written.
    #[error("failed to access the log file '{path}'")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process has the log open.
    #[error("the log in '{folder}' is in use by another process")]
    InUse {
        /// The folder of the log.
        folder: PathBuf,
    },
    /// A file between two others is gone.
    #[error("the log file number {number} is missing in '{folder}'")]
    MissingFile {
        /// The folder of the log.
        folder: PathBuf,
        /// Number of the file.
        number: u64,
    },
    /// Flushed records can't be read back.
    #[error("{0}")]
    Damaged(Box<Damage>),
    /// The contents of a record whose checksum holds can't be read: a later version wrote it.
    #[error("failed to read a record of the log")]
    Codec(#[from] store_node::CodecError),
    /// An entry doesn't fit into a file.
    #[error("an entry of {bytes} bytes doesn't fit into a log file")]
    TooLong {
        /// Size of its record.
        bytes: usize,
    },
    /// A thread can't be started.
    #[error("failed to start the thread that prepares log files")]
    Thread(#[source] std::io::Error),
    /// The store was closed while the log waited for space.
    #[error("the store was closed before the log got space")]
    Closed,
}

/// Damage, and what the readable rest of the log still proves.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "the log is damaged in '{path}' at byte {offset}: record {missing} can't be read, but those up to {flushed} were flushed",
    path = path.display()
)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Where in the file the first unreadable record begins.
    pub offset: u64,
    /// Its running number.
    pub missing: u64,
    /// The last record of which is known that it was flushed.
    pub flushed: u64,
    /// Term, vote and commit index as of the newest readable record, which is newer than all that is known to be flushed.
    pub hard_state: HardState,
    /// End of the log as of that record: nothing beyond was ever acknowledged by what is known to be flushed.
    pub last: Position,
}
