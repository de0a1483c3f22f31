//! Rebuilding a replica from its folder, and refusing to when what lies there can't be trusted.

use store_node::{Batch, DurableLog, Entry, HardState, Membership, Position, Repair, SnapshotMeta, Table};
use tokio_util::sync::CancellationToken;

use super::log::{self, DiskLog, LogOptions, Recovered};
use super::repair::{self, Note};
use super::snapshot::SnapshotFile;
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
    /// There is a replica's log or snapshot, but nothing that says whose.
    #[error(
        "the folder holds a replica's state (term {term}, entries up to {last}), but its 'identity.json' is missing or new: \
         put that file back, or empty the folder and add this replica under a new id"
    )]
    IdentityLost {
        /// The term that its log knows.
        term: u64,
        /// Index of the last entry.
        last: u64,
    },
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
    /// With whom the store was formed.
    pub(crate) membership: Membership,
    /// This replica's Raft id; `None` for a copy of a folder, of which nothing is repaired.
    pub(crate) own: Option<u64>,
}

impl Options {
    /// For looking at a copy of a folder: nothing of it is repaired.
    pub(crate) fn of_copy() -> Self {
        let (log, closed) = (LogOptions::default(), CancellationToken::new());
        Self { log, closed, membership: Membership::default(), own: None }
    }

    fn open(&self, layout: &Layout) -> Result<(DiskLog, Recovered), log::Error> {
        DiskLog::open_until(&layout.log(), self.log, self.closed.clone())
    }

    /// Whether others vote, who can make up for what is lost here. The state knows them best; where none can be read,
    /// the store's formation has to do.
    fn has_peers(&self, newest: &Result<Newest, Error>) -> bool {
        let membership = newest.as_ref().map_or(&self.membership, |newest| newest.table.membership());
        self.own.is_some_and(|own| membership.voters.iter().any(|voter| *voter != own))
    }
}

/// Writes the beginning of a replica that joins: nothing but the fact that it knows of no vote. May be repeated until
/// the identity says that it belongs to the store; from then on a lost log is found by this mark.
pub(crate) fn join(layout: &Layout, options: &Options) -> Result<(), Error> {
    let mut log = begin(layout, options, &HardState::default(), None)?;
    Ok(log.write(&[Batch { must_sync: true, ..Batch::default() }])?)
}

/// Writes the common beginning of a new store. May be repeated until the identity says that the store is formed.
pub(crate) fn found(layout: &Layout, options: &Options) -> Result<(), Error> {
    found_with(layout, options, &birth(options))
}

/// Writes the common beginning of a store that starts with contents.
pub(crate) fn found_with(layout: &Layout, options: &Options, table: &Table) -> Result<(), Error> {
    let Position { term, index } = table.meta().position;
    let hard_state = HardState { term, commit: index, ..HardState::default() };
    let mut log = begin(layout, options, &hard_state, Some(table.meta().position))?;
    snapshot::save(&layout.snapshots(), table)?;
    log.write(&[Batch { hard_state, must_sync: true, ..Batch::default() }])?;
    Ok(())
}

/// Opens the log of a folder in which nothing happened yet but an attempt at the same beginning, or at joining, that was
/// cut off. With anything more the identity was lost: whoever begins again there forgets votes and takes up terms that
/// were used before.
fn begin(layout: &Layout, options: &Options, hard_state: &HardState, at: Option<Position>) -> Result<DiskLog, Error> {
    let snapshots = snapshot::list(&layout.snapshots())?;
    let (log, Recovered { hard_state: found, entries }) = options.open(layout)?;
    let is_beginning = |found: HardState| found == *hard_state || found == HardState::default();
    let fresh = Note::read(layout)?.is_none()
        && entries.is_empty()
        && found.clone().is_none_or(is_beginning)
        && snapshots.iter().all(|file| Some(file.position) == at);
    if fresh {
        return Ok(log);
    }
    let newest = snapshots.iter().map(|file| file.position.index).max().unwrap_or(0);
    let last = entries.last().map_or(newest, |entry| entry.index);
    Err(Error::IdentityLost { term: found.map_or(0, |found| found.term), last })
}

fn birth(options: &Options) -> Table {
    Table::new(BIRTH, options.membership.clone())
}

/// The newest snapshot that can be read.
#[derive(Default)]
struct Newest {
    table: Table,
    /// Newer ones, which can't be read.
    unreadable: Vec<SnapshotFile>,
}

