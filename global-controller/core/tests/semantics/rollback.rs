//! Rules 11, 13, 29, 30, 31 and 40: a rollback, from its cause to its last return.

use crds::{Outcome, Phase};
use rollout_core::{Reachability, Stage};

use crate::world::{Spec, World, images};

/// Three members that ran different images; m01 is healthy at the bad revision, m02 and m03 are past their deadline.
pub fn two_of_three_failed() -> World {
    let spec = Spec::selecting("[{setWeight: 100, pause: 60}]").with(|spec| {
        spec.image = Some("bad".to_owned());
        spec.deadline_seconds = Some(30);
        spec.max_concurrency = Some("3".to_owned());
    });
    let mut world = World::fleet(4, spec);
    for (member, tag) in [("m01", "v1"), ("m02", "v1-hotfix"), ("m03", "v0")] {
        world.agents.get_mut(member).unwrap().runs = Some(images(tag));
    }
    world.decide();
    world.all_answer(&["m01", "m02", "m03", "m04"], Outcome::Observed);
    assert_eq!(world.orders().len(), 3);
    world.silence("m04");
    world.answer("m01", Outcome::Healthy);
    world.all_answer(&["m02", "m03"], Outcome::Progressing);
    world.decide();
    world.agents.get_mut("m01").unwrap().healthy = true;
    world.advance(30);
    world
}

#[test]
fn semantics_29_over_budget_every_touched_member_returns_to_its_own_previous_state() {
    let mut world = two_of_three_failed();
    assert_eq!(
        world.decide(),
        [
            "Warning FailedMember: m02 (Progressing) was not healthy within progressDeadlineSeconds (30 s): it returns to what it ran before",
            "Return m02: run 1 v1-hotfix, previous v1-hotfix",
            "Warning FailedMember: m03 (Progressing) was not healthy within progressDeadlineSeconds (30 s): it returns to what it ran before",
            "Return m03: run 1 v0, previous v0",
            "Warning RollbackStarted: run 1: 2 members failed, 0 allowed: every touched member returns to what it ran before, and revision bad is not rolled out again",
            "Return m01: run 1 v1, previous v1",
        ]
    );
    assert_eq!(world.phase(), Phase::RollingBack);
    assert_eq!(
        world.message(),
        "rolling back: 0 of 3 members back, on the way: m01 (no answer yet), m02 (no answer yet), m03 (no answer yet)"
    );
    world.obey_all();
    assert_eq!(world.decide(), ["Warning RolledBack: run 1: 3 members back to what they ran before"]);
    for (member, tag) in [("m01", "v1"), ("m02", "v1-hotfix"), ("m03", "v0"), ("m04", "v1")] {
        assert_eq!(world.agents[member].runs, Some(images(tag)), "{member}");
    }
    assert_eq!(
        world.decide(),
        [
            "Return m01: run 1 v1, previous v1, drift reported",
            "Return m02: run 1 v1-hotfix, previous v1-hotfix, drift reported",
            "Return m03: run 1 v0, previous v0, drift reported",
            "Warning Quarantined: revision bad was rolled back (2 members failed, 0 allowed) and is not rolled out again: set another payload, or try it once more: kubectl clusterrollout retry"
        ]
    );
    assert_eq!(world.rest(), [""; 0]);
    let status = world.summary().status;
    assert_eq!((status.phase, status.accepted_revision), (Some(Phase::RolledBack), None));
    assert_eq!((status.counts.returned, status.counts.not_started, status.counts.failed), (3, 1, 2));
    assert_eq!(status.quarantined_revisions, [status.revision.unwrap()]);
    assert_eq!(world.wake_at, None);
}

#[test]
fn semantics_29_members_touched_by_superseded_runs_return_too() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50, pause: 60}]");
    world.edit(|spec| spec.deadline_seconds = Some(30));
    world.rest();
    world.advance(60);
    world.rest();
    assert_eq!(world.reason(), "Soak");
    world.edit(|spec| spec.image = Some("bad".to_owned()));
    world.rest();
    assert_eq!(world.agents["m2"].runs, Some(images("v2")), "run 2 has not come to it");
    world.advance(30);
    let orders = world.orders();
    assert_eq!(orders, ["Return m1: run 2 v1, previous v1", "Return m2: run 2 v1, previous v1"]);
    world.rest();
    assert_eq!(world.phase(), Phase::RolledBack);
    assert_eq!(world.agents["m2"].runs, Some(images("v1")));
}

#[test]
fn semantics_29_a_return_sets_back_the_containers_of_all_runs_and_no_others() {
    let mut world = World::of(&["m1"], "[{setWeight: 100, pause: 60}]");
    let runs = world.agents.get_mut("m1").unwrap().runs.as_mut().unwrap();
    runs.extend(
        [("proxy", "proxy:v7"), ("cache", "cache:v3")].map(|(name, image)| (name.to_owned(), image.to_owned())),
    );
    world.edit(|spec| {
        spec.deadline_seconds = Some(30);
        spec.image = Some("v2', proxy: 'proxy:v8".to_owned());
    });
    world.rest();
    world.edit(|spec| spec.image = Some("bad".to_owned()));
    world.rest();
    world.advance(30);
    world.decide();
    let named: Vec<String> = world.assignments["m1"].spec.images().values().cloned().collect();
    assert_eq!(named, ["shop:v1", "proxy:v7"]);
}

