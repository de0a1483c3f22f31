//! Rules 29, 30, 33 and 34: returns that outlast their run, members that fail and come back, and `scope: Member`.

use crds::{Outcome, Phase};
use rollout_core::{Clock, Reachability, Stage};

use crate::rollback::two_of_three_failed;
use crate::world::{Spec, World, images};

#[test]
fn semantics_29_with_scope_member_those_in_flux_finish_those_that_fail_return_and_the_run_ends_failed() {
    let mut world = two_of_three_failed();
    world.set_reachability("m04", Reachability::Reachable);
    world.edit(|spec| spec.rollback = Some("{scope: Member}".to_owned()));
    // m03 is still within its deadline.
    let record = world.state.members.get_mut("m03").unwrap();
    record.stage = rollout_core::MemberStage::Applying { since: world.now };
    assert_eq!(
        world.decide(),
        [
            "Warning FailedMember: m02 (Progressing) was not healthy within progressDeadlineSeconds (30 s): it returns to what it ran before",
            "Return m02: run 1 v1-hotfix, previous v1-hotfix",
            "Warning TooManyFailed: run 1: 1 member failed, 0 allowed: members in flux finish, and those that fail return, and revision bad is not rolled out again",
        ]
    );
    assert_eq!((world.phase(), world.reason()), (Phase::Progressing, "Finishing"));
    world.obey("m02");
    assert_eq!(world.decide(), [""; 0], "m03 is waited for");
    world.answer("m03", Outcome::Healthy);
    assert_eq!(
        world.decide(),
        [
            "Warning Failed: run 1: 1 member failed, 0 allowed; 2 members healthy and keep revision bad, which is not rolled out again",
            "Apply m01: run 1 bad over v1, previous v1, drift reported",
            "Return m02: run 1 v1-hotfix, previous v1-hotfix, drift reported",
            "Apply m03: run 1 bad over v0, previous v0, drift reported",
            "Warning TooManyFailed: 1 member failed, 0 allowed; 2 members keep revision bad, which is not rolled out again: set another payload, or try it once more: kubectl clusterrollout retry",
        ]
    );
    assert_eq!((world.phase(), world.decide()), (Phase::Failed, vec![]));
    assert_eq!(world.agents["m04"].runs, Some(images("v1")), "nobody new was touched");
    let status = world.summary().status;
    assert_eq!(status.quarantined_revisions, [status.revision.unwrap()]);
    assert_eq!(world.summary().conditions[5].reason, "TooManyFailed");
}

#[test]
fn semantics_29_with_scope_member_a_silent_member_in_flux_never_gets_the_revision_that_failed() {
    let mut world = two_of_three_failed();
    world.edit(|spec| {
        spec.rollback = Some("{scope: Member}".to_owned());
        spec.max_unreachable = Some("1".to_owned());
    });
    world.silence("m03");
    let orders = world.orders();
    assert_eq!(orders, ["Return m02: run 1 v1-hotfix, previous v1-hotfix", "Return m03: run 1 v0, previous v0"]);
    world.obey("m02");
    world.decide();
    assert_eq!(world.phase(), Phase::Failed);
    world.set_reachability("m03", Reachability::Reachable);
    world.decide();
    world.obey("m03");
    assert_eq!(world.agents["m03"].runs, Some(images("v0")));
}

#[test]
fn semantics_29_the_rollback_of_the_next_run_takes_back_also_those_that_kept_the_revision() {
    let mut world = two_of_three_failed();
    world.set_reachability("m04", Reachability::Reachable);
    world.edit(|spec| spec.rollback = Some("{scope: Member}".to_owned()));
    world.decide();
    world.obey("m02");
    world.obey("m03");
    world.decide();
    assert_eq!((world.phase(), world.agents["m01"].runs.clone()), (Phase::Failed, Some(images("bad"))));
    world.edit(|spec| {
        spec.rollback = None;
        spec.image = Some("bad-again".to_owned());
    });
    world.finish();
    assert_eq!(world.phase(), Phase::RolledBack);
    assert_eq!(world.agents["m01"].runs, Some(images("v1")));
}

