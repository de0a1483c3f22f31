//! Writing: all or nothing, under conditions, within limits.

use federated_store::{MAX_KEY_BYTES, MAX_OPERATIONS, MAX_TXN_BYTES, Op, Store, TxnOutcome, WatchEvent, WriteError};

use crate::backend::{Backend, Needs, found};
use crate::common::{absent, at, delete, next_event, put, read, write};

async fn committed(store: &Store, when: Vec<federated_store::When>, then: Vec<Op>) -> u64 {
    match store.txn(None, when, then).await.unwrap() {
        TxnOutcome::Committed { revision } => revision,
        other => panic!("not committed: {other:?}"),
    }
}

pub async fn a_transaction_happens_only_when_all_its_conditions_hold<B: Backend>() {
    let backend = B::start(Needs::Use).await;
    let store = backend.store(1);
    let a = committed(&store, vec![absent("a")], vec![put("a", "1")]).await;
    let b = committed(&store, vec![at("a", a), absent("b")], vec![put("b", "1")]).await;
    let wrong = [
        vec![absent("a")],
        vec![at("a", a + 1_000_000)],
        vec![at("missing", a)],
        vec![at("a", a), at("b", a)],
        vec![at("b", b), absent("c"), absent("a")],
    ];
    for when in wrong {
        let outcome = store.txn(None, when.clone(), vec![put("a", "2"), put("c", "2"), delete("b")]).await.unwrap();
        assert!(matches!(outcome, TxnOutcome::Conflict { .. }), "{when:?}: {outcome:?}");
    }
    assert_eq!(found(&store, "a").await.revision, a);
    assert_eq!(found(&store, "b").await.revision, b);
    assert_eq!(read(&store, "c").await, None);
    let when = vec![at("a", a), at("b", b), absent("c")];
    let last = committed(&store, when, vec![put("a", "2"), put("c", "2"), delete("b")]).await;
    assert_eq!(found(&backend.store(0), "c").await.revision, last);
    assert_eq!(read(&backend.store(0), "b").await, None);
    backend.end().await;
}

pub async fn a_conflict_names_what_is_there_for_each_condition<B: Backend>() {
    let backend = B::start(Needs::Use).await;
    let store = backend.store(2);
    let a = write(&store, "a", "1").await;
    let b = write(&store, "b", "1").await;
    let when = vec![at("b", b), absent("a"), at("c", 1), absent("d"), absent("a")];
    let outcome = store.txn(None, when, vec![put("c", "1")]).await.unwrap();
    let current = [("b", Some(b)), ("a", Some(a)), ("c", None), ("d", None), ("a", Some(a))];
    let current = current.map(|(key, revision)| (key.to_owned(), revision)).to_vec();
    assert_eq!(outcome, TxnOutcome::Conflict { current });
    backend.end().await;
}

pub async fn revision_zero_is_no_revision<B: Backend>() {
    let backend = B::start(Needs::Use).await;
    let store = backend.store(0);
    let outcome = store.txn(None, vec![at("a", 0)], vec![put("a", "1")]).await.unwrap();
    assert_eq!(outcome, TxnOutcome::Conflict { current: vec![("a".to_owned(), None)] });
    let revision = write(&store, "a", "1").await;
    let outcome = store.txn(None, vec![at("a", 0)], vec![put("a", "2")]).await.unwrap();
    assert_eq!(outcome, TxnOutcome::Conflict { current: vec![("a".to_owned(), Some(revision))] });
    backend.end().await;
}

pub async fn all_of_a_transaction_bears_one_revision<B: Backend>() {
    let backend = B::start(Needs::Use).await;
    let store = backend.store(1);
    write(&store, "k7", "old").await;
    let revision = committed(&store, vec![], (0..10).map(|n| put(&format!("k{n}"), "v")).collect()).await;
    let page = backend.store(2).range("k", None, 100).await.unwrap();
    assert_eq!(page.items.len(), 10);
    assert!(page.items.iter().all(|item| item.revision == revision && item.value.as_ref() == b"v"));
    backend.end().await;
}

