//! Appending records: one write and one flush for all batches that come together.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use store_node::{Batch, DurableLog, Entry, HardState, Position};

use super::Error;
use super::record::{self, Header};
use super::recovery::{Scan, Seen};
use super::segments::{self, Preparer, Segment, failed};
use crate::disk::log::Recovered;
use crate::disk::space::LogSpace;

/// A batch with more bytes of entries becomes several records; an entry alone may be longer.
const PART_BYTES: usize = 1024 * 1024;
/// What is collected before it is written; bounds the buffer together with [`PART_BYTES`].
const BUFFER_BYTES: usize = 1024 * 1024;

/// A file that is full.
struct Full {
    number: u64,
    path: PathBuf,
    highest: u64,
}

/// The one writer of the log.
pub(crate) struct Wal {
    space: Arc<LogSpace>,
    preparer: Preparer,
    segment_bytes: u64,
    log: u64,
    full: VecDeque<Full>,
    current: Segment,
    next: Option<Segment>,
    /// Where the next record goes, behind what is in the buffer.
    offset: u64,
    /// Highest index in the current file.
    highest: u64,
    buffer: Vec<u8>,
    /// Whether anything was written since the last flush.
    dirty: bool,
    /// The last record made.
    written: u64,
    /// The last record flushed.
    flushed: u64,
    /// The last record that something waited for.
    promised: u64,
    /// Up to where a record on disk says that everything was flushed.
    witnessed: u64,
    hard_state: HardState,
    last: Position,
    first_kept: u64,
    void_below: u64,
    _lock: File,
}

impl Wal {
    /// Opens the log and reads all of it once, so that damage shows now and not when a peer needs it.
    pub(crate) fn open(folder: &Path, segment_bytes: u64, space: Arc<LogSpace>) -> Result<(Self, Recovered), Error> {
        let lock = segments::lock(folder)?;
        let mut scan = Scan::read(folder)?;
        let preparer = Preparer::start(folder, segment_bytes, Arc::clone(&space))?;
        let mut files = std::mem::take(&mut scan.files);
        let mut later = files.split_off((scan.last_file + 1).min(files.len())).into_iter();
        let (current, offset, highest) = if let Some(last) = files.pop() {
            (cut(&last)?, last.end as u64, last.highest)
        } else {
            preparer.prepare(1);
            (preparer.wait(&space)?, 0, 0)
        };
        let next = later.next().map(|file| cut(&file)).transpose()?;
        if next.is_none() {
            preparer.prepare(current.number + 1);
        }
        let full = files.into_iter().map(|Seen { number, path, highest, .. }| Full { number, path, highest });
        // A process may have ended between its write and its flush: only now it is certain.
        current.file.sync_data().map_err(failed(&current.path))?;
        let (log, hard_state, last) = (scan.log(), scan.hard_state(), scan.last());
        let (written, witnessed) = scan.newest.map_or((0, 0), |newest| (newest.sequence, newest.flushed));
        let wal = Self {
            space,
            preparer,
            segment_bytes,
            log,
            full: full.collect(),
            current,
            next,
            offset,
            highest,
            buffer: Vec::new(),
            dirty: false,
            written,
            flushed: written,
            promised: written,
            witnessed,
            hard_state: hard_state.clone().unwrap_or_default(),
            last,
            first_kept: scan.first_kept,
            void_below: scan.void_below,
            _lock: lock,
        };
        Ok((wal, Recovered { hard_state, entries: scan.entries }))
    }

    /// Bears witness that everything was flushed, when no record on disk says so yet: damage to the last flushed
    /// records shows from then on.
    pub(crate) fn witness(&mut self) -> Result<(), Error> {
        let bytes = record::record_bytes(0) as u64;
        if self.witnessed >= self.promised || self.offset + bytes > self.current.bytes {
            return Ok(());
        }
        let header = self.header(self.hard_state.clone());
        self.put(header, &[], 0)?;
        self.write_out()?;
        self.sync()
    }

