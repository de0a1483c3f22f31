#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use store_node::{Batch, DurableLog, Entry, HardState, Membership, Position, SnapshotMeta};
use tokio_util::sync::CancellationToken;

use super::record::Found;
use super::{Damage, Error, Wal, segments};
use crate::disk::log::Recovered;
use crate::disk::space::LogSpace;

const SEGMENT: u64 = 64 * 1024;

struct Log {
    folder: tempfile::TempDir,
    space: Arc<LogSpace>,
    closed: CancellationToken,
}

fn hard_state(commit: u64) -> HardState {
    HardState { term: 3, vote: 2, commit, ..HardState::default() }
}

fn entries(term: u64, indexes: RangeInclusive<u64>, bytes: usize) -> Vec<Entry> {
    indexes.map(|index| Entry { term, index, data: vec![7; bytes].into(), ..Entry::default() }).collect()
}

fn batch(entries: Vec<Entry>, commit: u64) -> Batch {
    Batch { entries, hard_state: hard_state(commit), must_sync: true, ..Batch::default() }
}

fn spans(recovered: &Recovered) -> Vec<(u64, u64)> {
    recovered.entries.iter().map(|entry| (entry.term, entry.index)).collect()
}

fn at(term: u64, indexes: RangeInclusive<u64>) -> Vec<(u64, u64)> {
    indexes.map(|index| (term, index)).collect()
}

impl Log {
    fn new() -> Self {
        let closed = CancellationToken::new();
        Self { folder: tempfile::tempdir().unwrap(), space: LogSpace::new(SEGMENT / 4, closed.clone()), closed }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn open(&self) -> Result<(Wal, Recovered), Error> {
        Wal::open(self.path(), SEGMENT, Arc::clone(&self.space))
    }

    fn recovered(&self) -> Recovered {
        self.open().unwrap().1
    }

    fn damage(&self) -> Damage {
        match self.open().map(|_| ()) {
            Err(Error::Damaged(damage)) => *damage,
            other => panic!("not found damaged: {other:?}"),
        }
    }

    fn files(&self) -> Vec<u64> {
        segments::list(self.path()).unwrap().into_iter().map(|(number, _)| number).collect()
    }

    fn file(&self, number: u64) -> std::path::PathBuf {
        self.path().join(format!("{number:020}.wal"))
    }
}

/// Start and end of each record at the beginning of a file.
fn records(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut places = Vec::new();
    let mut start = 0;
    while let Some(found) = Found::at(&bytes[start..]) {
        places.push((start, start + found.bytes()));
        start += found.bytes();
    }
    places
}

#[test]
fn what_was_written_reads_back_over_many_files_and_starts() {
    let log = Log::new();
    for start in 0..5_u64 {
        let (mut wal, recovered) = log.open().unwrap();
        assert_eq!(spans(&recovered), at(3, 1..=start * 100));
        for n in 0..10 {
            let first = start * 100 + n * 10 + 1;
            wal.write(&[batch(entries(3, first..=first + 9, 300), first)]).unwrap();
        }
    }
    assert_eq!(log.recovered().hard_state, Some(hard_state(491)));
    assert!(log.files().len() > 2, "{:?}", log.files());
}

#[test]
fn entries_replace_what_lies_at_their_indexes_and_a_snapshot_replaces_all() {
    let log = Log::new();
    let (mut wal, _) = log.open().unwrap();
    wal.write(&[batch(entries(1, 1..=9, 20), 3), batch(entries(2, 5..=6, 20), 3)]).unwrap();
    drop(wal);
    assert_eq!(spans(&log.recovered()), [at(1, 1..=4), at(2, 5..=6)].concat());
    let (mut wal, _) = log.open().unwrap();
    let meta = SnapshotMeta { position: Position { term: 3, index: 50 }, membership: Membership::default() };
    wal.write(&[Batch { snapshot: Some(meta), ..batch(vec![], 50) }, batch(entries(3, 51..=52, 20), 50)]).unwrap();
    wal.write(&[Batch { first_kept: Some(52), ..batch(vec![], 52) }]).unwrap();
    drop(wal);
    assert_eq!(spans(&log.recovered()), at(3, 52..=52));
}

#[test]
fn a_batch_larger_than_a_file_is_split_and_an_entry_larger_than_a_file_is_refused() {
    let log = Log::new();
    let (mut wal, _) = log.open().unwrap();
    wal.write(&[batch(entries(3, 1..=40, 30_000), 40)]).unwrap();
    let refused = wal.write(&[batch(entries(3, 41..=41, 70_000), 40)]);
    assert!(matches!(refused, Err(Error::TooLong { .. })), "{refused:?}");
    drop(wal);
    let recovered = log.recovered();
    assert_eq!((spans(&recovered), recovered.hard_state), (at(3, 1..=40), Some(hard_state(40))));
}

/// Writes ten flushed batches and one that isn't; the bytes of the file and where its records are.
fn ten_and_one(log: &Log) -> (Vec<u8>, Vec<(usize, usize)>) {
    let (mut wal, _) = log.open().unwrap();
    for index in 1..=10 {
        wal.write(&[batch(entries(3, index..=index, 40), index - 1)]).unwrap();
    }
    wal.write(&[Batch { must_sync: false, ..batch(entries(3, 11..=11, 40), 10) }]).unwrap();
    drop(wal);
    let bytes = std::fs::read(log.file(1)).unwrap();
    let places = records(&bytes);
    assert_eq!(places.len(), 11);
    (bytes, places)
}

#[test]
fn a_last_write_torn_at_any_byte_loses_nothing_flushed_and_the_log_goes_on() {
    let log = Log::new();
    let (bytes, places) = ten_and_one(&log);
    let (start, end) = places[10];
    for cut in start..end {
        let mut torn = bytes.clone();
        torn[cut..].fill(0);
        std::fs::write(log.file(1), &torn).unwrap();
        let (mut wal, recovered) = log.open().unwrap();
        // The last bytes only fill up to a multiple of eight.
        let whole = torn[start..end] == bytes[start..end];
        assert_eq!(spans(&recovered), at(3, 1..=if whole { 11 } else { 10 }), "cut at {cut}");
        let next = recovered.entries.len() as u64 + 1;
        wal.write(&[batch(entries(3, next..=12, 40), 10)]).unwrap();
        drop(wal);
        assert_eq!(spans(&log.recovered()), at(3, 1..=12), "cut at {cut}");
    }
}

#[test]
fn any_flipped_byte_in_what_is_known_to_be_flushed_is_found_and_named() {
    let log = Log::new();
    let (bytes, places) = ten_and_one(&log);
    for (place, (start, end)) in places[..10].iter().enumerate() {
        let used = super::record::HEADER_BYTES + 25 + 40;
        assert!(start + used <= *end);
        for at in (*start..start + used).step_by(if place == 4 { 1 } else { 7 }) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            std::fs::write(log.file(1), &flipped).unwrap();
            let found = log.damage();
            let missing = place as u64 + 1;
            assert_eq!((found.path, found.offset, found.missing), (log.file(1), *start as u64, missing), "byte {at}");
            assert_eq!((found.flushed, found.hard_state), (10, hard_state(10)), "byte {at}");
            assert_eq!(found.last, Position { term: 3, index: 11 });
        }
    }
}