/// Reads everything that a formed replica starts from. What its peers can make up for is prepared to be repaired.
pub(crate) fn recover(layout: &Layout, options: &Options) -> Result<Start, Error> {
    snapshot::remove_temporary(&layout.snapshots())?;
    let newest = newest_table(layout);
    let peers = options.has_peers(&newest);
    let (log, recovered) = match options.open(layout) {
        Err(log::Error::Wal(wal::Error::Damaged(damage))) if peers => {
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
    let newest = match (newest, &recovered.hard_state) {
        // A replica that joins, or lost its snapshots, knows of nothing until a leader sends it a snapshot.
        (Err(Error::NoSnapshot { found: 0, .. }), Some(hard_state))
            if recovered.entries.is_empty() && hard_state.commit == 0 =>
        {
            Newest::default()
        }
        (Err(problem @ Error::NoSnapshot { .. }), Some(hard_state)) if peers => {
            let last = end_of(hard_state, &recovered.entries, &[]);
            begin_repair(layout, Note::new(problem.to_string(), hard_state, last))?;
            repair::set_snapshots_aside(layout)?;
            Newest::default()
        }
        // The log was lost too, and what was known of it is in the note.
        (Err(Error::NoSnapshot { .. }), None) if peers => {
            repair::set_snapshots_aside(layout)?;
            Newest::default()
        }
        (newest, _) => newest?,
    };
    fit(layout, newest, log, recovered, peers)
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

/// Where a log ended, or any position after it.
fn end_of(hard_state: &HardState, entries: &[Entry], unreadable: &[SnapshotFile]) -> Position {
    let last = entries.last().map(|entry| Position { term: entry.term, index: entry.index });
    // Without entries up to there, the log ends at a snapshot, of a term that isn't known but is no higher.
    let committed = Position { term: hard_state.term, index: hard_state.commit };
    let end = last.filter(|last| last.index >= committed.index).unwrap_or(committed);
    unreadable.iter().fold(end, |end, file| Position {
        term: end.term.max(file.position.term),
        index: end.index.max(file.position.index),
    })
}

/// Fits snapshot and log together.
fn fit(layout: &Layout, newest: Newest, mut log: DiskLog, recovered: Recovered, peers: bool) -> Result<Start, Error> {
    let Newest { table, unreadable } = newest;
    let Recovered { hard_state, entries } = recovered;
    let snapshot = table.meta();
    let ballot = || Note::read(layout).map(|note| note.as_ref().map(Note::ballot));
    let (mut hard_state, mut lost) = match hard_state {
        Some(hard_state) => (hard_state, false),
        // The log was set aside; what was known of it is in the note.
        None => (ballot()?.ok_or(Error::NoHardState)?, true),
    };
    if let Some(problem) = hole(&snapshot, &entries, &hard_state, &unreadable).filter(|_| peers) {
        // Also within a repair that has begun: what was acknowledged since then counts too.
        let last = end_of(&hard_state, &entries, &unreadable);
        begin_repair(layout, Note::new(problem.to_string(), &hard_state, last))?;
        lost = true;
    }
    let entries = if lost { Vec::new() } else { matching(&snapshot, entries, &mut hard_state, &mut log)? };
    if lost {
        // A leader sends the rest again, from the snapshot on.
        hard_state.commit = snapshot.position.index;
        restart_log(&mut log, &snapshot, &hard_state)?;
    }
    // Only now: their names say how far this replica had come.
    repair::set_aside(&unreadable)?;
    let repair = Note::read(layout)?.map(|note| Repair { last: note.last() });
    Ok(Start { hard_state, snapshot, entries, table, log, repair })
}

/// What is missing between the snapshot and the end of the log, where a snapshot that is gone is to blame or entries say
/// so themselves.
fn hole(
    snapshot: &SnapshotMeta,
    entries: &[Entry],
    hard_state: &HardState,
    unreadable: &[SnapshotFile],
) -> Option<Error> {
    let index = snapshot.position.index;
    let last = entries.last().map_or(index, |entry| entry.index.max(index));
    match entries.first() {
        Some(first) if first.index > index + 1 => {
            Some(Error::Gap { first_missing: index + 1, last_missing: first.index - 1 })
        }
        _ if hard_state.commit > last && (index == 0 || !unreadable.is_empty()) => {
            Some(Error::ShortLog { last, commit: hard_state.commit })
        }
        _ => None,
    }
}

/// The entries that follow the snapshot, once the log is made to fit it.
fn matching(
    snapshot: &SnapshotMeta,
    entries: Vec<Entry>,
    hard_state: &mut HardState,
    log: &mut DiskLog,
) -> Result<Vec<Entry>, Error> {
    let Position { term, index } = snapshot.position;
    let ends_before = entries.last().is_some_and(|entry| entry.index < index);
    let held = entries.len();
    let entries = following(snapshot, entries)?;
    let last = entries.last().map_or(index, |entry| entry.index);
    hard_state.commit = hard_state.commit.max(index);
    if hard_state.term < term {
        // A crash came between the first snapshot of a replica that joins and its log; it never voted.
        *hard_state = HardState { term, commit: hard_state.commit, ..HardState::default() };
    }
    if hard_state.commit > last {
        return Err(Error::ShortLog { last, commit: hard_state.commit });
    }
    if ends_before || (held > 0 && entries.is_empty()) {
        // What is left in the log can't be continued: the next entry would leave a hole behind it.
        restart_log(log, snapshot, hard_state)?;
    }
    Ok(entries)
}

fn restart_log(log: &mut DiskLog, snapshot: &SnapshotMeta, hard_state: &HardState) -> Result<(), Error> {
    let (snapshot, hard_state) = (Some(snapshot.clone()), hard_state.clone());
    Ok(log.write(&[Batch { snapshot, hard_state, must_sync: true, ..Batch::default() }])?)
}

fn newest_table(layout: &Layout) -> Result<Newest, Error> {
    let files = snapshot::list(&layout.snapshots())?;
    let (found, mut problems, mut unreadable) = (files.len(), Vec::new(), Vec::new());
    for file in files {
        match snapshot::load(&file.path) {
            Ok(table) if table.meta().position == file.position => return Ok(Newest { table, unreadable }),
            Ok(_) => problems.push(format!("{}: its name and its header differ", file.path.display())),
            Err(error) => {
                tracing::error!(path = %file.path.display(), %error, "a snapshot can't be read, trying the one before");
                problems.push(format!("{}: {error}", file.path.display()));
            }
        }
        unreadable.push(file);
    }
    Err(Error::NoSnapshot { found, problems: problems.join("; ") })
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
