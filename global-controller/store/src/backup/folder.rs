//! A backup from the folder of a replica that doesn't run.

use std::path::Path;

use store_node::{Position, Table, replay};

use super::{Error, Origin, Summary, file};
use crate::disk::Layout;
use crate::disk::identity::Identity;
use crate::disk::recover::{self, Start};
use crate::disk::repair::Note;
use crate::disk::scratch::Scratch;

/// Which entries of the log count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Entries {
    /// Those that this replica knows to be committed. The last acknowledged writes may not be among them: a replica
    /// learns that an entry is committed after it was acknowledged.
    #[default]
    Committed,
    /// All. For when no majority can run: of the folders of a majority, the one whose last entry has the highest term,
    /// and among those the highest index, holds every acknowledged write, and perhaps some that were never answered.
    /// That is Raft's rule for who may lead; the term that a replica has promised says nothing about its log. Of fewer
    /// folders it is still the one that lost the least.
    All,
}

/// Takes a backup from `folder`, in which nothing is changed; the log is copied to `place` meanwhile. `now_seconds` is
/// noted in the backup.
pub fn from_folder(
    folder: &Path,
    entries: Entries,
    to: &Path,
    place: &Path,
    now_seconds: u64,
) -> Result<Summary, Error> {
    let (identity, table) = state_of(folder, entries, place)?;
    let origin = Origin { cluster: identity.cluster, replica: identity.id, taken_seconds: now_seconds };
    file::save(to, &table, &origin)
}

/// The state in a stopped replica's folder: the newest valid snapshot, and the log applied to it. A folder that is
/// known to lack something is refused.
pub(crate) fn state_of(folder: &Path, entries: Entries, place: &Path) -> Result<(Identity, Table), Error> {
    let (path, layout) = (|| folder.to_owned(), Layout::at(folder));
    let identity = Identity::peek(&layout).map_err(|source| Error::Identity { path: path(), source })?;
    if identity.formation.is_none() {
        return Err(Error::Unformed { path: path() });
    }
    let note = Note::read(&layout).map_err(|source| Error::Io { path: layout.repair(), source })?;
    if let Some(note) = note {
        let Position { term, index } = note.last();
        return Err(Error::InRepair { path: path(), problem: note.problem, term, index });
    }
    let scratch = Scratch::of(folder, place).map_err(|source| Error::Io { path: path(), source })?;
    let start = recover::recover(scratch.layout(), &recover::Options::of_copy())
        .map_err(|source| Error::Recover { path: path(), source })?;
    let table = replayed(start, entries)?;
    if table.meta().position.index == 0 {
        return Err(Error::NoState { path: path() });
    }
    Ok((identity, table))
}

/// The state after the log.
pub(crate) fn replayed(start: Start, which: Entries) -> Result<Table, Error> {
    let Start { hard_state, entries, mut table, .. } = start;
    let last = match which {
        Entries::Committed => hard_state.commit,
        Entries::All => u64::MAX,
    };
    for entry in entries.into_iter().take_while(|entry| entry.index <= last) {
        replay(&mut table, entry)?;
    }
    Ok(table)
}
