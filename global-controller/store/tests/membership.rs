//! Adding, promoting and removing replicas over real sockets with mutual TLS.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::cluster::Cluster;
use common::secure::Role as Certified;
use common::*;
use federated_store::{Leadership, Member, Role, SnapshotPolicy, Store, Tuning, WriteError, admin};

/// Repeats a change as an administrator would, until it is made.
async fn made<F: Future<Output = Result<Vec<Member>, WriteError>>>(change: impl Fn() -> F) -> Vec<Member> {
    let give_up = tokio::time::Instant::now() + PATIENCE;
    loop {
        match change().await {
            Ok(members) => return members,
            Err(error) if tokio::time::Instant::now() > give_up => panic!("{error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn add(cluster: &Cluster, by: usize, place: usize) -> Vec<Member> {
    let (store, new) = (cluster.store(by), cluster.replicas[place].clone());
    made(|| store.embedded().unwrap().add_learner(new.number, &new.id, &new.url)).await
}

async fn promote(cluster: &Cluster, by: usize, place: usize) -> Vec<Member> {
    let (store, id) = (cluster.store(by), cluster.replicas[place].id.clone());
    made(|| store.embedded().unwrap().promote(&id)).await
}

async fn remove(cluster: &Cluster, by: usize, place: usize) -> Vec<Member> {
    let (store, id) = (cluster.store(by), cluster.replicas[place].id.clone());
    made(|| store.embedded().unwrap().remove(&id)).await
}

fn roles(members: &[Member]) -> Vec<(u64, Role)> {
    members.iter().map(|member| (member.number, member.role)).collect()
}

fn refusal<T: std::fmt::Debug>(result: Result<T, WriteError>) -> String {
    match result {
        Err(WriteError::NotApplied { reason }) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

/// Writes until told to stop; returns the keys that were acknowledged.
async fn write_on(store: Store, writer: usize, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        let key = format!("w{writer}-{n:06}");
        if store.txn(None, vec![], vec![put(&key, "v")]).await.is_ok() {
            acknowledged.push(key);
        }
        n += 1;
    }
    acknowledged
}

/// Waits until a replica sees a key, whoever tells it.
async fn sees(store: &Store, key: &str) {
    let give_up = tokio::time::Instant::now() + PATIENCE;
    loop {
        match store.get(key).await {
            Ok(Some(_)) => return,
            other if tokio::time::Instant::now() > give_up => panic!("{key}: {other:?}"),
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fourth_replica_is_added_and_promoted_and_the_leader_removed_while_clients_write() {
    let snapshots = SnapshotPolicy { entries: 200, bytes: u64::MAX };
    let mut cluster = Cluster::new(Tuning { snapshots, ..Tuning::default() }).await;
    let first = cluster.leader().await;
    let other = (first + 1) % 3;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..3)
        .filter(|place| *place != first)
        .map(|place| tokio::spawn(write_on(cluster.store(place), place, Arc::clone(&stop))))
        .collect();
    let fourth = cluster.start_joining().await;
    let members = add(&cluster, other, fourth).await;
    assert_eq!(roles(&members)[3], (4, Role::Learner));
    write(&cluster.store(other), "after-add", "v").await;
    sees(&cluster.store(fourth), "after-add").await;
    // A learner that crashes comes back as one.
    cluster.abort(fourth).await;
    cluster.start(fourth).await;
    let members = promote(&cluster, other, fourth).await;
    assert_eq!(roles(&members)[3], (4, Role::Voter));
    let members = remove(&cluster, first, first).await;
    assert_eq!(members.len(), 3);
    assert!(members.iter().all(|member| member.id != cluster.replicas[first].id));
    write(&cluster.store(fourth), "after-remove", "v").await;
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = vec!["after-add".to_owned(), "after-remove".to_owned()];
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    assert!(acknowledged.len() > 20, "only {} writes", acknowledged.len());
    for key in &acknowledged {
        assert!(cluster.store(fourth).get(key).await.unwrap().is_some(), "acknowledged {key} is gone");
    }
    // The one that was removed knows it, and the others go on without it.
    let mut view = cluster.store(first).leadership();
    let out = tokio::time::timeout(PATIENCE, view.wait_for(|view| *view == Leadership::default())).await;
    out.expect("the removed replica still sees a leader").unwrap();
    cluster.abort(first).await;
    write(&cluster.store(other), "without", "v").await;
    cluster.close_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_replica_stays_out_until_it_is_removed_and_added_under_a_new_id() {
    let mut cluster = Cluster::new(Tuning::default()).await;
    let leader = cluster.leader().await;
    let (wiped, other) = ((leader + 1) % 3, (leader + 2) % 3);
    write(&cluster.store(leader), "a", "1").await;
    cluster.abort(wiped).await;
    std::fs::remove_dir_all(cluster.folder(wiped)).unwrap();
    cluster.start(wiped).await;
    write(&cluster.store(leader), "b", "1").await;
    assert!(cluster.store(wiped).leadership().borrow().leader.is_none(), "it was let in under its old id");
    let members = remove(&cluster, other, wiped).await;
    assert_eq!(members.len(), 2);
    cluster.abort(wiped).await;
    let again = refusal(cluster.store(leader).embedded().unwrap().remove(&cluster.replicas[wiped].id).await);
    assert!(again.contains("was removed"), "{again}");

    let fresh = cluster.start_joining().await;
    add(&cluster, other, fresh).await;
    let members = promote(&cluster, other, fresh).await;
    assert_eq!(members.len(), 3);
    assert!(members.iter().all(|member| member.role == Role::Voter));
    // It makes up a majority with one of the others.
    let leader = cluster.leader().await;
    let dies = [leader, other].into_iter().find(|place| *place != fresh).unwrap();
    cluster.abort(dies).await;
    let store = cluster.store(fresh);
    sees(&store, "a").await;
    write(&store, "c", "1").await;
    cluster.close_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_empty_replica_that_waits_to_join_is_added() {
    let mut cluster = Cluster::new(Tuning::default()).await;
    let leader = cluster.leader().await;
    let follower = cluster.store((leader + 1) % 3);
    let reason = refusal(follower.embedded().unwrap().add_learner(9, "controller-9", "https://127.0.0.1:1").await);
    assert!(reason.contains("failed to ask"), "{reason}");
    let member = &cluster.replicas[(leader + 2) % 3];
    let reason = refusal(follower.embedded().unwrap().add_learner(9, &member.id, &member.url).await);
    assert!(reason.contains("isn't empty"), "{reason}");
    let reason = refusal(follower.embedded().unwrap().add_learner(9, "controller-9", &member.url).await);
    assert!(reason.contains("it is 'controller-"), "another name at that url: {reason}");
    let reason = refusal(follower.embedded().unwrap().promote("controller-9").await);
    assert!(reason.contains("is no replica of this store"), "{reason}");
    let joining = cluster.start_joining().await;
    let new = cluster.replicas[joining].clone();
    let reason = refusal(follower.embedded().unwrap().add_learner(9, &new.id, &new.url).await);
    assert!(reason.contains("configured with the number 4"), "{reason}");
    assert_eq!(follower.embedded().unwrap().members().await.unwrap().len(), 3);
    add(&cluster, leader, joining).await;
    let members = follower.embedded().unwrap().members().await.unwrap();
    let leads: Vec<_> = members.iter().filter(|member| member.leader).map(|member| member.number).collect();
    assert_eq!(leads.len(), 1);
    assert!(members.iter().all(|member| member.progress.is_some()), "the leader knows: {members:?}");
    cluster.close_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_with_a_replicas_certificate_changes_the_membership_through_any_replica() {
    let mut cluster = Cluster::new(Tuning::default()).await;
    let leader = cluster.leader().await;
    let joining = cluster.start_joining().await;
    let new = cluster.replicas[joining].clone();
    // The first url leads nowhere, the second is a follower's.
    let urls = ["https://127.0.0.1:1".to_owned(), cluster.replicas[(leader + 1) % 3].url.clone()];
    let client = cluster.authority.client(Certified::Replica, "controller-2");
    assert_eq!(admin::members(&client, "test", &urls).await.unwrap().len(), 3);
    let members = admin::add_learner(&client, "test", &urls, new.number, &new.id, &new.url).await.unwrap();
    assert_eq!(roles(&members)[3], (4, Role::Learner));
    promote(&cluster, leader, joining).await;
    let error = admin::promote(&client, "test", &urls, &new.id).await.unwrap_err();
    assert!(matches!(&error, admin::Error::Store(WriteError::NotApplied { .. })), "{error:?}");
    let members = admin::remove(&client, "test", &urls, &new.id).await.unwrap();
    assert_eq!(members.len(), 3);

    let elsewhere = admin::members(&client, "elsewhere", &urls).await.unwrap_err();
    assert!(elsewhere.to_string().contains("this is cluster 'test'"), "{elsewhere}");
    let strangers = [(Certified::Member, "controller-2", "403"), (Certified::Replica, "controller-9", "403")];
    for (role, name, status) in strangers.into_iter().chain([(Certified::Replica, "controller-4", "410")]) {
        let client = cluster.authority.client(role, name);
        let refused = admin::members(&client, "test", &urls).await.unwrap_err();
        assert!(refused.to_string().contains(status), "{role:?} '{name}': {refused}");
    }
    cluster.close_all().await;
}

/// Removed while it was away, it can only hear of it from the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_removed_while_it_was_away_learns_of_it() {
    let mut cluster = Cluster::new(Tuning::default()).await;
    let leader = cluster.leader().await;
    let away = (leader + 1) % 3;
    cluster.abort(away).await;
    remove(&cluster, leader, away).await;
    let term = cluster.store(leader).leadership().borrow().term;
    cluster.start(away).await;
    let refused = cluster.store(away).txn(None, vec![], vec![put("a", "1")]).await;
    assert!(matches!(refused, Err(WriteError::NotApplied { .. })), "{refused:?}");
    assert_eq!(*cluster.store(away).leadership().borrow(), Leadership::default());
    write(&cluster.store(leader), "a", "1").await;
    assert_eq!(cluster.store(leader).leadership().borrow().term, term, "it disturbed the others");
    cluster.close_all().await;
}

/// While one replica was away, two others took the places of the rest.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_away_lets_replicas_in_that_joined_meanwhile() {
    let mut cluster = Cluster::new(Tuning::default()).await;
    let leader = cluster.leader().await;
    let (away, other) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.abort(away).await;
    let mut joined = Vec::new();
    for _ in 0..2 {
        let place = cluster.start_joining().await;
        add(&cluster, other, place).await;
        promote(&cluster, other, place).await;
        joined.push(place);
    }
    write(&cluster.store(other), "a", "1").await;
    sees(&cluster.store(joined[0]), "a").await;
    sees(&cluster.store(joined[1]), "a").await;
    // Only replicas that it never heard of are left to lead, and its vote is the third of five.
    cluster.abort(leader).await;
    cluster.abort(other).await;
    cluster.start(away).await;
    sees(&cluster.store(away), "a").await;
    write(&cluster.store(away), "b", "1").await;
    cluster.close_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_one_replica_grows_to_three() {
    let mut cluster = Cluster::one(Tuning::default()).await;
    write(&cluster.store(0), "a", "1").await;
    for _ in 0..2 {
        let place = cluster.start_joining().await;
        add(&cluster, 0, place).await;
        promote(&cluster, 0, place).await;
    }
    cluster.abort(0).await;
    let leader = cluster.leader().await;
    assert_eq!(read(&cluster.store(leader), "a").await.as_deref(), Some("1"));
    write(&cluster.store(leader), "b", "1").await;
    cluster.start(0).await;
    assert_eq!(read(&cluster.store(0), "b").await.as_deref(), Some("1"));
    cluster.close_all().await;
}
