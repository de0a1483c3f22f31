//! Rebuilding a replica from its folder, and refusing to when what lies there can't be trusted.

use store_node::{Batch, DurableLog, Entry, HardState, Membership, Position, Repair, SnapshotMeta, Table};
use tokio_util::sync::CancellationToken;

use super::log::{self, DiskLog, LogOptions, Recovered};
use super::repair::{self, Note};
use super::{Layout, snapshot, wal};

/// Every replica of a new store starts from the same empty snapshot. A replica that joins later starts from nothing
/// and gets a snapshot first, so no two histories can begin differently.
const BIRTH: Position = Position { term: 1, index: 1 };

/// Why a replica must not start from its folder.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log can't be read.
    #[error("failed to open the log")]
    Log(#[from] log::Error),
    /// A snapshot can't be written.
    #[error("failed to write the first snapshot")]
    Snapshot(#[from] snapshot::Error),
    /// The folder can't be read or written.
    #[error("failed to access the replica's folder")]
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
    pub(crate) log: DiskLog,
    pub(crate) repair: Option<Repair>,
}

/// How a replica is recovered.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// How its log is opened.
    pub(crate) log: LogOptions,
    /// Fires when nobody waits for space in the log any more.
    pub(crate) closed: CancellationToken,
    /// With whom the store was formed. One replica alone has nobody to repair it.
    pub(crate) membership: Membership,
}

impl Options {
    /// For looking at a copy of a folder: nothing of it is repaired.
    pub(crate) fn of_copy() -> Self {
        Self { log: LogOptions::default(), closed: CancellationToken::new(), membership: Membership::default() }
    }

    fn open(&self, layout: &Layout) -> Result<(DiskLog, Recovered), log::Error> {
        DiskLog::open_until(&layout.log(), self.log, self.closed.clone())
    }

    fn has_peers(&self) -> bool {
        self.membership.voters.len() > 1
    }
}

/// Writes the beginning of a replica that joins: nothing but the fact that it knows of no vote. May be repeated until
/// the identity says that it belongs to the store; from then on a lost log is found by this mark.
pub(crate) fn join(layout: &Layout, options: &Options) -> Result<(), Error> {
    let (mut log, _) = options.open(layout)?;
    Ok(log.write(&[Batch { must_sync: true, ..Batch::default() }])?)
}

/// Writes the common beginning of a new store. May be repeated until the identity says that the store is formed.
pub(crate) fn found(layout: &Layout, options: &Options) -> Result<(), Error> {
    found_with(layout, options, &birth(options))
}

/// Writes the common beginning of a store that starts with contents.
pub(crate) fn found_with(layout: &Layout, options: &Options, table: &Table) -> Result<(), Error> {
    snapshot::save(&layout.snapshots(), table)?;
    let (mut log, _) = options.open(layout)?;
    let Position { term, index } = table.meta().position;
    let hard_state = HardState { term, commit: index, ..HardState::default() };
    log.write(&[Batch { hard_state, must_sync: true, ..Batch::default() }])?;
    Ok(())
}

fn birth(options: &Options) -> Table {
    Table::new(BIRTH, options.membership.clone())
}

