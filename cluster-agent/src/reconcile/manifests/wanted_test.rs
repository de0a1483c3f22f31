//! What objects are to be, in tables.

#![allow(clippy::unwrap_used, clippy::panic)]

use crds::{Fence, Intent, Outcome, RolloutAssignment, RolloutAssignmentStatus};
use serde_json::json;

use super::super::fixtures::{OURS, config, config_ref, order, ours};
use super::super::state::{Kept, Snapshot};
use super::*;
use crate::assignment::fixtures::accepted;

fn of(assignment: &RolloutAssignment, applied: Option<&str>) -> Order {
    let mut object = accepted(&assignment.spec, None);
    object.status = Some(RolloutAssignmentStatus {
        fence: Fence { epoch: 1, generation: 5 },
        outcome: Outcome::Healthy,
        applied_hash: applied.map(ToOwned::to_owned),
        ..RolloutAssignmentStatus::default()
    });
    Order::of(&object)
}

/// "a" was there and not ready, "b" was not; the rollout has fields of both, and of "c".
fn state() -> State {
    let a = ours("a", "u1", json!({"x": "old"}));
    let set = FieldSet::of(OURS, &a).unwrap();
    let objects = vec![
        Kept::of(&config_ref("a"), Some(&a), set.clone(), false),
        Kept::of(&config_ref("b"), None, FieldSet::default(), false),
    ];
    let mut state = State { snapshot: Some(Snapshot { id: "before".to_owned(), objects }), ..State::default() };
    for name in ["a", "b", "c"] {
        let object = config_ref(name);
        state.note(Entry { object, uid: Some("u1".to_owned()), created: true, body: None, seen: None });
    }
    state
}

#[test]
fn an_apply_wants_its_objects_and_leaves_those_of_earlier_revisions() {
    let order = of(&order(&[config("a", json!({"x": "new"})), config("d", json!({}))]), None);
    let wanted = wanted(&order, &state(), "").unwrap();
    let names: Vec<&str> = wanted.objects.iter().map(|target| target.object.name.as_str()).collect();
    assert_eq!((wanted.hash.as_str(), names, wanted.is_return), ("wanted", vec!["a", "d"], false));
    assert_eq!(wanted.gone, [config_ref("b"), config_ref("c")]);
    assert!(wanted.objects.iter().all(|target| target.must_be_ready));
}

#[test]
fn semantics_42_an_order_whose_objects_are_lost_removes_nothing() {
    for intent in [Intent::Observe, Intent::Apply] {
        let mut lost = order(&[]);
        lost.spec.intent = intent;
        assert_eq!(wanted(&of(&lost, Some("wanted")), &state(), "").unwrap_err(), UNKNOWN);
    }
}

#[test]
fn semantics_13_a_return_wants_what_was_there_before() {
    let mut back = order(&[]);
    back.spec.intent = Intent::Return;
    let wanted = wanted(&of(&back, Some("wanted")), &state(), "").unwrap();
    assert_eq!((wanted.hash.as_str(), wanted.is_return), ("before", true));
    let [target] = &wanted.objects[..] else { panic!("{wanted:?}") };
    assert_eq!(target.manifest, config("a", json!({"x": "old"})));
    // It was not ready before, and need not be.
    assert!(!target.must_be_ready);
    assert_eq!(wanted.gone, [config_ref("b"), config_ref("c")]);
}

