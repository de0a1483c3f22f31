//! The handle's contract on one replica, with real files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::*;
use federated_store::{
    Change, Fence, IdentityError, LogKind, LogOptions, OpenError, SnapshotPolicy, StateEngine, Store, Tuning,
    TxnOutcome, WatchEvent, WriteError,
};

#[tokio::test]
async fn what_was_written_is_read_and_deleted_keys_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_single(folder.path()).await;
    assert_eq!(read(&store, "a").await, None);
    let revision = write(&store, "a", "1").await;
    let found = store.get("a").await.unwrap().unwrap();
    assert_eq!((found.value.as_ref(), found.revision), (&b"1"[..], revision));
    store.txn(None, vec![], vec![delete("a")]).await.unwrap();
    assert_eq!(read(&store, "a").await, None);
    store.close().await;
}

#[tokio::test]
async fn a_conflict_names_the_current_revisions_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_single(folder.path()).await;
    let revision = write(&store, "a", "1").await;
    let outcome = store.txn(None, vec![absent("a"), absent("b")], vec![put("b", "2")]).await.unwrap();
    let current = vec![("a".to_owned(), Some(revision)), ("b".to_owned(), None)];
    assert_eq!(outcome, TxnOutcome::Conflict { current });
    assert_eq!(read(&store, "b").await, None);
    let outcome = store.txn(None, vec![at("a", revision)], vec![put("a", "2")]).await.unwrap();
    assert_eq!(outcome, TxnOutcome::Committed { revision: revision + 1 });
    store.close().await;
}

#[tokio::test]
async fn only_the_fence_of_the_current_term_is_let_through() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_single(folder.path()).await;
    let fence = leading(&store).await.fence.unwrap();
    let stale = Some(Fence(fence.0 - 1));
    assert_eq!(store.txn(stale, vec![], vec![put("a", "1")]).await.unwrap(), TxnOutcome::Fenced);
    let outcome = store.txn(Some(fence), vec![], vec![put("a", "1")]).await.unwrap();
    assert!(matches!(outcome, TxnOutcome::Committed { .. }));
    store.abort().await;
    let store = open_single(folder.path()).await;
    assert!(leading(&store).await.fence.unwrap() > fence, "a restart must lead under a new fence");
    assert_eq!(store.txn(Some(fence), vec![], vec![put("a", "2")]).await.unwrap(), TxnOutcome::Fenced);
    assert_eq!(read(&store, "a").await.as_deref(), Some("1"));
    store.close().await;
}

#[tokio::test]
async fn a_transaction_outside_the_limits_is_invalid() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_single(folder.path()).await;
    let many = (0..101).map(|n| put(&format!("k{n}"), "v")).collect();
    let twice = vec![put("a", "1"), delete("a")];
    let large = vec![put("a", &"x".repeat(1024 * 1024))];
    for then in [many, twice, large] {
        let refused = store.txn(None, vec![], then).await;
        assert!(matches!(refused, Err(WriteError::Invalid { .. })), "{refused:?}");
    }
    store.close().await;
}

#[tokio::test]
async fn pages_are_bounded_and_say_whether_more_follows() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_single(folder.path()).await;
    let then = (0..5).map(|n| put(&format!("p/{n}"), "v")).collect();
    store.txn(None, vec![], then).await.unwrap();
    let page = store.range("p/", None, 3).await.unwrap();
    assert_eq!((page.items.len(), page.more), (3, true));
    let page = store.range("p/", Some("p/2"), 3).await.unwrap();
    let keys: Vec<_> = page.items.iter().map(|item| item.key.as_str()).collect();
    assert_eq!((keys, page.more), (vec!["p/3", "p/4"], false));
    store.close().await;
}

