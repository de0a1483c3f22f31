//! The durable log behind one interface, whichever engine keeps it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use store_node::{Batch, DurableLog, Entry, HardState};
use tokio_util::sync::CancellationToken;

use super::log_engine::{self, LogEngine};
use super::space::LogSpace;
use super::wal::{self, Wal};

/// The engine that keeps a new log. A log that exists is opened by the engine that made it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogKind {
    /// Our own write-ahead log.
    #[default]
    Wal,
    /// `raft-engine`.
    RaftEngine,
}

impl LogKind {
    /// Both, for tests and comparisons.
    pub const ALL: [Self; 2] = [Self::Wal, Self::RaftEngine];

    /// The engine whose files lie in the folder; `None` in an empty one.
    pub fn found(folder: &Path) -> Result<Option<Self>, Error> {
        let access = |source| Error::Folder { folder: folder.to_owned(), source };
        let (mut wal, mut raft_engine) = (false, false);
        for entry in fs::read_dir(folder).map_err(access)? {
            let path = entry.map_err(access)?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("wal") => wal = true,
                Some("raftlog" | "rewrite") => raft_engine = true,
                _ => {}
            }
        }
        match (wal, raft_engine) {
            (true, true) => Err(Error::TwoKinds { folder: folder.to_owned() }),
            (true, false) => Ok(Some(Self::Wal)),
            (false, true) => Ok(Some(Self::RaftEngine)),
            (false, false) => Ok(None),
        }
    }
}

/// How a log is opened.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// The engine of a new log.
    pub kind: LogKind,
    /// Size of a file of our own log in bytes, at least [`LogOptions::LEAST_SEGMENT_BYTES`].
    pub segment_bytes: u64,
}

impl LogOptions {
    /// Only for tests: each entry must fit into a file, and a transaction may have 1 MiB.
    pub const LEAST_SEGMENT_BYTES: u64 = 64 * 1024;
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { kind: LogKind::default(), segment_bytes: wal::SEGMENT_BYTES }
    }
}

/// What goes wrong with the log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder can't be listed.
    #[error("failed to list the log folder '{folder}'")]
    Folder {
        /// The folder of the log.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Nobody can say which of two logs holds the votes.
    #[error("the log folder '{folder}' holds files of two engines")]
    TwoKinds {
        /// The folder of the log.
        folder: PathBuf,
    },
    /// `raft-engine` failed.
    #[error(transparent)]
    RaftEngine(#[from] log_engine::Error),
    /// Our own log failed.
    #[error(transparent)]
    Wal(#[from] wal::Error),
}

impl Error {
    /// Whether the log only gave up because the store was closed.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self, Self::Wal(wal::Error::Closed))
    }
}

/// What the log held at the start.
#[derive(Debug)]
pub struct Recovered {
    /// `None` in a folder where no state was ever written.
    pub hard_state: Option<HardState>,
    /// All entries held, in order.
    pub entries: Vec<Entry>,
}

/// The one writer of a log.
pub struct DiskLog {
    engine: Engine,
    space: Arc<LogSpace>,
}

enum Engine {
    Wal(Box<Wal>),
    RaftEngine(LogEngine),
}

/// Frees files that only hold what was compacted; works beside the writer.
#[derive(Clone)]
pub struct Purger(Option<log_engine::Purger>);

impl Purger {
    /// Frees what can be freed. Our own log does so by itself.
    pub fn purge(&self) -> Result<(), Error> {
        Ok(self.0.as_ref().map_or(Ok(()), log_engine::Purger::purge)?)
    }
}

impl DiskLog {
    /// Opens the log in `folder`, or begins one, and reads every kept entry once.
    pub fn open(folder: &Path, options: LogOptions) -> Result<(Self, Recovered), Error> {
        Self::open_until(folder, options, CancellationToken::new())
    }

    /// [`DiskLog::open`]; a write that waits for space is given up when `closed` fires.
    pub(crate) fn open_until(
        folder: &Path,
        options: LogOptions,
        closed: CancellationToken,
    ) -> Result<(Self, Recovered), Error> {
        let kind = LogKind::found(folder)?.unwrap_or(options.kind);
        let segment_bytes = options.segment_bytes.max(LogOptions::LEAST_SEGMENT_BYTES);
        let space = LogSpace::new(segment_bytes / 4, closed);
        let (engine, recovered) = match kind {
            LogKind::Wal => {
                let (wal, recovered) = Wal::open(folder, segment_bytes, Arc::clone(&space))?;
                (Engine::Wal(Box::new(wal)), recovered)
            }
            LogKind::RaftEngine => {
                let (engine, recovered) = LogEngine::open(folder, Arc::clone(&space))?;
                (Engine::RaftEngine(engine), recovered)
            }
        };
        Ok((Self { engine, space }, recovered))
    }

    /// What frees files beside the writer.
    pub fn purger(&self) -> Purger {
        match &self.engine {
            Engine::Wal(_) => Purger(None),
            Engine::RaftEngine(engine) => Purger(Some(engine.purger())),
        }
    }

    /// Writes that everything promised was flushed, unless something on disk says so: to be called when the log is
    /// idle, and before it is closed.
    pub fn witness(&mut self) -> Result<(), Error> {
        match &mut self.engine {
            Engine::Wal(wal) => Ok(wal.witness()?),
            Engine::RaftEngine(engine) => Ok(engine.witness()?),
        }
    }

    pub(crate) fn space(&self) -> Arc<LogSpace> {
        Arc::clone(&self.space)
    }
}

impl DurableLog for DiskLog {
    type Error = Error;

    fn write(&mut self, batches: &[Batch]) -> Result<(), Error> {
        match &mut self.engine {
            Engine::Wal(wal) => Ok(wal.write(batches)?),
            Engine::RaftEngine(engine) => Ok(engine.write(batches)?),
        }
    }
}
