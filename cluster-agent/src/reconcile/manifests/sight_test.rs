//! What is decided about objects, and what is said of them.

#![allow(clippy::unwrap_used, clippy::panic)]

use crds::{Outcome, RolloutAssignment, RolloutAssignmentStatus};
use serde_json::json;

use super::super::super::ladder::{Answer, Next, next};
use super::super::fixtures::{OURS, config, config_ref, live, lives, managed, order, ours};
use super::super::readiness;
use super::super::state::Entry;
use super::super::wanted::{seen, wanted};
use super::*;
use crate::assignment::fixtures::accepted;

/// All that a decision is about.
struct Case {
    assignment: RolloutAssignment,
    /// What was answered under this fence, and what was applied by then.
    answered: Option<(Outcome, Option<&'static str>)>,
    state: State,
    lives: Lives,
    would: BTreeMap<ObjectRef, Value>,
}

impl Case {
    /// `Apply` of these `ConfigMap`s.
    fn new(objects: &[Value], all: &[(&str, Option<Value>)]) -> Self {
        let (assignment, lives) = (order(objects), lives(all));
        Self { assignment, answered: None, state: State::default(), lives, would: BTreeMap::new() }
    }

    /// One that was applied: "a" with x = 1, of which this is what is there now.
    fn applied(now: Option<Value>) -> Self {
        let manifest = config("a", json!({"x": "1"}));
        let then = ours("a", "u1", json!({"x": "1"}));
        let mut case = Self::new(std::slice::from_ref(&manifest), &[("a", now)]);
        case.answered = Some((Outcome::Healthy, Some("wanted")));
        case.state.note(Entry {
            object: config_ref("a"),
            uid: Some("u1".to_owned()),
            created: true,
            body: Some(super::super::wanted::hash(&manifest)),
            seen: Some(seen(&then, OURS)),
        });
        case.would.insert(config_ref("a"), then);
        case
    }

    fn order(&self) -> Order {
        let mut object = accepted(&self.assignment.spec, None);
        object.status = self.answered.map(|(outcome, applied)| RolloutAssignmentStatus {
            fence: self.assignment.spec.fence,
            outcome,
            applied_hash: applied.map(ToOwned::to_owned),
            ..RolloutAssignmentStatus::default()
        });
        Order::of(&object)
    }

