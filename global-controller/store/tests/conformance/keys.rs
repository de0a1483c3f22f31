//! Reading: at once, in order, page by page.

use crate::backend::{Backend, Needs, found};
use crate::common::{delete, put, read, write};
use federated_store::{Page, TxnOutcome};

pub async fn what_one_handle_wrote_every_handle_reads<B: Backend>() {
    let backend = B::start(Needs::Use).await;
    assert_eq!(read(&backend.store(0), "a").await, None);
    for n in 0..30 {
        let revision = write(&backend.store(n), "a", &n.to_string()).await;
        for place in 0..backend.places() {
            let found = found(&backend.store(place), "a").await;
            assert_eq!((found.value.as_ref(), found.revision), (n.to_string().as_bytes(), revision), "place {place}");
        }
    }
    backend.end().await;
}

pub async fn a_deleted_key_is_gone_and_comes_back_with_a_later_revision<B: Backend>() {
    let backend = B::start(Needs::Use).await;
    let (here, there) = (backend.store(0), backend.store(1));
    let written = write(&here, "a", "1").await;
    let outcome = there.txn(None, vec![], vec![delete("a")]).await.unwrap();
    let TxnOutcome::Committed { revision: deleted } = outcome else { panic!("{outcome:?}") };
    assert!(deleted > written);
    assert_eq!(read(&here, "a").await, None);
    assert!(here.range("", None, 10).await.unwrap().items.is_empty());
    let again = write(&there, "a", "2").await;
    assert!(again > deleted);
    assert_eq!(found(&here, "a").await.revision, again);
    backend.end().await;
}

fn names(page: &Page) -> Vec<&str> {
    page.items.iter().map(|item| item.key.as_str()).collect()
}

pub async fn pages_are_in_order_bounded_and_say_whether_more_follows<B: Backend>() {
    let backend = B::start(Needs::Use).await;
    let store = backend.store(1);
    let then = (0..7).rev().map(|n| put(&format!("p/{n}"), &n.to_string())).collect();
    let TxnOutcome::Committed { revision } = store.txn(None, vec![], then).await.unwrap() else { panic!("no commit") };
    let store = backend.store(2);
    let first = store.range("p/", None, 3).await.unwrap();
    assert_eq!((names(&first), first.more), (vec!["p/0", "p/1", "p/2"], true));
    assert!(first.revision >= revision && first.items.iter().all(|item| item.revision == revision));
    let second = store.range("p/", Some("p/2"), 3).await.unwrap();
    assert_eq!((names(&second), second.more), (vec!["p/3", "p/4", "p/5"], true));
    assert_eq!(second.items[0].value.as_ref(), b"3");
    let third = store.range("p/", Some("p/5"), 3).await.unwrap();
    assert_eq!((names(&third), third.more), (vec!["p/6"], false));
    let exact = store.range("p/", Some("p/3"), 3).await.unwrap();
    assert_eq!((names(&exact), exact.more), (vec!["p/4", "p/5", "p/6"], false));
    let behind = store.range("p/", Some("p/6"), 3).await.unwrap();
    assert_eq!((names(&behind), behind.more), (vec![], false));
    let between = store.range("p/", Some("p/4x"), 100_000).await.unwrap();
    assert_eq!((names(&between), between.more), (vec!["p/5", "p/6"], false));
    for (prefix, more) in [("p/", true), ("q/", false)] {
        let none = store.range(prefix, None, 0).await.unwrap();
        assert_eq!((names(&none), none.more), (vec![], more), "no key was asked for");
    }
    backend.end().await;
}

pub async fn a_page_holds_its_prefix_and_nothing_beside_it<B: Backend>() {
    let backend = B::start(Needs::Use).await;
    let store = backend.store(0);
    let keys = ["a", "a.", "a/", "a/1", "a/é", "a/\u{10ffff}", "a0", "b/1", "leader"];
    store.txn(None, vec![], keys.iter().map(|key| put(key, "v")).collect()).await.unwrap();
    let under = store.range("a/", None, 100).await.unwrap();
    assert_eq!((names(&under), under.more), (vec!["a/", "a/1", "a/é", "a/\u{10ffff}"], false));
    let all = store.range("", None, 100).await.unwrap();
    assert_eq!(names(&all), keys);
    let before = store.range("b/", Some("a"), 100).await.unwrap();
    assert_eq!(names(&before), ["b/1"], "a start before the prefix");
    let beyond = store.range("a/", Some("c"), 100).await.unwrap();
    assert_eq!((names(&beyond), beyond.more), (vec![], false), "a start beyond the prefix");
    backend.end().await;
}

pub async fn revisions_only_grow<B: Backend>() {
    let backend = B::start(Needs::Use).await;
    let mut last = backend.store(0).range("", None, 1).await.unwrap().revision;
    for n in 0..20 {
        let revision = write(&backend.store(n), &format!("k{}", n % 3), "v").await;
        assert!(revision > last, "{revision} after {last}");
        last = revision;
        let page = backend.store(n + 1).range("", None, 1).await.unwrap();
        assert!(page.revision >= last, "a page of {} after {last} was acknowledged", page.revision);
        last = page.revision;
    }
    backend.end().await;
}
