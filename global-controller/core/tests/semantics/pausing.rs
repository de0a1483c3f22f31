//! Rule 11: what a person's pause stops, and what it does not.

use crds::Outcome;
use rollout_core::{Clock, Stage};

use crate::world::{Spec, World};

#[test]
fn semantics_11_paused_keeps_the_remaining_time_of_the_clock() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50, pause: 300}]");
    world.rest();
    world.advance(100);
    world.edit(|spec| spec.paused = true);
    assert_eq!(world.decide(), ["Normal Paused: paused: no further member is touched"]);
    assert_eq!(world.message(), "paused, with 200 s of the step's pause left: set spec.paused to false to go on");
    assert_eq!(world.wake_at, None);
    world.advance(86_400);
    assert_eq!(world.decide(), [""; 0]);
    world.edit(|spec| spec.paused = false);
    assert_eq!(world.decide(), ["Normal Resumed: resumed"]);
    assert_eq!(world.wake_at, Some(world.now + 200_000));
    world.advance(200);
    assert_eq!(world.orders(), ["Observe m2: run 1 v2"]);
}

#[test]
fn semantics_11_a_pause_that_was_over_when_paused_has_nothing_left() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50, pause: 60}]");
    world.rest();
    world.advance(90);
    world.edit(|spec| spec.paused = true);
    world.decide();
    let stage = world.state.header.run.as_ref().map(|run| run.stage.clone());
    assert_eq!(stage, Some(Stage::Pausing(Clock::Stopped { remaining_millis: 0 })));
    world.edit(|spec| spec.paused = false);
    assert_eq!(world.orders(), ["Observe m2: run 1 v2"]);
}

#[test]
fn semantics_11_a_changed_pause_changes_what_a_stopped_clock_has_left() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50, pause: 300}]");
    world.rest();
    world.advance(100);
    world.edit(|spec| spec.paused = true);
    world.decide();
    for (pause, left) in [(400, 300), (50, 0)] {
        world.edit(|spec| spec.steps = format!("[{{setWeight: 50, pause: {pause}}}]"));
        world.decide();
        let stage = world.state.header.run.as_ref().map(|run| run.stage.clone());
        assert_eq!(stage, Some(Stage::Pausing(Clock::Stopped { remaining_millis: left * 1000 })));
    }
}

#[test]
fn semantics_11_paused_stops_forward_assignments_and_goes_on_taking_reports() {
    let mut world = World::fleet(4, Spec::selecting("[{setWeight: 100, pause: 60}]"));
    world.decide();
    world.all_answer(&["m01", "m02", "m03", "m04"], Outcome::Observed);
    assert_eq!(world.decide(), ["Apply m01: run 1 v2 over v1, previous v1"]);
    world.edit(|spec| spec.paused = true);
    world.answer("m01", Outcome::Healthy);
    assert_eq!(world.decide(), ["Normal Paused: paused: no further member is touched"]);
    assert_eq!(world.summary().status.counts.healthy, 1, "the report was taken up");
    world.answer_saying("m01", Outcome::Progressing, "a pod died");
    assert_eq!(world.decide(), ["Warning MemberUnhealthy: m01 is no longer healthy: Progressing: a pod died"]);
    world.answer("m01", Outcome::Healthy);
    assert_eq!(world.decide(), [""; 0]);
    world.edit(|spec| spec.paused = false);
    assert_eq!(world.decide(), ["Normal Resumed: resumed", "Apply m02: run 1 v2 over v1, previous v1"]);
}

#[test]
fn semantics_11_a_clock_does_not_begin_while_paused() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50, pause: 60}]");
    world.decide();
    world.answer("m1", Outcome::Observed);
    world.decide();
    world.edit(|spec| spec.paused = true);
    world.decide();
    world.answer("m1", Outcome::Healthy);
    assert_eq!(world.decide(), [""; 0]);
    world.advance(600);
    world.edit(|spec| spec.paused = false);
    assert_eq!(
        world.decide(),
        ["Normal Resumed: resumed", "Normal PauseStarted: 1 member healthy: pause of 60 s until 2026-01-01T00:11:00Z"]
    );
}

#[test]
fn semantics_11_created_paused_it_only_plans_and_observes() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50}]");
    world.edit(|spec| spec.paused = true);
    assert_eq!(
        world.finish(),
        [
            "Normal RunStarted: run 1 brings 2 members to revision v2",
            "Normal StepStarted: step 1 of 2: 50% are 1 of 2 members, 1 new, at most 1 in flux",
            "Observe m1: run 1 v2",
        ]
    );
    assert_eq!(world.summary().status.phase, Some(crds::Phase::Paused));
    world.edit(|spec| spec.paused = false);
    assert_eq!(world.decide(), ["Normal Resumed: resumed", "Apply m1: run 1 v2 over v1, previous v1"]);
}

#[test]
fn semantics_11_a_paused_new_run_leaves_touched_members_under_their_old_assignment() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 100}]");
    world.edit(|spec| spec.max_concurrency = Some("1".to_owned()));
    world.decide();
    world.all_answer(&["m1", "m2"], Outcome::Observed);
    assert_eq!(world.orders(), ["Apply m1: run 1 v2 over v1, previous v1"]);
    world.edit(|spec| {
        spec.image = Some("v3".to_owned());
        spec.paused = true;
    });
    // An Observe to m1 would end the repair of drift there.
    assert_eq!(world.orders(), ["Observe m2: run 2 v3, previous v1"]);
    world.edit(|spec| spec.paused = false);
    assert_eq!(world.orders(), ["Observe m1: run 2 v3, previous v1"]);
}
