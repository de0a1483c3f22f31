//! Rules 29, 32, 33 and 44: abort and retry, and that each action is taken up once.

use crds::{ActionKind, ActionOutcome, Outcome, Phase};
use rollout_core::Stage;

use crate::world::{Spec, World, images};

/// Three members with images of their own; m01 is updated, and the pause runs.
fn one_updated(rollback: Option<&str>) -> World {
    let spec = Spec::selecting("[{setWeight: 10, pause: 300}]").with(|spec| {
        spec.rollback = rollback.map(str::to_owned);
        spec.deadline_seconds = Some(30);
    });
    let mut world = World::fleet(3, spec);
    for (member, tag) in [("m01", "v1"), ("m02", "v1-hotfix"), ("m03", "v0")] {
        world.agents.get_mut(member).unwrap().runs = Some(images(tag));
    }
    world.rest();
    assert_eq!(world.reason(), "Pause");
    world
}

/// Its canary has failed and is back.
fn rolled_back() -> World {
    let mut world = World::fleet(3, Spec::selecting("[{setWeight: 10}]").with(|spec| spec.deadline_seconds = Some(30)));
    world.agents.get_mut("m01").unwrap().cursed = true;
    world.finish();
    assert_eq!(world.phase(), Phase::RolledBack);
    world
}

/// Four members, of which m02 has failed within the budget.
fn succeeded_but_one() -> World {
    let spec = Spec::selecting("[{setWeight: 50}]").with(|spec| {
        spec.max_failures = Some("1".to_owned());
        spec.deadline_seconds = Some(30);
    });
    let mut world = World::fleet(4, spec);
    world.agents.get_mut("m02").unwrap().cursed = true;
    world.finish();
    assert_eq!((world.phase(), world.reason()), (Phase::Succeeded, "done"));
    assert_eq!(world.agents["m02"].runs, Some(images("v1")));
    world
}

fn degraded(world: &World) -> String {
    let conditions = world.summary().conditions;
    conditions.into_iter().find(|one| one.kind == "Degraded").map(|one| one.reason).unwrap()
}

#[test]
fn semantics_44_abort_takes_the_whole_fleet_back_and_quarantines_the_revision() {
    let mut world = one_updated(None);
    let abort = world.act(ActionKind::Abort);
    assert_eq!(
        world.decide(),
        [
            "Warning Aborted: run 1: aborted by alice (of a test): every touched member returns to what it ran before, and revision v2 is not rolled out again unless it is retried",
            "Return m01: run 1 v1, previous v1",
        ]
    );
    assert_eq!((world.phase(), degraded(&world).as_str()), (Phase::RollingBack, "RollingBack"));
    assert!(world.outcome_of(&abort).starts_with("Applied: every touched member returns"));
    world.finish();
    assert_eq!(
        (world.phase(), world.reason(), degraded(&world).as_str()),
        (Phase::RolledBack, "Quarantined", "Aborted")
    );
    for (member, tag) in [("m01", "v1"), ("m02", "v1-hotfix"), ("m03", "v0")] {
        assert_eq!(world.agents[member].runs, Some(images(tag)), "{member}");
    }
}

#[test]
fn semantics_44_abort_needs_neither_the_mode_nor_the_scope_nor_a_valid_object_nor_anybody_touched() {
    for rollback in ["{mode: Manual}", "{scope: Member}"] {
        let mut world = one_updated(Some(rollback));
        world.act(ActionKind::Abort);
        assert!(world.decide().contains(&"Return m01: run 1 v1, previous v1".to_owned()), "{rollback}");
    }
    let mut world = one_updated(None);
    world.edit(|spec| "[{setWeight: 101}]".clone_into(&mut spec.steps));
    world.act(ActionKind::Abort);
    world.rest();
    assert_eq!(world.state.header.run.as_ref().unwrap().stage, Stage::RolledBack);
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50}]");
    world.decide();
    world.act(ActionKind::Abort);
    world.rest();
    assert_eq!(world.phase(), Phase::RolledBack);
}

