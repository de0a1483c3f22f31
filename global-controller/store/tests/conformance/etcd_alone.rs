//! What only an etcd can do to us: refuse us, come later, and let others at our keys.

use federated_store::{EtcdUser, OpenError, Store, TxnOutcome};

use crate::backend::{Backend, Needs, all, leader};
use crate::common::{leading, put, write};
use crate::etcd::Etcd;

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_refused_at_once() {
    let backend = Etcd::start(Needs::Use).await;
    let mut config = backend.config(0);
    config.user = Some(EtcdUser { name: "rollout".into(), password: "wrong".into() });
    let refused = Store::open_etcd(config).await.map(|_| ());
    assert!(matches!(refused, Err(OpenError::Etcd(_))), "{refused:?}");
    backend.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_does_not_fit_is_refused_with_every_problem() {
    let backend = Etcd::start(Needs::Use).await;
    let mut config = backend.config(0);
    (config.tls, config.prefix, config.lease) = (None, Some("x".into()), std::time::Duration::from_millis(2_500));
    let Err(OpenError::Config { problem }) = Store::open_etcd(config).await.map(|_| ()) else { panic!("opened") };
    for words in ["needs an authority", "the prefix 'x'", "2.5s"] {
        assert!(problem.contains(words), "no '{words}' in {problem}");
    }
    backend.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_comes_later_is_waited_for() {
    let mut backend = Etcd::unstarted();
    let store = Store::open_etcd(backend.config(0)).await.unwrap();
    backend.start_servers().await;
    leading(&store).await;
    write(&store, "a", "1").await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_key_somebody_deletes_leads_on_under_no_fence_but_a_new_one() {
    let backend = Etcd::start(Needs::Use).await;
    let (_, old) = leader(&backend, &all(&backend)).await;
    backend.delete_leader().await;
    let old = old.fence.unwrap();
    let store = backend.store(0);
    assert_eq!(store.txn(Some(old), vec![], vec![put("a", "old")]).await.unwrap(), TxnOutcome::Fenced);
    let mut views = Vec::new();
    for place in all(&backend) {
        let mut view = backend.store(place).leadership();
        let newer = view.wait_for(|view| view.leader.is_some() && view.term > old.0);
        views.push(tokio::time::timeout(crate::common::PATIENCE, newer).await.expect("no new term").unwrap().clone());
    }
    let (_, new) = leader(&backend, &all(&backend)).await;
    let outcome = store.txn(new.fence, vec![], vec![put("a", "new")]).await.unwrap();
    assert!(matches!(outcome, TxnOutcome::Committed { .. }), "{outcome:?} under {new:?} after {views:?}");
    backend.end().await;
}
