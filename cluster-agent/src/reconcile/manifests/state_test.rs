//! What is kept, and what is found out after a crash.

#![allow(clippy::unwrap_used)]

use crds::AssignedRollout;
use serde_json::json;

use super::super::fixtures::{OURS, config_ref, live, managed, ours};
use super::*;

fn set(keys: &[&str]) -> FieldSet {
    FieldSet::of(OURS, &live("a", "u", json!({}), vec![managed(OURS, "Apply", 1, keys)])).unwrap()
}

fn run(number: i64) -> AssignedRollout {
    AssignedRollout { name: "checkout".to_owned(), uid: "uid-1".to_owned(), run: number }
}

fn kept(name: &str, live: Option<&Value>, keys: &[&str]) -> Kept {
    Kept::of(&config_ref(name), live, set(keys), true)
}

fn with_snapshot(objects: Vec<Kept>) -> State {
    State { snapshot: Some(Snapshot { id: "before".to_owned(), objects }), ..State::default() }
}

#[test]
fn the_name_of_what_objects_are_tells_values_and_missing_ones_apart_and_nothing_else() {
    let (a, b) = (ours("a", "u1", json!({"x": "1"})), ours("b", "u2", json!({"x": "1"})));
    let both = [kept("a", Some(&a), &["x"]), kept("b", Some(&b), &["x"])];
    let name = id(&both);
    assert_eq!(name.len(), 16);
    let [first, second] = both.clone();
    assert_eq!(id(&[second.clone(), first.clone()]), name);
    let again = ours("a", "another uid", json!({"x": "1", "not looked at": "1"}));
    assert_eq!(id(&[Kept { ready: false, ..kept("a", Some(&again), &["x"]) }, second.clone()]), name);
    let other = ours("a", "u1", json!({"x": "2"}));
    let empty = ours("a", "u1", json!({}));
    for changed in [Some(&other), Some(&empty), None] {
        assert_ne!(id(&[kept("a", changed, &["x"]), second.clone()]), name);
    }
    assert_ne!(id(&[kept("a", Some(&empty), &["x"])]), id(&[kept("a", None, &["x"])]));
}

#[test]
fn semantics_13_what_was_first_found_stays_and_what_is_touched_later_is_added() {
    let before = ours("a", "u1", json!({"x": "old"}));
    let mut state = with_snapshot(vec![kept("a", Some(&before), &["x", "y"]), kept("b", None, &[])]);
    let a = ours("a", "u1", json!({"x": "new", "y": "new", "z": "as it was"}));
    let (b, c) = (ours("b", "u2", json!({"x": "ours"})), ours("c", "u3", json!({"x": "1"})));
    let now = [kept("a", Some(&a), &["x", "y", "z"]), kept("b", Some(&b), &["x"]), kept("c", Some(&c), &["x"])];
    state.keep(Some("before"), &now, true);
    let snapshot = state.snapshot("before").unwrap();
    let fields: Vec<Option<Value>> = snapshot.objects.iter().map(|kept| kept.fields.clone()).collect();
    let data = |data: Value| Some(json!({ "data": data }));
    // "y" was not there before, and it is not now.
    assert_eq!(fields, [data(json!({"x": "old", "z": "as it was"})), None, data(json!({"x": "1"}))]);
}

#[test]
fn semantics_13_a_lost_record_is_not_made_up_from_what_is_there_now() {
    let a = ours("a", "u1", json!({"x": "1"}));
    let now = [kept("a", Some(&a), &["x"])];
    let mut state = State::default();
    state.keep(Some("lost"), &now, true);
    assert_eq!(state.snapshot, None);
    // What is observed is known, whoever has set it.
    for previous in [Some(id(&now)), None] {
        let mut state = State::default();
        state.keep(previous.as_deref(), &now, true);
        assert_eq!(state.snapshot(&id(&now)).unwrap().objects, now);
    }
}

#[test]
fn semantics_13_what_changed_before_it_was_first_touched_is_kept_as_it_is_then() {
    let a = ours("a", "u1", json!({"x": "1"}));
    let now = [kept("a", Some(&a), &["x"])];
    // An order before was refused, and nothing was applied; or it is the next run after one that succeeded.
    for (mut state, is_touched) in [(State::default(), false), (with_snapshot(Vec::new()), true)] {
        state.keep(Some("observed for another revision"), &now, is_touched);
        assert_eq!(state.snapshot("observed for another revision").unwrap().objects, now);
    }
}

#[test]
fn what_is_about_to_be_applied_is_written_down_without_forgetting_what_was() {
    let known = Entry {
        object: config_ref("a"),
        uid: Some("u1".to_owned()),
        created: true,
        body: Some("body".to_owned()),
        seen: None,
    };
    let mut state = State {
        inventory: vec![known.clone()],
        left_behind: vec![config_ref("b"), config_ref("z")],
        ..State::default()
    };
    let a = ours("a", "u1", json!({}));
    state.begin("wanted", &run(1), &[kept("a", Some(&a), &[]), kept("b", None, &[])]);
    let new = Entry { object: config_ref("b"), uid: None, created: false, body: None, seen: None };
    assert!(state.has_begun("wanted", &run(1)));
    assert_eq!(state.inventory, [known, new]);
    // What is wanted again is not left behind.
    assert_eq!(state.left_behind, [config_ref("z")]);
    state.leave(&config_ref("z"));
    state.leave(&config_ref("y"));
    assert_eq!(state.left_behind, [config_ref("z"), config_ref("y")]);
}