#[test]
fn damage_at_a_files_end_or_beginning_is_found_from_the_next_file() {
    let log = Log::new();
    let (mut wal, _) = log.open().unwrap();
    for index in 1..=100 {
        wal.write(&[batch(entries(3, index..=index, 1000), index - 1)]).unwrap();
    }
    drop(wal);
    let first = std::fs::read(log.file(1)).unwrap();
    let (last, _) = *records(&first).last().unwrap();
    let second = std::fs::read(log.file(2)).unwrap();
    for (number, bytes, place) in [(1, &first, last + 50), (1, &first, last), (1, &first, 0), (2, &second, 200)] {
        let mut flipped = bytes.clone();
        flipped[place] ^= 1;
        std::fs::write(log.file(number), &flipped).unwrap();
        let found = log.damage();
        let offset = if place >= last { last } else { 0 };
        assert_eq!((found.path, found.offset), (log.file(number), offset as u64), "byte {place} of file {number}");
        assert_eq!((found.flushed, found.last.index), (99, 100));
        std::fs::write(log.file(number), bytes).unwrap();
    }
}

#[test]
fn the_last_flushed_batch_is_only_protected_once_the_log_bore_witness() {
    for witness in [false, true] {
        let log = Log::new();
        let (mut wal, _) = log.open().unwrap();
        for index in 1..=3 {
            wal.write(&[batch(entries(3, index..=index, 40), index - 1)]).unwrap();
        }
        if witness {
            wal.witness().unwrap();
            wal.witness().unwrap();
        }
        drop(wal);
        let mut bytes = std::fs::read(log.file(1)).unwrap();
        let places = records(&bytes);
        assert_eq!(places.len(), if witness { 4 } else { 3 }, "one witness is enough");
        bytes[places[2].0 + 110] ^= 1;
        std::fs::write(log.file(1), &bytes).unwrap();
        if witness {
            assert_eq!(log.damage().missing, 3);
        } else {
            assert_eq!(spans(&log.recovered()), at(3, 1..=2), "nothing tells it from a torn write");
        }
    }
}

