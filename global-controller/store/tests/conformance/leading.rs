//! Leadership: one at a time, known to all, and fenced.

use federated_store::{Fence, TxnOutcome};

use crate::backend::{Backend, Needs, all, leader};
use crate::common::{PATIENCE, absent, put, read, write};

pub async fn exactly_one_leads_and_all_know_where<B: Backend>() {
    let backend = B::start(Needs::Use).await;
    let (place, leading) = leader(&backend, &all(&backend)).await;
    assert!(leading.term > 0);
    for other in all(&backend) {
        let mut view = backend.store(other).leadership();
        let known = view.wait_for(|view| view.leader == leading.leader && view.term == leading.term);
        let known = tokio::time::timeout(PATIENCE, known).await.expect("a replica doesn't know the leader").unwrap();
        assert_eq!(known.url, leading.url);
        assert_eq!(known.fence.is_some(), other == place, "place {other} of leader {place}");
    }
    backend.end().await;
}

pub async fn only_the_leaders_fence_is_let_through<B: Backend>() {
    let backend = B::start(Needs::Use).await;
    let fence = leader(&backend, &all(&backend)).await.1.fence.unwrap();
    write(&backend.store(0), "a", "1").await;
    for place in all(&backend) {
        let store = backend.store(place);
        for stale in [Fence(0), Fence(fence.0 - 1), Fence(fence.0 + 1), Fence(u64::MAX)] {
            // The fence comes before the conditions.
            let outcome = store.txn(Some(stale), vec![absent("a")], vec![put("b", "1")]).await.unwrap();
            assert_eq!(outcome, TxnOutcome::Fenced, "{stale:?} of {fence:?}");
        }
        let outcome = store.txn(Some(fence), vec![absent("a")], vec![put("b", "1")]).await.unwrap();
        assert!(matches!(outcome, TxnOutcome::Conflict { .. }), "{outcome:?}");
        let outcome = store.txn(Some(fence), vec![], vec![put("c", "1")]).await.unwrap();
        assert!(matches!(outcome, TxnOutcome::Committed { .. }), "{outcome:?}");
    }
    assert_eq!(read(&backend.store(0), "b").await, None);
    backend.end().await;
}

pub async fn a_closed_leader_is_followed_by_another_term_and_its_fence_is_void<B: Backend>() {
    let mut backend = B::start(Needs::Use).await;
    for _ in 0..2 {
        let (place, old) = leader(&backend, &all(&backend)).await;
        let mut seen = backend.store(place).leadership();
        backend.close(place).await;
        assert_eq!(seen.borrow_and_update().fence, None, "a closed store shows a fence");
        succeeded(&mut backend, place, old.fence.unwrap()).await;
    }
    backend.end().await;
}

pub async fn a_leader_that_died_is_followed_by_another_term<B: Backend>() {
    let mut backend = B::start(Needs::Use).await;
    let (place, old) = leader(&backend, &all(&backend)).await;
    backend.abort(place).await;
    succeeded(&mut backend, place, old.fence.unwrap()).await;
    backend.end().await;
}

/// Another leads under a later fence, and the old one is refused; the place is open again afterwards.
async fn succeeded<B: Backend>(backend: &mut B, place: usize, old: Fence) {
    if backend.places() == 1 {
        backend.reopen(place).await;
    }
    let open: Vec<_> = (0..backend.places()).filter(|other| backend.places() == 1 || *other != place).collect();
    let (next, leading) = leader(backend, &open).await;
    let new = leading.fence.unwrap();
    assert!(new > old, "{new:?} after {old:?}");
    let store = backend.store(next);
    assert_eq!(store.txn(Some(old), vec![], vec![put("a", "old")]).await.unwrap(), TxnOutcome::Fenced);
    let outcome = store.txn(Some(new), vec![], vec![put("a", "new")]).await.unwrap();
    assert!(matches!(outcome, TxnOutcome::Committed { .. }), "{outcome:?}");
    if backend.places() > 1 {
        backend.reopen(place).await;
    }
    assert_eq!(read(&backend.store(place), "a").await.as_deref(), Some("new"));
}
