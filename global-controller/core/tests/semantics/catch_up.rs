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

/// m01 to m04 run v2, which is accepted; m03 was silent since before. Then a bad revision was rolled back.
pub fn rolled_back_after_a_success() -> World {
    let spec = Spec::selecting("[{setWeight: 100}]").with(|spec| {
        spec.deadline_seconds = Some(30);
        spec.max_concurrency = Some("2".to_owned());
        spec.max_unreachable = Some("1".to_owned());
    });
    let mut world = World::fleet(4, spec);
    world.silence("m03");
    world.finish();
    assert_eq!(world.reason(), "Owed");
    world.edit(|spec| spec.image = Some("bad".to_owned()));
    world.finish();
    assert_eq!((world.phase(), world.reason()), (Phase::RolledBack, "Quarantined"));
    world
}

#[test]
fn semantics_35_after_a_rollback_joiners_and_owed_members_get_what_was_accepted_before() {
    let mut world = rolled_back_after_a_success();
    world.join("m05", "prod");
    world.join("m06", "prod");
    world.set_reachability("m03", Reachability::Reachable);
    let lines = world.finish();
    assert_eq!(
        lines,
        [
            "Apply m03: run 1 v2 over v1, previous v1",
            "Normal CatchUpStarted: run 1: 2 members left to get the accepted revision v2: m05, m06",
            "Apply m03: run 1 v2 over v1, previous v1, drift reported",
            "Observe m05: run 1 v2",
            "Observe m06: run 1 v2",
            "Apply m05: run 1 v2 over v1, previous v1",
            "Apply m06: run 1 v2 over v1, previous v1",
            "Apply m05: run 1 v2 over v1, previous v1, drift reported",
            "Apply m06: run 1 v2 over v1, previous v1, drift reported",
        ],
        "one wave at a time, and after a rollback nobody's drift is repaired"
    );
    assert_eq!((world.phase(), world.reason()), (Phase::RolledBack, "Quarantined"), "of the run it says what it did");
    let named: Vec<_> = world.summary().status.clusters.into_iter().map(|cluster| cluster.state).collect();
    assert!(!named.contains(&"Observing".to_owned()), "{named:?}");
    for member in ["m01", "m02", "m03", "m04", "m05", "m06"] {
        assert_eq!(world.agents[member].runs, Some(images("v2")), "{member}");
    }
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    world.finish();
    assert_eq!((world.reason(), world.applied().len()), ("done", 6));
}

#[test]
fn semantics_35_who_fails_at_it_returns_alone_and_over_budget_it_holds() {
    let mut world = rolled_back_after_a_success();
    for member in ["m05", "m06", "m07"] {
        world.join(member, "prod");
        world.agents.get_mut(member).unwrap().cursed = true;
    }
    world.finish();
    let late = world.state.plan.late.clone().unwrap();
    assert!(late.run.failures > late.run.failure_limit, "{late:?}");
    for member in ["m05", "m06", "m07"] {
        assert_eq!(world.agents[member].runs, Some(images("v1")), "{member}");
    }
    assert_eq!(world.agents["m01"].runs, Some(images("v2")));
    assert_eq!(world.state.header.quarantine.len(), 1, "what was accepted stays so");
}

#[test]
fn semantics_35_a_pause_holds_it_and_a_member_that_leaves_it_is_withdrawn() {
    let mut world = rolled_back_after_a_success();
    world.edit(|spec| spec.paused = true);
    world.join("m05", "prod");
    assert_eq!(world.orders(), [""; 0]);
    world.edit(|spec| spec.paused = false);
    world.finish();
    assert_eq!(world.agents["m05"].runs, Some(images("v2")));
    world.join("m05", "test");
    assert_eq!(world.orders(), ["Withdraw m05: run 1 v2 over v1, previous v1"]);
    world.rest();
    assert!(!world.state.members.contains_key("m05"));
}

#[test]
fn semantics_35_one_that_left_and_came_back_gets_it_once_its_withdrawal_is_over() {
    let mut world = rolled_back_after_a_success();
    world.join("m04", "test");
    assert_eq!(world.orders(), ["Withdraw m04: run 2 bad"]);
    world.join("m04", "prod");
    world.finish();
    assert_eq!(world.assignments["m04"].spec.rollout.run, 1);
    assert_eq!((world.agents["m04"].runs.clone(), world.reason()), (Some(images("v2")), "Quarantined"));
}

/// The second bad run finds what a person has set after the first, and its return goes there.
#[test]
fn semantics_22_and_35_what_a_person_has_set_after_a_rollback_is_not_caught_up_with() {
    let mut world = rolled_back_after_a_success();
    world.agents.get_mut("m01").unwrap().runs = Some(images("hotfix"));
    world.edit(|spec| spec.image = Some("bad2".to_owned()));
    world.finish();
    assert_eq!((world.phase(), world.reason()), (Phase::RolledBack, "Quarantined"));
    assert_eq!(world.agents["m01"].runs, Some(images("hotfix")));
    assert_eq!(world.assignments["m01"].spec.intent, crds::Intent::Return);
}

#[test]
fn semantics_35_and_37_one_that_was_passed_over_in_the_accepted_run_is_owed_it() {
    let mut world = succeeded();
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    world.members.get_mut("m04").unwrap().cordoned = true;
    world.finish();
    assert_eq!(world.agents["m04"].runs, Some(images("v2")));
    world.edit(|spec| spec.image = Some("bad3".to_owned()));
    world.finish();
    assert_eq!(world.phase(), Phase::RolledBack);
    world.members.get_mut("m04").unwrap().cordoned = false;
    world.finish();
    assert_eq!(world.agents["m04"].runs, Some(images("v3")));
}

#[test]
fn semantics_02_and_35_a_label_that_changed_since_is_no_need_to_catch_up() {
    let mut world = rolled_back_after_a_success();
    let other = "[{clusterSelector: {matchLabels: {region: east}}, images: {app: 'shop:v3-east'}}]";
    world.edit(|spec| (spec.image, spec.overrides) = (Some("v3".to_owned()), Some(other.to_owned())));
    world.finish();
    world.members.get_mut("m01").unwrap().labels.insert("region".to_owned(), "east".to_owned());
    world.edit(|spec| spec.image = Some("bad2".to_owned()));
    world.finish();
    assert_eq!((world.phase(), world.agents["m01"].runs.clone()), (Phase::RolledBack, Some(images("v3"))));
}

#[test]
fn semantics_13_one_that_has_got_it_returns_there_when_the_next_run_fails() {
    let mut world = rolled_back_after_a_success();
    world.join("m05", "prod");
    world.finish();
    world.edit(|spec| {
        spec.image = Some("bad2".to_owned());
        spec.max_concurrency = Some("'100%'".to_owned());
    });
    world.finish();
    assert_eq!(world.agents["m05"].runs, Some(images("v2")));
}

#[test]
fn semantics_35_with_scope_member_those_that_kept_the_refused_revision_keep_it() {
    let mut world = succeeded();
    world.edit(|spec| {
        spec.rollback = Some("{scope: Member}".to_owned());
        spec.image = Some("v3".to_owned());
    });
    world.agents.get_mut("m02").unwrap().cursed = true;
    world.finish();
    assert_eq!(world.reason(), "TooManyFailed");
    world.join("m05", "prod");
    world.finish();
    let runs = |member: &str| world.agents[member].runs.clone();
    assert_eq!((runs("m01"), runs("m05")), (Some(images("v3")), Some(images("v2"))));
    assert_eq!(runs("m02"), Some(images("v2")), "it went back to it");
}
