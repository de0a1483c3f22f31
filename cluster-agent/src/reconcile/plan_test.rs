//! What is decided, in tables.

#![allow(clippy::unwrap_used, clippy::panic)]

use crds::{Deadline, DeadlineState, OnDeadline, OnDrift, RolloutAssignment, RolloutAssignmentStatus};

use super::super::workload::fixtures::{DEPLOYMENT, STATEFUL_SET, workload};
use super::*;
use crate::assignment::fixtures::{accepted, assignment};

const V2: (&str, &str) = ("shop:v1", "shop:v2");
const V9: (&str, &str) = ("shop:v1", "shop:v9");

fn images(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, image)| ((*name).to_owned(), (*image).to_owned())).collect()
}

/// `Apply` of shop:v2 over what the fixture runs.
fn apply() -> RolloutAssignment {
    let mut assignment = assignment(5);
    assignment.spec.expected_hash = Some(images_hash(&workload(DEPLOYMENT, &[]).images()));
    assignment
}

fn back() -> RolloutAssignment {
    let mut assignment = assignment(6);
    assignment.spec.intent = Intent::Return;
    assignment
}

/// The order after `assignment` arrived over `before`.
fn over(assignment: &RolloutAssignment, before: Option<&RolloutAssignment>) -> Order {
    Order::of(&accepted(&assignment.spec, before))
}

/// The object with a status that says so.
fn answered(
    assignment: &RolloutAssignment,
    outcome: Outcome,
    applied: Option<&BTreeMap<String, String>>,
) -> RolloutAssignment {
    let mut object = accepted(&assignment.spec, None);
    object.status = Some(RolloutAssignmentStatus {
        fence: assignment.spec.fence,
        sequence: 1,
        outcome,
        applied_hash: applied.map(images_hash),
        ..RolloutAssignmentStatus::default()
    });
    object
}

fn outcome(step: Step) -> (Outcome, String) {
    match step {
        Step::Answer(answer) => (answer.outcome, answer.message),
        step => panic!("no answer: {step:?}"),
    }
}

fn applies(drifted: bool, pairs: &[(&str, &str)]) -> Step {
    Step::Apply(Images { images: images(pairs), drifted })
}

#[test]
fn observe_describes_all_containers_and_changes_nothing() {
    let mut observe = assignment(5);
    observe.spec.intent = Intent::Observe;
    let Step::Answer(answer) = plan(&over(&observe, None), Some(&workload(DEPLOYMENT, &[]))) else { panic!() };
    assert_eq!(answer.outcome, Outcome::Observed);
    assert_eq!(
        answer.workload.unwrap().images,
        images(&[("app", "shop:v1"), ("init", "init:v1"), ("proxy", "proxy:v1")])
    );
    assert_eq!(answer.applied_hash, None);
}

#[test]
fn a_missing_workload_or_container_is_named_whatever_the_intent() {
    for intent in [Intent::Observe, Intent::Apply, Intent::Return] {
        let mut assignment = back();
        assignment.spec.intent = intent;
        let gone = outcome(plan(&over(&assignment, None), None));
        assert_eq!(gone, (Outcome::WorkloadMissing, "Deployment/shop/checkout does not exist".to_owned()));
        let renamed = workload(DEPLOYMENT, &[("name: app, ", "name: main, ")]);
        let missing = outcome(plan(&over(&assignment, None), Some(&renamed)));
        assert_eq!(missing, (Outcome::WorkloadMissing, "Deployment/shop/checkout has no container 'app'".to_owned()));
    }
}

#[test]
fn apply_sets_the_images_when_the_workload_is_as_observed() {
    let step = plan(&over(&apply(), None), Some(&workload(DEPLOYMENT, &[])));
    assert_eq!(step, applies(false, &[("app", "shop:v2")]));
}

#[test]
fn semantics_13_apply_touches_nothing_that_was_not_observed() {
    let said = outcome(plan(&over(&apply(), None), Some(&workload(DEPLOYMENT, &[V9]))));
    assert_eq!(said.0, Outcome::PreviousChanged);
    assert!(said.1.contains("app=shop:v9"), "{}", said.1);
    // An image of another container counts too, and so does an assignment that names no hash.
    let other = workload(DEPLOYMENT, &[("proxy:v1", "proxy:v2")]);
    assert_eq!(outcome(plan(&over(&apply(), None), Some(&other))).0, Outcome::PreviousChanged);
    assert_eq!(
        outcome(plan(&over(&assignment(5), None), Some(&workload(DEPLOYMENT, &[])))).0,
        Outcome::PreviousChanged
    );
}

