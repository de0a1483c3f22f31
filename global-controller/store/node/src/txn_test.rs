#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;

use super::*;

fn put(key: &str, value: &[u8]) -> Op {
    Op::Put { key: key.into(), value: Bytes::copy_from_slice(value) }
}

#[test]
fn a_transaction_of_a_hundred_operations_is_taken_and_one_more_is_refused() {
    let ops = |count: usize| (0..count).map(|n| put(&format!("k{n}"), b"v")).collect::<Vec<_>>();
    let when = vec![When::Absent { key: "a".into() }];
    assert!(Txn::new(None, when.clone(), ops(99)).is_ok());
    assert_eq!(Txn::new(None, when, ops(100)), Err(Error::TooManyOperations { found: 101 }));
}

#[test]
fn a_key_changed_twice_is_refused_by_name() {
    let refused = Txn::new(None, vec![], vec![put("a", b"1"), Op::Delete { key: "a".into() }]);
    assert_eq!(refused, Err(Error::RepeatedKey { key: "a".into() }));
}

#[test]
fn keys_and_sizes_have_bounds() {
    assert_eq!(Txn::new(None, vec![], vec![put("", b"")]), Err(Error::KeyLength { found: 0 }));
    let long = "k".repeat(MAX_KEY_BYTES + 1);
    assert_eq!(Txn::new(None, vec![], vec![put(&long, b"")]), Err(Error::KeyLength { found: MAX_KEY_BYTES + 1 }));
    let refused = Txn::new(None, vec![], vec![put("k", &vec![0; MAX_TXN_BYTES])]);
    assert!(matches!(refused, Err(Error::TooLarge { .. })));
}

#[test]
fn an_encoding_of_a_later_version_is_refused() {
    let mut bytes = Txn::new(None, vec![], vec![put("a", b"1")]).unwrap().encode();
    bytes[0] = 9;
    assert!(matches!(Txn::decode(bytes.into()), Err(Error::Codec(codec::Error::Unknown { .. }))));
}

proptest! {
    #[test]
    fn any_transaction_reads_back_as_it_was_written(
        fence in proptest::option::of(any::<u64>()),
        keys in proptest::collection::btree_set("[a-z/]{1,20}", 0..10),
        value in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let when = keys.iter().map(|key| When::At { key: key.clone(), revision: key.len() as u64 }).collect();
        let then = keys.iter().map(|key| put(key, &value)).collect();
        let txn = Txn::new(fence.map(Fence), when, then).unwrap();
        prop_assert_eq!(Txn::decode(txn.encode().into()).unwrap(), txn);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Txn::decode(bytes.into());
    }
}
