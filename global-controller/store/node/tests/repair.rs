//! A replica that lost a part of its log: it must not help to lose what it acknowledged, and becomes whole again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::Cluster;
use store_node::{Input, MessageType, Op, ProposalOutcome, SnapshotPolicy, Txn, TxnOutcome};

const NO_SNAPSHOTS: SnapshotPolicy = SnapshotPolicy { entries: u64::MAX, bytes: u64::MAX };

fn propose(cluster: &mut Cluster, node: u64, id: u64, key: &str) {
    let put = Op::Put { key: key.into(), value: "v".to_owned().into() };
    cluster.step(node, [Input::Propose { id, txn: Txn::new(None, vec![], vec![put]).unwrap() }]);
    cluster.settle();
}

fn committed(cluster: &Cluster, id: u64) -> bool {
    cluster.answers.iter().any(|(_, answered, outcome)| {
        *answered == id && matches!(outcome, ProposalOutcome::Applied(TxnOutcome::Committed { .. }))
    })
}

fn tick_until(cluster: &mut Cluster, what: &str, done: impl Fn(&Cluster) -> bool) {
    for _ in 0..500 {
        if done(cluster) {
            return;
        }
        cluster.tick();
    }
    panic!("not within 500 ticks: {what}");
}

/// A leader, a follower that acknowledged ten writes with it, and one that was cut off and has none of them.
fn acknowledged_by_two(policy: SnapshotPolicy) -> (Cluster, u64, u64, u64) {
    let mut cluster = Cluster::new(3, 1, policy);
    let leader = cluster.elect();
    let follower = leader % 3 + 1;
    let behind = follower % 3 + 1;
    cluster.cut.insert(behind);
    for id in 1..=10 {
        propose(&mut cluster, leader, id, &format!("key-{id}"));
        assert!(committed(&cluster, id));
    }
    (cluster, leader, follower, behind)
}

#[test]
fn a_damaged_replica_does_not_help_one_into_office_that_lacks_what_it_acknowledged() {
    let (mut cluster, leader, follower, behind) = acknowledged_by_two(NO_SNAPSHOTS);
    cluster.crash(leader);
    cluster.crash(follower);
    cluster.damage_and_start(follower);
    cluster.cut.clear();
    cluster.sent.clear();
    for _ in 0..300 {
        cluster.tick();
    }
    assert!(cluster.leaders().is_empty(), "elected without what was acknowledged");
    let votes = |sent: &store_node::Message| {
        let kinds = [MessageType::MsgRequestVoteResponse, MessageType::MsgRequestPreVoteResponse];
        sent.from == follower
            && (kinds.contains(&sent.get_msg_type()) || sent.get_msg_type() == MessageType::MsgRequestPreVote)
    };
    assert!(!cluster.sent.iter().any(votes), "it voted or stood for election");
    // The one that has everything comes back.
    cluster.start(leader);
    let elected = cluster.elect();
    assert_eq!(elected, leader);
    tick_until(&mut cluster, "repaired", |cluster| !cluster.node(follower).is_repairing());
    for id in [follower, behind] {
        tick_until(&mut cluster, "caught up", |cluster| cluster.node(id).state().get("key-10").is_some());
    }
}

#[test]
fn a_damaged_replica_is_repaired_by_a_leader_that_still_counts_on_what_it_had_acknowledged() {
    for policy in [NO_SNAPSHOTS, SnapshotPolicy { entries: 3, bytes: u64::MAX }] {
        let (mut cluster, leader, follower, _) = acknowledged_by_two(policy);
        cluster.crash(follower);
        cluster.damage_and_start(follower);
        // Nothing new is written: heartbeats alone must be enough.
        tick_until(&mut cluster, "repaired", |cluster| !cluster.node(follower).is_repairing());
        assert_eq!(cluster.applied(follower), cluster.applied(leader));
        assert_eq!(cluster.leaders(), vec![leader]);
        propose(&mut cluster, leader, 11, "key-11");
        assert!(committed(&cluster, 11), "the repaired replica and the leader are a majority");
    }
}

#[test]
fn a_repaired_replica_votes_and_leads_again() {
    let (mut cluster, leader, follower, behind) = acknowledged_by_two(NO_SNAPSHOTS);
    cluster.crash(follower);
    cluster.damage_and_start(follower);
    tick_until(&mut cluster, "repaired", |cluster| !cluster.node(follower).is_repairing());
    cluster.crash(leader);
    cluster.cut.clear();
    assert_eq!(cluster.elect(), follower, "only it has everything");
    tick_until(&mut cluster, "caught up", |cluster| cluster.node(behind).state().get("key-10").is_some());
}

#[test]
fn a_repair_that_is_interrupted_begins_again() {
    let (mut cluster, leader, follower, _) = acknowledged_by_two(NO_SNAPSHOTS);
    cluster.crash(follower);
    cluster.damage_and_start(follower);
    cluster.replicas.get_mut(&follower).unwrap().flushing = false;
    for _ in 0..20 {
        cluster.tick();
    }
    assert!(cluster.node(follower).is_repairing(), "nothing is made up for before it is on disk");
    cluster.crash(follower);
    cluster.replicas.get_mut(&follower).unwrap().flushing = true;
    cluster.damage_and_start(follower);
    tick_until(&mut cluster, "caught up", |cluster| cluster.applied(follower) == cluster.applied(leader));
}

#[test]
fn two_damaged_replicas_of_three_elect_nobody() {
    let (mut cluster, leader, follower, behind) = acknowledged_by_two(NO_SNAPSHOTS);
    cluster.crash(leader);
    cluster.crash(follower);
    cluster.damage_and_start(leader);
    cluster.damage_and_start(follower);
    cluster.cut.clear();
    for _ in 0..300 {
        cluster.tick();
    }
    assert!(cluster.leaders().is_empty(), "{behind} lacks what was acknowledged, and nobody may vote for it");
}
