#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::disk::log::LogKind;

struct Folder {
    layout: Layout,
    options: Options,
    _temporary: tempfile::TempDir,
}

fn hard_state(term: u64, commit: u64) -> HardState {
    HardState { term, vote: 1, commit, ..HardState::default() }
}

fn entries(term: u64, indexes: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
    indexes.map(|index| Entry { term, index, data: vec![7; 20].into(), ..Entry::default() }).collect()
}

fn batch(entries: Vec<Entry>, hard_state: HardState) -> Batch {
    Batch { entries, hard_state, must_sync: true, ..Batch::default() }
}

impl Folder {
    fn new(kind: LogKind) -> Self {
        Self::of(kind, vec![1])
    }

    fn of(kind: LogKind, voters: Vec<u64>) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let layout = Layout::new(temporary.path()).unwrap();
        let log = LogOptions { kind, segment_bytes: LogOptions::LEAST_SEGMENT_BYTES };
        let options =
            Options { log, closed: CancellationToken::new(), membership: Membership::of_voters(voters), own: Some(1) };
        super::found(&layout, &options).unwrap();
        Self { layout, options, _temporary: temporary }
    }

    fn write(&self, batches: &[Batch]) {
        self.options.open(&self.layout).unwrap().0.write(batches).unwrap();
    }

    fn snapshot(&self, term: u64, index: u64) -> SnapshotMeta {
        let position = Position { term, index };
        let meta = SnapshotMeta { position, membership: self.options.membership.clone() };
        snapshot::save(&self.layout.snapshots(), &Table::with_header(meta.clone(), 5, 1)).unwrap();
        meta
    }

    /// Index of the snapshot, and those of the entries.
    fn recover(&self) -> Result<(u64, Vec<u64>), Error> {
        let start = recover(&self.layout, &self.options)?;
        Ok((start.snapshot.position.index, start.entries.iter().map(|entry| entry.index).collect()))
    }
}

#[test]
fn a_new_store_recovers_empty() {
    for kind in LogKind::ALL {
        assert_eq!(Folder::new(kind).recover().unwrap(), (1, vec![]));
    }
}

#[test]
fn entries_after_the_snapshot_are_kept_and_those_before_are_not() {
    for kind in LogKind::ALL {
        let folder = Folder::new(kind);
        folder.write(&[batch(entries(1, 2..=10), hard_state(1, 9))]);
        folder.snapshot(1, 7);
        assert_eq!(folder.recover().unwrap(), (7, vec![8, 9, 10]));
    }
}

#[test]
fn a_crash_between_a_received_snapshot_and_its_log_leaves_a_log_that_can_be_continued() {
    for kind in LogKind::ALL {
        for old in [entries(1, 2..=10), entries(1, 2..=60)] {
            let folder = Folder::new(kind);
            folder.write(&[batch(old, hard_state(1, 5))]);
            folder.snapshot(3, 50);
            assert_eq!(folder.recover().unwrap(), (50, vec![]), "entries of another history must go");
            folder.write(&[batch(entries(3, 51..=52), hard_state(3, 51))]);
            assert_eq!(folder.recover().unwrap(), (50, vec![51, 52]));
        }
    }
}

#[test]
fn a_damaged_newest_snapshot_is_made_up_for_by_the_one_before_and_the_log() {
    for kind in LogKind::ALL {
        let folder = Folder::new(kind);
        folder.write(&[batch(entries(1, 2..=10), hard_state(1, 9))]);
        folder.snapshot(1, 4);
        let newest = snapshot::path_of(&folder.layout.snapshots(), folder.snapshot(1, 8).position);
        let mut bytes = std::fs::read(&newest).unwrap();
        bytes[30] ^= 1;
        std::fs::write(&newest, bytes).unwrap();
        assert_eq!(folder.recover().unwrap(), (4, vec![5, 6, 7, 8, 9, 10]));
    }
}

#[test]
fn missing_entries_are_named_and_the_replica_does_not_start() {
    for kind in LogKind::ALL {
        let folder = Folder::new(kind);
        folder.write(&[batch(entries(1, 2..=10), hard_state(1, 9))]);
        folder.write(&[Batch { first_kept: Some(5), ..batch(vec![], hard_state(1, 9)) }]);
        assert!(matches!(folder.recover(), Err(Error::Gap { first_missing: 2, last_missing: 4 })));

        let folder = Folder::new(kind);
        folder.write(&[batch(entries(1, 2..=10), hard_state(1, 12))]);
        assert!(matches!(folder.recover(), Err(Error::ShortLog { last: 10, commit: 12 })));

        let folder = Folder::new(kind);
        std::fs::remove_dir_all(folder.layout.log()).unwrap();
        std::fs::create_dir(folder.layout.log()).unwrap();
        assert!(matches!(folder.recover(), Err(Error::NoHardState)));
    }
}