pub async fn what_is_outside_the_limits_is_invalid_and_what_is_just_inside_is_not<B: Backend>() {
    let backend = B::start(Needs::Use).await;
    let store = backend.store(1);
    let puts = |count: usize| (0..count).map(|n| put(&format!("k{n}"), "v")).collect::<Vec<_>>();
    let conditions = |count: usize| (0..count).map(|n| absent(&format!("c{n}"))).collect::<Vec<_>>();
    let outside = [
        (vec![], puts(MAX_OPERATIONS + 1)),
        (conditions(51), puts(50)),
        (vec![], vec![put("a", "1"), delete("a")]),
        (vec![], vec![put("a", &"x".repeat(MAX_TXN_BYTES))]),
        (vec![], vec![put("", "1")]),
        (vec![absent(&"k".repeat(MAX_KEY_BYTES + 1))], vec![]),
    ];
    for (when, then) in outside {
        let refused = store.txn(None, when, then).await;
        assert!(matches!(refused, Err(WriteError::Invalid { .. })), "{refused:?}");
    }
    assert!(store.range("", None, 1).await.unwrap().items.is_empty());
    committed(&store, vec![], puts(MAX_OPERATIONS)).await;
    committed(&store, conditions(50), puts(50)).await;
    let longest = |n: usize| format!("{n:03}{}", "k".repeat(MAX_KEY_BYTES - 3));
    let value = "x".repeat(18 * 1024);
    let when = (0..50).map(|n| absent(&longest(n))).collect();
    committed(&store, when, (0..50).map(|n| put(&longest(n), &value)).collect()).await;
    let value = "x".repeat(MAX_TXN_BYTES - 2 * MAX_KEY_BYTES);
    committed(&store, vec![], vec![put("large", &value)]).await;
    assert_eq!(found(&backend.store(0), "large").await.value.len(), value.len());
    backend.end().await;
}

pub async fn a_transaction_without_effect_takes_no_revision<B: Backend>() {
    let backend = B::start(Needs::Use).await;
    let store = backend.store(1);
    let first = write(&store, "a", "1").await;
    let mut watch = store.watch("", first);
    let before = store.range("", None, 1).await.unwrap().revision;
    for (when, then) in [(vec![], vec![delete("b"), delete("c")]), (vec![at("a", first)], vec![]), (vec![], vec![])] {
        let revision = committed(&store, when, then).await;
        assert!(revision >= before, "{revision} is older than {before}");
    }
    let conflict = store.txn(None, vec![absent("a")], vec![]).await.unwrap();
    assert_eq!(conflict, TxnOutcome::Conflict { current: vec![("a".to_owned(), Some(first))] });
    // Of two deletions only one has an effect, and only that one is told.
    let last = committed(&store, vec![], vec![delete("a"), delete("b")]).await;
    let change = federated_store::Change { key: "a".into(), value: None };
    assert_eq!(next_event(&mut watch).await, WatchEvent::Changes { revision: last, changes: vec![change] });
    backend.end().await;
}

pub async fn concurrent_increments_lose_nothing<B: Backend>() {
    let backend = B::start(Needs::Use).await;
    write(&backend.store(0), "n", "0").await;
    let tasks: Vec<_> = (0..9).map(|task| tokio::spawn(increment(backend.store(task), 20))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(read(&backend.store(0), "n").await.as_deref(), Some("180"));
    backend.end().await;
}

async fn increment(store: Store, times: usize) {
    let mut done = 0;
    while done < times {
        let before = found(&store, "n").await;
        let value: u64 = String::from_utf8(before.value.to_vec()).unwrap().parse().unwrap();
        let then = vec![put("n", &(value + 1).to_string())];
        match store.txn(None, vec![at("n", before.revision)], then).await {
            Ok(TxnOutcome::Committed { .. }) => done += 1,
            Ok(TxnOutcome::Conflict { .. }) | Err(WriteError::NotApplied { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}
