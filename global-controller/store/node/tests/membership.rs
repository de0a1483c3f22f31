//! Adding, promoting and removing replicas, with crashes and lost messages in between.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Cluster, info};
use store_node::{
    Input, Membership, MembershipChange, MembershipOutcome, MessageType, Op, ProposalOutcome, Refusal, Role,
    SnapshotPolicy, Txn, changes_membership,
};

const NO_SNAPSHOTS: SnapshotPolicy = SnapshotPolicy { entries: u64::MAX, bytes: u64::MAX };

fn add(number: u64) -> MembershipChange {
    MembershipChange::AddLearner { number, info: info(number) }
}

fn promote(number: u64) -> MembershipChange {
    MembershipChange::Promote { number }
}

fn remove(number: u64) -> MembershipChange {
    MembershipChange::Remove { number }
}

fn ask(cluster: &mut Cluster, node: u64, change: MembershipChange) {
    cluster.step(node, [Input::ChangeMembership { id: 1, change }]);
}

/// Asks whoever leads until the change is applied, as a caller does.
fn make(cluster: &mut Cluster, change: &MembershipChange) -> Membership {
    for _ in 0..400 {
        let leader = cluster.elect();
        cluster.membership_answers.clear();
        ask(cluster, leader, change.clone());
        for _ in 0..10 {
            cluster.tick();
        }
        match cluster.membership_answers.pop() {
            Some((_, _, MembershipOutcome::Applied(membership))) => return membership,
            Some((_, _, MembershipOutcome::Refused { reason })) => {
                let waits = reason.is_temporary() || matches!(reason, Refusal::NotCaughtUp { .. });
                assert!(waits, "{change:?}: {reason}");
            }
            Some((_, _, MembershipOutcome::NotLeader)) | None => {}
            other => panic!("{change:?}: {other:?}"),
        }
    }
    panic!("{change:?} was not made");
}