#[test]
fn a_leaders_snapshot_replaces_the_whole_log() {
    for kind in LogKind::ALL {
        let folder = Folder::new(kind);
        folder.write(&[batch(entries(1, 2..=60), hard_state(1, 5))]);
        let meta = folder.snapshot(3, 50);
        folder.write(&[
            Batch { snapshot: Some(meta), ..batch(vec![], hard_state(3, 50)) },
            batch(entries(3, 51..=53), hard_state(3, 50)),
        ]);
        assert_eq!(folder.recover().unwrap(), (50, vec![51, 52, 53]));
    }
}

#[test]
fn a_log_is_opened_by_the_engine_that_made_it_and_a_mixture_is_refused() {
    for kind in LogKind::ALL {
        let mut folder = Folder::new(kind);
        folder.write(&[batch(entries(1, 2..=3), hard_state(1, 2))]);
        folder.options.log.kind = LogKind::ALL.into_iter().find(|other| *other != kind).unwrap();
        assert_eq!(folder.recover().unwrap(), (1, vec![2, 3]), "{kind:?}");
        for name in ["00000000000000000009.wal", "0000000000000009.raftlog"] {
            std::fs::write(folder.layout.log().join(name), b"").unwrap();
        }
        assert!(matches!(folder.recover(), Err(Error::Log(log::Error::TwoKinds { .. }))));
    }
}

/// Flips a byte in the entry at an index of our own log.
fn flip(folder: &Folder, index: u64) {
    for file in std::fs::read_dir(folder.layout.log()).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(place) = bytes.windows(8).position(|window| window == index.to_le_bytes()) {
            bytes[place] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            return;
        }
    }
    panic!("no entry at {index}");
}

#[test]
fn a_damaged_log_is_replaced_to_be_repaired_and_the_note_outlives_restarts() {
    let folder = Folder::of(LogKind::Wal, vec![1, 2, 3]);
    folder.write(&[batch(entries(1, 2..=8_001), hard_state(1, 900))]);
    folder.write(&[batch(entries(4, 8_002..=8_005), HardState { vote: 3, ..hard_state(5, 8_003) })]);
    folder.write(&[batch(vec![], HardState { vote: 3, ..hard_state(5, 8_004) })]);
    folder.snapshot(1, 700);
    flip(&folder, 1_234);
    for _ in 0..3 {
        let start = recover(&folder.layout, &folder.options).unwrap();
        assert_eq!(start.repair, Some(Repair { last: Position { term: 4, index: 8_005 } }));
        let HardState { term, vote, commit, .. } = start.hard_state;
        assert_eq!((term, vote, commit, start.entries.len()), (5, 3, 700, 0), "term and vote are kept");
    }
    repair::finish(&folder.layout).unwrap();
    assert_eq!(recover(&folder.layout, &folder.options).unwrap().repair, None);
}

#[test]
fn a_replica_whose_snapshots_are_all_unreadable_begins_again_and_is_repaired() {
    for kind in LogKind::ALL {
        let folder = Folder::of(kind, vec![1, 2, 3]);
        folder.write(&[batch(entries(1, 2..=10), hard_state(1, 9))]);
        folder.snapshot(1, 7);
        folder.write(&[Batch { first_kept: Some(5), ..batch(vec![], hard_state(2, 9)) }]);
        for file in snapshot::list(&folder.layout.snapshots()).unwrap() {
            std::fs::write(file.path, b"nothing").unwrap();
        }
        for _ in 0..2 {
            let start = recover(&folder.layout, &folder.options).unwrap();
            assert_eq!(start.repair, Some(Repair { last: Position { term: 1, index: 10 } }));
            assert_eq!(
                (start.snapshot, start.hard_state.term, start.hard_state.commit),
                (SnapshotMeta::default(), 2, 0)
            );
        }
    }
}

#[test]
fn a_replica_without_peers_is_not_repaired() {
    let folder = Folder::new(LogKind::Wal);
    folder.write(&[batch(entries(1, 2..=2_000), hard_state(1, 900)), batch(vec![], hard_state(1, 901))]);
    folder.write(&[batch(vec![], hard_state(1, 902))]);
    flip(&folder, 1_234);
    let refused = folder.recover();
    assert!(matches!(refused, Err(Error::Log(log::Error::Wal(wal::Error::Damaged(_))))), "{refused:?}");
    assert!(!folder.layout.repair().exists());
}