#[tokio::test]
async fn a_watch_yields_whole_revisions_in_order_from_where_it_was_asked() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_single(folder.path()).await;
    let first = write(&store, "w/a", "1").await;
    write(&store, "other", "1").await;
    let mut watch = store.watch("w/", first);
    let then = vec![put("w/a", "2"), put("w/b", "1"), put("other", "2")];
    store.txn(None, vec![], then).await.unwrap();
    store.txn(None, vec![], vec![delete("w/a")]).await.unwrap();
    let change =
        |key: &str, value: Option<&str>| Change { key: key.into(), value: value.map(|value| value.to_owned().into()) };
    let changes = vec![change("w/a", Some("2")), change("w/b", Some("1"))];
    assert_eq!(next_event(&mut watch).await, WatchEvent::Changes { revision: first + 2, changes });
    let changes = vec![change("w/a", None)];
    assert_eq!(next_event(&mut watch).await, WatchEvent::Changes { revision: first + 3, changes });
    store.close().await;
}

#[tokio::test]
async fn a_watch_from_before_the_kept_history_says_resync_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_single_with(folder.path(), Tuning { history_revisions: 10, ..Tuning::default() }).await;
    let mut last = 0;
    for n in 0..30 {
        last = write(&store, "a", &n.to_string()).await;
    }
    let mut watch = store.watch("", 1);
    assert_eq!(next_event(&mut watch).await, WatchEvent::Resync { revision: last });
    let next = write(&store, "a", "next").await;
    assert!(matches!(next_event(&mut watch).await, WatchEvent::Changes { revision, .. } if revision == next));
    store.close().await;
}

#[tokio::test]
async fn a_watch_ends_when_the_store_is_closed() {
    use futures::StreamExt;
    let folder = tempfile::tempdir().unwrap();
    let store = open_single(folder.path()).await;
    let watch = store.watch("", 0);
    store.close().await;
    let events = tokio::time::timeout(PATIENCE, watch.collect::<Vec<_>>()).await;
    assert!(events.is_ok(), "the watch didn't end");
}

#[tokio::test]
async fn acknowledged_writes_survive_a_crash_with_and_without_snapshots() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = SnapshotPolicy { entries: 40, bytes: u64::MAX };
    let tuning = Tuning { snapshots, ..Tuning::default() };
    for round in 0..5 {
        let store = open_single_with(folder.path(), tuning).await;
        for earlier in 0..round * 100 {
            assert_eq!(read(&store, &format!("key-{earlier}")).await.as_deref(), Some("v"), "round {round}");
        }
        for n in 0..100 {
            write(&store, &format!("key-{}", round * 100 + n), "v").await;
        }
        store.abort().await;
    }
    let names = std::fs::read_dir(folder.path().join("snapshots")).unwrap();
    let snapshots = names.filter(|name| name.as_ref().unwrap().path().extension().unwrap() == "snapshot").count();
    assert!((1..=3).contains(&snapshots), "{snapshots} snapshots");
}

#[tokio::test]
async fn a_folder_of_another_cluster_or_replica_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    open_single(folder.path()).await.close().await;
    let mut other = single(folder.path());
    other.cluster = "elsewhere".into();
    match Store::open(other).await.map(|_| ()) {
        Err(OpenError::Identity { source: IdentityError::Cluster { found, wanted }, .. }) => {
            assert_eq!((found.as_str(), wanted.as_str()), ("test", "elsewhere"));
        }
        other => panic!("{other:?}"),
    }
    let mut other = single(folder.path());
    other.id = "controller-9".into();
    other.replicas[0].id = "controller-9".into();
    let refused = Store::open(other).await.map(|_| ());
    assert!(matches!(refused, Err(OpenError::Identity { source: IdentityError::Replica { .. }, .. })), "{refused:?}");
}

