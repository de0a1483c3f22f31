//! Watching: whole revisions, in order, without a gap, or word that there is one.

use federated_store::{Change, Store, WatchEvent};
use futures::StreamExt as _;

use crate::backend::{Backend, Needs};
use crate::common::{PATIENCE, delete, next_event, put, write};

fn change(key: &str, value: Option<&str>) -> Change {
    Change { key: key.into(), value: value.map(|value| value.to_owned().into()) }
}

pub async fn a_watch_tells_whole_revisions_in_order_from_where_it_was_asked<B: Backend>() {
    let backend = B::start(Needs::Use).await;
    let store = backend.store(1);
    let first = write(&store, "w/a", "1").await;
    let mut late = backend.store(2).watch("w/", first);
    write(&store, "other", "1").await;
    let then = vec![put("w/b", "1"), put("other", "2"), put("w/a", "2")];
    let second = store.txn(None, vec![], then).await.unwrap();
    let third = store.txn(None, vec![], vec![delete("w/a"), put("w/c", "")]).await.unwrap();
    let (
        federated_store::TxnOutcome::Committed { revision: second },
        federated_store::TxnOutcome::Committed { revision: third },
    ) = (second, third)
    else {
        panic!("not committed")
    };
    let mut early = store.watch("w/", first - 1);
    let changes = vec![change("w/a", Some("1"))];
    assert_eq!(next_event(&mut early).await, WatchEvent::Changes { revision: first, changes });
    for watch in [&mut early, &mut late] {
        let changes = vec![change("w/b", Some("1")), change("w/a", Some("2"))];
        assert_eq!(next_event(watch).await, WatchEvent::Changes { revision: second, changes });
        let changes = vec![change("w/a", None), change("w/c", Some(""))];
        assert_eq!(next_event(watch).await, WatchEvent::Changes { revision: third, changes });
    }
    backend.end().await;
}

pub async fn a_watch_says_first_how_far_it_has_come<B: Backend>() {
    let backend = B::start(Needs::Use).await;
    let revision = write(&backend.store(0), "a", "1").await;
    let mut watch = backend.store(0).watch("nothing/", revision);
    let event = tokio::time::timeout(PATIENCE, watch.next()).await.expect("no mark in time").unwrap();
    assert!(matches!(event, WatchEvent::Progress { revision: at } if at >= revision), "{event:?}");
    backend.end().await;
}

/// Callers wait for their watch to reach a page's revision: it must come without another write.
pub async fn a_watch_of_everything_reaches_the_revision_of_every_page<B: Backend>() {
    let backend = B::start(Needs::Use).await;
    let store = backend.store(1);
    let first = write(&store, "a", "1").await;
    let mut watch = store.watch("", first);
    for n in 0..5 {
        write(&store, "a", &n.to_string()).await;
        backend.noise().await;
        let page = store.range("", None, 10).await.unwrap();
        reach(&mut watch, page.revision).await;
    }
    backend.end().await;
}

async fn reach(watch: &mut federated_store::Watch, wanted: u64) {
    let mut reached = 0;
    while reached < wanted {
        let event = tokio::time::timeout(PATIENCE, watch.next()).await;
        let event = event.unwrap_or_else(|_| panic!("{reached} was reached and not {wanted}")).expect("ended");
        reached = match event {
            WatchEvent::Changes { revision, .. } | WatchEvent::Progress { revision } => revision,
            WatchEvent::Resync { .. } => panic!("nothing was forgotten"),
        };
    }
}

pub async fn every_watcher_hears_each_of_many_revisions_once<B: Backend>() {
    let backend = B::start(Needs::Use).await;
    let first = write(&backend.store(0), "start", "").await;
    let watches: Vec<_> = (0..3).map(|place| backend.store(place).watch("k/", first)).collect();
    let writers: Vec<_> = (0..4).map(|n| tokio::spawn(write_many(backend.store(n), n, 50))).collect();
    let mut written = Vec::new();
    for writer in writers {
        written.extend(writer.await.unwrap());
    }
    written.sort_unstable();
    for mut watch in watches {
        let mut told = Vec::new();
        while told.len() < written.len() {
            match next_event(&mut watch).await {
                WatchEvent::Changes { revision, changes } => {
                    assert_eq!(changes.len(), 2, "half of revision {revision}");
                    told.push((revision, changes[0].key.clone()));
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(told, written);
    }
    backend.end().await;
}

async fn write_many(store: Store, writer: usize, count: usize) -> Vec<(u64, String)> {
    let mut written = Vec::new();
    for n in 0..count {
        let key = format!("k/{writer}/{n}");
        let then = vec![put(&key, "v"), put(&format!("k/{writer}"), "v")];
        let outcome = store.txn(None, vec![], then).await.unwrap();
        let federated_store::TxnOutcome::Committed { revision } = outcome else { panic!("{outcome:?}") };
        written.push((revision, key));
    }
    written
}

pub async fn a_watch_from_before_the_kept_history_says_resync_and_goes_on<B: Backend>() {
    let backend = B::start(Needs::Forgetting).await;
    let store = backend.store(0);
    let first = write(&store, "a", "1").await;
    let second = write(&store, "a", "2").await;
    write(&store, "a", "3").await;
    backend.forget().await;
    let now = store.range("", None, 1).await.unwrap().revision;
    let mut watch = store.watch("", first);
    let event = next_event(&mut watch).await;
    let WatchEvent::Resync { revision } = event else { panic!("{event:?} although {second} was forgotten") };
    assert!(revision >= second && revision <= now, "{revision}, now is {now}");
    let next = write(&store, "a", "next").await;
    loop {
        match next_event(&mut watch).await {
            WatchEvent::Changes { revision, changes } if revision == next => {
                assert_eq!(changes, vec![change("a", Some("next"))]);
                break;
            }
            WatchEvent::Changes { revision, .. } => assert!(revision < next),
            other => panic!("{other:?}"),
        }
    }
    backend.end().await;
}

pub async fn a_watch_ends_when_its_store_is_closed<B: Backend>() {
    let mut backend = B::start(Needs::Use).await;
    let place = backend.places() - 1;
    let watch = backend.store(place).watch("", 0);
    let mut busy = backend.store(place).watch("", 0);
    let _ = tokio::time::timeout(PATIENCE, busy.next()).await;
    backend.close(place).await;
    for watch in [watch, busy] {
        let events = tokio::time::timeout(PATIENCE, watch.collect::<Vec<_>>()).await;
        assert!(events.is_ok(), "the watch didn't end");
    }
    backend.end().await;
}
