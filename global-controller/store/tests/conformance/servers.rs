//! An outage: what is answered meanwhile is true, and afterwards everything goes on.

use federated_store::{ReadError, Store, TxnOutcome, WatchEvent, WriteError};

use crate::backend::{Needs, Replicated, all, leader};
use crate::common::{PATIENCE, next_event, put, read, write};

pub async fn without_servers_nothing_is_answered_and_what_was_not_applied_never_is<B: Replicated>() {
    let mut backend = B::start(Needs::Stopping).await;
    let store = backend.store(0);
    write(&store, "a", "before").await;
    backend.lose_servers().await;
    let during = attempts(&store, "during").await;
    let fenceless = async { store.leadership().wait_for(|view| view.fence.is_none()).await.map(|_| ()) };
    tokio::time::timeout(PATIENCE, fenceless).await.expect("a leader of nothing").unwrap();
    let after = attempts(&store, "after").await;
    // It is known by now that nobody is there. One that the deadline cut off while it was sent may still be unknown.
    let certain = after.iter().any(|(_, error)| matches!(error, WriteError::NotApplied { .. }));
    assert!(certain, "nobody is there, and nobody knows: {after:?}");
    assert_eq!(store.get("a").await, Err(ReadError::Unavailable));
    backend.regain_servers().await;
    leader(&backend, &all(&backend)).await;
    assert_eq!(read(&store, "a").await.as_deref(), Some("before"));
    for (key, error) in during.into_iter().chain(after) {
        let there = read(&store, &key).await.is_some();
        assert!(!there || matches!(error, WriteError::Unknown { .. }), "'{key}' is there: {error}");
    }
    write(&store, "a", "afterwards").await;
    assert_eq!(read(&backend.store(1), "a").await.as_deref(), Some("afterwards"));
    backend.end().await;
}

/// Writes at once to several keys, none of which may be answered.
async fn attempts(store: &Store, prefix: &str) -> Vec<(String, WriteError)> {
    let attempts = (0..8).map(|n| {
        let (store, key) = (store.clone(), format!("{prefix}/{n}"));
        tokio::spawn(async move {
            let refused = store.txn(None, vec![], vec![put(&key, "v")]).await;
            (key, refused.expect_err("answered without servers"))
        })
    });
    let mut refused = Vec::new();
    for attempt in attempts.collect::<Vec<_>>() {
        refused.push(attempt.await.unwrap());
    }
    refused
}

pub async fn a_watch_outlives_an_outage_without_a_gap<B: Replicated>() {
    let mut backend = B::start(Needs::Stopping).await;
    let store = backend.store(0);
    let first = write(&store, "w/before", "").await;
    let mut watch = store.watch("w/", first - 1);
    assert!(matches!(next_event(&mut watch).await, WatchEvent::Changes { revision, .. } if revision == first));
    backend.lose_servers().await;
    backend.regain_servers().await;
    leader(&backend, &all(&backend)).await;
    let mut written = Vec::new();
    for n in 0.. {
        let key = format!("w/{n}");
        match backend.store(n).txn(None, vec![], vec![put(&key, "")]).await {
            Ok(TxnOutcome::Committed { revision }) => written.push((revision, key)),
            Ok(other) => panic!("{other:?}"),
            Err(WriteError::NotApplied { .. } | WriteError::Unknown { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        if written.len() == 10 {
            break;
        }
    }
    let mut told = Vec::new();
    while told.len() < written.len() {
        match next_event(&mut watch).await {
            WatchEvent::Changes { revision, changes } => told.push((revision, changes[0].key.clone())),
            other => panic!("{other:?}"),
        }
        // A write without an answer may have happened.
        told.retain(|event| written.contains(event));
    }
    assert_eq!(told, written);
    backend.end().await;
}
