//! The durable log in `raft-engine`.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;

use raft_engine::{Command, Config, Engine, LogBatch, MessageExt, ReadableSize, RecoveryMode};
use store_node::{Batch, DurableLog, Entry, HardState};

use super::log::Recovered;
use super::marker::{self, Marker};
use super::space::{LogSpace, RETRY, free_bytes};

/// The engine can hold many groups; a store is one.
const GROUP: u64 = 1;
const STATE_KEY: &[u8] = b"state";
/// Small files, so that a purge frees space soon after a snapshot.
const FILE_BYTES: u64 = 16 * 1024 * 1024;
/// Keeps the log at about 83 MB on disk; the engine's own default is 10 GB.
const PURGE_BYTES: u64 = 64 * 1024 * 1024;
/// Batches are joined into one write up to about this many bytes, far below the engine's bound of 128 MiB.
const JOINED_BYTES: u64 = 8 * 1024 * 1024;
/// Proposals are refused when less than this is free: the engine ends the process when a write fails, so what was
/// proposed before anyone looked, at most 32 MiB, must still fit beside a new file.
const FREE_BYTES: u64 = 4 * FILE_BYTES;

/// What goes wrong with the log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine failed.
    #[error("the log engine failed")]
    Engine(#[from] raft_engine::Error),
    /// The log can't be looked at.
    #[error("failed to read the log folder")]
    Io(#[from] std::io::Error),
    /// Flushed batches can't be read back.
    #[error("the log is damaged: batches up to {flushed} were flushed, but only those up to {found} can be read")]
    Damaged {
        /// Number of the last batch known to be flushed.
        flushed: u64,
        /// Number of the last batch that can be read.
        found: u64,
    },
}

struct Entries;

impl MessageExt for Entries {
    type Entry = Entry;

    fn index(entry: &Entry) -> u64 {
        entry.index
    }
}

/// The one writer of the log.
pub(crate) struct LogEngine {
    engine: Arc<Engine>,
    written: u64,
    flushed: u64,
    /// Whether the last flushed batch has no later one that says so.
    unwitnessed: bool,
    hard_state: HardState,
    _probe: Probe,
}

/// Frees files that only hold what was compacted; works beside the writer.
#[derive(Clone)]
pub(crate) struct Purger {
    engine: Arc<Engine>,
}

impl Purger {
    /// Frees what can be freed.
    pub(crate) fn purge(&self) -> Result<(), Error> {
        self.engine.purge_expired_files()?;
        Ok(())
    }
}

impl LogEngine {
    /// Opens the log and reads every kept entry once, so that damage shows now and not when a peer needs it.
    pub(crate) fn open(folder: &Path, space: Arc<LogSpace>) -> Result<(Self, Recovered), Error> {
        let flushed = marker::witnessed(folder)?;
        let engine = Engine::open(Config {
            dir: folder.to_string_lossy().into_owned(),
            recovery_mode: RecoveryMode::TolerateTailCorruption,
            target_file_size: ReadableSize(FILE_BYTES),
            purge_threshold: ReadableSize(PURGE_BYTES),
            // A recycled file holds old batches behind the new ones, where a torn tail and damage look alike.
            enable_log_recycle: false,
            // Entries are small and the disk isn't the limit, the processor is.
            batch_compression_threshold: ReadableSize(0),
            ..Config::default()
        })?;
        let marker = engine.get(GROUP, STATE_KEY).and_then(|bytes| Marker::decode(&bytes));
        let found = marker.as_ref().map_or(0, |marker| marker.batch);
        if found < flushed {
            return Err(Error::Damaged { flushed, found });
        }
        let mut entries = Vec::new();
        if let (Some(first), Some(last)) = (engine.first_index(GROUP), engine.last_index(GROUP)) {
            engine.fetch_entries_to::<Entries>(GROUP, first, last + 1, None, &mut entries)?;
        }
        let recovered = marker.map(|marker| marker.hard_state);
        let log = Self {
            engine: Arc::new(engine),
            written: found,
            flushed: found,
            unwitnessed: false,
            hard_state: recovered.clone().unwrap_or_default(),
            _probe: Probe::start(folder, space)?,
        };
        Ok((log, Recovered { hard_state: recovered, entries }))
    }

    pub(crate) fn purger(&self) -> Purger {
        Purger { engine: Arc::clone(&self.engine) }
    }

    fn add(&self, target: &mut LogBatch, batch: &Batch) -> Result<(), Error> {
        if let Some(first) = batch.first_kept {
            target.add_command(GROUP, Command::Compact { index: first });
        }
        if let Some(snapshot) = &batch.snapshot {
            // The whole log goes, also entries beyond the snapshot: they belong to another history.
            let last = self.engine.last_index(GROUP).unwrap_or(0).max(snapshot.position.index);
            target.add_command(GROUP, Command::Compact { index: last + 1 });
        }
        Ok(target.add_entries::<Entries>(GROUP, &batch.entries)?)
    }

    /// See [`super::log::DiskLog::witness`].
    pub(crate) fn witness(&mut self) -> Result<(), Error> {
        if !self.unwitnessed {
            return Ok(());
        }
        self.flush(&mut LogBatch::default(), self.hard_state.clone(), true)?;
        self.unwitnessed = false;
        Ok(())
    }

    fn flush(&mut self, target: &mut LogBatch, hard_state: HardState, sync: bool) -> Result<(), Error> {
        self.written += 1;
        self.hard_state.clone_from(&hard_state);
        let marker = Marker { batch: self.written, flushed: self.flushed, hard_state };
        target.put(GROUP, STATE_KEY.to_vec(), marker.encode())?;
        self.engine.write(target, sync)?;
        self.unwitnessed = sync;
        if sync {
            self.flushed = self.written;
        }
        Ok(())
    }
}

impl DurableLog for LogEngine {
    type Error = Error;

    fn write(&mut self, batches: &[Batch]) -> Result<(), Error> {
        let mut rest = batches;
        while !rest.is_empty() {
            let (joined, later) = rest.split_at(joinable(rest));
            let mut target = LogBatch::default();
            for batch in joined {
                self.add(&mut target, batch)?;
            }
            if let Some(last) = joined.last() {
                self.flush(&mut target, last.hard_state.clone(), joined.iter().any(|batch| batch.must_sync))?;
            }
            rest = later;
        }
        Ok(())
    }
}

/// How many batches go into one write. One with a snapshot goes alone: what it drops depends on what was written.
fn joinable(batches: &[Batch]) -> usize {
    let mut bytes = 0;
    let fitting = batches.iter().enumerate().take_while(|(place, batch)| {
        let alone = batch.snapshot.is_some();
        bytes += batch.entries.iter().map(|entry| entry.data.len() as u64 + 32).sum::<u64>();
        if alone {
            bytes = JOINED_BYTES;
        }
        *place == 0 || (!alone && bytes <= JOINED_BYTES)
    });
    fitting.count()
}

/// Looks after the space on the disk, as the engine finds out too late.
struct Probe {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Probe {
    fn start(folder: &Path, space: Arc<LogSpace>) -> Result<Self, Error> {
        let (stop, stopped) = channel::<()>();
        let folder = folder.to_owned();
        let work = move || loop {
            space.report(shortage(&folder));
            if stopped.recv_timeout(RETRY) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        };
        let thread = std::thread::Builder::new().name("store-log-space".to_owned()).spawn(work)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn shortage(folder: &Path) -> Option<String> {
    let free = free_bytes(folder).ok()?;
    let (mib, folder) = (1024 * 1024, folder.display());
    let problem = || format!("{} MiB are free in '{folder}', the log keeps {} MiB free", free / mib, FREE_BYTES / mib);
    (free < FREE_BYTES).then(problem)
}