#[test]
fn semantics_44_abort_of_a_run_that_only_finishes_takes_the_healthy_back_too() {
    let spec = Spec::selecting("[{setWeight: 100}]").with(|spec| {
        spec.rollback = Some("{scope: Member}".to_owned());
        spec.deadline_seconds = Some(30);
        spec.max_concurrency = Some("3".to_owned());
    });
    let mut world = World::fleet(3, spec);
    world.decide();
    world.all_answer(&["m01", "m02", "m03"], Outcome::Observed);
    world.decide();
    world.answer("m01", Outcome::Healthy);
    world.decide();
    world.advance(20);
    world.answer("m02", Outcome::Reverted);
    world.decide();
    assert_eq!(world.reason(), "Finishing");
    world.act(ActionKind::Abort);
    let orders = world.orders();
    assert!(orders.contains(&"Return m01: run 1 v1, previous v1".to_owned()), "{orders:?}");
}

#[test]
fn semantics_44_abort_of_what_is_over_is_refused_and_says_what_to_do() {
    let refused = |world: &mut World| {
        let abort = world.act(ActionKind::Abort);
        world.decide();
        world.outcome_of(&abort)
    };
    let mut world = one_updated(None);
    world.act(ActionKind::Abort);
    world.decide();
    assert_eq!(refused(&mut world), "Refused: run 1 is rolling back already: wait for its end");
    world.finish();
    assert_eq!(refused(&mut world), "Refused: run 1 was rolled back: nothing is under way any more");
    let mut world = succeeded_but_one();
    assert_eq!(refused(&mut world), "Refused: run 1 has succeeded: to take it back, set the payload that ran before");
    world.deleted = true;
    assert!(refused(&mut world).starts_with("Refused: the rollout is being deleted"));
}

#[test]
fn semantics_44_a_step_that_has_gone_on_meanwhile_does_not_keep_an_abort() {
    let mut world = one_updated(None);
    let abort = world.act_with(ActionKind::Abort, |spec| spec.step = 2);
    world.decide();
    assert!(world.outcome_of(&abort).starts_with("Applied"));
}

#[test]
fn semantics_29_retry_lifts_the_quarantine_and_starts_another_run() {
    let mut world = rolled_back();
    world.agents.get_mut("m01").unwrap().cursed = false;
    let retry = world.act(ActionKind::Retry);
    let lines = world.decide();
    assert_eq!(
        lines[..2],
        [
            "Normal Retried: run 1: retried by alice (of a test): revision v2 may be rolled out again, and run 2 brings it when nothing is in the way",
            "Normal RunStarted: run 2 brings 3 members to revision v2",
        ]
    );
    assert!(world.outcome_of(&retry).starts_with("Applied: revision v2 may be rolled out again"));
    world.finish();
    assert_eq!((world.phase(), world.state.header.quarantine.len()), (Phase::Succeeded, 0));
    assert!(world.agents.values().all(|agent| agent.runs == Some(images("v2"))));
}

#[test]
fn semantics_29_a_retry_that_fails_again_is_in_quarantine_again() {
    let mut world = rolled_back();
    world.act(ActionKind::Retry);
    world.finish();
    assert_eq!((world.phase(), world.reason()), (Phase::RolledBack, "Quarantined"));
    assert_eq!(world.state.header.runs_started, 2);
    assert_eq!(world.agents["m01"].runs, Some(images("v1")));
}

#[test]
fn semantics_29_a_retry_waits_for_what_keeps_a_run_from_starting() {
    let mut world = rolled_back();
    world.edit(|spec| spec.targets = vec!["m09".to_owned()]);
    world.act(ActionKind::Retry);
    world.decide();
    assert_eq!((world.reason(), world.phase(), world.state.header.runs_started), ("TargetMissing", Phase::Pending, 1));
    let again = world.act(ActionKind::Retry);
    world.decide();
    assert!(world.outcome_of(&again).contains("its run starts by itself when nothing is in the way"));
    world.join("m09", "prod");
    world.agents.get_mut("m01").unwrap().cursed = false;
    world.finish();
    assert_eq!((world.phase(), world.state.header.runs_started), (Phase::Succeeded, 2));
}

