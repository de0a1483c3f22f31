//! A replica's disk: what is synced, what is only written, and what a power cut leaves.
//!
//! It follows the log engine: batches that wait together become one write with one checksum, so that a torn one is cut
//! off as a whole; a batch with a snapshot is a write of its own, after its file was renamed. Own snapshots and logs are
//! checked as the real recovery does it.

use std::collections::{BTreeMap, VecDeque};

use store_node::{Batch, Entry, HardState, Membership, Position, ReplicaInfo, State, Table};

use crate::draw::Draw;

/// The two newest snapshot files are kept.
const KEPT_SNAPSHOTS: usize = 2;

/// Who the replica of a number is.
pub fn info(number: u64) -> ReplicaInfo {
    let (name, url) = (format!("controller-{number}"), format!("https://controller-{number}:9443"));
    ReplicaInfo { name, url, incarnation: 1000 + number }
}

/// What can be read back.
#[derive(Clone)]
pub struct Contents {
    pub hard_state: HardState,
    pub entries: Vec<Entry>,
    /// Oldest first.
    pub snapshots: Vec<Table>,
}

/// What a replica starts from.
pub struct Recovered {
    pub hard_state: HardState,
    pub table: Table,
    pub entries: Vec<Entry>,
}

struct Write {
    batches: Vec<Batch>,
    installed: Option<Table>,
    sync: bool,
}

pub struct Disk {
    pub durable: Contents,
    waiting: VecDeque<Batch>,
    unsynced: Vec<Write>,
    writing: Vec<Write>,
    /// Received snapshots whose batch hasn't come, by index.
    pub received: BTreeMap<u64, Table>,
    /// Bug: a write without entries leaves term and vote as they were.
    pub drops_hard_state: bool,
}

impl Contents {
    fn last(&self) -> u64 {
        let snapshot = self.snapshots.last().map_or(0, |table| table.applied().index);
        self.entries.last().map_or(snapshot, |entry| entry.index.max(snapshot))
    }

    /// Whether this entry is held, by itself or within a snapshot.
    pub fn holds(&self, position: Position) -> bool {
        let covered = self.snapshots.last().is_some_and(|table| table.applied().index >= position.index);
        covered || self.entries.iter().any(|entry| (entry.term, entry.index) == (position.term, position.index))
    }

    /// Whether everything up to `index` is held.
    pub fn reaches(&self, index: u64) -> bool {
        self.last() >= index
    }

    fn publish(&mut self, table: Table) {
        self.snapshots.retain(|kept| kept.applied().index != table.applied().index);
        self.snapshots.push(table);
        self.snapshots.sort_by_key(|kept| kept.applied().index);
        while self.snapshots.len() > KEPT_SNAPSHOTS {
            self.snapshots.remove(0);
        }
    }

    fn fold(&mut self, write: Write, drops_hard_state: bool) {
        if let Some(table) = write.installed {
            self.publish(table);
        }
        for batch in write.batches {
            if batch.snapshot.is_some() {
                self.entries.clear();
            }
            if let Some(first) = batch.entries.first() {
                self.entries.retain(|entry| entry.index < first.index);
            }
            let dropped = drops_hard_state && batch.entries.is_empty();
            self.entries.extend(batch.entries);
            if let Some(first) = batch.first_kept {
                self.entries.retain(|entry| entry.index >= first);
            }
            if !dropped {
                self.hard_state = batch.hard_state;
            }
        }
    }