#[test]
fn previous_changed_stands_until_another_fence_comes() {
    let order = Order::of(&answered(&apply(), Outcome::PreviousChanged, None));
    for live in [workload(DEPLOYMENT, &[]), workload(DEPLOYMENT, &[V2])] {
        assert_eq!(outcome(plan(&order, Some(&live))).0, Outcome::PreviousChanged);
    }
    let mut next = apply();
    next.spec.fence.generation = 6;
    let order = over(&next, Some(&answered(&apply(), Outcome::PreviousChanged, None)));
    assert_eq!(plan(&order, Some(&workload(DEPLOYMENT, &[]))), applies(false, &[("app", "shop:v2")]));
}

#[test]
fn images_that_are_there_are_not_applied_and_health_is_reported() {
    let hash = images_hash(&images(&[("app", "shop:v2")]));
    let rows = [
        (workload(DEPLOYMENT, &[V2]), Outcome::Healthy),
        (workload(DEPLOYMENT, &[V2, ("updatedReplicas: 3", "updatedReplicas: 1")]), Outcome::Progressing),
        (workload(DEPLOYMENT, &[V2, ("observedGeneration: 3", "observedGeneration: 2")]), Outcome::Progressing),
    ];
    for (live, expected) in rows {
        let Step::Answer(answer) = plan(&over(&apply(), None), Some(&live)) else { panic!() };
        assert_eq!((answer.outcome, answer.applied_hash.as_deref()), (expected, Some(hash.as_str())));
    }
}

#[test]
fn semantics_22_drift_is_repaired_under_later_fences_of_the_same_revision() {
    let applied = answered(&apply(), Outcome::Healthy, Some(&images(&[("app", "shop:v2")])));
    let mut again = apply();
    again.spec.fence.generation = 7;
    again.spec.rollout.run = 2;
    for order in [Order::of(&applied), over(&again, Some(&applied))] {
        let step = plan(&order, Some(&workload(DEPLOYMENT, &[V9])));
        assert_eq!(step, applies(true, &[("app", "shop:v2")]));
    }
}

/// What the agent works on when `assignment`, by which it had set these images, comes again with drift to be reported only.
fn reporting(assignment: &RolloutAssignment, set: &[(&str, &str)]) -> Order {
    let applied = answered(assignment, Outcome::Healthy, Some(&images(set)));
    let mut again = assignment.clone();
    again.spec.fence.generation += 1;
    again.spec.on_drift = OnDrift::Report;
    over(&again, Some(&applied))
}

#[test]
fn semantics_22_where_drift_is_only_reported_nothing_is_set_and_who_has_set_it_is_named() {
    let order = reporting(&apply(), &[("app", "shop:v2")]);
    let said = outcome(plan(&order, Some(&workload(DEPLOYMENT, &[V9]))));
    let who = "kubectl-client-side-apply has set app to shop:v9 instead of shop:v2".to_owned();
    assert_eq!(said, (Outcome::Drifted, who));
    assert_eq!(outcome(plan(&order, Some(&workload(DEPLOYMENT, &[V2])))).0, Outcome::Healthy);
    // Back to what it ran before is drift like any other, though the order would once have been carried out over it.
    assert_eq!(outcome(plan(&order, Some(&workload(DEPLOYMENT, &[])))).0, Outcome::Drifted);
    // Nor is anything set where nobody knows any more what was.
    let mut again = apply();
    again.spec.on_drift = OnDrift::Report;
    assert_eq!(outcome(plan(&over(&again, None), Some(&workload(DEPLOYMENT, &[])))).0, Outcome::Drifted);
}

#[test]
fn semantics_22_drift_after_a_return_is_reported_too() {
    let order = reporting(&back(), &[("app", "shop:v1")]);
    let said = outcome(plan(&order, Some(&workload(DEPLOYMENT, &[V9]))));
    let who = "kubectl-client-side-apply has set app to shop:v9 instead of shop:v1".to_owned();
    assert_eq!(said, (Outcome::Drifted, who));
    assert_eq!(outcome(plan(&order, Some(&workload(DEPLOYMENT, &[])))).0, Outcome::Healthy);
}

