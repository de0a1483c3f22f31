//! Rule 17: a member that returns by itself, heard or cut off.

use crds::{OnDeadline, Outcome, Phase};
use rollout_core::Reachability;

use crate::world::{Spec, World, images};

/// `m1` and `m2` at once, `m1` of which never becomes healthy, with a deadline of 30 s.
fn world(max_failures: &str, rollback: Option<&str>) -> World {
    let spec = Spec::new(&["m1", "m2"], "[{setWeight: 100}]").with(|spec| {
        spec.deadline_seconds = Some(30);
        spec.max_concurrency = Some("2".to_owned());
        spec.max_failures = Some(max_failures.to_owned());
        spec.rollback = rollback.map(str::to_owned);
    });
    let mut world = World::new(spec, &["m1", "m2"]);
    world.agents.get_mut("m1").unwrap().cursed = true;
    world.rest();
    world
}

fn on_deadline(world: &World) -> OnDeadline {
    world.assignments["m1"].spec.on_deadline
}

#[test]
fn semantics_17_a_member_that_has_returned_by_itself_has_failed_at_once_and_its_order_becomes_a_return() {
    let mut world = world("1", None);
    assert_eq!(on_deadline(&world), OnDeadline::Return);
    world.answer_saying("m1", Outcome::Reverted, "back");
    assert_eq!(
        world.decide(),
        [
            "Warning FailedMember: m1 (Reverted: back) was not healthy within progressDeadlineSeconds (30 s), and has returned by itself: it returns to what it ran before",
            "Return m1: run 1 v1, previous v1",
        ]
    );
    assert_eq!(on_deadline(&world), OnDeadline::Hold);
    world.finish();
    let counts = world.summary().status.counts;
    assert_eq!((world.phase(), counts.failed, counts.returned), (Phase::Succeeded, 1, 1));
    assert_eq!(world.agents["m1"].runs, Some(images("v1")));
}

#[test]
fn semantics_17_over_budget_a_member_that_has_returned_by_itself_takes_the_others_back() {
    let mut world = world("0", None);
    world.pass_own_deadline("m1");
    world.finish();
    assert_eq!(world.phase(), Phase::RolledBack);
    assert_eq!((&world.agents["m1"].runs, &world.agents["m2"].runs), (&Some(images("v1")), &Some(images("v1"))));
}

#[test]
fn semantics_37_a_member_that_is_cut_off_returns_by_itself_and_counts_when_it_is_heard() {
    let mut world = world("0", None);
    world.silence("m1");
    world.decide();
    world.pass_own_deadline("m1");
    assert_eq!(world.agents["m1"].runs, Some(images("v1")));
    world.advance(3600);
    world.decide();
    assert_eq!(world.summary().status.counts.failed, 0);
    world.set_reachability("m1", Reachability::Reachable);
    world.decide();
    world.obey("m1");
    world.decide();
    assert_eq!((world.phase(), world.summary().status.counts.failed), (Phase::RollingBack, 1));
    world.finish();
    assert_eq!(world.phase(), Phase::RolledBack);
}

#[test]
fn semantics_32_with_manual_nobody_returns_by_itself_and_a_changed_mode_reaches_orders_that_are_out() {
    let manual = || Some("{mode: Manual}".to_owned());
    let mut world = world("0", manual().as_deref());
    assert_eq!(on_deadline(&world), OnDeadline::Hold);
    world.pass_own_deadline("m1");
    world.advance(31);
    world.rest();
    assert_eq!((world.reason(), &world.agents["m1"].runs), ("DeadlinePassed", &Some(images("v2"))));

    let mut world = self::world("0", None);
    let before = world.assignments["m1"].spec.clone();
    world.edit(|spec| spec.rollback = manual());
    assert_eq!(world.orders(), ["Apply m1: run 1 v2 over v1, previous v1"]);
    let after = &world.assignments["m1"].spec;
    assert_eq!((after.on_deadline, after.fence > before.fence), (OnDeadline::Hold, true));
    assert_eq!(world.orders(), [""; 0]);
    // One that had returned before it heard of that holds the run.
    world.answer("m1", Outcome::Reverted);
    world.decide();
    assert_eq!(world.reason(), "DeadlinePassed");
}

#[test]
fn semantics_01_a_longer_deadline_reaches_orders_that_are_out() {
    let mut world = world("0", None);
    world.edit(|spec| spec.deadline_seconds = Some(300));
    assert_eq!(world.orders(), ["Apply m1: run 1 v2 over v1, previous v1"]);
    assert_eq!(world.assignments["m1"].spec.deadline_seconds, 300);
    // It makes no difference to who returns only when told.
    world.edit(|spec| spec.rollback = Some("{mode: Manual}".to_owned()));
    world.orders();
    world.edit(|spec| spec.deadline_seconds = Some(400));
    assert_eq!(world.orders(), [""; 0]);
}

#[test]
fn semantics_37_the_order_of_a_silent_member_is_not_written_anew() {
    let mut world = world("0", None);
    world.silence("m1");
    world.edit(|spec| spec.rollback = Some("{mode: Manual}".to_owned()));
    assert_eq!(world.orders(), [""; 0]);
    world.set_reachability("m1", Reachability::Reachable);
    assert_eq!(world.orders(), ["Apply m1: run 1 v2 over v1, previous v1"]);
}