#[test]
fn semantics_29_retry_of_a_payload_that_was_rolled_back_before_another_one_ran() {
    let mut world = rolled_back();
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    world.agents.get_mut("m01").unwrap().cursed = false;
    world.finish();
    world.edit(|spec| spec.image = Some("v2".to_owned()));
    world.rest();
    assert_eq!(world.reason(), "Quarantined");
    world.act(ActionKind::Retry);
    world.finish();
    assert_eq!((world.phase(), world.state.header.runs_started), (Phase::Succeeded, 3));
    assert!(world.agents.values().all(|agent| agent.runs == Some(images("v2"))));
}

#[test]
fn semantics_44_a_retry_is_for_the_revision_of_the_spec() {
    let mut world = rolled_back();
    let other = world.act_with(ActionKind::Retry, |spec| spec.revision = crds::Revision("other".to_owned()));
    world.decide();
    assert_eq!(
        world.outcome_of(&other),
        "Refused: it is for revision other, but that of spec.workload is v2: look at it, and create another action for that"
    );
}

#[test]
fn semantics_44_a_retry_during_the_rollback_is_refused() {
    let mut world = one_updated(None);
    world.act(ActionKind::Abort);
    world.decide();
    let retry = world.act(ActionKind::Retry);
    world.decide();
    assert_eq!(world.outcome_of(&retry), "Refused: run 1 is rolling back: retry when that is over");
}

#[test]
fn semantics_32_a_retry_of_a_run_that_holds_gives_the_failed_members_their_time_again() {
    let spec = Spec::selecting("[{setWeight: 10}]").with(|spec| {
        spec.rollback = Some("{mode: Manual}".to_owned());
        spec.deadline_seconds = Some(30);
    });
    let mut world = World::fleet(2, spec);
    world.agents.get_mut("m01").unwrap().cursed = true;
    world.finish();
    assert_eq!((world.reason(), world.wake_at), ("DeadlinePassed", None));
    let retry = world.act(ActionKind::Retry);
    let lines = world.decide();
    assert_eq!(
        lines,
        [
            "Normal Retried: run 1: retried by alice (of a test): 1 member given the whole deadline again: m01",
            "Apply m01: run 1 v2 over v1, previous v1",
        ]
    );
    assert!(world.outcome_of(&retry).starts_with("Applied"));
    assert_eq!((world.reason(), world.wake_at), ("MemberHealth", Some(world.now + 30_000)));
    world.agents.get_mut("m01").unwrap().cursed = false;
    world.finish();
    assert_eq!(world.phase(), Phase::Succeeded);
}

#[test]
fn semantics_32_a_retry_while_nobody_has_failed_is_refused() {
    for rollback in [None, Some("{mode: Manual}")] {
        let mut world = one_updated(rollback);
        let retry = world.act(ActionKind::Retry);
        assert_eq!(world.orders(), [""; 0]);
        assert_eq!(
            world.outcome_of(&retry),
            "Refused: neither a member nor the gate has failed in run 1: nothing is to be retried"
        );
    }
}

#[test]
fn semantics_33_tolerated_failures_get_the_revision_again_by_retry() {
    let mut world = succeeded_but_one();
    world.agents.get_mut("m02").unwrap().cursed = false;
    let retry = world.act(ActionKind::Retry);
    assert_eq!(
        world.decide()[..2],
        [
            "Normal Retried: run 1: retried by alice (of a test): revision v2 goes again to 1 member that failed: m02",
            "Normal CatchUpStarted: run 1: 1 member left to get the accepted revision v2: m02",
        ]
    );
    assert!(world.outcome_of(&retry).starts_with("Applied"));
    assert_eq!(world.summary().status.counts.failed, 0);
    world.finish();
    assert_eq!(world.agents["m02"].runs, Some(images("v2")));
    assert_eq!((world.phase(), degraded(&world).as_str()), (Phase::Succeeded, "NotDegraded"));
}