/// Reads everything that a formed replica starts from. What its peers can make up for is prepared to be repaired.
pub(crate) fn recover(layout: &Layout, options: &Options) -> Result<Start, Error> {
    snapshot::remove_temporary(&layout.snapshots())?;
    let table = newest_table(layout);
    let (log, recovered) = match options.open(layout) {
        Err(log::Error::Wal(wal::Error::Damaged(damage))) if options.has_peers() => {
            let note = Note::new(damage.to_string(), &damage.hard_state, damage.last);
            begin_repair(layout, note)?;
            repair::set_log_aside(layout)?;
            options.open(layout)?
        }
        opened => opened?,
    };
    if recovered.hard_state.is_none() && Note::read(layout)?.is_none() {
        return Err(Error::NoHardState);
    }
    let table = match (table, &recovered.hard_state) {
        // A replica that joins knows of nothing until a leader sends it a snapshot.
        (Err(Error::NoSnapshot { found: 0, .. }), Some(hard_state))
            if recovered.entries.is_empty() && hard_state.commit == 0 =>
        {
            Table::default()
        }
        (Err(problem @ Error::NoSnapshot { .. }), Some(hard_state)) if options.has_peers() => {
            let last = recovered.entries.last().map(|entry| Position { term: entry.term, index: entry.index });
            let Position { term, index } = last.unwrap_or_default();
            // Without entries the log ends at the snapshot that is gone, of a term that isn't known.
            let last =
                Position { term: if index == 0 { hard_state.term } else { term }, index: index.max(hard_state.commit) };
            begin_repair(layout, Note::new(problem.to_string(), hard_state, last))?;
            restart_from_birth(layout, options)?
        }
        // The log was lost too, and what was known of it is in the note.
        (Err(Error::NoSnapshot { .. }), None) if Note::read(layout)?.is_some() && options.has_peers() => {
            restart_from_birth(layout, options)?
        }
        (table, _) => table?,
    };
    let note = Note::read(layout)?;
    let start = fit(table, log, recovered, note.as_ref())?;
    Ok(Start { repair: note.map(|note| Repair { last: note.last() }), ..start })
}

/// The note is on disk before anything damaged is moved away: without it the replica would vote.
fn begin_repair(layout: &Layout, note: Note) -> Result<(), Error> {
    tracing::error!(
        problem = note.problem,
        lost_up_to = note.last().index,
        "this replica is damaged and is repaired from the others; until then it doesn't vote"
    );
    let earlier = Note::read(layout)?;
    Ok(note.and(earlier).save(layout)?)
}

fn restart_from_birth(layout: &Layout, options: &Options) -> Result<Table, Error> {
    repair::set_snapshots_aside(layout)?;
    let table = birth(options);
    snapshot::save(&layout.snapshots(), &table)?;
    Ok(table)
}

/// Fits snapshot and log together.
fn fit(table: Table, mut log: DiskLog, recovered: Recovered, note: Option<&Note>) -> Result<Start, Error> {
    let Recovered { hard_state, entries } = recovered;
    let (snapshot, repaired) = (table.meta(), note.is_some());
    let known = hard_state.is_some();
    let mut hard_state = hard_state.or_else(|| note.map(Note::ballot)).ok_or(Error::NoHardState)?;
    // A leader sends the rest again, from the snapshot on.
    let unfit = repaired && entries.first().is_some_and(|entry| entry.index > snapshot.position.index + 1);
    if unfit || !known {
        hard_state.commit = snapshot.position.index;
        restart_log(&mut log, &snapshot, &hard_state)?;
        return Ok(Start { hard_state, snapshot, entries: Vec::new(), table, log, repair: None });
    }
    let ends_before = entries.last().is_some_and(|entry| entry.index < snapshot.position.index);
    let held = entries.len();
    let entries = following(&snapshot, entries)?;
    let last = entries.last().map_or(snapshot.position.index, |entry| entry.index);
    hard_state.commit = hard_state.commit.max(snapshot.position.index);
    if hard_state.term < snapshot.position.term {
        // A crash came between the first snapshot of a replica that joins and its log; it never voted.
        hard_state = HardState { term: snapshot.position.term, commit: hard_state.commit, ..HardState::default() };
    }
    if repaired {
        hard_state.commit = hard_state.commit.min(last);
    }
    if hard_state.commit > last {
        return Err(Error::ShortLog { last, commit: hard_state.commit });
    }
    if ends_before || (held > 0 && entries.is_empty()) {
        // What is left in the log can't be continued: the next entry would leave a hole behind it.
        restart_log(&mut log, &snapshot, &hard_state)?;
    }
    Ok(Start { hard_state, snapshot, entries, table, log, repair: None })
}

fn restart_log(log: &mut DiskLog, snapshot: &SnapshotMeta, hard_state: &HardState) -> Result<(), Error> {
    let (snapshot, hard_state) = (Some(snapshot.clone()), hard_state.clone());
    Ok(log.write(&[Batch { snapshot, hard_state, must_sync: true, ..Batch::default() }])?)
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
