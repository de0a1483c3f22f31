//! Rule 13: observe before touching, apply only onto what was observed, remember what was there first.

use std::collections::BTreeMap;

use crds::{Intent, Outcome, Previous, images_hash};
use rollout_core::{MemberStage, Touched};

use crate::world::{World, images};

/// m1 has an unanswered Apply of v2 over v1.
fn applying() -> World {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50, pause: 60}]");
    world.decide();
    world.answer("m1", Outcome::Observed);
    assert_eq!(world.decide(), ["Apply m1: run 1 v2 over v1, previous v1"]);
    world
}

fn previous_images(world: &World, member: &str) -> Option<BTreeMap<String, String>> {
    world.state.members[member].previous.as_ref().map(|previous| previous.images.clone())
}

#[test]
fn semantics_13_an_observation_comes_first_and_is_recorded_as_the_previous_state() {
    let mut world = World::of(&["m1"], "[{setWeight: 100}]");
    let agent = world.agents.get_mut("m1").unwrap();
    agent.runs.as_mut().unwrap().insert("proxy".to_owned(), "proxy:v7".to_owned());
    agent.healthy = false;
    assert_eq!(world.orders(), ["Observe m1: run 1 v2"]);
    assert_eq!(world.orders(), [""; 0], "nothing is applied before the answer");
    world.answer("m1", Outcome::Observed);
    assert_eq!(world.orders(), ["Apply m1: run 1 v2 over v1+proxy=proxy:v7, previous v1+proxy=proxy:v7"]);
    let mut images = images("v1");
    images.insert("proxy".to_owned(), "proxy:v7".to_owned());
    let previous = Previous { uid: "w1".to_owned(), images, healthy: false, snapshot: None };
    assert_eq!(world.state.members["m1"].previous.as_ref(), Some(&previous));
}

#[test]
fn semantics_13_an_apply_is_complete() {
    let mut world = applying();
    world.edit(|spec| spec.deadline_seconds = Some(77));
    let spec = serde_json::to_value(&world.assignments["m1"].spec).unwrap();
    let expected = serde_json::json!({
        "member": "m1",
        "rollout": {"name": "checkout", "uid": "11e8-b0a7", "run": 1},
        "revision": world.rollout().unwrap().payload.as_ref().unwrap().revision,
        "intent": "Apply",
        "fence": {"epoch": 1, "generation": 2},
        "workload": {"kind": "Deployment", "namespace": "shop", "name": "checkout", "images": {"app": "shop:v2"}},
        "expectedHash": images_hash(&images("v1")),
        "previous": {"uid": "w1", "images": {"app": "shop:v1"}, "healthy": true},
        "deadlineSeconds": 600,
        "onDeadline": "Return",
    });
    assert_eq!(spec, expected);
}

#[test]
fn semantics_13_an_accepted_or_incomplete_answer_is_no_observation() {
    let mut world = World::of(&["m1"], "[{setWeight: 100}]");
    world.decide();
    world.answer("m1", Outcome::Accepted);
    assert_eq!(world.decide(), [""; 0]);
    world.answer("m1", Outcome::Observed);
    world.reports.get_mut("m1").unwrap().workload = None;
    assert_eq!(world.decide(), [""; 0]);
    assert_eq!(world.reason(), "Observation");
}

#[test]
fn semantics_13_a_newer_observation_replaces_an_older_one_before_anything_was_touched() {
    let mut world = World::of(&["m1"], "[{setWeight: 100}]");
    world.edit(|spec| spec.paused = true);
    world.decide();
    for tag in ["v1", "v1-hotfix"] {
        world.agents.get_mut("m1").unwrap().runs = Some(images(tag));
        world.answer("m1", Outcome::Observed);
        world.decide();
        assert_eq!(previous_images(&world, "m1"), Some(images(tag)));
    }
    world.edit(|spec| spec.paused = false);
    assert_eq!(world.orders(), ["Apply m1: run 1 v2 over v1-hotfix, previous v1-hotfix"]);
}

