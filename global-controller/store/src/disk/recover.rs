//! Rebuilding a replica from its folder, and refusing to when what lies there can't be trusted.

use store_node::{Batch, DurableLog, Entry, HardState, Membership, Position, SnapshotMeta, Table};

use super::log_engine::{self, LogEngine, Recovered};
use super::{Layout, snapshot};

/// Every replica of a new store starts from the same empty snapshot. A replica that joins later starts from nothing
/// and gets a snapshot first, so no two histories can begin differently.
const BIRTH: Position = Position { term: 1, index: 1 };

/// Why a replica must not start from its folder.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log can't be read.
    #[error("failed to open the log")]
    Log(#[from] log_engine::Error),
    /// A snapshot can't be written.
    #[error("failed to write the first snapshot")]
    Snapshot(#[from] snapshot::Error),
    /// The folder can't be read.
    #[error("failed to read the snapshot folder")]
    Io(#[from] std::io::Error),
    /// The store was formed, but there is no snapshot that can be read.
    #[error("no readable snapshot: {found} files, {problems}")]
    NoSnapshot {
        /// How many snapshot files there are.
        found: usize,
        /// What is wrong with each.
        problems: String,
    },
    /// The store was formed, but the log doesn't say how this replica voted.
    #[error("the log holds no term and vote: it was lost or replaced, and a replica that forgot its vote may not vote")]
    NoHardState,
    /// Entries between snapshot and log are missing.
    #[error("entries {first_missing} to {last_missing} are missing between the snapshot and the log")]
    Gap {
        /// First missing index.
        first_missing: u64,
        /// Last missing index.
        last_missing: u64,
    },
    /// Entries don't follow each other.
    #[error("the log's entries are out of order at index {index}")]
    Disorder {
        /// Index of the entry that doesn't fit.
        index: u64,
    },
    /// Committed entries are missing at the end of the log.
    #[error("the log ends at index {last}, but entries up to {commit} were committed")]
    ShortLog {
        /// Index of the last entry.
        last: u64,
        /// The commit index.
        commit: u64,
    },
}

/// What a node starts from.
pub(crate) struct Start {
    pub(crate) hard_state: HardState,
    pub(crate) snapshot: SnapshotMeta,
    pub(crate) entries: Vec<Entry>,
    pub(crate) table: Table,
    pub(crate) log: LogEngine,
}

/// Writes the beginning of a replica that joins: nothing but the fact that it knows of no vote. May be repeated until
/// the identity says that it belongs to the store; from then on a lost log is found by this mark.
pub(crate) fn join(layout: &Layout) -> Result<(), Error> {
    let (mut log, _) = LogEngine::open(&layout.log())?;
    Ok(log.write(&[Batch { must_sync: true, ..Batch::default() }])?)
}

/// Writes the common beginning of a new store. May be repeated until the identity says that the store is formed.
pub(crate) fn found(layout: &Layout, membership: Membership) -> Result<(), Error> {
    found_with(layout, &Table::new(BIRTH, membership))
}

/// Writes the common beginning of a store that starts with contents.
pub(crate) fn found_with(layout: &Layout, table: &Table) -> Result<(), Error> {
    snapshot::save(&layout.snapshots(), table)?;
    let (mut log, _) = LogEngine::open(&layout.log())?;
    let Position { term, index } = table.meta().position;
    let hard_state = HardState { term, commit: index, ..HardState::default() };
    log.write(&[Batch { hard_state, must_sync: true, ..Batch::default() }])?;
    Ok(())
}

/// Reads everything that a formed replica starts from.
pub(crate) fn recover(layout: &Layout) -> Result<Start, Error> {
    snapshot::remove_temporary(&layout.snapshots())?;
    let (mut log, Recovered { marker, entries }) = LogEngine::open(&layout.log())?;
    let marker = marker.ok_or(Error::NoHardState)?;
    let joins = entries.is_empty() && marker.hard_state.commit == 0 && snapshot::list(&layout.snapshots())?.is_empty();
    let table = if joins { Table::default() } else { newest_table(layout)? };
    let snapshot = table.meta();
    let ends_before = entries.last().is_some_and(|entry| entry.index < snapshot.position.index);
    let held = entries.len();
    let entries = following(&snapshot, entries)?;
    let last = entries.last().map_or(snapshot.position.index, |entry| entry.index);
    let mut hard_state = marker.hard_state;
    hard_state.commit = hard_state.commit.max(snapshot.position.index);
    if hard_state.term < snapshot.position.term {
        // A crash came between the first snapshot of a replica that joins and its log; it never voted.
        hard_state = HardState { term: snapshot.position.term, commit: hard_state.commit, ..HardState::default() };
    }
    if hard_state.commit > last {
        return Err(Error::ShortLog { last, commit: hard_state.commit });
    }
    if ends_before || (held > 0 && entries.is_empty()) {
        // What is left in the log can't be continued: the next entry would leave a hole behind it.
        let (snapshot, hard_state) = (Some(snapshot.clone()), hard_state.clone());
        log.write(&[Batch { snapshot, hard_state, must_sync: true, ..Batch::default() }])?;
    }
    Ok(Start { hard_state, snapshot, entries, table, log })
}

fn newest_table(layout: &Layout) -> Result<Table, Error> {
    let files = snapshot::list(&layout.snapshots())?;
    let mut problems = Vec::new();
    for file in &files {
        match snapshot::load(&file.path) {
            Ok(table) if table.meta().position == file.position => return Ok(table),
            Ok(_) => problems.push(format!("{}: its name and its header differ", file.path.display())),
            Err(error) => {
                tracing::error!(path = %file.path.display(), %error, "a snapshot can't be read, trying the one before");
                problems.push(format!("{}: {error}", file.path.display()));
            }
        }
    }
    Err(Error::NoSnapshot { found: files.len(), problems: problems.join("; ") })
}

/// The entries after the snapshot. Entries that belong to another history than the snapshot are dropped: a crash
/// came between the snapshot's rename and the log's.
fn following(snapshot: &SnapshotMeta, entries: Vec<Entry>) -> Result<Vec<Entry>, Error> {
    let Position { term, index } = snapshot.position;
    for pair in entries.windows(2) {
        if let [earlier, later] = pair
            && (later.index != earlier.index + 1 || later.term < earlier.term)
        {
            return Err(Error::Disorder { index: later.index });
        }
    }
    let Some(first) = entries.first().map(|entry| entry.index) else { return Ok(entries) };
    if first > index + 1 {
        return Err(Error::Gap { first_missing: index + 1, last_missing: first - 1 });
    }
    let at_snapshot = entries.iter().find(|entry| entry.index == index);
    if at_snapshot.is_some_and(|entry| entry.term != term) {
        return Ok(Vec::new());
    }
    Ok(entries.into_iter().filter(|entry| entry.index > index).collect())
}

#[cfg(test)]
#[path = "recover_test.rs"]
mod tests;