#[test]
fn semantics_22_one_change_too_many_is_not_repaired_and_stands_until_another_fence_comes() {
    let mut order = Order::of(&answered(&apply(), Outcome::Progressing, Some(&images(&[("app", "shop:v2")]))));
    assert_eq!(plan(&order, Some(&workload(DEPLOYMENT, &[V9]))), applies(true, &[("app", "shop:v2")]));
    order.contested = true;
    // As long as nobody changes it there is nothing to fight about.
    assert_eq!(outcome(plan(&order, Some(&workload(DEPLOYMENT, &[V2])))).0, Outcome::Healthy);
    let (contended, said) = outcome(plan(&order, Some(&workload(DEPLOYMENT, &[V9]))));
    assert_eq!(contended, Outcome::Contended);
    let who = "kubectl-client-side-apply has set other images 3 times within 10 minutes, the last time app to shop:v9 instead of shop:v2";
    assert_eq!(said, who);

    let mut object = answered(&apply(), Outcome::Contended, Some(&images(&[("app", "shop:v2")])));
    object.status.as_mut().unwrap().message.clone_from(&said);
    // By an agent that has started again, and when the deadline has passed meanwhile.
    let mut order = Order::of(&object);
    order.overdue = true;
    for live in [workload(DEPLOYMENT, &[V9]), workload(DEPLOYMENT, &[V2])] {
        assert_eq!(outcome(plan(&order, Some(&live))), (Outcome::Contended, said.clone()));
    }
    let mut next = apply();
    next.spec.fence.generation = 6;
    let order = over(&next, Some(&object));
    assert_eq!(plan(&order, Some(&workload(DEPLOYMENT, &[V9]))), applies(true, &[("app", "shop:v2")]));
}

#[test]
fn semantics_22_what_was_never_set_is_not_contended() {
    let mut order = over(&apply(), None);
    order.contested = true;
    assert_eq!(plan(&order, Some(&workload(DEPLOYMENT, &[]))), applies(false, &[("app", "shop:v2")]));
}

#[test]
fn semantics_22_nobody_who_is_known_is_called_unknown_and_each_container_has_its_own() {
    let mut two = apply();
    let wanted = images(&[("app", "shop:v2"), ("init", "init:v2")]);
    two.spec.workload.as_mut().unwrap().images.clone_from(&wanted);
    two.spec.on_drift = OnDrift::Report;
    let order = Order::of(&answered(&two, Outcome::Healthy, Some(&wanted)));
    let (_, said) = outcome(plan(&order, Some(&workload(DEPLOYMENT, &[V9]))));
    let both = "kubectl-client-side-apply has set app to shop:v9 instead of shop:v2, init to init:v1 instead of init:v2 (by unknown)";
    assert_eq!(said, both);
}

#[test]
fn what_was_applied_for_another_revision_is_no_drift() {
    let applied = answered(&apply(), Outcome::Healthy, Some(&images(&[("app", "shop:v2")])));
    let mut other = apply();
    other.spec.fence.generation = 7;
    other.spec.revision.0 = "bbbb".to_owned();
    let said = outcome(plan(&over(&other, Some(&applied)), Some(&workload(DEPLOYMENT, &[V9]))));
    assert_eq!(said.0, Outcome::PreviousChanged);
}

#[test]
fn return_sets_the_previous_images_of_the_named_containers_only() {
    let applied = answered(&apply(), Outcome::Progressing, Some(&images(&[("app", "shop:v2")])));
    let order = over(&back(), Some(&applied));
    assert_eq!(plan(&order, Some(&workload(DEPLOYMENT, &[V2]))), applies(false, &[("app", "shop:v1")]));
    let Step::Answer(answer) = plan(&order, Some(&workload(DEPLOYMENT, &[]))) else { panic!() };
    assert_eq!(answer.outcome, Outcome::Healthy);
    assert_eq!(answer.applied_hash, Some(images_hash(&images(&[("app", "shop:v1")]))));
}

#[test]
fn return_without_a_previous_state_is_refused() {
    let mut nowhere = back();
    nowhere.spec.previous = None;
    let said = outcome(plan(&over(&nowhere, None), Some(&workload(DEPLOYMENT, &[V2]))));
    assert_eq!(said, (Outcome::Refused, "there is no previous state to return to".to_owned()));
}

#[test]
fn semantics_49_a_pruned_assignment_is_refused_and_not_acted_on() {
    let mut object = accepted(&apply().spec, None);
    object.spec.expected_hash = None;
    let said = outcome(plan(&Order::of(&object), Some(&workload(DEPLOYMENT, &[]))));
    assert_eq!(said.0, Outcome::Refused);
    assert!(said.1.starts_with("SchemaPruned:"), "{}", said.1);
}

#[test]
fn withdraw_touches_no_workload_even_when_pruned() {
    let mut withdraw = apply();
    withdraw.spec.intent = Intent::Withdraw;
    let mut object = accepted(&withdraw.spec, None);
    object.spec.previous = None;
    for live in [None, Some(workload(DEPLOYMENT, &[]))] {
        assert_eq!(plan(&Order::of(&object), live.as_ref()), Step::Withdraw);
    }
}

