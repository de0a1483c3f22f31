#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use raft::eraftpb::EntryType;

use super::*;
use crate::reconfiguration::{MembershipChange, Reconfiguration};

fn append(index: u64, entries: &[(u64, u64)]) -> Message {
    let mut message = Message::default();
    message.set_msg_type(MessageType::MsgAppend);
    message.from = 1;
    message.to = 2;
    message.term = 9;
    message.log_term = 3;
    message.index = index;
    message.commit = 4;
    let entries = entries.iter().map(|(term, index)| Entry {
        term: *term,
        index: *index,
        data: Bytes::from_static(b"data"),
        ..Entry::default()
    });
    message.set_entries(entries.collect::<Vec<_>>().into());
    message
}

fn through_the_wire(message: &Message) -> Result<PeerMessage, Error> {
    PeerMessage::decode(encode(message).unwrap().into(), 1, 2)
}

#[test]
fn a_message_reads_back_as_it_was_written() {
    let message = append(6, &[(3, 7), (9, 8)]);
    assert_eq!(through_the_wire(&message), Ok(PeerMessage(message)));
}

#[test]
fn a_membership_change_reads_back_as_it_was_written_among_other_entries() {
    let change = Reconfiguration::Change(MembershipChange::Promote { number: 4 });
    let mut message = append(6, &[(3, 7), (9, 8), (9, 9)]);
    message.mut_entries()[1] = Entry { term: 9, index: 8, ..change.to_entry() };
    assert_eq!(through_the_wire(&message), Ok(PeerMessage(message)));
}

#[test]
fn a_membership_change_that_means_nothing_is_refused_and_never_parsed_by_raft() {
    let kind = MessageType::MsgAppend;
    let mut message = append(6, &[(3, 7)]);
    message.mut_entries()[0].set_entry_type(EntryType::EntryConfChangeV2);
    assert_eq!(PeerMessage::from_raft(message.clone()), Err(Error::Entries { kind }), "it carries data");
    message.mut_entries()[0].data = Bytes::new();
    message.mut_entries()[0].context = Bytes::from_static(b"no change");
    assert_eq!(through_the_wire(&message), Err(Error::Entries { kind }));
    message.mut_entries()[0].set_entry_type(EntryType::EntryNormal);
    assert_eq!(PeerMessage::from_raft(message), Err(Error::Entries { kind }), "a transaction has no context");
}

#[test]
fn the_sender_is_the_connections_and_not_the_messages() {
    let mut message = append(6, &[]);
    message.from = 77;
    assert_eq!(through_the_wire(&message).unwrap().from(), 1);
}

#[test]
fn entries_with_a_gap_a_falling_term_or_a_term_beyond_the_messages_are_refused() {
    for entries in [&[(3, 8)][..], &[(3, 7), (3, 9)], &[(4, 7), (3, 8)], &[(10, 7)], &[(0, 7)]] {
        let kind = MessageType::MsgAppend;
        assert_eq!(through_the_wire(&append(6, entries)), Err(Error::Entries { kind }), "{entries:?}");
    }
}

#[test]
fn a_message_without_a_term_is_refused() {
    let mut message = append(6, &[]);
    message.term = 0;
    assert_eq!(through_the_wire(&message), Err(Error::NoTerm));
}

#[test]
fn a_read_must_carry_exactly_one_context() {
    let mut message = append(0, &[]);
    let kind = MessageType::MsgReadIndex;
    message.set_msg_type(kind);
    assert_eq!(through_the_wire(&message), Err(Error::Entries { kind }));
    let entry = Entry { data: Bytes::from_static(b"context"), ..Entry::default() };
    message.set_entries(vec![entry.clone()].into());
    assert!(through_the_wire(&message).is_ok());
    message.set_entries(vec![entry.clone(), entry].into());
    assert_eq!(through_the_wire(&message), Err(Error::Entries { kind }));
}

#[test]
fn kinds_that_only_a_replica_tells_itself_are_refused() {
    for kind in [
        MessageType::MsgPropose,
        MessageType::MsgTransferLeader,
        MessageType::MsgHup,
        MessageType::MsgBeat,
        MessageType::MsgUnreachable,
        MessageType::MsgSnapStatus,
        MessageType::MsgCheckQuorum,
        MessageType::MsgSnapshot,
    ] {
        let mut message = append(6, &[]);
        message.set_msg_type(kind);
        assert_eq!(encode(&message), Err(Error::Kind { kind }));
        assert_eq!(PeerMessage::from_raft(message), Err(Error::Kind { kind }));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = PeerMessage::decode(bytes.clone().into(), 1, 2);
        let _ = SnapshotMessage::decode(bytes.into(), 1, 2);
    }

    #[test]
    fn a_cut_message_is_refused(cut in 0_usize..100) {
        let bytes = encode(&append(6, &[(3, 7), (9, 8)])).unwrap();
        prop_assume!(cut < bytes.len());
        prop_assert!(PeerMessage::decode(bytes[..cut].to_vec().into(), 1, 2).is_err());
    }
}
