//! Rules 9 and 10: weights, steps, and what follows the last one.

use crds::Outcome;

use crate::world::{Spec, World};

/// Members in the waves begun after each step of a fleet, the implicit last one included.
fn wave_ends(count: usize, steps: &str) -> Vec<usize> {
    let mut world =
        World::fleet(count, Spec::selecting(steps).with(|spec| spec.max_concurrency = Some("100000".to_owned())));
    let mut ends = Vec::new();
    while world.reason() != "done" {
        world.rest();
        ends.push(world.applied().len());
        world.now = world.wake_at.unwrap_or(world.now);
    }
    ends.pop();
    ends
}

#[test]
fn semantics_09_weight_is_cumulative_and_rounds_up_to_at_least_one() {
    assert_eq!(
        wave_ends(10, "[{setWeight: 1, pause: 1}, {setWeight: 11, pause: 1}, {setWeight: 50, pause: 1}]"),
        [1, 2, 5, 10]
    );
    assert_eq!(
        wave_ends(3, "[{setWeight: 10, pause: 1}, {setWeight: 34, pause: 1}, {setWeight: 99, pause: 1}]"),
        [1, 2, 3, 3]
    );
    assert_eq!(wave_ends(1, "[{setWeight: 1, pause: 1}]"), [1, 1]);
}

#[test]
fn semantics_09_a_step_that_adds_nobody_still_runs_its_pause() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 10, pause: 60}, {setWeight: 20, pause: 60}]");
    world.rest();
    world.advance(60);
    assert_eq!(
        world.decide(),
        [
            "Normal StepStarted: step 2 of 3: 20% are 1 of 2 members, 0 new, at most 1 in flux",
            "Normal PauseStarted: 1 member healthy: pause of 60 s until 2026-01-01T00:02:00Z",
        ]
    );
}

#[test]
fn semantics_09_without_a_pause_or_with_0_a_step_advances_on_health_alone() {
    for steps in ["[{setWeight: 50}]", "[{setWeight: 50, pause: 0}]"] {
        let mut world = World::of(&["m1", "m2"], steps);
        world.decide();
        world.answer("m1", Outcome::Observed);
        assert_eq!(world.decide(), ["Apply m1: run 1 v2 over v1, previous v1"]);
        world.answer("m1", Outcome::Progressing);
        assert_eq!(world.decide(), [""; 0], "with {steps}");
        world.answer("m1", Outcome::Healthy);
        assert_eq!(
            world.decide(),
            [
                "Normal StepStarted: step 2 of 2: 100% are 2 of 2 members, 1 new, at most 1 in flux",
                "Observe m2: run 1 v2",
            ]
        );
    }
}

#[test]
fn semantics_09_a_pause_begins_when_the_whole_wave_is_healthy_and_lasts_to_the_millisecond() {
    let mut world = World::new(
        Spec::new(&["m1", "m2", "m3"], "[{setWeight: 60, pause: 300}]")
            .with(|spec| spec.max_concurrency = Some("2".to_owned())),
        &["m1", "m2", "m3"],
    );
    world.decide();
    world.all_answer(&["m1", "m2"], Outcome::Observed);
    world.decide();
    world.answer("m1", Outcome::Healthy);
    world.advance(100);
    world.decide();
    assert_eq!(world.reason(), "MemberHealth");
    world.answer("m2", Outcome::Healthy);
    assert_eq!(world.decide(), ["Normal PauseStarted: 2 members healthy: pause of 5 min until 2026-01-01T00:06:40Z"]);
    assert_eq!(world.wake_at, Some(world.now + 300_000));
    world.now += 299_999;
    assert_eq!(world.decide(), [""; 0]);
    world.now += 1;
    assert_eq!(world.orders(), ["Observe m3: run 1 v2"]);
}

#[test]
fn semantics_10_after_the_last_step_come_the_implicit_one_and_a_soak_of_the_longest_pause() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 10, pause: 300}, {setWeight: 50, pause: 60}]");
    assert_eq!(
        world.finish(),
        [
            "Normal RunStarted: run 1 brings 2 members to revision v2",
            "Normal StepStarted: step 1 of 3: 10% are 1 of 2 members, 1 new, at most 1 in flux",
            "Observe m1: run 1 v2",
            "Apply m1: run 1 v2 over v1, previous v1",
            "Normal PauseStarted: 1 member healthy: pause of 5 min until 2026-01-01T00:05:00Z",
            "Normal StepStarted: step 2 of 3: 50% are 1 of 2 members, 0 new, at most 1 in flux",
            "Normal PauseStarted: 1 member healthy: pause of 60 s until 2026-01-01T00:06:00Z",
            "Normal StepStarted: step 3 of 3: 100% are 2 of 2 members, 1 new, at most 1 in flux",
            "Observe m2: run 1 v2",
            "Apply m2: run 1 v2 over v1, previous v1",
            "Normal SoakStarted: 2 members healthy: soak of 5 min until 2026-01-01T00:11:00Z",
            "Normal Succeeded: run 1: 2 members healthy at revision v2",
        ]
    );
    assert_eq!(world.wake_at, None);
}

#[test]
fn semantics_10_soak_seconds_replace_the_default() {
    for (soak, end) in [(Some(0), 60), (Some(7), 67), (None, 120)] {
        let spec = Spec::new(&["m1"], "[{setWeight: 100, pause: 60}]").with(|spec| spec.soak_seconds = soak);
        let mut world = World::new(spec, &["m1"]);
        world.finish();
        let run = world.state.header.run.as_ref().unwrap();
        assert_eq!(run.finished_at.map(|at| (at - run.started_at) / 1000), Some(end), "with a soak of {soak:?}");
    }
}

#[test]
fn semantics_10_the_soak_ends_in_success_only_while_every_member_is_healthy() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 100, pause: 60}]");
    world.rest();
    world.advance(60);
    world.rest();
    assert_eq!(world.reason(), "Soak");
    world.answer_saying("m2", Outcome::Progressing, "1 of 2 pods");
    world.advance(60);
    assert_eq!(world.decide(), ["Warning MemberUnhealthy: m2 is no longer healthy: Progressing: 1 of 2 pods"]);
    assert_eq!(world.reason(), "MemberUnhealthy");
    world.answer("m2", Outcome::Healthy);
    assert_eq!(world.decide(), ["Normal Succeeded: run 1: 2 members healthy at revision v2"]);
}
