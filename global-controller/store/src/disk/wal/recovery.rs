//! Reading the whole log at the start, and telling a torn tail from damage.

use std::fs;
use std::path::{Path, PathBuf};

use store_node::{Entry, HardState, Position};

use super::record::{self, Found, Header};
use super::segments::{self, failed};
use super::{Damage, Error};

/// One file as it was found.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    /// Highest index of an entry in it; 0 without any.
    pub(super) highest: u64,
    /// Where what was taken from it ends.
    pub(super) end: usize,
    /// Whether records of this file begin behind the end: what is left of a torn write, which must not come to life.
    pub(super) traces: bool,
    /// Whether something seems to begin right at the end.
    begins: bool,
    /// Where the first record behind the end is that can be read.
    readable: Option<usize>,
}

/// What the files hold.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) files: Vec<Seen>,
    /// Place among the files where the log ends.
    pub(super) last_file: usize,
    /// The newest record taken.
    pub(super) newest: Option<Header>,
    pub(super) entries: Vec<Entry>,
    pub(super) first_kept: u64,
    /// Files below this number are void: a leader's snapshot came after them.
    pub(super) void_below: u64,
    log: Option<u64>,
    later: Later,
}

/// Records that can be read behind the one that can't.
#[derive(Debug, Default)]
struct Later {
    flushed: u64,
    lowest: Option<u64>,
    newest: Option<Header>,
}

impl Scan {
    pub(super) fn read(folder: &Path) -> Result<Self, Error> {
        let mut scan = Self::default();
        for (number, path) in segments::list(folder)? {
            let bytes = fs::read(&path).map_err(failed(&path))?;
            scan.read_file(number, path, &bytes)?;
        }
        match scan.damage() {
            Some(damage) => Err(Error::Damaged(Box::new(damage))),
            None => Ok(scan),
        }
    }

    fn read_file(&mut self, number: u64, path: PathBuf, bytes: &[u8]) -> Result<(), Error> {
        let mut file = Seen { number, path, highest: 0, end: 0, traces: false, begins: false, readable: None };
        while let Some(rest) = bytes.get(file.end..)
            && let Some(found) = Found::at(rest).filter(|found| self.follows(&found.header, number))
        {
            file.end += found.bytes();
            let entries = found.entries(rest)?;
            file.highest = file.highest.max(entries.last().map_or(0, |entry| entry.index));
            self.take(found.header, entries);
        }
        let rest = bytes.get(file.end..).unwrap_or_default();
        file.begins = record::begins_one(rest, number);
        for place in record::candidates(bytes, file.end) {
            let bytes = bytes.get(place..).unwrap_or_default();
            file.traces |= record::begins_one(bytes, number);
            if let Some(found) = Found::at(bytes) {
                let readable = self.take_later(found.header, number).then_some(place);
                file.readable = file.readable.or(readable);
            }
        }
        if file.end > 0 {
            self.last_file = self.files.len();
        }
        self.files.push(file);
        Ok(())
    }

    fn follows(&self, header: &Header, segment: u64) -> bool {
        let first = self.files.is_empty() && self.newest.is_none();
        let expected = self.newest.as_ref().map(|newest| newest.sequence + 1);
        header.segment == segment
            && self.log.is_none_or(|log| log == header.log)
            && (first || expected == Some(header.sequence))
    }

    fn take(&mut self, header: Header, mut entries: Vec<Entry>) {
        self.log = Some(header.log);
        if header.reset {
            self.entries.clear();
            self.void_below = header.segment;
            // What begins here may lie below what an earlier log had given up.
            self.first_kept = 0;
        }
        if header.first_kept > self.first_kept {
            self.first_kept = header.first_kept;
            self.entries.retain(|entry| entry.index >= header.first_kept);
        }
        if let Some(first) = entries.first() {
            while self.entries.pop_if(|held| held.index >= first.index).is_some() {}
        }
        self.entries.append(&mut entries);
        self.newest = Some(header);
    }

    /// Whether it is of this file and log, and not from before what was taken.
    fn take_later(&mut self, header: Header, segment: u64) -> bool {
        let taken = self.newest.as_ref().map_or(0, |newest| newest.sequence);
        let of_log = header.segment == segment && *self.log.get_or_insert(header.log) == header.log;
        if !of_log || header.sequence <= taken {
            return false;
        }
        let later = &mut self.later;
        later.flushed = later.flushed.max(header.flushed);
        later.lowest = Some(later.lowest.map_or(header.sequence, |lowest| lowest.min(header.sequence)));
        if later.newest.as_ref().is_none_or(|newest| newest.sequence < header.sequence) {
            later.newest = Some(header);
        }
        true
    }

    /// Damage is a record that can't be read, and of which a later one says that it was flushed.
    fn damage(&self) -> Option<Damage> {
        let newest = self.later.newest.clone()?;
        let before_lowest = self.later.lowest.map_or(0, |lowest| lowest.saturating_sub(1));
        let missing = self.newest.as_ref().map_or(before_lowest, |newest| newest.sequence + 1);
        if self.later.flushed < missing {
            return None;
        }
        let file = self.files.get(self.last_file)?;
        let next = self.files.get(self.last_file + 1);
        let in_next = next.filter(|next| !file.begins && file.readable.is_none() && next.readable != Some(0));
        let (path, offset) = in_next.map_or((&file.path, file.end), |next| (&next.path, 0));
        Some(Damage {
            path: path.clone(),
            offset: offset as u64,
            missing,
            flushed: self.later.flushed,
            hard_state: newest.hard_state,
            last: newest.last,
        })
    }

    /// Number of the log; a new one when nothing was written yet.
    pub(super) fn log(&self) -> u64 {
        self.log.unwrap_or_else(crate::unique::number)
    }

    pub(super) fn hard_state(&self) -> Option<HardState> {
        self.newest.as_ref().map(|newest| newest.hard_state.clone())
    }

    pub(super) fn last(&self) -> Position {
        self.newest.as_ref().map_or_else(Position::default, |newest| newest.last)
    }
}
