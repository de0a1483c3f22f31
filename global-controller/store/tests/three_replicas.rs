//! Three replicas over real sockets with mutual TLS.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::Duration;

use common::cluster::Cluster;
use common::secure::Role;
use common::*;
use federated_store::{SnapshotPolicy, Store, Tuning, TxnOutcome, WatchEvent, WriteError};

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_takes_writes_and_reads_what_another_wrote() {
    let cluster = Cluster::new(Tuning::default()).await;
    for writer in 0..3 {
        let key = format!("by-{writer}");
        write(&cluster.store(writer), &key, "v").await;
        for reader in 0..3 {
            assert_eq!(read(&cluster.store(reader), &key).await.as_deref(), Some("v"), "{writer} to {reader}");
        }
    }
    let leader = cluster.leader().await;
    for place in 0..3 {
        let view = cluster.store(place).leadership().borrow().clone();
        assert_eq!(view.leader.as_ref(), Some(&cluster.replicas[leader].id));
        assert_eq!(view.url.as_ref(), Some(&cluster.replicas[leader].url));
        assert_eq!(view.fence.is_some(), place == leader);
    }
    cluster.close_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_relays_conflicts_and_watches_see_every_change() {
    let cluster = Cluster::new(Tuning::default()).await;
    let leader = cluster.leader().await;
    let follower = cluster.store((leader + 1) % 3);
    let mut watch = cluster.store((leader + 2) % 3).watch("", 0);
    let revision = write(&follower, "a", "1").await;
    let outcome = follower.txn(None, vec![absent("a")], vec![put("a", "2")]).await.unwrap();
    assert_eq!(outcome, TxnOutcome::Conflict { current: vec![("a".to_owned(), Some(revision))] });
    assert!(matches!(next_event(&mut watch).await, WatchEvent::Changes { revision: seen, .. } if seen == revision));
    cluster.close_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_replica_leads_after_the_leader_was_closed_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::new(Tuning::default()).await;
    let first = cluster.leader().await;
    let term = cluster.store(first).leadership().borrow().term;
    for n in 0..50 {
        write(&cluster.store(n % 3), &format!("k{n}"), "v").await;
    }
    cluster.close(first).await;
    let second = cluster.leader().await;
    assert_ne!(first, second);
    assert!(cluster.store(second).leadership().borrow().term > term);
    let page = cluster.store(second).range("k", None, 100).await.unwrap();
    assert_eq!(page.items.len(), 50);
    write(&cluster.store(second), "after", "v").await;
    cluster.start(first).await;
    assert_eq!(read(&cluster.store(first), "after").await.as_deref(), Some("v"));
    cluster.close_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn semantics_39_a_leader_that_may_not_stand_gives_leadership_up_and_takes_writes_as_ever() {
    let mut cluster = Cluster::new(Tuning::default()).await;
    let first = cluster.leader().await;
    cluster.store(first).embedded().unwrap().stand(false).await;
    let mut leadership = cluster.store(first).leadership();
    leadership.wait_for(|view| view.fence.is_none() && view.leader.is_some()).await.unwrap();
    let second = cluster.leader().await;
    write(&cluster.store(first), "a", "1").await;
    cluster.abort(second).await;
    let third = cluster.leader().await;
    assert!(third != first && third != second, "{first}, {second}, {third}");
    write(&cluster.store(first), "a", "2").await;
    cluster.close_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_replicas_aborted_at_once_come_back_with_every_acknowledged_write() {
    let mut cluster = Cluster::new(Tuning::default()).await;
    cluster.leader().await;
    let writers: Vec<_> = (0..6).map(|n| tokio::spawn(write_until_refused(cluster.store(n % 3), n))).collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    for place in 0..3 {
        cluster.abort(place).await;
    }
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    assert!(acknowledged.len() > 20, "only {} writes in half a second", acknowledged.len());
    for place in 0..3 {
        cluster.start(place).await;
    }
    let leader = cluster.leader().await;
    let store = cluster.store(leader);
    for key in acknowledged {
        assert_eq!(read(&store, &key).await.as_deref(), Some("v"), "acknowledged {key} is gone");
    }
    cluster.close_all().await;
}

async fn write_until_refused(store: Store, writer: usize) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for n in 0.. {
        let key = format!("w{writer}-{n}");
        match store.txn(None, vec![], vec![put(&key, "v")]).await {
            Ok(_) => acknowledged.push(key),
            Err(_) => break,
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_writes_are_refused_and_the_leader_steps_down() {
    let mut cluster = Cluster::new(Tuning::default()).await;
    let leader = cluster.leader().await;
    let store = cluster.store(leader);
    cluster.abort((leader + 1) % 3).await;
    cluster.abort((leader + 2) % 3).await;
    let mut leadership = store.leadership();
    let left = tokio::time::timeout(PATIENCE, leadership.wait_for(|view| view.fence.is_none())).await;
    left.expect("still leads").unwrap();
    let refused = store.txn(None, vec![], vec![put("a", "1")]).await;
    assert!(matches!(refused, Err(WriteError::NotApplied { .. })), "{refused:?}");
    assert!(store.get("a").await.is_err());
    cluster.close_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_away_too_long_catches_up_by_snapshot() {
    let snapshots = SnapshotPolicy { entries: 50, bytes: u64::MAX };
    let mut cluster = Cluster::new(Tuning { snapshots, ..Tuning::default() }).await;
    let leader = cluster.leader().await;
    let away = (leader + 1) % 3;
    cluster.abort(away).await;
    for n in 0..300 {
        write(&cluster.store(leader), &format!("k{n:03}"), "v").await;
    }
    cluster.start(away).await;
    let page = cluster.store(away).range("k", None, 1000).await.unwrap();
    assert_eq!(page.items.len(), 300);
    let newest = snapshot_indexes(&cluster, away).into_iter().max().unwrap();
    assert!(newest > 50, "no snapshot was received: newest is {newest}");
    cluster.abort(away).await;
    cluster.start(away).await;
    let page = cluster.store(away).range("k", None, 1000).await.unwrap();
    assert_eq!(page.items.len(), 300);
    cluster.close_all().await;
}

fn snapshot_indexes(cluster: &Cluster, place: usize) -> Vec<u64> {
    let names = std::fs::read_dir(cluster.folder(place).join("snapshots")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.split_once('-')?.0.parse().ok()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_store_forms_only_when_every_replica_answered() {
    let mut cluster = Cluster::unstarted(Tuning::default());
    cluster.start(0).await;
    cluster.start(1).await;
    let refused = cluster.store(0).txn(None, vec![], vec![put("a", "1")]).await;
    assert!(matches!(refused, Err(WriteError::NotApplied { .. })), "two of three formed a store: {refused:?}");
    cluster.start(2).await;
    cluster.leader().await;
    write(&cluster.store(0), "a", "1").await;
    cluster.close_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_whose_folder_was_lost_is_not_let_in_under_its_old_id() {
    let mut cluster = Cluster::new(Tuning::default()).await;
    let leader = cluster.leader().await;
    let wiped = (leader + 1) % 3;
    write(&cluster.store(leader), "a", "1").await;
    cluster.abort(wiped).await;
    std::fs::remove_dir_all(cluster.folder(wiped)).unwrap();
    cluster.start(wiped).await;
    cluster.abort((leader + 2) % 3).await;
    let mut leadership = cluster.store(leader).leadership();
    let left = tokio::time::timeout(PATIENCE, leadership.wait_for(|view| view.fence.is_none())).await;
    left.expect("a replica without memory made up a majority").unwrap();
    assert!(cluster.store(wiped).leadership().borrow().leader.is_none());
    cluster.close_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_configured_replicas_are_let_in() {
    let cluster = Cluster::new(Tuning::default()).await;
    let url = &cluster.replicas[0].url;
    let strangers = [(Role::Member, "controller-2"), (Role::Replica, "controller-9"), (Role::Replica, "controller-1")];
    for (role, name) in strangers {
        let client = cluster.authority.client(role, name);
        for route in ["hello", "stream", "txn", "snapshot"] {
            let answer = client.post(format!("{url}/raft/{route}")).body("stranger").send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 403, "{role:?} '{name}' at {route}");
        }
    }
    cluster.close_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_of_another_cluster_or_incarnation_is_refused_before_any_raft_byte() {
    let cluster = Cluster::new(Tuning::default()).await;
    cluster.leader().await;
    let url = format!("{}/raft/stream", cluster.replicas[0].url);
    let client = cluster.authority.client(Role::Replica, "controller-2");
    let send = |name: &'static str, incarnation: &'static str| {
        let request = client.post(&url).header("x-store-cluster", name).header("x-store-incarnation", incarnation);
        request.body("no raft bytes").send()
    };
    for (name, incarnation) in [("elsewhere", "1"), ("test", "1"), ("test", "none")] {
        let answer = send(name, incarnation).await.unwrap();
        assert_eq!(answer.status().as_u16(), 409, "cluster '{name}', incarnation '{incarnation}'");
    }
    cluster.close_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_killed_under_load_costs_no_acknowledged_write_and_no_write_happens_twice() {
    let mut cluster = Cluster::new(Tuning::default()).await;
    cluster.leader().await;
    write(&cluster.store(0), "n", "0").await;
    let mut counted = 0;
    let mut unknown = 0;
    for round in 0..4 {
        let leader = cluster.leader().await;
        let survivor = cluster.store((leader + 1) % 3);
        let counting = tokio::spawn(count_up(survivor, 60));
        tokio::time::sleep(Duration::from_millis(50)).await;
        cluster.abort(leader).await;
        let (done, perhaps) = counting.await.unwrap();
        (counted, unknown) = (counted + done, unknown + perhaps);
        cluster.start(leader).await;
        let value: u64 = read(&cluster.store(leader), "n").await.unwrap().parse().unwrap();
        let possible = counted..=counted + unknown;
        assert!(possible.contains(&value), "round {round}: {value} is not in {possible:?}");
    }
    cluster.close_all().await;
}

/// Compare-and-set increments; returns how many were acknowledged, and how many are unknown.
async fn count_up(store: Store, times: u64) -> (u64, u64) {
    let (mut done, mut unknown) = (0, 0);
    while done + unknown < times {
        let Ok(Some(found)) = store.get("n").await else { continue };
        let value: u64 = String::from_utf8(found.value.to_vec()).unwrap().parse().unwrap();
        let then = vec![put("n", &(value + 1).to_string())];
        match store.txn(None, vec![at("n", found.revision)], then).await {
            Ok(TxnOutcome::Committed { .. }) => done += 1,
            Ok(_) | Err(WriteError::NotApplied { .. }) => {}
            Err(WriteError::Unknown { .. }) => unknown += 1,
            Err(error) => panic!("{error}"),
        }
    }
    (done, unknown)
}