#[test]
fn semantics_33_a_retried_member_that_was_changed_meanwhile_returns_to_that() {
    let mut world = succeeded_but_one();
    world.agents.get_mut("m02").unwrap().runs = Some(images("v1-hotfix"));
    world.act(ActionKind::Retry);
    world.finish();
    assert_eq!((world.phase(), world.reason()), (Phase::Succeeded, "done"));
    assert_eq!(world.agents["m02"].runs, Some(images("v1-hotfix")));
}

#[test]
fn semantics_35_retry_lets_a_catch_up_go_on_that_held() {
    let mut world = succeeded_but_one();
    for member in ["m05", "m06"] {
        world.join(member, "prod");
    }
    world.agents.get_mut("m05").unwrap().cursed = true;
    world.finish();
    assert_eq!(world.reason(), "CatchUpHeld");
    for agent in world.agents.values_mut() {
        agent.cursed = false;
    }
    world.act(ActionKind::Retry);
    world.finish();
    assert_eq!(world.reason(), "done");
    assert!(world.agents.values().all(|agent| agent.runs == Some(images("v2"))));
}

#[test]
fn semantics_33_members_that_are_still_on_their_way_back_are_not_retried() {
    let spec = Spec::selecting("[{setWeight: 100}]").with(|spec| {
        spec.max_failures = Some("1".to_owned());
        spec.deadline_seconds = Some(30);
        spec.max_concurrency = Some("2".to_owned());
        spec.max_unreachable = Some("1".to_owned());
    });
    let mut world = World::fleet(2, spec);
    world.agents.get_mut("m02").unwrap().cursed = true;
    world.rest();
    world.advance(30);
    assert!(world.decide().contains(&"Return m02: run 1 v1, previous v1".to_owned()));
    world.silence("m02");
    world.finish();
    assert_eq!(world.phase(), Phase::Succeeded);
    let retry = world.act(ActionKind::Retry);
    world.decide();
    assert_eq!(world.outcome_of(&retry), "Refused: 1 member still going back: m02: retry when they are back");
}

#[test]
fn semantics_44_an_action_is_applied_once_though_the_hub_still_shows_it() {
    let mut world = rolled_back();
    world.agents.get_mut("m01").unwrap().cursed = false;
    let retry = world.act(ActionKind::Retry);
    world.decide();
    let said = world.outcome_of(&retry);
    // Another leader knows only what was committed.
    world.begin_term();
    world.rest();
    assert_eq!((world.outcome_of(&retry), world.state.header.runs_started), (said, 2));
    world.publish_outcomes();
    assert!(world.actions.is_empty());
    assert_eq!(world.rest(), [""; 0]);
}

#[test]
fn semantics_44_outcomes_that_the_hub_was_not_told_are_never_forgotten() {
    let mut world = one_updated(None);
    let many: Vec<String> = (0..100).map(|_| world.act_with(ActionKind::Abort, |spec| spec.run = 7)).collect();
    world.rest();
    let told = |world: &World| many.iter().filter(|uid| world.outcome_of(uid).starts_with("Refused")).count();
    assert_eq!(told(&world), 64, "the others wait until there is room");
    world.publish_outcomes();
    world.rest();
    assert_eq!(world.actions.len(), 36);
    let handled = |uid: &String| world.state.header.handled.get(uid).map(|action| action.outcome);
    assert!(many[64..].iter().all(|uid| handled(uid) == Some(ActionOutcome::Refused)));
    assert!(many[..36].iter().all(|uid| handled(uid).is_none()), "the oldest gave way");
    assert!(many[36..64].iter().all(|uid| world.state.header.handled.get(uid).unwrap().message.is_empty()));
}
