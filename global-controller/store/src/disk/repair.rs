//! Beginning a repair: what was lost is written down before the damaged files are moved out of the way.
//!
//! The note outlives restarts until the replica has made up for what it lost; only then it votes again.

use std::fs::{self, File};
use std::io;

use serde::{Deserialize, Serialize};
use store_node::{HardState, Position};

use super::snapshot::SnapshotFile;
use super::{Layout, files};

const FORMAT: u32 = 1;

/// What was lost, and what of it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    format: u32,
    /// What was found.
    pub(crate) problem: String,
    term: u64,
    vote: u64,
    last_term: u64,
    last_index: u64,
}

impl Note {
    pub(crate) fn new(problem: String, hard_state: &HardState, last: Position) -> Self {
        let HardState { term, vote, .. } = *hard_state;
        Self { format: FORMAT, problem, term, vote, last_term: last.term, last_index: last.index }
    }

    /// Term and vote; nothing is known to be committed.
    pub(crate) fn ballot(&self) -> HardState {
        HardState { term: self.term, vote: self.vote, ..HardState::default() }
    }

    /// Where the lost log ended, or after.
    pub(crate) fn last(&self) -> Position {
        Position { term: self.last_term, index: self.last_index }
    }

    /// A second loss before the first was made up for.
    pub(crate) fn and(self, earlier: Option<Self>) -> Self {
        let Some(earlier) = earlier else { return self };
        let (last_term, last_index) = (self.last_term.max(earlier.last_term), self.last_index.max(earlier.last_index));
        Self { last_term, last_index, ..self }
    }

    /// The repair that has begun and not ended.
    pub(crate) fn read(layout: &Layout) -> io::Result<Option<Self>> {
        let bytes = match fs::read(layout.repair()) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let note: Self = serde_json::from_slice(&bytes)?;
        if note.format == FORMAT { Ok(Some(note)) } else { Err(io::Error::other("a repair note of an unknown format")) }
    }

    /// Writes the note durably.
    pub(crate) fn save(&self, layout: &Layout) -> io::Result<()> {
        files::replace(&layout.repair(), &serde_json::to_vec_pretty(self)?)
    }
}

/// Moves the damaged log away, where it can be looked at until the next time; an empty one takes its place.
pub(crate) fn set_log_aside(layout: &Layout) -> io::Result<()> {
    let aside = layout.root().join("log-damaged");
    match fs::remove_dir_all(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    files::publish(&layout.log(), &aside)?;
    files::make_folder(&layout.log())
}

/// Renames snapshots that can't be read, so that they don't count among those that are kept.
pub(crate) fn set_snapshots_aside(layout: &Layout) -> io::Result<()> {
    set_aside(&super::snapshot::list(&layout.snapshots())?)
}

/// The same with these: a leader would offer the newest to others again and again.
pub(crate) fn set_aside(files: &[SnapshotFile]) -> io::Result<()> {
    for file in files {
        files::publish(&file.path, &file.path.with_extension("unreadable"))?;
    }
    Ok(())
}

/// Ends a repair durably.
pub(crate) fn finish(layout: &Layout) -> io::Result<()> {
    match fs::remove_file(layout.repair()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => File::open(layout.root())?.sync_all(),
    }
}
