use store_node::{Txn, Versioned, When};

use super::*;

fn put(key: &str, value: &str) -> Call {
    Call::Txn(Txn::new(None, vec![], vec![Op::Put { key: key.into(), value: value.to_owned().into() }]).unwrap())
}

fn create(key: &str, value: &str) -> Call {
    let when = vec![When::Absent { key: key.into() }];
    Call::Txn(Txn::new(None, when, vec![Op::Put { key: key.into(), value: value.to_owned().into() }]).unwrap())
}

fn get(key: &str) -> Call {
    Call::Get { key: key.into() }
}

fn committed(revision: u64) -> Answer {
    Answer::Txn(TxnOutcome::Committed { revision })
}

fn value(value: &str, revision: u64) -> Answer {
    Answer::Value(Some(Versioned { value: value.to_owned().into(), revision }))
}

fn done(call: Call, invoked: u64, returned: u64, answer: Answer) -> Operation {
    Operation { client: 0, call, invoked, outcome: Outcome::Returned(returned, answer) }
}

fn unknown(call: Call, invoked: u64) -> Operation {
    Operation { client: 0, call, invoked, outcome: Outcome::Unknown }
}

fn linearizable(history: &[Operation]) -> bool {
    match check(history) {
        Verdict::Linearizable => true,
        Verdict::Violation { .. } => false,
        Verdict::Undecided => panic!("undecided"),
    }
}

#[test]
fn an_empty_history_is_linearizable() {
    assert!(linearizable(&[]));
}

#[test]
fn a_read_during_a_write_may_see_either_state() {
    for seen in [Answer::Value(None), value("1", 1)] {
        assert!(linearizable(&[done(put("a", "1"), 0, 10, committed(1)), done(get("a"), 5, 6, seen)]));
    }
}

#[test]
fn a_read_after_a_write_must_see_it() {
    let write = done(put("a", "1"), 0, 10, committed(1));
    assert!(linearizable(&[write.clone(), done(get("a"), 11, 12, value("1", 1))]));
    assert!(!linearizable(&[write, done(get("a"), 11, 12, Answer::Value(None))]));
}

#[test]
fn two_reads_in_a_row_never_go_back() {
    let write = done(put("a", "1"), 0, 100, committed(1));
    let (new, old) = (done(get("a"), 5, 6, value("1", 1)), done(get("a"), 7, 8, Answer::Value(None)));
    assert!(!linearizable(&[write, new, old]));
}

#[test]
fn a_write_of_unknown_outcome_may_happen_late_or_never() {
    let write = unknown(put("a", "1"), 0);
    assert!(linearizable(&[write.clone(), done(get("a"), 50, 51, Answer::Value(None))]));
    let (early, late) = (done(get("a"), 50, 51, Answer::Value(None)), done(get("a"), 60, 61, value("1", 1)));
    assert!(linearizable(&[write.clone(), early.clone(), late.clone()]));
    let back = done(get("a"), 70, 71, Answer::Value(None));
    assert!(!linearizable(&[write, early, late, back]));
}

#[test]
fn a_write_of_unknown_outcome_does_not_happen_before_it_was_asked_for() {
    assert!(!linearizable(&[unknown(put("a", "1"), 10), done(get("a"), 1, 2, value("1", 1))]));
}

#[test]
fn a_write_of_unknown_outcome_does_not_happen_twice() {
    let history = [
        unknown(put("a", "1"), 0),
        done(get("a"), 10, 11, value("1", 1)),
        done(put("a", "2"), 20, 21, committed(2)),
        done(get("a"), 30, 31, value("1", 3)),
    ];
    assert!(!linearizable(&history));
}

#[test]
fn a_gap_of_revisions_needs_a_write_of_unknown_outcome() {
    let history = [done(put("a", "1"), 0, 1, committed(1)), done(put("a", "3"), 5, 6, committed(3))];
    assert!(!linearizable(&history));
    let [first, last] = history;
    assert!(linearizable(&[first, unknown(put("b", "2"), 2), last]));
}

#[test]
fn a_delete_that_found_nothing_takes_no_revision_from_the_write_that_did() {
    let delete = Call::Txn(Txn::new(None, vec![], vec![Op::Delete { key: "b".into() }]).unwrap());
    let history = [unknown(put("a", "1"), 0), done(delete, 5, 6, committed(1)), done(get("a"), 7, 8, value("1", 1))];
    assert!(linearizable(&history));
}

#[test]
fn of_two_creations_of_one_key_one_fails() {
    let both = [done(create("a", "1"), 0, 10, committed(1)), done(create("a", "2"), 0, 10, committed(2))];
    assert!(!linearizable(&both));
    let conflict = Answer::Txn(TxnOutcome::Conflict { current: vec![("a".into(), Some(1))] });
    assert!(linearizable(&[both[0].clone(), done(create("a", "2"), 0, 10, conflict)]));
}

#[test]
fn operations_that_failed_for_certain_have_no_effect() {
    let failed = Operation { outcome: Outcome::Failed, ..unknown(put("a", "1"), 0) };
    assert!(!linearizable(&[failed.clone(), done(get("a"), 10, 11, value("1", 1))]));
    assert!(linearizable(&[failed, done(get("a"), 10, 11, Answer::Value(None))]));
}

#[test]
fn a_page_shows_one_state_of_all_keys() {
    let page = |items: Vec<(&str, &str, u64)>, revision| Answer::Page {
        items: items
            .into_iter()
            .map(|(key, value, revision)| store_node::KeyValue {
                key: key.into(),
                value: value.to_owned().into(),
                revision,
            })
            .collect(),
        revision,
        more: false,
    };
    let range = Call::Range { prefix: String::new(), after: None, limit: 10 };
    let writes = [done(put("a", "1"), 0, 1, committed(1)), done(put("b", "2"), 2, 3, committed(2))];
    let [first, second] = writes.clone();
    let whole = done(range.clone(), 4, 5, page(vec![("a", "1", 1), ("b", "2", 2)], 2));
    assert!(linearizable(&[first.clone(), second.clone(), whole]));
    assert!(!linearizable(&[first, second, done(range, 4, 5, page(vec![("b", "2", 2)], 2))]));
}

/// Every history that a single copy of the store produces is linearizable, in whatever order concurrent operations took
/// effect: the search finds it among many operations of unknown outcome.
#[test]
fn histories_of_one_copy_with_many_unknown_outcomes_are_accepted() {
    let mut draw = crate::draw::Draw(7);
    for _ in 0..50 {
        let mut model = Model::default();
        let history: Vec<_> = (0..120)
            .map(|n| {
                let (call, effect) = (put(&format!("k{}", draw.below(3)), &n.to_string()), n * 10 + 5);
                let after = model.perhaps(&call).unwrap();
                let loses_answer = draw.chance(200);
                if loses_answer && draw.chance(500) {
                    return unknown(call, n * 10);
                }
                model = after;
                if loses_answer {
                    return unknown(call, n * 10);
                }
                done(call, effect - draw.below(40).min(effect), effect + draw.below(40), committed(model.revision))
            })
            .collect();
        assert!(linearizable(&history));
    }
}
