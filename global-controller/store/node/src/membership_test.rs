#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

fn info(number: u64) -> ReplicaInfo {
    let (name, url) = (format!("controller-{number}"), format!("https://controller-{number}:9443"));
    ReplicaInfo { name, url, incarnation: 1000 + number }
}

fn three() -> Membership {
    Membership::of_replicas((1..=3).map(|number| (number, info(number))).collect())
}

fn add(number: u64) -> MembershipChange {
    MembershipChange::AddLearner { number, info: info(number) }
}

fn bytes(membership: &Membership) -> Vec<u8> {
    let mut writer = Writer::default();
    membership.encode(&mut writer);
    writer.finish()
}

fn read(bytes: Vec<u8>) -> Result<Membership, codec::Error> {
    let mut reader = Reader::new(bytes.into());
    let membership = Membership::decode(&mut reader)?;
    reader.finish()?;
    Ok(membership)
}

/// What the version before membership changes wrote for voters 1, 2 and 3.
const BEFORE_NAMES: [u8; 41] = [
    3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0,
];

#[test]
fn a_membership_written_before_replicas_had_names_is_read_and_written_as_it_was() {
    let membership = Membership::of_voters(vec![1, 2, 3]);
    assert_eq!(read(BEFORE_NAMES.to_vec()), Ok(membership.clone()));
    assert_eq!(bytes(&membership), BEFORE_NAMES);
}

#[test]
fn a_membership_reads_back_with_names_and_retired_ids_and_any_cut_is_found() {
    let mut membership = three().after(&add(4)).unwrap().after(&MembershipChange::Remove { number: 2 }).unwrap();
    membership.auto_leave = true;
    let written = bytes(&membership);
    assert_eq!(read(written.clone()), Ok(membership));
    for cut in 0..written.len() {
        assert!(read(written[..cut].to_vec()).is_err(), "cut at {cut}");
    }
}

#[test]
fn a_learner_is_added_promoted_and_removed() {
    let added = three().after(&add(4)).unwrap();
    assert_eq!((added.role(4), added.role(3), added.role(9)), (Some(Role::Learner), Some(Role::Voter), None));
    let promoted = added.after(&MembershipChange::Promote { number: 4 }).unwrap();
    assert_eq!((promoted.voters.as_slice(), promoted.learners.as_slice()), (&[1, 2, 3, 4][..], &[][..]));
    let removed = promoted.after(&MembershipChange::Remove { number: 1 }).unwrap();
    assert_eq!(removed.voters, [2, 3, 4]);
    assert_eq!(removed.retired, [(1, "controller-1".to_owned())].into());
    assert!(!removed.replicas.contains_key(&1));
}

#[test]
fn numbers_names_and_incarnations_are_never_used_again() {
    let left = three().after(&MembershipChange::Remove { number: 2 }).unwrap();
    assert_eq!(left.after(&add(2)), Err(Refusal::Retired { number: 2 }));
    let renumbered = MembershipChange::AddLearner { number: 9, info: info(2) };
    assert_eq!(left.after(&renumbered), Err(Refusal::RetiredName { name: "controller-2".to_owned() }));
    assert_eq!(left.after(&MembershipChange::Remove { number: 2 }), Err(Refusal::Retired { number: 2 }));
    assert_eq!(left.after(&add(3)), Err(Refusal::Taken));
    let copied = ReplicaInfo { incarnation: info(3).incarnation, ..info(9) };
    assert_eq!(left.after(&MembershipChange::AddLearner { number: 9, info: copied }), Err(Refusal::Taken));
}

#[test]
fn a_change_that_makes_no_sense_is_refused() {
    let one = Membership::of_replicas([(1, info(1))].into());
    assert_eq!(one.after(&MembershipChange::Remove { number: 1 }), Err(Refusal::NoVoter));
    assert_eq!(one.after(&MembershipChange::Promote { number: 1 }), Err(Refusal::AlreadyVoter { number: 1 }));
    assert_eq!(one.after(&MembershipChange::Promote { number: 2 }), Err(Refusal::Unknown { number: 2 }));
    for unfit in [ReplicaInfo { name: String::new(), ..info(2) }, ReplicaInfo { incarnation: 0, ..info(2) }] {
        assert_eq!(one.after(&MembershipChange::AddLearner { number: 2, info: unfit }), Err(Refusal::Unfit));
    }
    let joint = Membership { voters_outgoing: vec![1, 2, 3], ..three() };
    assert_eq!(joint.after(&add(4)), Err(Refusal::InProgress));
}

#[test]
fn members_and_removed_replicas_are_bounded_and_each_member_stays_removable() {
    let mut membership = three();
    for number in 4..=MAX_MEMBERS as u64 {
        membership = membership.after(&add(number)).unwrap();
    }
    assert_eq!(membership.after(&add(99)), Err(Refusal::TooManyMembers));
    let mut membership = three();
    let mut number = 4;
    while let Ok(next) = membership.after(&add(number)) {
        membership = next.after(&MembershipChange::Remove { number }).unwrap();
        number += 1;
    }
    assert_eq!(membership.after(&add(number)), Err(Refusal::TooManyMembers));
    assert!(membership.retired.len() < MAX_RETIRED);
    assert!(membership.after(&MembershipChange::Remove { number: 3 }).is_ok());
}
