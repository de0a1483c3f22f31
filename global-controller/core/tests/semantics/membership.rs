//! Rules 24, 35 and 36: members that join, leave, and come back.

use crds::Outcome;
use rollout_core::{MAX_MEMBERS_PER_DECISION, MemberStage};

use crate::world::{Spec, World};

/// Members m01 to m04 by selector; m01 is updated and in the pause of 60 s of the first step.
fn in_the_first_pause() -> World {
    let mut world = World::fleet(4, Spec::selecting("[{setWeight: 25, pause: 60}, {setWeight: 50, pause: 60}]"));
    world.rest();
    assert_eq!(world.reason(), "Pause");
    world
}

#[test]
fn semantics_35_a_member_that_joins_counts_for_the_waves_that_have_not_begun() {
    let mut world = in_the_first_pause();
    for member in ["m00", "m05", "m06"] {
        world.join(member, "prod");
    }
    assert_eq!(world.decide(), [""; 0]);
    assert_eq!(world.state.plan.members, ["m01", "m00", "m02", "m03", "m04", "m05", "m06"]);
    world.advance(60);
    assert_eq!(
        world.decide(),
        [
            "Normal StepStarted: step 2 of 3: 50% are 4 of 7 members, 3 new, at most 1 in flux",
            "Observe m00: run 1 v2",
            "Observe m02: run 1 v2",
            "Observe m03: run 1 v2",
        ]
    );
}

#[test]
fn semantics_35_none_joins_after_the_last_step_began_and_after_the_success_they_catch_up() {
    let mut world = World::fleet(2, Spec::selecting("[{setWeight: 50}]").with(|spec| spec.soak_seconds = Some(60)));
    world.rest();
    assert_eq!(world.reason(), "Soak");
    world.join("m09", "prod");
    assert_eq!(world.decide(), [""; 0]);
    world.advance(60);
    assert!(world.decide().iter().any(|line| line.starts_with("Normal Succeeded")));
    assert_eq!(world.state.plan.members, ["m01", "m02"]);
    assert_eq!(
        world.rest(),
        [
            "Normal CatchUpStarted: run 1: 1 member left to get the accepted revision v2: m09",
            "Observe m09: run 1 v2",
            "Apply m09: run 1 v2 over v1, previous v1",
        ]
    );
    assert_eq!((world.reason(), world.state.plan.members.len()), ("done", 3));
}

#[test]
fn semantics_35_the_next_run_takes_up_those_who_came_too_late() {
    let mut world = World::fleet(1, Spec::selecting("[{setWeight: 100}]"));
    world.finish();
    world.join("m02", "prod");
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    assert_eq!(world.orders(), ["Observe m01: run 2 v3", "Observe m02: run 2 v3"]);
}

#[test]
fn semantics_36_leaving_the_selection_withdraws_and_drops_the_member_from_the_weights() {
    let mut world = in_the_first_pause();
    world.advance(60);
    world.rest();
    assert_eq!(world.applied().len(), 2);
    world.join("m02", "test");
    world.join("m03", "test");
    assert_eq!(world.decide(), ["Withdraw m02: run 1 v2 over v1, previous v1"]);
    assert_eq!(world.state.plan.members, ["m01", "m04"]);
    assert_eq!(world.decide(), [""; 0], "told once");
    world.answer("m02", Outcome::Withdrawn);
    assert_eq!(world.decide(), [""; 0], "it was touched: it belongs to a rollback until the run ends");
    assert!(world.finish().contains(&"Forget m02".to_owned()));
    assert!(!world.state.members.contains_key("m02") && !world.assignments.contains_key("m02"));
    assert_eq!(world.summary().status.counts.total, 2);
}

#[test]
fn semantics_36_a_deleted_member_cluster_is_forgotten_at_once_since_nobody_is_left_to_tell() {
    let mut world = World::fleet(4, Spec::selecting("[{setWeight: 50, pause: 60}]"));
    world.rest();
    world.delete_member("m01");
    assert_eq!(world.decide(), ["Forget m01"]);
    assert_eq!(world.reason(), "Pause", "and aborts nothing");
}

#[test]
fn semantics_36_an_untouched_member_leaves_without_a_word() {
    let mut world = in_the_first_pause();
    world.delete_member("m03");
    world.join("m04", "test");
    assert_eq!(world.decide(), [""; 0]);
    assert_eq!(world.state.plan.members, ["m01", "m02"]);
}

#[test]
fn semantics_36_leaving_takes_no_members_turn_back() {
    let mut world = World::fleet(10, Spec::selecting("[{setWeight: 50, pause: 60}, {setWeight: 60, pause: 60}]"));
    world.rest();
    assert_eq!(world.applied().len(), 5);
    for member in ["m06", "m07", "m08", "m09", "m10"] {
        world.delete_member(member);
    }
    world.advance(60);
    assert_eq!(
        world.decide(),
        [
            "Normal StepStarted: step 2 of 3: 60% are 5 of 5 members, 0 new, at most 1 in flux",
            "Normal PauseStarted: 5 members healthy: pause of 60 s until 2026-01-01T00:02:00Z",
        ]
    );
}

