#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

struct Folder {
    layout: Layout,
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
    fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let layout = Layout::new(temporary.path()).unwrap();
        found(&layout, Membership::of_voters(vec![1])).unwrap();
        Self { layout, _temporary: temporary }
    }

    fn write(&self, batches: &[Batch]) {
        LogEngine::open(&self.layout.log()).unwrap().0.write(batches).unwrap();
    }

    fn snapshot(&self, term: u64, index: u64) -> SnapshotMeta {
        let position = Position { term, index };
        let meta = SnapshotMeta { position, membership: Membership::of_voters(vec![1]) };
        snapshot::save(&self.layout.snapshots(), &Table::with_header(meta.clone(), 5, 1)).unwrap();
        meta
    }

    /// Index of the snapshot, and those of the entries.
    fn recover(&self) -> Result<(u64, Vec<u64>), Error> {
        let start = recover(&self.layout)?;
        Ok((start.snapshot.position.index, start.entries.iter().map(|entry| entry.index).collect()))
    }
}

#[test]
fn a_new_store_recovers_empty() {
    assert_eq!(Folder::new().recover().unwrap(), (1, vec![]));
}

#[test]
fn entries_after_the_snapshot_are_kept_and_those_before_are_not() {
    let folder = Folder::new();
    folder.write(&[batch(entries(1, 2..=10), hard_state(1, 9))]);
    folder.snapshot(1, 7);
    assert_eq!(folder.recover().unwrap(), (7, vec![8, 9, 10]));
}

#[test]
fn a_crash_between_a_received_snapshot_and_its_log_leaves_a_log_that_can_be_continued() {
    for old in [entries(1, 2..=10), entries(1, 2..=60)] {
        let folder = Folder::new();
        folder.write(&[batch(old, hard_state(1, 5))]);
        folder.snapshot(3, 50);
        assert_eq!(folder.recover().unwrap(), (50, vec![]), "entries of another history must go");
        folder.write(&[batch(entries(3, 51..=52), hard_state(3, 51))]);
        assert_eq!(folder.recover().unwrap(), (50, vec![51, 52]));
    }
}

#[test]
fn a_damaged_newest_snapshot_is_made_up_for_by_the_one_before_and_the_log() {
    let folder = Folder::new();
    folder.write(&[batch(entries(1, 2..=10), hard_state(1, 9))]);
    folder.snapshot(1, 4);
    let newest = snapshot::path_of(&folder.layout.snapshots(), folder.snapshot(1, 8).position);
    let mut bytes = std::fs::read(&newest).unwrap();
    bytes[30] ^= 1;
    std::fs::write(&newest, bytes).unwrap();
    assert_eq!(folder.recover().unwrap(), (4, vec![5, 6, 7, 8, 9, 10]));
}

#[test]
fn missing_entries_are_named_and_the_replica_does_not_start() {
    let folder = Folder::new();
    folder.write(&[batch(entries(1, 2..=10), hard_state(1, 9))]);
    folder.write(&[Batch { first_kept: Some(5), ..batch(vec![], hard_state(1, 9)) }]);
    assert!(matches!(folder.recover(), Err(Error::Gap { first_missing: 2, last_missing: 4 })));

    let folder = Folder::new();
    folder.write(&[batch(entries(1, 2..=10), hard_state(1, 12))]);
    assert!(matches!(folder.recover(), Err(Error::ShortLog { last: 10, commit: 12 })));

    let folder = Folder::new();
    std::fs::remove_dir_all(folder.layout.log()).unwrap();
    std::fs::create_dir(folder.layout.log()).unwrap();
    assert!(matches!(folder.recover(), Err(Error::NoHardState)));
}

#[test]
fn a_leaders_snapshot_replaces_the_whole_log() {
    let folder = Folder::new();
    folder.write(&[batch(entries(1, 2..=60), hard_state(1, 5))]);
    let meta = folder.snapshot(3, 50);
    folder.write(&[
        Batch { snapshot: Some(meta), ..batch(vec![], hard_state(3, 50)) },
        batch(entries(3, 51..=53), hard_state(3, 50)),
    ]);
    assert_eq!(folder.recover().unwrap(), (50, vec![51, 52, 53]));
}

#[test]
fn a_replica_that_joins_starts_from_nothing_until_its_first_snapshot_and_a_lost_log_is_found() {
    let temporary = tempfile::tempdir().unwrap();
    let layout = Layout::new(temporary.path()).unwrap();
    join(&layout).unwrap();
    let start = recover(&layout).unwrap();
    assert_eq!((start.snapshot, start.entries.len()), (SnapshotMeta::default(), 0));
    drop(start.log);
    let folder = Folder { layout, _temporary: temporary };
    folder.snapshot(3, 50);
    let start = recover(&folder.layout).unwrap();
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