    fn add(&mut self, batch: &Batch) -> Result<(), Error> {
        if let Some(meta) = &batch.snapshot {
            self.last = meta.position;
        }
        let (mut reset, mut rest) = (batch.snapshot.is_some(), batch.entries.as_slice());
        loop {
            let (count, bytes) = fitting(rest, PART_BYTES.min(self.current_quarter()));
            let (part, later) = rest.split_at(count);
            let mut hard_state = batch.hard_state.clone();
            if !later.is_empty() {
                // What it commits may lie in a later part, which a power cut may tear off.
                hard_state.commit = self.hard_state.commit;
            }
            if let Some(last) = part.last() {
                self.last = Position { term: last.term, index: last.index };
            }
            let first_kept = batch.first_kept.unwrap_or(0);
            let header = Header { first_kept, reset, ..self.header(hard_state) };
            self.put(header, part, bytes)?;
            self.first_kept = self.first_kept.max(first_kept);
            self.highest = self.highest.max(part.last().map_or(0, |last| last.index));
            if reset {
                self.void_below = self.current.number;
                self.first_kept = first_kept;
            }
            (reset, rest) = (false, later);
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    /// Parts stay small beside a file, so that little of it is left over.
    fn current_quarter(&self) -> usize {
        usize::try_from(self.segment_bytes / 4).unwrap_or(PART_BYTES)
    }

    fn header(&self, hard_state: HardState) -> Header {
        Header { log: self.log, flushed: self.flushed, hard_state, last: self.last, ..Header::default() }
    }

    /// Puts a record into the buffer, in the next file if it doesn't fit into this one.
    fn put(&mut self, mut header: Header, entries: &[Entry], entry_bytes: usize) -> Result<(), Error> {
        let bytes = record::record_bytes(entry_bytes);
        if bytes as u64 > self.segment_bytes {
            return Err(Error::TooLong { bytes });
        }
        while self.offset + bytes as u64 > self.current.bytes {
            self.roll()?;
        }
        self.written += 1;
        (header.segment, header.sequence, header.flushed) = (self.current.number, self.written, self.flushed);
        record::push(&mut self.buffer, &header, entries);
        self.offset += bytes as u64;
        self.hard_state = header.hard_state;
        if self.buffer.len() >= BUFFER_BYTES { self.write_out() } else { Ok(()) }
    }

    fn write_out(&mut self) -> Result<(), Error> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let start = self.offset - self.buffer.len() as u64;
        self.current.file.write_all_at(&self.buffer, start).map_err(failed(&self.current.path))?;
        self.buffer.clear();
        self.buffer.shrink_to(2 * BUFFER_BYTES);
        self.witnessed = self.flushed;
        self.dirty = true;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        if self.dirty {
            self.current.file.sync_data().map_err(failed(&self.current.path))?;
            self.dirty = false;
        }
        self.flushed = self.written;
        Ok(())
    }

    /// Goes on in the next file. The full one is flushed first, so that a torn write never spans two.
    fn roll(&mut self) -> Result<(), Error> {
        self.write_out()?;
        self.sync()?;
        let next = match self.next.take() {
            Some(next) => next,
            None => self.preparer.wait(&self.space)?,
        };
        self.preparer.prepare(next.number + 1);
        let Segment { number, path, .. } = std::mem::replace(&mut self.current, next);
        self.full.push_back(Full { number, path, highest: std::mem::take(&mut self.highest) });
        self.offset = 0;
        Ok(())
    }

    /// Gives back the oldest files as far as nothing in them is needed; what makes them so is on disk.
    fn free(&mut self) {
        while let Some(oldest) =
            self.full.pop_front_if(|file| file.number < self.void_below || file.highest < self.first_kept)
        {
            self.preparer.free(oldest.path);
        }
    }

    fn update_room(&mut self) {
        self.next = self.next.take().or_else(|| self.preparer.poll());
        let next = self.next.as_ref().map_or(0, |next| next.bytes);
        self.space.set_room(self.current.bytes - self.offset + next);
    }
}

impl DurableLog for Wal {
    type Error = Error;

    fn write(&mut self, batches: &[Batch]) -> Result<(), Error> {
        for batch in batches {
            self.add(batch)?;
        }
        self.write_out()?;
        if batches.iter().any(|batch| batch.must_sync) {
            self.sync()?;
            self.promised = self.written;
            self.free();
        }
        self.update_room();
        Ok(())
    }
}

/// Opens a file to go on behind what was taken from it; what a torn write left there is zeroed.
fn cut(file: &Seen) -> Result<Segment, Error> {
    let segment = segments::reopen(file.number, &file.path)?;
    if file.traces {
        tracing::warn!(path = %file.path.display(), offset = file.end, "cut off a torn write, which wasn't acknowledged");
        let zeroed = segments::zero(&segment.file, file.end as u64, segment.bytes, &AtomicBool::new(false));
        zeroed.map_err(failed(&file.path))?;
    }
    Ok(segment)
}

/// How many entries go into one record of up to `bound` bytes, and their bytes.
fn fitting(entries: &[Entry], bound: usize) -> (usize, usize) {
    let mut bytes = 0;
    for (count, entry) in entries.iter().enumerate() {
        let more = record::entry_bytes(entry);
        if count > 0 && bytes + more > bound {
            return (count, bytes);
        }
        bytes += more;
    }
    (entries.len(), bytes)
}
