//! Rule 35: after a success, members that join get the accepted revision, and others nothing.

use crds::{Outcome, Phase};
use rollout_core::Reachability;

use crate::world::{Spec, World, images};

/// m01 to m04 run v2, two at once may be in flux, and each has 30 s.
fn succeeded() -> World {
    let spec = Spec::selecting("[{setWeight: 100}]").with(|spec| {
        spec.deadline_seconds = Some(30);
        spec.max_concurrency = Some("2".to_owned());
    });
    let mut world = World::fleet(4, spec);
    world.finish();
    assert_eq!(world.reason(), "done");
    world
}

#[test]
fn semantics_35_later_joiners_get_the_accepted_revision_one_wave_at_a_time() {
    let mut world = succeeded();
    for member in ["m05", "m06", "m07"] {
        world.join(member, "prod");
    }
    assert_eq!(
        world.decide(),
        [
            "Normal CatchUpStarted: run 1: 2 members left to get the accepted revision v2: m05, m06",
            "Observe m05: run 1 v2",
            "Observe m06: run 1 v2",
        ]
    );
    assert_eq!((world.phase(), world.reason()), (Phase::Succeeded, "Observation"));
    world.all_answer(&["m05", "m06"], Outcome::Observed);
    assert_eq!(world.orders().len(), 2);
    world.answer("m05", Outcome::Healthy);
    assert_eq!(world.decide(), [""; 0], "m07 waits until m06 is healthy, too");
    world.answer("m06", Outcome::Healthy);
    assert_eq!(world.orders(), ["Observe m07: run 1 v2"]);
    world.finish();
    assert_eq!((world.reason(), world.applied().len()), ("done", 7));
}

#[test]
fn semantics_35_over_budget_the_catch_up_holds_and_the_fleet_stays() {
    let mut world = succeeded();
    for member in ["m05", "m06", "m07"] {
        world.join(member, "prod");
        world.agents.get_mut(member).unwrap().cursed = member == "m05";
    }
    world.finish();
    assert_eq!((world.phase(), world.reason()), (Phase::Succeeded, "CatchUpHeld"));
    assert_eq!(
        world.message(),
        "1 member failed, 0 allowed: m05; 1 member not told to run the accepted revision until maxFailures bears it, the payload changes or a person retries: kubectl clusterrollout retry"
    );
    let run = |world: &World, member: &str| world.agents[member].runs.clone();
    assert_eq!((run(&world, "m05"), run(&world, "m07")), (Some(images("v1")), Some(images("v1"))));
    assert_eq!((run(&world, "m04"), run(&world, "m06")), (Some(images("v2")), Some(images("v2"))));
    assert_eq!(world.state.header.quarantine, []);
    world.edit(|spec| spec.max_failures = Some("1".to_owned()));
    world.finish();
    assert_eq!((world.reason(), run(&world, "m07")), ("done", Some(images("v2"))));
}

#[test]
fn semantics_35_a_pause_and_a_silent_hub_hold_the_catch_up() {
    let mut world = succeeded();
    world.join("m05", "prod");
    world.edit(|spec| spec.paused = true);
    assert_eq!((world.orders(), world.reason()), (vec![], "Paused"));
    world.edit(|spec| spec.paused = false);
    world.hub_fresh = false;
    assert_eq!((world.orders(), world.reason()), (vec![], "HubSilent"));
    world.hub_fresh = true;
    world.finish();
    assert_eq!((world.reason(), world.applied().len()), ("done", 5));
}

#[test]
fn semantics_35_while_rolling_back_and_after_it_joiners_get_nothing() {
    let mut world = crate::rollback::two_of_three_failed();
    world.decide();
    world.join("m09", "prod");
    assert_eq!(world.decide(), [""; 0]);
    world.set_reachability("m04", Reachability::Reachable);
    world.finish();
    assert_eq!(world.phase(), Phase::RolledBack);
    assert!(!world.assignments.contains_key("m09"), "the revision is in quarantine, and none is accepted");
}

#[test]
fn semantics_13_a_member_that_has_caught_up_returns_to_the_accepted_revision_when_the_next_run_fails() {
    let mut world = succeeded();
    world.join("m05", "prod");
    world.finish();
    world.edit(|spec| {
        spec.image = Some("bad".to_owned());
        spec.max_concurrency = Some("'100%'".to_owned());
    });
    world.finish();
    assert_eq!(world.phase(), Phase::RolledBack);
    assert_eq!(world.agents["m05"].runs, Some(images("v2")));
}

#[test]
fn semantics_35_later_joiners_get_the_accepted_revision_also_while_another_is_wanted_that_cannot_start() {
    let mut world = succeeded();
    let named = |spec: &mut Spec, image: &str, targets: &[&str]| {
        spec.image = Some(image.to_owned());
        spec.targets = targets.iter().map(|name| (*name).to_owned()).collect();
    };
    world.edit(|spec| named(spec, "v3", &["absent"]));
    world.join("m05", "prod");
    world.finish();
    assert_eq!((world.phase(), world.reason()), (Phase::Pending, "TargetMissing"));
    assert_eq!(world.agents["m05"].runs, Some(images("v2")));
    world.edit(|spec| named(spec, "v3", &[]));
    world.finish();
    assert_eq!((world.reason(), world.agents["m05"].runs.clone()), ("done", Some(images("v3"))));
}

#[test]
fn semantics_35_a_quarantined_revision_that_is_wanted_again_keeps_nobody_from_the_accepted_one() {
    let mut world = succeeded();
    world.edit(|spec| spec.image = Some("bad".to_owned()));
    world.finish();
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    world.finish();
    world.edit(|spec| spec.image = Some("bad".to_owned()));
    world.join("m05", "prod");
    world.finish();
    assert_eq!(world.reason(), "Quarantined");
    assert_eq!(world.agents["m05"].runs, Some(images("v3")));
}