/// `Apply` of shop:v2 that returns by itself, with this of its deadline in its status.
fn deadline(state: DeadlineState, outcome: Outcome) -> Order {
    let mut apply = apply();
    apply.spec.on_deadline = OnDeadline::Return;
    let mut object = answered(&apply, outcome, Some(&images(&[("app", "shop:v2")])));
    object.status.as_mut().unwrap().deadline = Some(Deadline { state, until: None });
    Order::of(&object)
}

#[test]
fn semantics_17_past_the_deadline_the_agent_first_says_so_and_then_goes_back() {
    let mut order = deadline(DeadlineState::Running, Outcome::Progressing);
    let hanging = workload(DEPLOYMENT, &[V2, ("updatedReplicas: 3", "updatedReplicas: 1")]);
    let gives_up = |order: &Order, live: &Workload| match plan(order, Some(live)) {
        Step::Answer(answer) => (answer.outcome, answer.gives_up),
        step => panic!("no answer: {step:?}"),
    };
    assert_eq!(gives_up(&order, &hanging), (Outcome::Progressing, false));
    order.overdue = true;
    assert_eq!(gives_up(&order, &hanging), (Outcome::Progressing, true));
    // Nor does it apply once more what was never set, or was set back by somebody.
    assert_eq!(gives_up(&order, &workload(DEPLOYMENT, &[V9])), (Outcome::Progressing, true));
    assert_eq!(gives_up(&order, &workload(DEPLOYMENT, &[V2])), (Outcome::Healthy, false));
    let order = deadline(DeadlineState::Passed, Outcome::Progressing);
    assert_eq!(plan(&order, Some(&hanging)), applies(false, &[("app", "shop:v1")]));
}

#[test]
fn semantics_17_once_back_the_agent_never_applies_again_and_repairs_towards_the_previous_images() {
    for before in [Outcome::Progressing, Outcome::Reverted, Outcome::Refused] {
        let order = deadline(DeadlineState::Passed, before);
        let Step::Answer(answer) = plan(&order, Some(&workload(DEPLOYMENT, &[]))) else { panic!() };
        assert_eq!(answer.outcome, Outcome::Reverted);
        assert_eq!(answer.applied_hash, Some(images_hash(&images(&[("app", "shop:v1")]))));
        assert!(answer.message.starts_with("not healthy within 600 s: went back by itself;"), "{}", answer.message);
        for live in [workload(DEPLOYMENT, &[V2]), workload(DEPLOYMENT, &[V9])] {
            assert_eq!(plan(&order, Some(&live)), applies(false, &[("app", "shop:v1")]));
        }
    }
}

#[test]
fn semantics_18_with_on_delete_it_waits_for_the_owner_there_and_back_and_no_deadline_sends_it_back() {
    let on_delete = ("type: RollingUpdate\n    rollingUpdate: {partition: 0}", "type: OnDelete");
    let old = ("updatedReplicas: 3", "updatedReplicas: 1");
    let starting = ("availableReplicas: 3", "availableReplicas: 2");
    let ledger =
        |image, more: &[(&str, &str)]| workload(STATEFUL_SET, &[&[on_delete, ("ledger:v1", image)], more].concat());
    let mut order = deadline(DeadlineState::Suspended, Outcome::PodDeletionByOwner);
    for (more, expected) in
        [(&[old][..], Outcome::PodDeletionByOwner), (&[old, starting], Outcome::Progressing), (&[], Outcome::Healthy)]
    {
        assert_eq!(outcome(plan(&order, Some(&ledger("shop:v2", more)))).0, expected);
        assert_eq!(outcome(plan(&over(&back(), None), Some(&ledger("shop:v1", more)))).0, expected);
    }
    // The owner's turn came at the very end.
    order.overdue = true;
    let Step::Answer(answer) = plan(&order, Some(&ledger("shop:v2", &[old]))) else { panic!() };
    assert_eq!((answer.outcome, answer.gives_up), (Outcome::PodDeletionByOwner, false));
    let Step::Answer(answer) = plan(&order, Some(&ledger("shop:v2", &[old, starting]))) else { panic!() };
    assert_eq!((answer.outcome, answer.gives_up), (Outcome::Progressing, true));
    // One that has gone back by itself says so, whoever deletes its pods.
    let order = deadline(DeadlineState::Passed, Outcome::Reverted);
    assert_eq!(outcome(plan(&order, Some(&ledger("shop:v1", &[old])))).0, Outcome::Reverted);
}