fn refused(cluster: &mut Cluster, change: MembershipChange) -> Refusal {
    let leader = cluster.elect();
    cluster.membership_answers.clear();
    ask(cluster, leader, change);
    match cluster.membership_answers.pop() {
        Some((_, _, MembershipOutcome::Refused { reason })) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

fn write(cluster: &mut Cluster, id: u64) {
    for _ in 0..400 {
        let leader = cluster.elect();
        let then = vec![Op::Put { key: format!("k{id:04}"), value: "v".into() }];
        cluster.step(leader, [Input::Propose { id, txn: Txn::new(None, vec![], then).unwrap() }]);
        for _ in 0..5 {
            cluster.tick();
        }
        let done = |answer: &(u64, u64, ProposalOutcome)| answer.1 == id && is_applied(&answer.2);
        if cluster.answers.iter().any(done) {
            return;
        }
    }
    panic!("write {id} was not acknowledged");
}

fn is_applied(outcome: &ProposalOutcome) -> bool {
    matches!(outcome, ProposalOutcome::Applied(_))
}

fn ticks(cluster: &mut Cluster, count: usize) {
    for _ in 0..count {
        cluster.tick();
    }
}

fn keys(cluster: &Cluster, id: u64) -> usize {
    cluster.node(id).state().iter().count()
}

#[test]
fn a_learner_joins_with_nothing_and_catches_up_by_snapshot() {
    let mut cluster = Cluster::new(3, 1, NO_SNAPSHOTS);
    for id in 0..20 {
        write(&mut cluster, id);
    }
    cluster.join(4);
    ticks(&mut cluster, 100);
    assert_eq!(keys(&cluster, 4), 0, "nobody knows it yet");
    let membership = make(&mut cluster, &add(4));
    assert_eq!(membership.role(4), Some(Role::Learner));
    ticks(&mut cluster, 50);
    assert_eq!(keys(&cluster, 4), 20);
    for id in 1..=4 {
        assert_eq!(cluster.node(id).membership(), &membership, "replica {id}");
        assert_eq!(cluster.node(id).state().membership(), &membership, "replica {id}");
    }
    write(&mut cluster, 20);
    ticks(&mut cluster, 3);
    assert_eq!(keys(&cluster, 4), 21);
}

#[test]
fn a_joining_replica_neither_campaigns_nor_votes() {
    let mut cluster = Cluster::new(3, 1, NO_SNAPSHOTS);
    cluster.join(4);
    let leader = cluster.elect();
    cluster.crash(leader);
    cluster.sent.clear();
    ticks(&mut cluster, 200);
    assert!(cluster.sent.iter().all(|message| message.from != 4), "it said something to somebody");
    // A candidate that believes it to be a voter gets no vote from it either.
    let mut vote = cluster.sent.iter().find(|sent| sent.get_msg_type() == MessageType::MsgRequestVote).unwrap().clone();
    vote.to = 4;
    cluster.wire.push_back(vote);
    cluster.settle();
    assert!(cluster.sent.iter().all(|message| message.from != 4), "it voted without a memory");
    assert_eq!(cluster.node(4).view().leader, None);
}

#[test]
fn a_learner_is_promoted_only_when_it_has_caught_up() {
    let mut cluster = Cluster::new(3, 1, NO_SNAPSHOTS);
    cluster.join(4);
    cluster.cut.insert(4);
    make(&mut cluster, &add(4));
    let reason = refused(&mut cluster, promote(4));
    assert!(matches!(reason, Refusal::NotCaughtUp { number: 4, matched: 0, .. }), "{reason}");
    cluster.cut.clear();
    let membership = make(&mut cluster, &promote(4));
    assert_eq!(membership.voters, [1, 2, 3, 4]);
    cluster.cut.insert(4);
    ticks(&mut cluster, 30);
    cluster.cut.clear();
    ticks(&mut cluster, 30);
    let leader = cluster.elect();
    cluster.crash((1..=3).find(|id| *id != leader).unwrap());
    write(&mut cluster, 1);
}

#[test]
fn a_removed_leader_hands_over_and_the_others_go_on() {
    let mut cluster = Cluster::new(3, 1, NO_SNAPSHOTS);
    write(&mut cluster, 1);
    let first = cluster.elect();
    let membership = make(&mut cluster, &remove(first));
    assert_eq!(membership.voters.len(), 2);
    let second = cluster.elect();
    assert_ne!(second, first);
    write(&mut cluster, 2);
    let term = cluster.node(second).view().term;
    ticks(&mut cluster, 300);
    assert_eq!(cluster.node(second).view().term, term, "the removed replica disturbs the others");
    assert_eq!(cluster.node(first).membership().role(first), None, "it learned of its removal");
    assert!(keys(&cluster, first) <= 1, "it still gets what it has no right to");
}

/// The removal lies in the log of the one to be removed, which wins the next election before it applies it.
#[test]
fn a_leader_that_applies_its_own_removal_steps_down() {
    let mut cluster = Cluster::new(3, 1, NO_SNAPSHOTS);
    let first = cluster.elect();
    let others: Vec<_> = (1..=3).filter(|id| *id != first).collect();
    let (gone, third) = (others[0], others[1]);
    // Only the one to be removed has the entry beside the leader, and doesn't hear that it is committed.
    cluster.cut.insert(third);
    cluster.replicas.get_mut(&first).unwrap().flushing = false;
    ask(&mut cluster, first, remove(gone));
    cluster.settle();
    cluster.crash(first);
    cluster.cut.clear();
    cluster.replicas.get_mut(&first).unwrap().flushing = true;
    let leads = |cluster: &Cluster| {
        cluster.sent.iter().any(|sent| sent.from == gone && sent.get_msg_type() == MessageType::MsgAppend)
    };
    for _ in 0..500 {
        cluster.tick();
        if leads(&cluster) {
            break;
        }
    }
    assert!(leads(&cluster), "the replica to be removed has the longer log, so only it can win");
    ticks(&mut cluster, 5);
    assert_eq!(cluster.node(gone).membership().role(gone), None);
    assert!(cluster.leaders().is_empty(), "it still leads");
    cluster.start(first);
    let next = cluster.elect();
    assert_ne!(next, gone);
    assert_eq!(cluster.node(third).membership().role(gone), None);
    write(&mut cluster, 1);
}

#[test]
fn three_replicas_become_five_and_three_again() {
    let mut cluster = Cluster::new(3, 7, SnapshotPolicy { entries: 20, bytes: u64::MAX });
    let mut written = 0;
    let mut write_some = |cluster: &mut Cluster| {
        for _ in 0..15 {
            write(cluster, written);
            written += 1;
        }
        written
    };
    for number in [4, 5] {
        write_some(&mut cluster);
        cluster.join(number);
        make(&mut cluster, &add(number));
        write_some(&mut cluster);
        make(&mut cluster, &promote(number));
    }
    write_some(&mut cluster);
    for number in [1, 2] {
        make(&mut cluster, &remove(number));
        cluster.crash(number);
        write_some(&mut cluster);
    }
    let written = write_some(&mut cluster);
    ticks(&mut cluster, 20);
    for id in 3..=5 {
        assert_eq!(keys(&cluster, id) as u64, written, "replica {id}");
        assert_eq!(cluster.node(id).membership().voters, [3, 4, 5]);
        assert_eq!(cluster.node(id).membership().retired.keys().copied().collect::<Vec<_>>(), [1, 2]);
    }
}

#[test]
fn ids_of_removed_replicas_are_never_used_again_also_after_a_restart_from_a_snapshot() {
    let mut cluster = Cluster::new(3, 1, SnapshotPolicy { entries: 5, bytes: u64::MAX });
    make(&mut cluster, &remove(3));
    for id in 0..20 {
        write(&mut cluster, id);
    }
    for id in [1, 2] {
        cluster.crash(id);
        cluster.start(id);
    }
    cluster.crash(3);
    assert_eq!(refused(&mut cluster, add(3)), Refusal::Retired { number: 3 });
    let renumbered = MembershipChange::AddLearner { number: 9, info: info(3) };
    assert_eq!(refused(&mut cluster, renumbered), Refusal::RetiredName { name: "controller-3".to_owned() });
}

#[test]
fn one_change_follows_another_and_a_follower_makes_none() {
    let mut cluster = Cluster::new(3, 1, NO_SNAPSHOTS);
    let leader = cluster.elect();
    let follower = (1..=3).find(|id| *id != leader).unwrap();
    ask(&mut cluster, follower, add(4));
    assert_eq!(cluster.membership_answers.pop(), Some((follower, 1, MembershipOutcome::NotLeader)));
    ask(&mut cluster, leader, add(4));
    assert_eq!(refused(&mut cluster, add(5)), Refusal::InProgress);
    cluster.settle();
    assert!(matches!(cluster.membership_answers.pop(), Some((_, 1, MembershipOutcome::Applied(_)))));
}

#[test]
fn a_removal_that_would_leave_no_majority_of_living_voters_is_refused() {
    let mut cluster = Cluster::new(3, 1, NO_SNAPSHOTS);
    let leader = cluster.elect();
    let others: Vec<_> = (1..=3).filter(|id| *id != leader).collect();
    cluster.crash(others[0]);
    ticks(&mut cluster, 40);
    assert_eq!(refused(&mut cluster, remove(others[1])), Refusal::NoQuorum { heard: 1, voters: 2 });
    make(&mut cluster, &remove(others[0]));
    write(&mut cluster, 1);
}

#[test]
fn a_change_of_a_deposed_leader_is_replaced_and_takes_no_effect() {
    let mut cluster = Cluster::new(3, 3, NO_SNAPSHOTS);
    let old = cluster.elect();
    cluster.cut.insert(old);
    ask(&mut cluster, old, add(4));
    cluster.settle();
    cluster.elect();
    write(&mut cluster, 1);
    cluster.cut.clear();
    ticks(&mut cluster, 50);
    let replaced = MembershipOutcome::Refused { reason: Refusal::Replaced };
    assert_eq!(cluster.membership_answers, vec![(old, 1, replaced)]);
    for id in 1..=3 {
        assert_eq!(cluster.node(id).membership().role(4), None, "replica {id}");
    }
    make(&mut cluster, &add(4));
}

#[test]
fn a_replica_that_restarts_in_the_middle_of_a_change_comes_to_the_same_membership() {
    for crashed in 1..=3 {
        let mut cluster = Cluster::new(3, 5, NO_SNAPSHOTS);
        cluster.join(4);
        let leader = cluster.elect();
        // The entry is on its way to the disks when the replica ends.
        for id in 1..=3 {
            cluster.replicas.get_mut(&id).unwrap().flushing = false;
        }
        ask(&mut cluster, leader, add(4));
        cluster.settle();
        for id in (1..=3).filter(|id| *id != crashed) {
            cluster.replicas.get_mut(&id).unwrap().flushing = true;
            cluster.flush(id);
        }
        cluster.crash(crashed);
        cluster.settle();
        cluster.replicas.get_mut(&crashed).unwrap().flushing = true;
        cluster.start(crashed);
        ticks(&mut cluster, 100);
        let leader = cluster.elect();
        if cluster.node(leader).membership().role(4).is_none() {
            make(&mut cluster, &add(4));
        }
        make(&mut cluster, &promote(4));
        ticks(&mut cluster, 20);
        for id in 1..=4 {
            assert_eq!(cluster.node(id).membership().voters, [1, 2, 3, 4], "replica {id}, crashed {crashed}");
        }
    }
}

#[test]
fn changes_in_the_log_are_replayed_at_each_restart() {
    let mut cluster = Cluster::new(3, 1, NO_SNAPSHOTS);
    cluster.join(4);
    make(&mut cluster, &add(4));
    make(&mut cluster, &promote(4));
    make(&mut cluster, &remove(1));
    ticks(&mut cluster, 20);
    let wanted = cluster.node(2).membership().clone();
    for round in 0..2 {
        for id in 1..=4 {
            cluster.crash(id);
        }
        for id in 2..=4 {
            let entries = &cluster.replicas[&id].disk.entries;
            assert!(entries.iter().any(changes_membership), "nothing to replay on {id}");
            cluster.start(id);
        }
        write(&mut cluster, round);
        ticks(&mut cluster, 20);
        for id in 2..=4 {
            assert_eq!(cluster.node(id).membership(), &wanted, "replica {id}");
        }
    }
}

/// The others have moved on to replicas that the sleeper has never heard of.
#[test]
fn a_replica_that_lags_follows_a_leader_that_joined_after_its_last_entry() {
    let mut cluster = Cluster::new(3, 1, NO_SNAPSHOTS);
    cluster.elect();
    cluster.cut.insert(3);
    for number in [4, 5] {
        cluster.join(number);
        make(&mut cluster, &add(number));
        make(&mut cluster, &promote(number));
    }
    ticks(&mut cluster, 20);
    for id in [1, 2] {
        cluster.crash(id);
    }
    cluster.cut.clear();
    ticks(&mut cluster, 300);
    assert_eq!(cluster.leaders().len(), 1, "three of five voters are there");
    write(&mut cluster, 1);
    ticks(&mut cluster, 20);
    assert_eq!(cluster.node(3).membership().voters, [1, 2, 3, 4, 5]);
    assert_eq!(keys(&cluster, 3), 1);
}

#[test]
fn a_joint_configuration_of_a_snapshot_is_left() {
    let mut cluster = Cluster::new(3, 1, NO_SNAPSHOTS);
    for id in 1..=3 {
        cluster.crash(id);
        let disk = &mut cluster.replicas.get_mut(&id).unwrap().disk;
        let mut meta = disk.snapshot.meta();
        meta.membership.voters = vec![1, 2];
        meta.membership.voters_outgoing = vec![1, 2, 3];
        disk.snapshot = store_node::Table::with_header(meta, 0, 1);
    }
    for id in 1..=3 {
        cluster.start(id);
    }
    cluster.elect();
    ticks(&mut cluster, 100);
    let leader = cluster.elect();
    let membership = cluster.node(leader).membership();
    assert_eq!((membership.voters.as_slice(), membership.is_joint()), (&[1, 2][..], false));
    assert_eq!(membership.retired, [(3, "controller-3".to_owned())].into());
    write(&mut cluster, 1);
}
