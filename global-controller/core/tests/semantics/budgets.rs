//! Rules 12, 33 and 37: how many members may be in flux, fail or be silent, and `minReadySeconds`.

use crds::{Outcome, Phase};
use rollout_core::Reachability;

use crate::world::{Spec, World};

/// Of this many members four at once may be told to apply; each has 30 s.
fn fleet(count: usize, edit: impl FnOnce(&mut Spec)) -> World {
    let spec = Spec::selecting("[{setWeight: 100, pause: 60}]").with(|spec| {
        spec.deadline_seconds = Some(30);
        spec.max_concurrency = Some("4".to_owned());
        edit(spec);
    });
    let mut world = World::fleet(count, spec);
    world.decide();
    let members: Vec<String> = world.members.keys().cloned().collect();
    for member in members {
        world.answer(&member, Outcome::Observed);
    }
    world.decide();
    world
}

#[test]
fn semantics_12_strict_keeps_no_more_in_flux_than_may_still_fail_and_one() {
    let strict = |spec: &mut Spec| {
        spec.tolerance = Some("Strict".to_owned());
        spec.max_failures = Some("1".to_owned());
    };
    let mut world = fleet(6, strict);
    assert_eq!(world.applied().len(), 2, "1 may fail, and 0 have");
    world.answer("m01", Outcome::Healthy);
    assert_eq!(world.orders(), ["Apply m03: run 1 v2 over v1, previous v1"]);
    world.answer("m03", Outcome::Healthy);
    world.decide();
    world.advance(30);
    world.answer("m04", Outcome::Healthy);
    assert_eq!(world.orders(), ["Return m02: run 1 v1, previous v1", "Apply m05: run 1 v2 over v1, previous v1"]);
    assert_eq!(world.summary().status.counts.in_flux, 1, "1 has failed");
    assert_eq!(fleet(6, |spec| spec.max_failures = Some("1".to_owned())).applied().len(), 4, "Soft is the default");
}

#[test]
fn semantics_12_with_strict_a_silent_member_in_flux_may_have_failed() {
    let mut world = fleet(4, |spec| {
        spec.tolerance = Some("Strict".to_owned());
        spec.max_unreachable = Some("1".to_owned());
    });
    assert_eq!(world.applied().len(), 1);
    world.silence("m01");
    world.decide();
    assert_eq!(
        (world.reason(), world.message().as_str()),
        (
            "StrictTolerance",
            "1 member unreachable, and may have failed: m01; failureTolerance is Strict, so no further member is touched until heard again"
        )
    );
    world.set_reachability("m01", Reachability::Reachable);
    world.answer("m01", Outcome::Healthy);
    assert_eq!(world.orders(), ["Apply m02: run 1 v2 over v1, previous v1"]);
}

#[test]
fn semantics_37_a_silent_assigned_member_leaves_in_flux_and_takes_a_unit_of_max_unreachable() {
    let mut world = fleet(6, |spec| spec.max_unreachable = Some("'20%'".to_owned()));
    assert_eq!(world.applied().len(), 4);
    world.silence("m01");
    assert_eq!(world.orders(), ["Apply m05: run 1 v2 over v1, previous v1"], "it makes room");
    let counts = world.summary().status.counts;
    assert_eq!((counts.in_flux, counts.owed, counts.unreachable), (4, 1, 1));
    assert_eq!(
        world.state_of("m01"),
        "Owed: its agent is silent; owed the revision, which it gets when it is heard again"
    );
    world.silence("m02");
    assert_eq!(
        world.decide(),
        ["Warning MemberUnreachable: 2 members unreachable, 1 allowed: m01, m02; no further step until heard again"],
        "over budget it holds, and rolls nothing back"
    );
    assert_eq!(world.phase(), Phase::Holding);
    world.edit(|spec| spec.max_unreachable = Some("2".to_owned()));
    assert_eq!(world.orders(), ["Apply m06: run 1 v2 over v1, previous v1"], "a changed budget applies at once");
}