#[test]
fn semantics_13_previous_changed_is_observed_afresh_and_then_applied_over_what_is_there_now() {
    let mut world = applying();
    world.agents.get_mut("m1").unwrap().runs = Some(images("v1-hotfix"));
    world.answer("m1", Outcome::PreviousChanged);
    assert_eq!(
        world.decide(),
        [
            "Warning PreviousChanged: m1 no longer runs what was observed, nothing was applied: observing it again",
            "Observe m1: run 1 v2",
        ]
    );
    world.answer("m1", Outcome::Observed);
    assert_eq!(world.decide(), ["Apply m1: run 1 v2 over v1-hotfix, previous v1-hotfix"]);
}

#[test]
fn semantics_13_previous_changed_keeps_the_previous_state_of_a_member_that_was_touched_before() {
    let mut world = applying();
    world.answer("m1", Outcome::Healthy);
    world.decide();
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    world.decide();
    world.answer("m1", Outcome::Observed);
    assert_eq!(world.orders(), ["Apply m1: run 2 v3 over v2, previous v1"]);
    world.agents.get_mut("m1").unwrap().runs = Some(images("v2-hotfix"));
    world.answer("m1", Outcome::PreviousChanged);
    assert_eq!(world.orders(), ["Observe m1: run 2 v3, previous v1"]);
    world.answer("m1", Outcome::Observed);
    assert_eq!(world.orders(), ["Apply m1: run 2 v3 over v2-hotfix, previous v1"]);
}

#[test]
fn semantics_13_superseding_never_overwrites_the_previous_state() {
    let mut world = applying();
    for image in ["v3", "v4", "v5"] {
        world.answer("m1", Outcome::Progressing);
        world.decide();
        world.edit(|spec| spec.image = Some(image.to_owned()));
        world.decide();
        world.answer("m1", Outcome::Observed);
        world.decide();
        assert_eq!(previous_images(&world, "m1"), Some(images("v1")), "in the run to {image}");
    }
}

#[test]
fn semantics_13_an_unanswered_apply_that_is_superseded_counts_as_touched() {
    let mut world = applying();
    assert_eq!(world.state.members["m1"].touched, Touched::Perhaps);
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    assert_eq!(world.orders(), ["Observe m1: run 2 v3, previous v1"]);
    // It was applied after all, and the answer to the first assignment was lost.
    world.agents.get_mut("m1").unwrap().runs = Some(images("v2"));
    world.answer("m1", Outcome::Observed);
    assert_eq!(world.orders(), ["Apply m1: run 2 v3 over v2, previous v1"]);
}

#[test]
fn semantics_13_a_member_that_was_only_observed_takes_the_observation_of_the_next_run() {
    let mut world = World::of(&["m1"], "[{setWeight: 100}]");
    world.edit(|spec| spec.paused = true);
    world.decide();
    world.answer("m1", Outcome::Observed);
    world.decide();
    world.agents.get_mut("m1").unwrap().runs = Some(images("v1-hotfix"));
    world.edit(|spec| {
        spec.image = Some("v3".to_owned());
        spec.paused = false;
    });
    world.decide();
    world.answer("m1", Outcome::Observed);
    assert_eq!(world.orders(), ["Apply m1: run 2 v3 over v1-hotfix, previous v1-hotfix"]);
}

#[test]
fn semantics_13_after_a_success_the_previous_state_is_recorded_afresh() {
    let mut world = World::of(&["m1"], "[{setWeight: 100}]");
    world.finish();
    assert_eq!(world.reason(), "done");
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    assert_eq!(world.orders(), ["Observe m1: run 2 v3"]);
    world.answer("m1", Outcome::Observed);
    assert_eq!(world.orders(), ["Apply m1: run 2 v3 over v2, previous v2"]);
}

#[test]
fn semantics_13_a_late_answer_to_an_earlier_assignment_says_nothing() {
    let mut world = World::of(&["m1"], "[{setWeight: 100}]");
    world.decide();
    world.answer("m1", Outcome::Observed);
    let observed = world.reports["m1"].clone();
    world.decide();
    world.answer("m1", Outcome::Healthy);
    let healthy = world.reports["m1"].clone();
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    world.decide();
    for late in [observed, healthy] {
        world.reports.insert("m1".to_owned(), late);
        assert_eq!(world.decide(), [""; 0]);
    }
    assert_eq!(world.state.members["m1"].stage, MemberStage::Observing);
    assert_eq!(world.assignments["m1"].spec.intent, Intent::Observe);
}
