#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;

use super::*;
use crate::placed::EXPIRY_TICKS;

fn all() -> Vec<Reconfiguration> {
    let info = ReplicaInfo { name: "controller-4".into(), url: "https://controller-4:9443".into(), incarnation: 7 };
    vec![
        Reconfiguration::Change(MembershipChange::AddLearner { number: 4, info }),
        Reconfiguration::Change(MembershipChange::Promote { number: 4 }),
        Reconfiguration::Change(MembershipChange::Remove { number: 4 }),
        Reconfiguration::LeaveJoint,
    ]
}

#[test]
fn a_change_reads_back_from_its_entry_and_leaves_nothing_to_rafts_parser() {
    for change in all() {
        let entry = change.to_entry();
        assert!(entry.data.is_empty());
        assert_eq!(Reconfiguration::of_entry(&entry), Ok(Some(change)));
    }
    assert_eq!(Reconfiguration::of_entry(&Entry::default()), Ok(None));
}

#[test]
fn an_entry_whose_type_and_context_disagree_or_that_has_data_is_refused() {
    for change in all() {
        let mut entry = change.to_entry();
        entry.data = Bytes::from_static(b"parse me");
        assert!(Reconfiguration::of_entry(&entry).is_err());
        let mut entry = change.to_entry();
        let other = [EntryType::EntryConfChange, EntryType::EntryConfChangeV2];
        let other = other.into_iter().find(|kind| *kind != entry.get_entry_type()).unwrap();
        entry.set_entry_type(other);
        assert!(Reconfiguration::of_entry(&entry).is_err());
    }
}

#[test]
fn a_change_whose_place_went_to_another_term_takes_no_effect_and_one_that_a_snapshot_skips_is_unknown() {
    let mut changing = Changing::default();
    changing.place(1, Position { term: 3, index: 10 });
    changing.place(2, Position { term: 4, index: 11 });
    let mut answers = Vec::new();
    changing.applied(Position { term: 4, index: 10 }, None, &mut answers);
    changing.applied(Position { term: 5, index: 20 }, None, &mut answers);
    let replaced = MembershipOutcome::Refused { reason: Refusal::Replaced };
    assert_eq!(answers, vec![(1, replaced), (2, MembershipOutcome::Unknown)]);
}

#[test]
fn a_change_that_nothing_is_heard_of_is_given_up() {
    let mut changing = Changing::default();
    changing.place(1, Position { term: 3, index: 10 });
    let mut answers = Vec::new();
    for _ in 0..EXPIRY_TICKS {
        changing.tick(&mut answers);
    }
    assert_eq!(answers, vec![(1, MembershipOutcome::Unknown)]);
}

proptest! {
    #[test]
    fn any_context_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), joint: bool) {
        let mut entry = Entry { context: bytes.into(), ..Entry::default() };
        entry.set_entry_type(if joint { EntryType::EntryConfChangeV2 } else { EntryType::EntryConfChange });
        let _ = Reconfiguration::of_entry(&entry);
    }
}