    /// What a start finds. With `newest_unreadable` the snapshot before the newest is used if the log reaches back to
    /// it, as it must unless the newest came from a peer.
    pub fn recover(&mut self, newest_unreadable: bool) -> Result<Recovered, String> {
        let table = self.snapshots.last().ok_or("no snapshot")?;
        let table = match (newest_unreadable, self.snapshots.as_slice()) {
            (true, [older, _]) if self.follows(older) => older.clone(),
            _ => table.clone(),
        };
        let Position { term, index } = table.applied();
        if self.entries.windows(2).any(|pair| pair[1].index != pair[0].index + 1 || pair[1].term < pair[0].term) {
            return Err("the log's entries are out of order".to_owned());
        }
        if self.entries.first().is_some_and(|first| first.index > index + 1) {
            return Err(format!("the log begins after the snapshot at index {index}"));
        }
        let other_history = self.entries.iter().any(|entry| entry.index == index && entry.term != term);
        let ends_before = self.entries.last().is_some_and(|entry| entry.index < index);
        let mut entries = self.entries.clone();
        entries.retain(|entry| !other_history && entry.index > index);
        let last = entries.last().map_or(index, |entry| entry.index);
        if self.hard_state.commit > last {
            return Err(format!("the log ends at {last}, committed was {}", self.hard_state.commit));
        }
        if ends_before || entries.is_empty() {
            self.entries.clear();
        }
        Ok(Recovered { hard_state: self.hard_state.clone(), table, entries })
    }

    fn follows(&self, older: &Table) -> bool {
        let Position { term, index } = older.applied();
        let fits = self.entries.iter().all(|entry| entry.index != index || entry.term == term);
        fits && self.entries.first().is_some_and(|first| first.index <= index + 1)
            && self.entries.last().is_some_and(|last| last.index >= self.hard_state.commit.max(index))
    }
}

impl Disk {
    /// The common beginning of a new store.
    pub fn new(voters: &[u64]) -> Self {
        let birth = Position { term: 1, index: 1 };
        let named = voters.iter().map(|number| (*number, info(*number))).collect();
        let table = Table::new(birth, Membership::of_replicas(named));
        Self::with(HardState { term: 1, commit: 1, ..HardState::default() }, table)
    }

    /// The disk of a replica that joins.
    pub fn empty() -> Self {
        Self::with(HardState::default(), Table::default())
    }

    fn with(hard_state: HardState, table: Table) -> Self {
        Self {
            durable: Contents { hard_state, entries: Vec::new(), snapshots: vec![table] },
            waiting: VecDeque::new(),
            unsynced: Vec::new(),
            writing: Vec::new(),
            received: BTreeMap::new(),
            drops_hard_state: false,
        }
    }

    pub fn queue(&mut self, batches: Vec<Batch>) {
        self.waiting.extend(batches);
    }

    /// Begins to write all that waits; false when nothing does or a write is under way.
    pub fn begin(&mut self) -> bool {
        if !self.writing.is_empty() || self.waiting.is_empty() {
            return false;
        }
        for batch in std::mem::take(&mut self.waiting) {
            let installed = batch.snapshot.as_ref().map(|meta| {
                let received = self.received.remove(&meta.position.index);
                received.expect("the node wants a snapshot on disk that it never got")
            });
            match self.writing.last_mut() {
                Some(open) if installed.is_none() && open.installed.is_none() => {
                    open.sync |= batch.must_sync;
                    open.batches.push(batch);
                }
                _ => self.writing.push(Write { sync: batch.must_sync, batches: vec![batch], installed }),
            }
        }
        true
    }

    /// The writes and their syncs are done; returns the last batch's number.
    pub fn finish(&mut self) -> Option<u64> {
        let mut number = None;
        for write in std::mem::take(&mut self.writing) {
            number = write.batches.last().map(|batch| batch.number);
            let sync = write.sync;
            self.unsynced.push(write);
            if sync {
                for synced in std::mem::take(&mut self.unsynced) {
                    self.durable.fold(synced, self.drops_hard_state);
                }
            }
        }
        number
    }

    /// A snapshot of the replica's own state is on disk.
    pub fn publish(&mut self, table: Table) {
        self.durable.publish(table);
    }

    /// The process ends and the power goes: of what wasn't synced a prefix remains, a torn write is cut off.
    pub fn crash(&mut self, draw: &mut Draw) {
        self.waiting.clear();
        self.received.clear();
        if draw.chance(500) {
            // Files of received snapshots are renamed before the log is written.
            for table in self.writing.iter().filter_map(|write| write.installed.clone()) {
                self.durable.publish(table);
            }
        }
        let mut written = std::mem::take(&mut self.unsynced);
        written.append(&mut self.writing);
        let kept = draw.index(written.len() + 1);
        for write in written.into_iter().take(kept) {
            self.durable.fold(write, self.drops_hard_state);
        }
    }
}