#[test]
fn semantics_13_without_its_record_nothing_is_brought_back_unless_there_is_nothing_to_bring_back() {
    let mut back = order(&[]);
    back.spec.intent = Intent::Return;
    let lost = wanted(&of(&back, Some("wanted")), &State::default(), "ConfigMap x/y").unwrap_err();
    assert!(
        lost.starts_with("there is no record of what was there before") && lost.contains("ConfigMap x/y"),
        "{lost}"
    );
    for applied in [None, Some("before")] {
        let wanted = wanted(&of(&back, applied), &State::default(), "").unwrap();
        assert!(wanted.objects.is_empty() && wanted.gone.is_empty() && wanted.hash == "before", "{applied:?}");
    }
    // Its assignment is new: what an earlier one did, whose record went with it, nobody knows.
    let new = Order::of(&accepted(&back.spec, None));
    assert_eq!(wanted(&new, &State::default(), "ConfigMap x/y").unwrap_err(), lost);
    assert!(wanted(&new, &state(), "").is_ok(), "the record is there");
    // Having said so makes it no better, also when it is tried again.
    let mut again = accepted(&back.spec, None);
    again.spec.fence.generation += 1;
    let status = RolloutAssignmentStatus { outcome: Outcome::Refused, message: lost.clone(), ..Default::default() };
    again.status = Some(status);
    assert_eq!(wanted(&Order::of(&again), &State::default(), "ConfigMap x/y").unwrap_err(), lost);
    // Something was applied since the record was lost.
    let mut since = state();
    since.snapshot = None;
    assert!(wanted(&of(&back, None), &since, "").is_err());
    back.spec.previous = None;
    assert_eq!(wanted(&of(&back, None), &state(), "").unwrap_err(), NOWHERE);
}

#[test]
fn an_object_is_there_when_it_is_what_was_made_of_it() {
    let target = WantedObject::of(&Manifest(config("a", json!({"x": "1"}))));
    let there = ours("a", "u1", json!({"x": "1"}));
    let entry = Entry {
        object: config_ref("a"),
        uid: Some("u1".to_owned()),
        created: true,
        body: Some(target.body.clone()),
        seen: Some(seen(&there, OURS)),
    };
    assert!(target.is_there(Some(&entry), Some(&there), OURS));
    let changed = ours("a", "u1", json!({"x": "2"}));
    let another = ours("a", "u2", json!({"x": "1"}));
    let mut taken = there.clone();
    taken["metadata"]["managedFields"][0]["manager"] = "kubectl-edit".into();
    for other in [None, Some(&changed), Some(&another), Some(&taken)] {
        assert!(!target.is_there(Some(&entry), other, OURS), "{other:?}");
    }
    assert!(!target.is_there(None, Some(&there), OURS));
    let older = Entry { body: Some("older".to_owned()), ..entry };
    assert!(!target.is_there(Some(&older), Some(&there), OURS));
}

#[test]
fn on_the_way_back_it_is_enough_that_an_object_is_as_it_was() {
    let mut back = order(&[]);
    back.spec.intent = Intent::Return;
    let wanted = wanted(&of(&back, Some("wanted")), &state(), "").unwrap();
    let untouched = ours("a", "u1", json!({"x": "old", "theirs": "1"}));
    assert!(wanted.objects[0].is_there(None, Some(&untouched), "nobody"));
    assert!(!wanted.objects[0].is_there(None, Some(&ours("a", "u1", json!({"x": "new"}))), OURS));
}

#[test]
fn what_is_the_agents_own_or_there_twice_is_not_for_rollouts() {
    let said = |objects: &[Value]| {
        let wanted = wanted(&of(&order(objects), None), &State::default(), "").unwrap();
        unfit(&wanted, "checkout", "rollout-system").unwrap_or_default()
    };
    let labelled = |value: &str| {
        let mut object = config("a", json!({}));
        object["metadata"]["labels"] = json!({ROLLOUT_LABEL: value});
        object
    };
    let mut fences = config("cluster-agent-fences", json!({}));
    fences["metadata"]["namespace"] = "rollout-system".into();
    let order =
        json!({"apiVersion": "rollout.example.com/v1alpha1", "kind": "RolloutAssignment", "metadata": {"name": "x"}});
    assert_eq!(
        said(&[config("a", json!({})), config("b", json!({})), labelled("checkout")]),
        "ConfigMap shop/a is there twice"
    );
    assert_eq!(said(&[labelled("checkout")]), "");
    assert!(
        said(&[labelled("other")])
            .starts_with("ConfigMap shop/a: the label rollout.example.com/rollout is the agent's own")
    );
    for own in [fences, order] {
        assert!(said(&[own]).ends_with("what is the agent's own is not for rollouts"));
    }
}