#[test]
fn semantics_36_a_member_that_comes_back_waits_for_its_next_turn_and_keeps_its_previous_state() {
    let mut world = in_the_first_pause();
    world.advance(60);
    world.rest();
    world.join("m02", "test");
    assert_eq!(world.orders(), ["Withdraw m02: run 1 v2 over v1, previous v1"]);
    world.join("m02", "prod");
    assert_eq!(world.decide(), [""; 0]);
    assert_eq!(world.state.plan.members, ["m01", "m02", "m03", "m04"]);
    assert_eq!((world.state.plan.wave_end, world.state.stage_of("m02")), (1, MemberStage::Withdrawing));
    world.advance(60);
    assert_eq!(
        world.orders(),
        ["Observe m02: run 1 v2, previous v1", "Observe m03: run 1 v2", "Observe m04: run 1 v2"]
    );
    world.answer("m02", Outcome::Observed);
    assert_eq!(world.orders(), ["Apply m02: run 1 v2 over v2, previous v1"]);
}

#[test]
fn semantics_36_members_that_come_back_before_a_large_withdrawal_is_done_are_still_withdrawn_first() {
    let count = 2 * MAX_MEMBERS_PER_DECISION + 6;
    let spec =
        Spec::selecting("[{setWeight: 90, pause: 60}]").with(|spec| spec.max_concurrency = Some("'100%'".to_owned()));
    let mut world = World::fleet(count, spec);
    world.rest();
    assert_eq!(world.applied().len(), 60);
    let leavers: Vec<String> = (2..=60).map(|number| format!("m{number:02}")).collect();
    for member in &leavers {
        world.join(member, "test");
    }
    assert_eq!(world.orders().len(), MAX_MEMBERS_PER_DECISION);
    for member in &leavers {
        world.join(member, "prod");
    }
    world.decide();
    for member in &leavers {
        let begun = world.state.begun().contains(member);
        let stage = world.state.stage_of(member);
        assert_eq!(begun, stage.is_assigned(), "{member} is {stage:?}");
    }
    world.finish();
    assert_eq!((world.reason(), world.applied().len()), ("done", count));
}

#[test]
fn semantics_24_when_the_last_updated_member_leaves_the_step_is_taken_again_with_the_next() {
    let mut world = in_the_first_pause();
    world.advance(50);
    world.delete_member("m01");
    assert_eq!(
        world.decide(),
        [
            "Normal StepStarted: step 1 of 3: 25% are 1 of 3 members, 1 new, at most 1 in flux",
            "Forget m01",
            "Observe m02: run 1 v2",
        ]
    );
    assert_eq!(
        world.rest(),
        [
            "Apply m02: run 1 v2 over v1, previous v1",
            "Normal PauseStarted: 1 member healthy: pause of 60 s until 2026-01-01T00:01:50Z",
        ],
        "and its pause starts again"
    );
}

#[test]
fn semantics_24_when_everybody_leaves_in_the_soak_those_who_come_begin_with_the_first_step() {
    let mut world = World::fleet(2, Spec::selecting("[{setWeight: 50}]").with(|spec| spec.soak_seconds = Some(60)));
    world.rest();
    assert_eq!(world.reason(), "Soak");
    for member in ["m01", "m02"] {
        world.delete_member(member);
    }
    assert_eq!(world.decide(), ["Forget m01", "Forget m02"]);
    assert_eq!(world.reason(), "EmptyPlan");
    world.advance(600);
    assert_eq!(world.decide(), [""; 0], "an empty run never succeeds");
    for member in ["m03", "m04"] {
        world.join(member, "prod");
    }
    assert_eq!(
        world.decide(),
        ["Normal StepStarted: step 1 of 2: 50% are 1 of 2 members, 1 new, at most 1 in flux", "Observe m03: run 1 v2",]
    );
}

#[test]
fn semantics_01_a_changed_selection_is_a_membership_event() {
    let mut world = World::of(&["m1", "m2", "m3"], "[{setWeight: 34, pause: 60}]");
    world.rest();
    world.edit(|spec| spec.targets = vec!["m2".to_owned(), "m3".to_owned(), "m4".to_owned()]);
    world.join("m4", "prod");
    assert_eq!(world.orders(), ["Withdraw m1: run 1 v2 over v1, previous v1"]);
    assert_eq!((world.state.plan.members.len(), world.state.plan.wave_end), (3, 1));
    assert_eq!(world.state.header.runs_started, 1);
}

#[test]
fn semantics_36_a_new_run_withdraws_from_those_that_it_does_not_mean() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 100}]");
    world.finish();
    world.edit(|spec| {
        spec.image = Some("v3".to_owned());
        spec.targets = vec!["m2".to_owned()];
    });
    assert_eq!(world.orders(), ["Withdraw m1: run 1 v2 over v1, previous v1", "Observe m2: run 2 v3"]);
}