    fn with<T>(&self, ask: impl FnOnce(&Order, &Seen<'_>) -> T) -> T {
        let order = self.order();
        let wanted = wanted(&order, &self.state, "").unwrap();
        let (state, lives, would) = (&self.state, &self.lives, &self.would);
        ask(&order, &Seen { order: &order, wanted: &wanted, state, lives, would, manager: OURS })
    }

    fn next(&self) -> Next {
        self.with(|order, seen| next(order, seen))
    }

    fn answer(&self) -> Answer {
        match self.next() {
            Next::Answer(answer) => answer,
            Next::Set { drifted } => panic!("no answer, but sets it, drifted: {drifted}"),
        }
    }
}

#[test]
fn semantics_13_objects_are_applied_over_what_was_observed_and_over_nothing_else() {
    let there = live("a", "u1", json!({"x": "0", "y": "0"}), vec![managed("people", "Apply", 1, &["x", "y"])]);
    let mut case =
        Case::new(&[config("a", json!({"x": "1"})), config("b", json!({}))], &[("a", Some(there)), ("b", None)]);
    case.would.insert(config_ref("a"), ours("a", "u1", json!({"x": "1"})));
    let mut observe = Case { assignment: case.assignment.clone(), ..case };
    observe.assignment.spec.intent = Intent::Observe;
    let answer = observe.answer();
    let seen = answer.workload.unwrap();
    assert_eq!((answer.outcome, seen.desired, seen.ready, seen.healthy), (Outcome::Observed, 2, 1, true));
    let mut case = Case { assignment: observe.assignment.clone(), ..observe };
    case.assignment.spec.intent = Intent::Apply;
    case.assignment.spec.expected_hash = seen.snapshot;
    assert_eq!(case.next(), Next::Set { drifted: false });
    // A field that is not looked at is no matter of ours, and one that is counts.
    case.lives.0[0].1.as_mut().unwrap().value["data"]["y"] = "1".into();
    assert_eq!(case.next(), Next::Set { drifted: false });
    case.lives.0[0].1.as_mut().unwrap().value["data"]["x"] = "9".into();
    assert_eq!(case.answer().outcome, Outcome::PreviousChanged);
    // Unless it had begun already.
    case.state.begin("wanted", &case.assignment.spec.rollout.clone(), &[]);
    assert_eq!(case.next(), Next::Set { drifted: false });
    // For another run.
    case.assignment.spec.rollout.run += 1;
    assert_eq!(case.answer().outcome, Outcome::PreviousChanged);
}

#[test]
fn semantics_13_what_was_set_and_never_told_is_not_taken_for_what_was_there_before() {
    let mut case = Case::applied(Some(ours("a", "u1", json!({"x": "changed"}))));
    case.assignment.spec.expected_hash = Some("before".to_owned());
    case.answered = None;
    case.state.begin("wanted", &case.assignment.spec.rollout.clone(), &[]);
    assert_eq!(case.next(), Next::Set { drifted: false });
}

#[test]
fn semantics_20_what_is_being_deleted_counts_as_missing() {
    let there = ours("a", "u1", json!({"x": "1"}));
    let mut going = there.clone();
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    let of = |live: Option<Value>| {
        let mut case = Case::new(&[config("a", json!({"x": "1"}))], &[("a", live)]);
        case.assignment.spec.intent = Intent::Observe;
        case.would.insert(config_ref("a"), there.clone());
        if let Some((_, Some(live))) = case.lives.0.first_mut() {
            live.readiness = readiness::readiness(&live.value);
        }
        case.with(|_, seen| (seen.now(), seen.health().observation.healthy))
    };
    let (kept, healthy) = of(Some(going.clone()));
    assert_eq!((id(&kept), kept[0].uid.as_deref(), kept[0].ready, healthy), (id(&of(None).0), None, false, true));
    assert_ne!(id(&kept), id(&of(Some(there.clone())).0));
    // It is not back either, also where it need not be ready.
    let mut case = Case::applied(Some(going));
    let set = FieldSet::of(OURS, &there).unwrap();
    let objects = vec![Kept::of(&config_ref("a"), Some(&there), set, false)];
    case.state.snapshot = Some(super::super::state::Snapshot { id: "before".to_owned(), objects });
    case.assignment.spec.intent = Intent::Return;
    assert_eq!(case.answer().outcome, Outcome::Progressing);
    case.lives = lives(&[("a", Some(there))]);
    assert_eq!(case.answer().outcome, Outcome::Healthy);
}

#[test]
fn what_is_applied_is_judged_by_whether_it_is_ready() {
    let there = ours("a", "u1", json!({"x": "1"}));
    let mut case = Case::applied(Some(there));
    let answer = case.answer();
    assert_eq!((answer.outcome, answer.message.as_str()), (Outcome::Healthy, "1 of 1 objects ready"));
    assert_eq!(answer.applied_hash.as_deref(), Some("wanted"));
    let live = case.lives.0[0].1.as_mut().unwrap();
    live.readiness = Readiness::InProgress("1 of 3 pods updated".to_owned());
    let answer = case.answer();
    let message = "0 of 1 objects ready; ConfigMap shop/a: 1 of 3 pods updated";
    assert_eq!((answer.outcome, answer.message.as_str()), (Outcome::Progressing, message));
    case.lives.0[0].1.as_mut().unwrap().awaits_owner = true;
    assert_eq!(case.answer().outcome, Outcome::PodDeletionByOwner);
}

#[test]
fn semantics_20_what_is_left_behind_is_named_as_long_as_it_is_there() {
    let mut case = Case::applied(Some(ours("a", "u1", json!({"x": "1"}))));
    case.state.left_behind = vec![config_ref("old"), config_ref("gone")];
    case.lives.put(&config_ref("old"), case.lives.get(&config_ref("a")).cloned());
    let message = "1 of 1 objects ready; left behind as they are: ConfigMap shop/old";
    assert_eq!(case.answer().message, message);
}

#[test]
fn of_many_objects_the_first_are_named_and_those_that_failed_before_all() {
    let names = ["a", "b", "c", "d", "e"];
    let objects: Vec<Value> = names.iter().map(|name| config(name, json!({}))).collect();
    let mut case = Case::new(&objects, &names.map(|name| (name, Some(ours(name, "u", json!({}))))));
    for (index, (_, live)) in case.lives.0.iter_mut().enumerate() {
        let live = live.as_mut().unwrap();
        live.readiness = match index {
            0 => Readiness::Ready,
            4 => Readiness::Failed("it can't".to_owned()),
            _ => Readiness::InProgress("soon".to_owned()),
        };
    }
    let message = case.with(|_, seen| seen.health().message);
    let expected =
        "1 of 5 objects ready; ConfigMap shop/e: it can't; ConfigMap shop/b: soon; ConfigMap shop/c: soon; and 1 more";
    assert_eq!(message, expected);
}

#[test]
fn semantics_22_drift_is_repaired_or_reported_with_who_has_changed_what() {
    let theirs = vec![managed(OURS, "Apply", 1, &[]), managed("kubectl-edit", "Update", 2, &["x"])];
    let mut case = Case::applied(Some(live("a", "u1", json!({"x": "9"}), theirs)));
    assert_eq!(case.next(), Next::Set { drifted: true });
    case.assignment.spec.on_drift = OnDrift::Report;
    let answer = case.answer();
    let message = "kubectl-edit has changed ConfigMap shop/a .data.x";
    assert_eq!((answer.outcome, answer.message.as_str()), (Outcome::Drifted, message));
    // One that only owns what is still there has changed nothing.
    let same = vec![managed(OURS, "Apply", 1, &[]), managed("kubectl-edit", "Update", 2, &["x"])];
    case.lives = lives(&[("a", Some(live("a", "u1", json!({"x": "1"}), same)))]);
    assert_eq!(case.answer().outcome, Outcome::Healthy);
    // What the API server would make of it is not known.
    case.would.clear();
    assert_eq!(case.answer().message, "somebody has changed ConfigMap shop/a");
    case.lives = lives(&[("a", None)]);
    assert_eq!(case.answer().message, "somebody has changed ConfigMap shop/a, which is deleted");
}

#[test]
fn semantics_22_one_change_too_many_names_who_made_it() {
    let theirs = vec![managed(OURS, "Apply", 1, &[]), managed("kubectl-edit", "Update", 2, &["x"])];
    let case = Case::applied(Some(live("a", "u1", json!({"x": "9"}), theirs)));
    let said = case.with(|order, seen| {
        let mut order = order.clone();
        order.contested = true;
        next(&order, seen)
    });
    let Next::Answer(answer) = said else { panic!("{said:?}") };
    let message =
        "kubectl-edit has changed what was set 3 times within 10 minutes, the last time ConfigMap shop/a .data.x";
    assert_eq!((answer.outcome, answer.message.as_str()), (Outcome::Contended, message));
}

#[test]
fn semantics_13_a_return_is_done_when_all_is_as_before_and_what_came_since_is_gone() {
    let mut case = Case::applied(Some(ours("a", "u1", json!({"x": "1"}))));
    let set = FieldSet::of(OURS, &ours("a", "u1", json!({"x": "1"}))).unwrap();
    let before = live("a", "u1", json!({"x": "old"}), vec![managed(OURS, "Apply", 1, &["x"])]);
    let objects = vec![Kept::of(&config_ref("a"), Some(&before), set, true)];
    case.state.snapshot = Some(super::super::state::Snapshot { id: "before".to_owned(), objects });
    case.assignment.spec.intent = Intent::Return;
    assert_eq!(case.next(), Next::Set { drifted: false });
    case.lives = lives(&[("a", Some(before)), ("b", Some(ours("b", "u2", json!({}))))]);
    assert_eq!(case.answer().applied_hash.as_deref(), Some("before"));
    case.state.note(Entry { object: config_ref("b"), uid: None, created: true, body: None, seen: None });
    assert_eq!(case.next(), Next::Set { drifted: false });
}

#[test]
fn semantics_22_on_the_way_back_what_was_there_before_tells_who_has_changed_what() {
    let theirs = vec![managed(OURS, "Apply", 1, &[]), managed("kubectl-edit", "Update", 2, &["x"])];
    let mut case = Case::applied(Some(live("a", "u1", json!({"x": "9"}), theirs)));
    let before = ours("a", "u1", json!({"x": "old"}));
    let objects = vec![Kept::of(&config_ref("a"), Some(&before), FieldSet::of(OURS, &before).unwrap(), true)];
    case.state.snapshot = Some(super::super::state::Snapshot { id: "before".to_owned(), objects });
    case.assignment.spec.intent = Intent::Return;
    case.would.clear();
    let said = case.with(|order, seen| seen.reported(order));
    assert_eq!(said, "kubectl-edit has changed ConfigMap shop/a .data.x");
}
