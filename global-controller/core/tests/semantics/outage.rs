//! Rules 24, 30, 37 and 38: what nobody could report while controllers or links were away is no failure, and who
//! leaves rolls nobody back.

use crds::{Outcome, Phase};
use rollout_core::Reachability;

use crate::world::{Spec, World};

fn told_to_apply() -> World {
    let spec = Spec::selecting("[{setWeight: 100, pause: 60}]").with(|spec| spec.deadline_seconds = Some(30));
    let mut world = World::fleet(1, spec);
    world.decide();
    world.answer("m01", Outcome::Observed);
    assert_eq!(world.orders().len(), 1);
    world
}

#[test]
fn semantics_37_a_member_that_perhaps_never_got_its_order_has_its_whole_deadline_when_it_is_heard_again() {
    let mut world = told_to_apply();
    world.silence("m01");
    world.decide();
    world.advance(100);
    world.set_reachability("m01", Reachability::Reachable);
    world.decide();
    world.advance(20);
    world.decide();
    assert_eq!(world.phase(), Phase::Progressing, "15 s for a report are not enough for the work itself");
    world.advance(10);
    world.decide();
    assert_eq!(world.phase(), Phase::RollingBack);
}

#[test]
fn semantics_38_a_new_leader_holds_nothing_against_a_member_that_fell_due_while_nobody_decided() {
    let mut world = told_to_apply();
    world.answer("m01", Outcome::Progressing);
    world.decide();
    // No controller decides; the member is heard at once when one does, and its report is on its way.
    world.advance(100);
    world.begin_term();
    world.decide();
    assert_eq!(world.phase(), Phase::Progressing);
    world.answer("m01", Outcome::Healthy);
    world.decide();
    assert_eq!(world.phase(), Phase::Verifying);
}

#[test]
fn semantics_38_a_rollback_that_nobody_followed_does_not_end_as_failed() {
    for seen_as_unknown in [true, false] {
        let mut world = told_to_apply();
        world.answer("m01", Outcome::Progressing);
        world.advance(30);
        world.decide();
        assert_eq!(world.phase(), Phase::RollingBack);
        world.advance(100);
        world.begin_term();
        if seen_as_unknown {
            world.set_reachability("m01", Reachability::Unknown);
            world.decide();
            world.advance(40);
            world.set_reachability("m01", Reachability::Reachable);
        }
        world.decide();
        assert_eq!(world.phase(), Phase::RollingBack, "its report is on its way");
        world.obey_all();
        world.rest();
        assert_eq!(world.phase(), Phase::RolledBack);
    }
}

#[test]
fn semantics_24_a_healthy_member_that_leaves_failed_ones_behind_rolls_nobody_back() {
    let spec = Spec::selecting("[{setWeight: 50, pause: 60}]").with(|spec| {
        spec.deadline_seconds = Some(30);
        spec.max_concurrency = Some("2".to_owned());
        spec.max_failures = Some("1".to_owned());
    });
    let mut world = World::fleet(4, spec);
    world.decide();
    world.all_answer(&["m01", "m02"], Outcome::Observed);
    world.decide();
    world.answer("m01", Outcome::Healthy);
    world.answer("m02", Outcome::Progressing);
    world.decide();
    world.advance(30);
    world.decide();
    world.obey("m02");
    world.decide();
    world.delete_member("m01");
    let told = world.decide();
    assert!(!told.iter().any(|line| line.contains("RollbackStarted")), "{told:?}");
    assert!(told.contains(&"Observe m03: run 1 v2".to_owned()), "the next in order takes its place: {told:?}");
    world.finish();
    assert_eq!(world.phase(), Phase::Succeeded);
}

#[test]
fn semantics_34_a_deletion_ends_a_rollback_also_of_members_that_are_gone() {
    let spec = Spec::selecting("[{setWeight: 100, pause: 60}]").with(|spec| {
        spec.deadline_seconds = Some(30);
        spec.max_concurrency = Some("3".to_owned());
        spec.rollback = Some("{maxConcurrency: 1}".to_owned());
    });
    let mut world = World::fleet(3, spec);
    world.decide();
    world.all_answer(&["m01", "m02", "m03"], Outcome::Observed);
    world.decide();
    world.all_answer(&["m01", "m02"], Outcome::Healthy);
    world.answer("m03", Outcome::Progressing);
    world.decide();
    world.advance(30);
    world.decide();
    assert_eq!(world.phase(), Phase::RollingBack);
    world.deleted = true;
    world.delete_member("m02");
    world.finish();
    assert!(world.state.header.finalizer_released);
}

#[test]
fn semantics_28_after_the_run_a_member_that_stays_unhealthy_is_not_called_ready() {
    let mut world = told_to_apply();
    world.finish();
    assert_eq!(world.phase(), Phase::Succeeded);
    world.answer("m01", Outcome::Progressing);
    for seconds in [0, 61, 600] {
        world.advance(seconds);
        world.decide();
        let ready = world.summary().conditions.into_iter().find(|fact| fact.kind == "Ready").unwrap();
        assert_eq!((ready.status, ready.reason.as_str()), (Some(false), "MemberUnhealthy"), "after {seconds} s");
    }
}