#[test]
fn semantics_29_a_member_relabelled_away_returns_too_and_is_forgotten_then() {
    let spec = Spec::selecting("[{setWeight: 50, pause: 60}]").with(|spec| spec.deadline_seconds = Some(30));
    let mut world = World::fleet(4, spec);
    world.rest();
    world.join("m01", "test");
    world.rest();
    world.edit(|spec| spec.image = Some("bad".to_owned()));
    world.rest();
    world.advance(30);
    let orders = world.orders();
    assert_eq!(orders, ["Return m02: run 2 v1, previous v1", "Return m01: run 2 v1, previous v1"]);
    let lines = world.rest();
    assert!(lines.contains(&"Withdraw m01: run 2 v1, previous v1".to_owned()), "{lines:#?}");
    assert!(lines.contains(&"Forget m01".to_owned()), "{lines:#?}");
    assert_eq!(world.phase(), Phase::RolledBack);
    assert_eq!(world.agents["m01"].runs, Some(images("v1")));
}

#[test]
fn semantics_29_a_quarantined_revision_is_never_rolled_out_again() {
    let mut world = two_of_three_failed();
    world.decide();
    world.set_reachability("m04", Reachability::Reachable);
    world.rest();
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    world.finish();
    assert_eq!((world.phase(), world.state.header.runs_started), (Phase::Succeeded, 2));
    world.edit(|spec| spec.image = Some("bad".to_owned()));
    assert_eq!(
        world.finish(),
        [
            "Warning Quarantined: revision bad was rolled back and is not rolled out again: set another payload, or try it once more: kubectl clusterrollout retry"
        ]
    );
    assert_eq!((world.phase(), world.reason()), (Phase::Pending, "Quarantined"));
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    assert_eq!(world.finish(), [""; 0]);
    assert_eq!(world.phase(), Phase::Succeeded);
}

#[test]
fn semantics_13_previous_states_are_recorded_afresh_after_a_rollback() {
    let mut world = two_of_three_failed();
    world.decide();
    world.set_reachability("m04", Reachability::Reachable);
    world.rest();
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    let orders = world.orders();
    assert_eq!(orders[..2], ["Observe m01: run 2 v3", "Observe m02: run 2 v3"]);
    world.obey_all();
    assert_eq!(world.orders()[1], "Apply m02: run 2 v3 over v1-hotfix, previous v1-hotfix");
}

#[test]
fn semantics_30_returns_have_a_concurrency_of_their_own() {
    let mut world = two_of_three_failed();
    world.edit(|spec| {
        spec.max_failures = Some("2".to_owned());
        spec.rollback = Some("{maxConcurrency: '40%'}".to_owned());
    });
    let returned = |lines: Vec<String>| lines.iter().filter(|line| line.starts_with("Return")).count();
    let lines = world.decide();
    assert_eq!(returned(lines), 2, "members that fail alone need no leave");
    world.edit(|spec| spec.max_failures = Some("0".to_owned()));
    assert_eq!(returned(world.decide()), 0, "2 of 3 are on their way, and 40% are 2");
    world.obey("m03");
    assert_eq!(world.orders(), ["Return m01: run 1 v1, previous v1"]);
    assert_eq!(world.phase(), Phase::RollingBack);
    world.rest();
    assert_eq!(world.phase(), Phase::RolledBack);
}

#[test]
fn semantics_11_and_40_neither_a_pause_nor_a_silent_hub_keeps_failures_and_returns() {
    let mut world = two_of_three_failed();
    world.edit(|spec| spec.paused = true);
    world.hub_fresh = false;
    assert_eq!(world.orders().len(), 3);
    assert_eq!(world.reason(), "Rollback");
    world.rest();
    assert_eq!(world.phase(), Phase::RolledBack);
}

#[test]
fn semantics_11_and_40_an_invalid_object_keeps_no_rollback() {
    let mut world = two_of_three_failed();
    world.edit(|spec| spec.steps = "[{setWeight: 101}]".to_owned());
    assert_eq!(world.orders().len(), 3);
    world.rest();
    assert_eq!((world.phase(), world.reason()), (Phase::RolledBack, "Invalid"));
}

#[test]
fn semantics_31_a_new_payload_waits_for_the_end_of_the_rollback_and_the_latest_wins() {
    let mut world = two_of_three_failed();
    world.decide();
    for image in ["v3", "v4"] {
        world.edit(|spec| spec.image = Some(image.to_owned()));
        assert_eq!(world.decide(), [""; 0]);
        assert_eq!((world.phase(), world.reason()), (Phase::RollingBack, "RollbackFirst"));
    }
    assert_eq!(world.message(), "the new payload waits until the rollback is over: 0 of 3 members back");
    world.obey_all();
    let decision = world.propose();
    assert!(decision.more);
    assert_eq!(decision.state.header.run.as_ref().unwrap().stage, Stage::RolledBack);
    world.commit(decision);
    assert_eq!(world.decide()[0], "Normal RunStarted: run 2 brings 4 members to revision v4");
}