#[test]
fn semantics_20_after_a_crash_only_what_we_were_first_to_write_is_our_making() {
    let entry = |uid: Option<&str>| Entry {
        object: config_ref("a"),
        uid: uid.map(ToOwned::to_owned),
        created: false,
        body: None,
        seen: None,
    };
    let us = || managed(OURS, "Apply", 5, &["x"]);
    let status = json!({"manager": "controller", "operation": "Update", "subresource": "status",
        "time": "2026-01-01T00:00:01Z", "fieldsV1": {}});
    let rows = [
        (vec![us()], Some("u1"), true),
        (vec![us(), status], Some("u1"), true),
        (vec![us(), managed("other", "Update", 6, &["y"])], Some("u1"), true),
        // Within the same second nobody knows.
        (vec![us(), managed("other", "Update", 5, &["y"])], Some("u1"), false),
        (vec![managed("other", "Apply", 1, &["y"]), us()], Some("u1"), false),
        // Not ours at all, or only by name.
        (vec![managed("other", "Apply", 1, &["y"])], None, false),
        (vec![managed(OURS, "Update", 1, &["x"])], None, false),
    ];
    for (managed, uid, created) in rows {
        let live = live("a", "u1", json!({}), managed);
        let mut state = State { inventory: vec![entry(None)], ..State::default() };
        state.catch_up(OURS, |_| Some(&live));
        assert_eq!((state.inventory[0].uid.as_deref(), state.inventory[0].created), (uid, created), "{live}");
    }
    // Made again after somebody had deleted it; and what was noted is not found out again.
    for (noted, created) in [("another", true), ("u1", false)] {
        let live = live("a", "u1", json!({}), vec![us()]);
        let mut state = State { inventory: vec![entry(Some(noted))], ..State::default() };
        state.catch_up(OURS, |_| Some(&live));
        assert_eq!(state.inventory, [Entry { created, ..entry(Some("u1")) }]);
    }
}

#[test]
fn a_state_is_read_as_it_was_written() {
    let a = ours("a", "u1", json!({"x": "1"}));
    let mut state = with_snapshot(vec![kept("a", Some(&a), &["x"]), kept("b", None, &[])]);
    state.begin("wanted", &run(1), &[kept("a", Some(&a), &["x"])]);
    let text = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
}

#[test]
fn semantics_20_what_another_rollout_of_the_same_name_has_made_is_not_for_this_one_to_remove() {
    let mut left = State::default();
    left.keep(None, &[], false);
    left.begin("wanted", &run(1), &[]);
    let name = left.snapshot.as_ref().unwrap().id.clone();
    let recreated = AssignedRollout { uid: "uid-2".to_owned(), ..run(1) };
    let after = |rollout: &AssignedRollout, previous: Option<&str>| {
        let mut state = left.clone();
        state.disown(rollout, previous);
        state
    };
    assert_eq!(after(&run(2), None), left, "its own next run");
    assert_eq!(after(&recreated, Some(&name)), left, "one that goes on for it");
    assert_eq!(after(&recreated, None), State::default());
    assert_eq!(after(&recreated, Some("another")), State::default());
}

#[test]
fn semantics_13_what_was_begun_counts_for_its_own_run_only() {
    let mut state = State::default();
    assert!(!state.has_begun("wanted", &run(1)));
    state.begin("wanted", &run(1), &[]);
    let recreated = AssignedRollout { uid: "uid-2".to_owned(), ..run(1) };
    let said = |state: &State, hash: &str| [run(1), run(2), recreated.clone()].map(|run| state.has_begun(hash, &run));
    assert_eq!(said(&state, "wanted"), [true, false, false]);
    assert_eq!(said(&state, "other"), [false; 3]);
    state.begin("before", &run(1), &[]);
    assert_eq!((said(&state, "wanted"), said(&state, "before")), ([false; 3], [true, false, false]));
    // All is back without anything having been set; what is applied next is held against what was observed.
    assert!(state.end_other("another") && !state.end_other("another"));
    assert_eq!(said(&state, "before"), [false; 3]);
    // Written by an earlier agent, which had not come to its end.
    let earlier: State = serde_json::from_value(json!({"applying": "wanted"})).unwrap();
    assert_eq!((said(&earlier, "wanted"), said(&earlier, "other")), ([true; 3], [false; 3]));
    let done: State = serde_json::from_value(json!({"applying": null})).unwrap();
    assert!(!done.has_begun("wanted", &run(1)));
}
