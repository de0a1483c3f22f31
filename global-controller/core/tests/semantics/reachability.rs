//! Rules 37 and 38, as far as they are built: without `maxUnreachable` one silent assigned member stops all
//! further ones, and silence is no failure.

use crds::{Outcome, Phase};
use rollout_core::Reachability;

use crate::world::{Spec, World};

/// m01 and m02 of four are told to apply, two more are observed.
fn two_applying() -> World {
    let spec =
        Spec::selecting("[{setWeight: 100, pause: 60}]").with(|spec| spec.max_concurrency = Some("2".to_owned()));
    let mut world = World::fleet(4, spec);
    world.decide();
    world.all_answer(&["m01", "m02", "m03", "m04"], Outcome::Observed);
    assert_eq!(world.orders().len(), 2);
    world
}

#[test]
fn semantics_37_a_silent_assigned_member_keeps_every_further_member_from_being_touched() {
    let mut world = two_applying();
    world.silence("m01");
    assert_eq!(
        world.decide(),
        ["Warning MemberUnreachable: 1 member unreachable: m01; no further step until heard again"]
    );
    world.answer("m02", Outcome::Healthy);
    assert_eq!(world.decide(), [""; 0]);
    assert_eq!(world.summary().status.phase, Some(Phase::Holding));
    world.set_reachability("m01", Reachability::Reachable);
    assert_eq!(world.decide(), ["Apply m03: run 1 v2 over v1, previous v1"]);
}

#[test]
fn semantics_37_the_deadline_of_a_silent_member_is_not_judged() {
    let mut world = two_applying();
    world.silence("m01");
    world.answer("m02", Outcome::Healthy);
    world.decide();
    assert_eq!(world.wake_at, None);
    world.advance(86_400);
    assert_eq!(world.decide(), [""; 0]);
    assert_eq!(world.reason(), "MemberUnreachable");
    world.set_reachability("m01", Reachability::Reachable);
    world.answer("m01", Outcome::Healthy);
    assert_eq!(
        world.orders(),
        ["Apply m03: run 1 v2 over v1, previous v1", "Apply m04: run 1 v2 over v1, previous v1"]
    );
}

#[test]
fn semantics_37_a_member_heard_again_after_its_deadline_is_judged_by_its_own_report() {
    for reachable in [Reachability::Unreachable, Reachability::Unknown] {
        for (outcome, order) in
            [(Outcome::Healthy, None), (Outcome::Progressing, Some("Return m01: run 1 v1, previous v1"))]
        {
            let mut world = two_applying();
            world.edit(|spec| spec.max_failures = Some("1".to_owned()));
            world.answer_saying("m01", Outcome::Progressing, "1 of 2 pods");
            world.answer("m02", Outcome::Healthy);
            world.set_reachability("m01", reachable);
            world.decide();
            world.advance(86_400);
            world.edit(|spec| spec.deadline_seconds = Some(60));
            world.decide();
            world.set_reachability("m01", Reachability::Reachable);
            let returned = |orders: Vec<String>| orders.into_iter().find(|order| order.starts_with("Return"));
            assert_eq!(returned(world.orders()), None, "its first sign of life says nothing about health");
            assert_eq!(world.wake_at, Some(world.now + 15_000));
            world.advance(14);
            world.answer("m01", outcome);
            assert_eq!(returned(world.orders()), None);
            world.advance(1);
            assert_eq!(returned(world.orders()).as_deref(), order, "{outcome:?} after {reachable:?}");
        }
    }
}

#[test]
fn semantics_37_a_silent_member_is_not_assigned_and_others_of_its_wave_are() {
    let mut world = World::fleet(2, Spec::selecting("[{setWeight: 100, pause: 60}]"));
    world.silence("m01");
    assert_eq!(world.orders(), ["Observe m01: run 1 v2", "Observe m02: run 1 v2"]);
    world.answer("m02", Outcome::Observed);
    assert_eq!(world.orders(), ["Apply m02: run 1 v2 over v1, previous v1"]);
    world.answer("m02", Outcome::Healthy);
    world.decide();
    assert_eq!(world.reason(), "MemberUnreachable", "and the step waits for it");
}

#[test]
fn semantics_37_a_member_that_went_silent_after_its_observation_is_not_told_to_apply() {
    let mut world = World::fleet(2, Spec::selecting("[{setWeight: 100}]"));
    world.decide();
    world.all_answer(&["m01", "m02"], Outcome::Observed);
    world.silence("m01");
    assert_eq!(world.orders(), ["Apply m02: run 1 v2 over v1, previous v1"]);
}

#[test]
fn semantics_37_a_healthy_member_that_falls_silent_is_no_evidence_at_the_end_of_a_pause() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50, pause: 60}]");
    world.rest();
    world.silence("m1");
    world.decide();
    world.advance(60);
    assert_eq!(world.orders(), [""; 0]);
    assert_eq!(world.reason(), "MemberUnreachable");
    world.set_reachability("m1", Reachability::Reachable);
    assert_eq!(world.orders(), ["Observe m2: run 1 v2"]);
}

#[test]
fn semantics_38_a_new_leader_takes_no_step_on_members_that_it_has_not_heard_and_calls_nobody_unreachable() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50, pause: 60}]");
    world.rest();
    world.set_reachability("m1", Reachability::Unknown);
    world.advance(60);
    assert_eq!(world.decide(), [""; 0]);
    assert_eq!(world.message(), "a new leader has not yet heard 1 member, or not what they were told before: m1");
    let status = world.summary().status;
    assert_eq!((status.phase, status.counts.unreachable), (Some(Phase::Verifying), 0));
    world.set_reachability("m1", Reachability::Reachable);
    assert_eq!(world.orders(), ["Observe m2: run 1 v2"]);
}

#[test]
fn semantics_38_a_member_that_is_unknown_is_not_told_to_apply() {
    let mut world = World::of(&["m1"], "[{setWeight: 100}]");
    world.decide();
    world.answer("m1", Outcome::Observed);
    world.set_reachability("m1", Reachability::Unknown);
    assert_eq!(world.decide(), [""; 0]);
    assert_eq!(world.reason(), "Heartbeat");
}
