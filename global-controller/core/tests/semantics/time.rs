//! Rule 39 and deadlines.

use crds::{Outcome, Phase};

use crate::world::{START, Spec, World};

/// m1 of two is told to apply, and nothing returns by itself.
fn applying(deadline_seconds: Option<i64>) -> World {
    let spec = Spec::new(&["m1", "m2"], "[{setWeight: 50, pause: 60}]").with(|spec| {
        spec.deadline_seconds = deadline_seconds;
        spec.rollback = Some("{mode: Manual}".to_owned());
    });
    let mut world = World::new(spec, &["m1", "m2"]);
    world.decide();
    world.answer("m1", Outcome::Observed);
    world.decide();
    world
}

#[test]
fn semantics_39_time_in_decisions_never_runs_back() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50, pause: 60}]");
    world.rest();
    let decided_at = world.state.header.decided_at;
    world.now = START - 3_600_000;
    world.edit(|spec| spec.paused = true);
    world.decide();
    assert_eq!(world.state.header.decided_at, decided_at);
    world.edit(|spec| spec.paused = false);
    world.decide();
    assert_eq!(world.wake_at, Some(decided_at + 60_000), "a clock that is an hour slow adds nothing to the pause");
}

#[test]
fn semantics_39_a_decision_that_changes_nothing_is_none() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50, pause: 60}]");
    world.rest();
    let (decisions, decided_at) = (world.state.header.decisions, world.state.header.decided_at);
    world.advance(59);
    world.decide();
    assert_eq!((world.state.header.decisions, world.state.header.decided_at), (decisions, decided_at));
    world.advance(1);
    world.decide();
    assert_eq!((world.state.header.decisions, world.state.header.decided_at), (decisions + 1, START + 60_000));
}

#[test]
fn semantics_32_manual_a_member_past_its_deadline_holds_the_run_until_it_is_healthy() {
    let mut world = applying(Some(30));
    world.answer_saying("m1", Outcome::Progressing, "1 of 2 pods");
    world.decide();
    assert_eq!(world.wake_at, Some(START + 30_000));
    world.now += 29_999;
    assert_eq!((world.decide(), world.reason()), (vec![], "MemberHealth"));
    world.now += 1;
    assert_eq!(
        world.decide(),
        [
            "Warning DeadlinePassed: 1 member not healthy within progressDeadlineSeconds (30 s): m1 (Progressing: 1 of 2 pods); no further member is touched until then, until the payload changes, or until a person aborts or retries"
        ]
    );
    assert_eq!(world.decide(), [""; 0], "announced once");
    assert_eq!((world.summary().status.phase, world.wake_at), (Some(Phase::Holding), None));
    world.answer("m1", Outcome::Healthy);
    assert_eq!(world.decide(), ["Normal PauseStarted: 1 member healthy: pause of 60 s until 2026-01-01T00:01:30Z"]);
}

#[test]
fn semantics_28_the_deadline_is_600_seconds_by_default_and_a_changed_one_applies_at_once() {
    let mut world = applying(None);
    assert_eq!(world.wake_at, Some(START + 600_000));
    world.edit(|spec| spec.deadline_seconds = Some(900));
    world.decide();
    assert_eq!(world.wake_at, Some(START + 900_000));
    world.advance(60);
    world.edit(|spec| spec.deadline_seconds = Some(60));
    world.decide();
    assert_eq!(world.reason(), "DeadlinePassed");
}

#[test]
fn semantics_32_manual_a_new_payload_ends_the_hold_of_a_passed_deadline() {
    let mut world = applying(Some(30));
    world.advance(30);
    world.decide();
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    assert_eq!(world.orders(), ["Observe m1: run 2 v3, previous v1"]);
    world.answer("m1", Outcome::Observed);
    assert_eq!(world.orders(), ["Apply m1: run 2 v3 over v1, previous v1"]);
    assert_eq!(world.wake_at, Some(world.now + 30_000), "with a deadline of its own");
}

#[test]
fn semantics_32_manual_no_further_member_is_touched_while_one_is_past_its_deadline() {
    let spec = Spec::selecting("[{setWeight: 100}]").with(|spec| {
        spec.deadline_seconds = Some(30);
        spec.max_concurrency = Some("2".to_owned());
        spec.rollback = Some("{mode: Manual}".to_owned());
    });
    let mut world = World::fleet(3, spec);
    world.decide();
    world.all_answer(&["m01", "m02", "m03"], Outcome::Observed);
    assert_eq!(world.orders().len(), 2);
    world.advance(30);
    world.answer("m02", Outcome::Healthy);
    assert_eq!(world.orders(), [""; 0]);
    world.answer("m01", Outcome::Healthy);
    assert_eq!(world.orders(), ["Apply m03: run 1 v2 over v1, previous v1"]);
}
