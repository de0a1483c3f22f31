//! Stores in temporary folders, and waiting for what they do.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod account;
pub mod clients;
pub mod cluster;
pub mod fleet;
pub mod protocol;
pub mod replica;
pub mod secure;
pub mod trace;

use std::path::Path;
use std::time::Duration;

use federated_store::{Config, Leadership, Op, ReplicaConfig, Store, Tuning, TxnOutcome, WatchEvent, When};
use futures::StreamExt;

/// Longer than anything here takes on a loaded machine; reaching it is a failure.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn single(folder: &Path) -> Config {
    Config {
        cluster: "test".into(),
        id: "controller-1".into(),
        data_dir: folder.to_owned(),
        replicas: vec![ReplicaConfig { id: "controller-1".into(), number: 1, url: "https://127.0.0.1:1".into() }],
        join: false,
        client: None,
        tick: Config::TICK,
    }
}

pub async fn open_single(folder: &Path) -> Store {
    open_single_with(folder, Tuning::default()).await
}

pub async fn open_single_with(folder: &Path, tuning: Tuning) -> Store {
    let (store, _router) = Store::open_with(single(folder), tuning).await.unwrap();
    leading(&store).await;
    store
}

/// Waits until this replica leads.
pub async fn leading(store: &Store) -> Leadership {
    let mut leadership = store.leadership();
    let found = tokio::time::timeout(PATIENCE, leadership.wait_for(|view| view.fence.is_some())).await;
    found.expect("no leadership in time").unwrap().clone()
}

pub fn put(key: &str, value: &str) -> Op {
    Op::Put { key: key.into(), value: value.to_owned().into() }
}

pub fn delete(key: &str) -> Op {
    Op::Delete { key: key.into() }
}

pub fn absent(key: &str) -> When {
    When::Absent { key: key.into() }
}

pub fn at(key: &str, revision: u64) -> When {
    When::At { key: key.into(), revision }
}

/// Writes one key and returns the revision.
pub async fn write(store: &Store, key: &str, value: &str) -> u64 {
    match store.txn(None, vec![], vec![put(key, value)]).await.unwrap() {
        TxnOutcome::Committed { revision } => revision,
        other => panic!("not committed: {other:?}"),
    }
}

pub async fn read(store: &Store, key: &str) -> Option<String> {
    let found = store.get(key).await.unwrap();
    found.map(|found| String::from_utf8(found.value.to_vec()).unwrap())
}

/// The next event that isn't a progress mark.
pub async fn next_event(watch: &mut federated_store::Watch) -> WatchEvent {
    loop {
        let event = tokio::time::timeout(PATIENCE, watch.next()).await.expect("no event in time").expect("ended");
        if !matches!(event, WatchEvent::Progress { .. }) {
            return event;
        }
    }
}
