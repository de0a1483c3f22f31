//! The Raft log: a mirror in memory for `raft` to read, and the narrow interface of the engine that makes it durable.

use std::collections::VecDeque;

use raft::eraftpb::{Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use crate::table::{Position, SnapshotMeta};

/// What must reach the disk together. Batches are written in the order of their numbers.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Passed back in [`crate::Input::Persisted`]; strictly increasing.
    pub number: u64,
    /// A snapshot that replaces the whole log: its file becomes durable before the rest of the batch.
    pub snapshot: Option<SnapshotMeta>,
    /// Entries to append; they replace what lies at their indexes and beyond.
    pub entries: Vec<Entry>,
    /// Term, vote and commit index as of this batch.
    pub hard_state: HardState,
    /// Entries below this index are no longer needed.
    pub first_kept: Option<u64>,
    /// Whether anything waits for this batch. A batch that only moves the commit index needs no flush: a commit
    /// index that falls back is found again from the others.
    pub must_sync: bool,
}

/// The engine of the durable log.
pub trait DurableLog {
    /// What goes wrong when writing; the replica ends then, as it can no longer tell what is on its disk.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Writes the batches in order and returns once all that must be flushed are, with as few flushes as it can.
    fn write(&mut self, batches: &[Batch]) -> Result<(), Self::Error>;
}

/// The retained part of the log in memory, for `raft` to read.
#[derive(Debug, Default)]
pub struct LogMirror {
    hard_state: HardState,
    start: SnapshotMeta,
    newest_snapshot: SnapshotMeta,
    entries: VecDeque<Entry>,
}

impl LogMirror {
    /// A log that starts after `snapshot` and holds `entries`, which follow it without a gap.
    pub fn new(hard_state: HardState, snapshot: SnapshotMeta, entries: Vec<Entry>) -> Self {
        Self { hard_state, start: snapshot.clone(), newest_snapshot: snapshot, entries: entries.into() }
    }

    /// Index of the first entry held.
    pub fn first(&self) -> u64 {
        self.start.position.index + 1
    }

    /// Index of the last entry held, or of the snapshot when there is none.
    pub fn last(&self) -> u64 {
        self.start.position.index + self.entries.len() as u64
    }

    pub(crate) fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    pub(crate) fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    pub(crate) fn newest_snapshot(&self) -> &SnapshotMeta {
        &self.newest_snapshot
    }

    pub(crate) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        // Raft only hands out entries that follow what it has read from here, so the offset is within the log.
        let keep = first.index.saturating_sub(self.first());
        self.entries.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
        self.entries.extend(entries.iter().cloned());
    }

    /// A snapshot of our own state was made durable: it is the one that lagging followers get.
    pub(crate) fn snapshot_taken(&mut self, meta: SnapshotMeta) {
        self.newest_snapshot = meta;
    }

    /// Drops entries up to and with `upto`, which a durable snapshot covers.
    pub(crate) fn compact(&mut self, upto: &SnapshotMeta) {
        let count = upto.position.index.saturating_sub(self.start.position.index);
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(self.entries.len());
        if count == 0 {
            return;
        }
        self.entries.drain(..count);
        self.start = upto.clone();
    }

    /// A leader's snapshot replaces the whole log.
    pub(crate) fn install(&mut self, meta: SnapshotMeta) {
        self.entries.clear();
        self.start = meta.clone();
        self.newest_snapshot = meta;
    }

    fn offset(&self, index: u64) -> usize {
        usize::try_from(index.saturating_sub(self.first())).unwrap_or(usize::MAX)
    }
}

impl Storage for LogMirror {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.start.membership.to_raft()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low < self.first() {
            return Err(StorageError::Compacted.into());
        }
        if high > self.last() + 1 {
            return Err(StorageError::Unavailable.into());
        }
        let limit = max_size.into().unwrap_or(u64::MAX);
        let mut size: u64 = 0;
        let wanted = self.entries.range(self.offset(low)..self.offset(high));
        let fitting = wanted.enumerate().take_while(|(position, entry)| {
            size = size.saturating_add(entry_bytes(entry));
            *position == 0 || size <= limit
        });
        Ok(fitting.map(|(_, entry)| entry.clone()).collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        let Position { term, index: start } = self.start.position;
        if index == start {
            return Ok(term);
        }
        if index < start {
            return Err(StorageError::Compacted.into());
        }
        let entry = self.entries.get(self.offset(index));
        entry.map(|entry| entry.term).ok_or_else(|| StorageError::Unavailable.into())
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.first())
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let meta = &self.newest_snapshot;
        // Raft doesn't install a snapshot whose membership lacks the one that installs it.
        if meta.position.index < request_index || !meta.membership.contains(to) {
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        }
        Ok(to_raft_snapshot(meta))
    }
}

/// A snapshot as `raft` sees it: its contents travel as a file, beside the messages.
pub(crate) fn to_raft_snapshot(meta: &SnapshotMeta) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let target = snapshot.mut_metadata();
    target.index = meta.position.index;
    target.term = meta.position.term;
    target.set_conf_state(meta.membership.to_raft());
    snapshot
}

/// Size of an entry in memory and on the wire, near enough for limits: its data and some fixed fields.
pub(crate) fn entry_bytes(entry: &Entry) -> u64 {
    const FIXED: u64 = 32;
    FIXED + entry.data.len() as u64 + entry.context.len() as u64
}