#[tokio::test]
async fn a_replica_whose_log_is_gone_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_single(folder.path()).await;
    write(&store, "a", "1").await;
    store.close().await;
    std::fs::remove_dir_all(folder.path().join("log")).unwrap();
    let refused = Store::open(single(folder.path())).await.map(|_| ());
    assert!(matches!(refused, Err(OpenError::Recover { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_flipped_byte_before_the_last_batch_of_the_log_is_refused_and_a_torn_tail_is_not() {
    for kind in LogKind::ALL {
        let folder = tempfile::tempdir().unwrap();
        let tuning = Tuning { log: LogOptions { kind, ..LogOptions::default() }, ..Tuning::default() };
        let store = open_single_with(folder.path(), tuning).await;
        for n in 0..30 {
            write(&store, "a", &format!("value-{n:04}")).await;
        }
        store.abort().await;
        let (log, whole) = log_file(folder.path());
        let place = whole.windows(10).position(|window| window == b"value-0015").unwrap();
        // Entries are checked when they are read, batches when the engine recovers: damage to either must be found.
        for offset in [0, 40] {
            let mut damaged = whole.clone();
            damaged[place + offset] ^= 1;
            std::fs::write(&log, &damaged).unwrap();
            let refused = Store::open(single(folder.path())).await.map(|_| ());
            assert!(matches!(refused, Err(OpenError::Recover { .. })), "{kind:?}, offset {offset}: {refused:?}");
        }
        let last = whole.windows(10).rposition(|window| window == b"value-0029").unwrap();
        let mut torn = whole.clone();
        match kind {
            LogKind::Wal => torn[last + 5..].fill(0),
            LogKind::RaftEngine => torn.truncate(last + 5),
        }
        std::fs::write(&log, &torn).unwrap();
        let store = open_single(folder.path()).await;
        assert_eq!(read(&store, "a").await.as_deref(), Some("value-0028"), "{kind:?}");
        store.close().await;
    }
}

/// The log file that was written last, and its contents.
fn log_file(folder: &std::path::Path) -> (std::path::PathBuf, Vec<u8>) {
    let files = std::fs::read_dir(folder.join("log")).unwrap().map(|entry| entry.unwrap().path());
    let log =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "raftlog" || extension == "wal"));
    let read = log.map(|path| (path.clone(), std::fs::read(path).unwrap()));
    read.filter(|(_, bytes)| bytes.windows(6).any(|window| window == b"value-")).max().unwrap()
}

#[tokio::test]
async fn after_closing_nothing_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_single(folder.path()).await;
    let other = store.clone();
    store.close().await;
    let refused = other.txn(None, vec![], vec![put("a", "1")]).await;
    assert!(matches!(refused, Err(WriteError::NotApplied { .. })), "{refused:?}");
    assert!(other.get("a").await.is_err());
}

#[tokio::test]
async fn concurrent_increments_by_compare_and_set_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_single(folder.path()).await;
    write(&store, "n", "0").await;
    let tasks: Vec<_> = (0..8).map(|_| tokio::spawn(increment(store.clone(), 25))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(read(&store, "n").await.as_deref(), Some("200"));
    store.close().await;
}

async fn increment(store: Store, times: usize) {
    let mut done = 0;
    while done < times {
        let found = store.get("n").await.unwrap().unwrap();
        let value: u64 = String::from_utf8(found.value.to_vec()).unwrap().parse().unwrap();
        let then = vec![put("n", &(value + 1).to_string())];
        if let TxnOutcome::Committed { .. } = store.txn(None, vec![at("n", found.revision)], then).await.unwrap() {
            done += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_in_sled_is_made_only_when_asked_for_and_goes_when_it_no_longer_is() {
    let folder = tempfile::tempdir().unwrap();
    let mirror = folder.path().join("mirror");
    let store = open_single(folder.path()).await;
    write(&store, "a", "1").await;
    store.close().await;
    assert!(!mirror.exists());
    let with_sled = Tuning { state: StateEngine::MemoryAndSled, ..Tuning::default() };
    let store = open_single_with(folder.path(), with_sled).await;
    write(&store, "b", "2").await;
    store.close().await;
    assert!(mirror.exists());
    let store = open_single(folder.path()).await;
    assert_eq!(read(&store, "b").await.as_deref(), Some("2"));
    store.close().await;
    assert!(!mirror.exists());
}