#[test]
fn a_replica_that_joins_starts_from_nothing_until_its_first_snapshot_and_a_lost_log_is_found() {
    let temporary = tempfile::tempdir().unwrap();
    let layout = Layout::new(temporary.path()).unwrap();
    let options = Options::of_copy();
    join(&layout, &options).unwrap();
    let start = recover(&layout, &options).unwrap();
    assert_eq!((start.snapshot, start.entries.len()), (SnapshotMeta::default(), 0));
    drop(start.log);
    let folder = Folder { layout, options, _temporary: temporary };
    folder.snapshot(3, 50);
    let start = recover(&folder.layout, &folder.options).unwrap();
    assert_eq!((start.snapshot.position.index, start.hard_state.term, start.hard_state.vote), (50, 3, 0));
    drop(start);
    folder.write(&[batch(vec![], hard_state(3, 50))]);
    std::fs::remove_dir_all(folder.layout.snapshots()).unwrap();
    std::fs::create_dir(folder.layout.snapshots()).unwrap();
    assert!(matches!(folder.recover(), Err(Error::NoSnapshot { .. })));
    std::fs::remove_dir_all(folder.layout.log()).unwrap();
    std::fs::create_dir(folder.layout.log()).unwrap();
    assert!(matches!(folder.recover(), Err(Error::NoHardState)));
}

#[test]
fn a_store_is_begun_again_after_a_crash_but_never_over_a_log_that_was_used() {
    for kind in LogKind::ALL {
        let folder = Folder::new(kind);
        super::found(&folder.layout, &folder.options).unwrap();
        folder.write(&[batch(vec![], hard_state(2, 1))]);
        let refused = super::found(&folder.layout, &folder.options).unwrap_err();
        assert!(matches!(refused, Error::IdentityLost { term: 2, last: 1 }), "{refused}");
        assert!(matches!(super::join(&folder.layout, &folder.options), Err(Error::IdentityLost { .. })));

        let folder = Folder::new(kind);
        folder.write(&[batch(entries(1, 2..=3), hard_state(1, 1))]);
        let refused = super::found(&folder.layout, &folder.options).unwrap_err();
        assert!(matches!(refused, Error::IdentityLost { term: 1, last: 3 }), "{refused}");

        // An attempt to join that was cut off is no vote.
        let temporary = tempfile::tempdir().unwrap();
        let layout = Layout::new(temporary.path()).unwrap();
        super::join(&layout, &folder.options).unwrap();
        super::join(&layout, &folder.options).unwrap();
        super::found(&layout, &folder.options).unwrap();
    }
}

/// A replica of three whose log begins after a leader's snapshot at 50, with one of its own at 7 before that.
fn installed(kind: LogKind) -> Folder {
    let folder = Folder::of(kind, vec![1, 2, 3]);
    folder.write(&[batch(entries(1, 2..=10), hard_state(1, 9))]);
    folder.snapshot(1, 7);
    let meta = folder.snapshot(3, 50);
    folder.write(&[Batch { snapshot: Some(meta), ..batch(vec![], hard_state(3, 50)) }]);
    folder
}

#[test]
fn a_leaders_snapshot_that_is_unreadable_is_made_up_for_before_the_replica_votes() {
    for kind in LogKind::ALL {
        for acknowledged in [None, Some(entries(3, 51..=60))] {
            let folder = installed(kind);
            let last = acknowledged.as_ref().map_or(50, |_| 60);
            folder.write(&[batch(acknowledged.unwrap_or_default(), hard_state(3, 50))]);
            // A note of an earlier repair says nothing of what came after it.
            Note::new("earlier".to_owned(), &hard_state(1, 5), Position { term: 1, index: 5 })
                .save(&folder.layout)
                .unwrap();
            let newest = snapshot::list(&folder.layout.snapshots()).unwrap().remove(0);
            std::fs::write(&newest.path, b"nothing").unwrap();
            for _ in 0..2 {
                let start = recover(&folder.layout, &folder.options).unwrap();
                assert_eq!(start.repair, Some(Repair { last: Position { term: 3, index: last } }), "{kind:?}");
                assert_eq!((start.snapshot.position.index, start.entries.len(), start.hard_state.commit), (7, 0, 7));
                assert_eq!(start.hard_state.term, 3, "the term is kept");
            }
            // A leader would offer it to others.
            assert!(!newest.path.exists());
        }
    }
}