#[test]
fn semantics_33_and_37_a_run_succeeds_with_owed_members_and_names_them_until_they_have_got_the_revision() {
    let mut world = fleet(3, |spec| spec.max_unreachable = Some("1".to_owned()));
    world.silence("m02");
    let last = world.finish().pop().unwrap();
    assert_eq!(last, "Normal Succeeded: run 1: 2 members healthy at revision v2; 1 unreachable and owed it: m02");
    assert_eq!((world.phase(), world.reason()), (Phase::Succeeded, "Owed"));
    let summary = world.summary();
    assert_eq!((summary.status.counts.healthy, summary.status.counts.owed), (2, 1));
    let reasons: Vec<&str> = summary.conditions.iter().map(|fact| fact.reason.as_str()).collect();
    assert_eq!(reasons, ["Valid", "Owed", "Owed", "NotStalled", "NotDegraded", "MembersOwed"]);
    assert!(world.state_of("m02").starts_with("Owed: "));
    world.set_reachability("m02", Reachability::Reachable);
    world.finish();
    assert_eq!(world.reason(), "done");
    assert_eq!(world.agents["m02"].runs, Some(crate::world::images("v2")));
}

#[test]
fn semantics_33_a_run_in_which_nobody_is_healthy_does_not_succeed_however_many_may_be_unreachable() {
    let mut world = fleet(2, |spec| spec.max_unreachable = Some("'100%'".to_owned()));
    world.silence("m01");
    world.silence("m02");
    world.finish();
    assert_eq!((world.phase(), world.reason()), (Phase::Holding, "MemberUnreachable"));
}

#[test]
fn semantics_37_an_owed_member_that_comes_back_failed_counts_then() {
    let mut world = fleet(3, |spec| spec.max_unreachable = Some("1".to_owned()));
    world.answer("m02", Outcome::Progressing);
    world.silence("m02");
    world.finish();
    assert_eq!(world.phase(), Phase::Succeeded);
    world.agents.get_mut("m02").unwrap().cursed = true;
    world.set_reachability("m02", Reachability::Reachable);
    let lines = world.finish();
    assert!(lines.contains(&"Return m02: run 1 v1, previous v1".to_owned()), "{lines:#?}");
    assert_eq!((world.phase(), world.reason()), (Phase::Succeeded, "CatchUpHeld"));
    assert_eq!(world.summary().status.counts.failed, 1);
    assert_eq!(world.agents["m02"].runs, Some(crate::world::images("v1")));
}

#[test]
fn a_member_counts_as_healthy_after_min_ready_seconds_without_a_break() {
    let mut world = fleet(1, |spec| spec.min_ready_seconds = Some(10));
    world.answer("m01", Outcome::Healthy);
    world.decide();
    assert_eq!((world.reason(), world.wake_at), ("MemberHealth", Some(world.now + 10_000)));
    world.advance(9);
    world.answer("m01", Outcome::Progressing);
    world.decide();
    world.advance(1);
    world.answer("m01", Outcome::Healthy);
    world.decide();
    world.advance(9);
    world.silence("m01");
    world.decide();
    world.set_reachability("m01", Reachability::Reachable);
    world.decide();
    world.advance(9);
    world.decide();
    assert_eq!(world.reason(), "MemberHealth", "silent, nobody knows whether there was a break");
    world.advance(1);
    world.decide();
    assert_eq!(world.reason(), "Pause");
}

#[test]
fn min_ready_seconds_are_part_of_the_deadline_and_less_than_it() {
    let mut world = fleet(2, |spec| spec.min_ready_seconds = Some(10));
    world.advance(25);
    world.all_answer(&["m01", "m02"], Outcome::Healthy);
    world.decide();
    world.advance(5);
    assert_eq!(world.orders().len(), 2, "both return");
    let problems = Spec::new(&["m1"], "[{setWeight: 100}]")
        .with(|spec| (spec.min_ready_seconds, spec.deadline_seconds) = (Some(30), Some(30)))
        .validate()
        .unwrap_err();
    assert_eq!(problems[0].field, "spec.rolloutStrategy.minReadySeconds");
}