#[test]
fn semantics_30_a_return_that_is_owed_or_on_its_way_comes_before_the_observation_of_the_next_run() {
    let mut world = two_of_three_failed();
    world.silence("m01");
    world.decide();
    world.set_reachability("m04", Reachability::Reachable);
    world.rest();
    assert_eq!(world.phase(), Phase::RolledBack);
    world.edit(|spec| {
        spec.image = Some("v3".to_owned());
        spec.max_concurrency = Some("'100%'".to_owned());
    });
    world.rest();
    assert_eq!(world.assignments["m01"].spec.intent, crds::Intent::Return, "it still finds its return");
    world.set_reachability("m01", Reachability::Reachable);
    world.decide();
    assert_eq!(world.reason(), "ReturnFirst");
    world.obey("m01");
    assert_eq!(world.agents["m01"].runs, Some(images("v1")));
    assert_eq!(world.orders(), ["Observe m01: run 2 v3"]);
    world.finish();
    assert_eq!((world.phase(), world.agents["m01"].runs.clone()), (Phase::Succeeded, Some(images("v3"))));
}

#[test]
fn semantics_30_a_return_past_its_deadline_keeps_nobody_from_the_next_run() {
    let mut world = two_of_three_failed();
    world.silence("m01");
    world.decide();
    world.rest();
    world.set_reachability("m01", Reachability::Reachable);
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    world.decide();
    world.advance(30);
    assert_eq!(world.orders(), ["Observe m01: run 2 v3, previous v1"], "and its previous state survives");
}

#[test]
fn semantics_33_a_member_that_failed_left_and_came_back_gets_the_revision_no_more_and_counts_once() {
    let spec = Spec::selecting("[{setWeight: 25, pause: 60}, {setWeight: 50, pause: 60}]").with(|spec| {
        spec.deadline_seconds = Some(30);
        spec.max_concurrency = Some("2".to_owned());
        spec.max_failures = Some("1".to_owned());
    });
    let mut world = World::fleet(8, spec);
    world.agents.get_mut("m02").unwrap().cursed = true;
    world.rest();
    world.advance(30);
    world.rest();
    assert_eq!(world.summary().status.counts.failed, 1);
    world.join("m02", "test");
    world.rest();
    world.join("m02", "prod");
    let lines = world.finish();
    assert!(!lines.iter().any(|line| line.starts_with("Apply m02") || line.starts_with("Observe m02")), "{lines:#?}");
    assert_eq!((world.phase(), world.summary().status.counts.failed), (Phase::Succeeded, 1));
    assert_eq!(world.agents["m02"].runs, Some(images("v1")));
}

#[test]
fn semantics_34_a_deletion_leaves_the_returns_that_a_rollback_still_owes_in_the_store() {
    let mut world = two_of_three_failed();
    world.set_reachability("m04", Reachability::Reachable);
    world.silence("m01");
    world.decide();
    world.deleted = true;
    world.rest();
    assert!(world.state.header.finalizer_released, "a silent member delays nothing");
    assert_eq!(world.assignments["m01"].spec.intent, crds::Intent::Return);
    assert_eq!(world.assignments.len(), 1);
    world.set_reachability("m01", Reachability::Reachable);
    world.rest();
    assert_eq!(world.agents["m01"].runs, Some(images("v1")));
    assert!(world.state.is_spent());
}

#[test]
fn semantics_11_the_clock_of_a_pause_stands_still_while_the_object_is_invalid() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50, pause: 300}]");
    world.rest();
    world.advance(100);
    world.edit(|spec| spec.steps = "[{setWeight: 101}]".to_owned());
    world.decide();
    world.advance(86_400);
    world.decide();
    let stage = world.state.header.run.as_ref().map(|run| run.stage.clone());
    assert_eq!(stage, Some(Stage::Pausing(Clock::Stopped { remaining_millis: 200_000 })));
    world.edit(|spec| spec.steps = "[{setWeight: 50, pause: 300}]".to_owned());
    assert_eq!(world.orders(), [""; 0]);
    assert_eq!(world.wake_at, Some(world.now + 200_000));
}