#[test]
fn what_a_torn_write_left_behind_does_not_come_to_life() {
    let log = Log::new();
    let (mut wal, _) = log.open().unwrap();
    wal.write(&[batch(entries(3, 1..=1, 40), 0)]).unwrap();
    // One write of two records, of which the first doesn't reach the disk whole.
    wal.write(&[batch(entries(3, 2..=2, 40), 0), batch(entries(3, 3..=3, 40), 0)]).unwrap();
    drop(wal);
    let mut bytes = std::fs::read(log.file(1)).unwrap();
    let (second, _) = records(&bytes)[1];
    bytes[second + 120] ^= 1;
    std::fs::write(log.file(1), &bytes).unwrap();
    let (mut wal, recovered) = log.open().unwrap();
    assert_eq!(spans(&recovered), at(3, 1..=1));
    wal.write(&[batch(entries(4, 2..=2, 40), 0)]).unwrap();
    drop(wal);
    assert_eq!(spans(&log.recovered()), vec![(3, 1), (4, 2)], "the old third record has the number that comes next");
}

#[test]
fn files_are_used_again_and_their_old_records_are_told_from_torn_and_damaged_ones() {
    let log = Log::new();
    let (mut wal, _) = log.open().unwrap();
    for index in 1..=1009 {
        let first_kept = (index % 50 == 0).then(|| index - 20);
        wal.write(&[Batch { first_kept, ..batch(entries(3, index..=index, 1000), index - 1) }]).unwrap();
    }
    drop(wal);
    let kept = std::fs::read_dir(log.path()).unwrap().count();
    assert!(kept <= 7, "{kept} files are left of 17");
    assert_eq!(spans(&log.recovered()), at(3, 980..=1009));
    // The file that is ready next holds old records only.
    let begins_own = |number: &u64| {
        let bytes = std::fs::read(log.file(*number)).unwrap();
        Found::at(&bytes).is_some_and(|found| found.header.segment == *number)
    };
    let last = log.files().into_iter().rfind(begins_own).unwrap();
    let bytes = std::fs::read(log.file(last)).unwrap();
    let places: Vec<_> = records(&bytes);
    let own = |start: usize| Found::at(&bytes[start..]).unwrap().header.segment == last;
    let newest = places.iter().rev().find(|(start, _)| own(*start)).unwrap();
    let mut torn = bytes.clone();
    torn[newest.0 + 200] ^= 1;
    std::fs::write(log.file(last), &torn).unwrap();
    assert_eq!(spans(&log.recovered()), at(3, 980..=1008), "old records behind a torn one are no witnesses");
}

#[test]
fn a_missing_file_and_a_second_process_are_refused_by_name() {
    let log = Log::new();
    let (mut wal, _) = log.open().unwrap();
    assert!(matches!(log.open(), Err(Error::InUse { .. })));
    for index in 1..=200 {
        wal.write(&[batch(entries(3, index..=index, 1000), index - 1)]).unwrap();
    }
    drop(wal);
    std::fs::remove_file(log.file(2)).unwrap();
    assert!(matches!(log.open(), Err(Error::MissingFile { number: 2, .. })));
}

#[test]
fn without_space_for_the_next_file_proposals_are_refused_and_a_full_log_waits_until_space_returns() {
    let log = Log::new();
    let (mut wal, _) = log.open().unwrap();
    wal.write(&[batch(entries(3, 1..=1, 40), 0)]).unwrap();
    // Stands in for a full disk: the third file can't be made.
    let obstacle = log.path().join(format!("{:020}.tmp", 3));
    std::fs::create_dir(&obstacle).unwrap();
    let mut index = 1;
    while log.space.refusal().is_none() {
        index += 1;
        wal.write(&[batch(entries(3, index..=index, 1000), index - 1)]).unwrap();
        assert!(index < 10_000, "never refused");
    }
    assert!(!log.space.exhausted(), "most of the second file is still there for term, vote and a leader's entries");
    while !log.space.exhausted() {
        index += 1;
        wal.write(&[batch(entries(3, index..=index, 1000), index - 1)]).unwrap();
    }
    let last = index;
    let writing = std::thread::spawn(move || {
        // More than is left: this waits.
        wal.write(&[batch(entries(3, last + 1..=last + 40, 1000), last)]).unwrap();
        wal
    });
    std::fs::remove_dir(&obstacle).unwrap();
    let wal = writing.join().unwrap();
    assert_eq!(log.space.refusal(), None);
    drop(wal);
    assert_eq!(spans(&log.recovered()), at(3, 1..=last + 40));
}

#[test]
fn closing_the_store_ends_the_wait_for_space() {
    let log = Log::new();
    let (mut wal, _) = log.open().unwrap();
    std::fs::create_dir(log.path().join(format!("{:020}.tmp", 3))).unwrap();
    log.closed.cancel();
    let refused = (1..1000).find_map(|index| wal.write(&[batch(entries(3, index..=index, 1000), 0)]).err());
    assert!(matches!(refused, Some(Error::Closed)), "{refused:?}");
}
