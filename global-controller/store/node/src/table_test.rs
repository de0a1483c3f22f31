#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::txn::Fence;

fn put(key: &str, value: &'static str) -> Op {
    Op::Put { key: key.into(), value: Bytes::from_static(value.as_bytes()) }
}

fn delete(key: &str) -> Op {
    Op::Delete { key: key.into() }
}

struct Run {
    table: Table,
    index: u64,
}

impl Run {
    fn new() -> Self {
        Self { table: Table::new(Position { term: 1, index: 1 }, Membership::of_voters(vec![1])), index: 1 }
    }

    fn txn(&mut self, fence: Option<u64>, when: Vec<When>, then: Vec<Op>) -> Applied {
        self.index += 1;
        let txn = Txn::new(fence.map(Fence), when, then).unwrap();
        let command = Command { position: Position { term: 3, index: self.index }, txn: Some(txn) };
        self.table.apply(&[command]).remove(0)
    }
}

fn committed(revision: u64) -> TxnOutcome {
    TxnOutcome::Committed { revision }
}

#[test]
fn each_effective_transaction_takes_the_next_revision_and_others_take_none() {
    let mut run = Run::new();
    assert_eq!(run.txn(None, vec![], vec![put("a", "1"), put("b", "1")]).outcome, Some(committed(1)));
    assert_eq!(run.txn(None, vec![], vec![delete("missing")]), Applied { outcome: Some(committed(1)), changes: None });
    assert_eq!(run.txn(None, vec![], vec![]).outcome, Some(committed(1)));
    assert_eq!(run.txn(None, vec![], vec![delete("a")]).outcome, Some(committed(2)));
    assert_eq!(run.table.revision(), 2);
    assert_eq!(run.table.applied().index, 5);
}

#[test]
fn a_condition_that_does_not_hold_changes_nothing_and_reports_every_named_key() {
    let mut run = Run::new();
    run.txn(None, vec![], vec![put("a", "1")]);
    let when = vec![When::At { key: "a".into(), revision: 1 }, When::Absent { key: "a".into() }];
    let current = vec![("a".to_owned(), Some(1)), ("a".to_owned(), Some(1))];
    let conflict = Applied { outcome: Some(TxnOutcome::Conflict { current }), changes: None };
    assert_eq!(run.txn(None, when, vec![put("a", "2")]), conflict);
    assert_eq!(run.table.get("a").unwrap().value, "1");
    let absent = vec![When::At { key: "b".into(), revision: 7 }];
    let current = vec![("b".to_owned(), None)];
    assert_eq!(run.txn(None, absent, vec![]).outcome, Some(TxnOutcome::Conflict { current }));
}

#[test]
fn a_fence_of_another_term_has_no_effect() {
    let mut run = Run::new();
    assert_eq!(run.txn(Some(2), vec![], vec![put("a", "1")]).outcome, Some(TxnOutcome::Fenced));
    assert!(run.table.is_empty());
    assert_eq!(run.txn(Some(3), vec![], vec![put("a", "1")]).outcome, Some(committed(1)));
}

#[test]
fn pages_follow_each_other_within_the_prefix() {
    let mut run = Run::new();
    run.txn(None, vec![], ["p/1", "p/2", "p/3", "q/1", "o"].map(|key| put(key, "v")).to_vec());
    let keys = |page: &[KeyValue]| page.iter().map(|item| item.key.clone()).collect::<Vec<_>>();
    let (first, more) = run.table.page("p/", None, 2);
    assert_eq!((keys(&first), more), (vec!["p/1".to_owned(), "p/2".to_owned()], true));
    let (second, more) = run.table.page("p/", Some("p/2"), 2);
    assert_eq!((keys(&second), more), (vec!["p/3".to_owned()], false));
    assert_eq!(run.table.page("", None, 9).0.len(), 5);
    assert_eq!(run.table.page("p/", Some("a"), 9).0.len(), 3);
}
