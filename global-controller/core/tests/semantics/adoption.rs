//! SEMANTICS 42: an empty store adopts.

use crds::{ActionKind, Outcome, Phase};
use rollout_core::{Reachability, Stage};

use crate::world::{World, images};

const TWO_STEPS: &str = "[{setWeight: 50, pause: 60}]";

fn lost(world: &mut World) -> Vec<String> {
    world.lose_store();
    world.upload_all();
    world.rest()
}

fn runs(world: &World) -> Vec<String> {
    let image = |agent: &crate::world::Agent| agent.runs.as_ref().unwrap()["app"].clone();
    world.agents.values().map(image).collect()
}

/// The first of two runs v2, and its pause is running.
fn in_the_middle() -> World {
    let mut world = World::of(&["m1", "m2"], TWO_STEPS);
    world.rest();
    assert_eq!((world.reason(), runs(&world)), ("Pause", vec!["shop:v2".to_owned(), "shop:v1".to_owned()]));
    world
}

/// The first of two has failed at bad5, and is back.
fn rolled_back() -> World {
    let mut world = World::of(&["m1", "m2"], TWO_STEPS);
    world.edit(|spec| spec.image = Some("bad5".to_owned()));
    world.finish();
    assert_eq!(world.phase(), Phase::RolledBack);
    world
}

#[test]
fn semantics_42_a_rollout_that_has_succeeded_is_finished_and_its_accepted_revision_is_known() {
    let mut world = World::of(&["m1", "m2"], TWO_STEPS);
    world.finish();
    let before = world.summary().status;
    let lines = lost(&mut world);
    assert_eq!((world.phase(), world.reason()), (Phase::Succeeded, "done"), "{lines:?}");
    let after = world.summary().status;
    assert_eq!((after.accepted_revision, after.revision, after.run), (before.accepted_revision, before.revision, 1));
    assert_eq!(after.counts.healthy, 2);
    assert_eq!(world.claimed().len(), 2);
}

#[test]
fn semantics_42_a_member_that_has_not_answered_the_repeated_order_yet_was_healthy_before_and_returns_to_that() {
    let mut world = World::of(&["m1", "m2"], TWO_STEPS);
    world.finish();
    for agent in world.agents.values_mut() {
        // As after a first loss: the same order under another fence, and what it says is of the one before.
        agent.order.as_mut().unwrap().spec.fence.generation += 1;
    }
    world.lose_store();
    world.edit(|spec| spec.image = Some("bad5".to_owned()));
    world.status.observed_generation = world.spec.generation;
    world.upload_all();
    world.finish();
    assert_eq!((world.phase(), world.state.header.runs_started), (Phase::RolledBack, 2));
    assert_eq!(runs(&world), ["shop:v2", "shop:v2"]);
}

#[test]
fn semantics_42_a_rollout_that_was_rolled_back_stays_so_and_its_revision_in_quarantine() {
    let mut world = rolled_back();
    lost(&mut world);
    assert_eq!((world.phase(), world.reason()), (Phase::RolledBack, "Quarantined"));
    world.advance(10_000);
    world.finish();
    assert_eq!(runs(&world), ["shop:v1", "shop:v1"]);
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    world.finish();
    assert_eq!((world.phase(), world.state.header.runs_started), (Phase::Succeeded, 2));
}

#[test]
fn semantics_42_a_run_in_its_middle_holds_until_a_person_decides_and_nobody_is_touched() {
    let mut world = in_the_middle();
    let lines = lost(&mut world);
    assert_eq!((world.phase(), world.reason()), (Phase::Holding, "StoreRebuilt"), "{lines:?}");
    assert!(world.message().contains("resumes, aborts or retries"), "{}", world.message());
    world.advance(100_000);
    assert_eq!(world.rest(), Vec::<String>::new());
    assert_eq!(runs(&world), ["shop:v2", "shop:v1"]);
    let refuses = |line: &String| line.starts_with("Apply m2") || line.starts_with("Return");
    assert!(!lines.iter().any(refuses), "{lines:?}");
}

#[test]
fn semantics_42_resumed_it_takes_its_step_again_and_succeeds() {
    let mut world = in_the_middle();
    lost(&mut world);
    let lines = world.release(ActionKind::Resume);
    assert!(lines.iter().any(|line| line.contains("PauseStarted")), "{lines:?}");
    world.finish();
    assert_eq!((world.phase(), runs(&world)), (Phase::Succeeded, vec!["shop:v2".to_owned(); 2]));
}

#[test]
fn semantics_42_aborted_each_returns_to_its_own_image_which_the_members_told() {
    let mut world = World::of(&["m1", "m2", "m3"], "[{setWeight: 60, pause: 60}]");
    world.edit(|spec| spec.max_concurrency = Some("3".to_owned()));
    for (member, tag) in [("m1", "v1-one"), ("m2", "v1-two"), ("m3", "v1-three")] {
        world.agents.get_mut(member).unwrap().runs = Some(images(tag));
    }
    world.rest();
    assert_eq!(runs(&world), ["shop:v2", "shop:v2", "shop:v1-three"]);
    lost(&mut world);
    world.release(ActionKind::Abort);
    world.finish();
    assert_eq!((world.phase(), world.reason()), (Phase::RolledBack, "Quarantined"));
    assert_eq!(runs(&world), ["shop:v1-one", "shop:v1-two", "shop:v1-three"]);
}

#[test]
fn semantics_42_retried_it_goes_on_from_its_first_step() {
    let mut world = World::of(&["m1", "m2", "m3"], "[{setWeight: 30}, {setWeight: 60, pause: 60}]");
    world.rest();
    assert_eq!(world.state.header.run.as_ref().unwrap().step, 1);
    lost(&mut world);
    assert_eq!(world.state.header.run.as_ref().unwrap().step, 1);
    let lines = world.release(ActionKind::Retry);
    assert!(lines.iter().any(|line| line.contains("from its first step")), "{lines:?}");
    world.finish();
    assert_eq!(world.phase(), Phase::Succeeded);
}

#[test]
fn semantics_42_what_a_person_did_before_the_loss_decides_nothing_after_it() {
    let mut world = in_the_middle();
    let abort = world.act(ActionKind::Abort);
    world.advance(5);
    lost(&mut world);
    assert_eq!(world.reason(), "StoreRebuilt");
    assert!(world.outcome_of(&abort).contains("created before the controller's store was lost"));
    let resume = world.act(ActionKind::Resume);
    world.rest();
    assert!(world.outcome_of(&resume).starts_with("Applied"), "{}", world.outcome_of(&resume));
    let again = world.act(ActionKind::Resume);
    world.rest();
    assert!(world.outcome_of(&again).contains("nothing is to be resumed"), "{}", world.outcome_of(&again));
}

#[test]
fn semantics_42_a_rollback_in_its_middle_holds_too_and_is_finished_when_resumed() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 100}]");
    world.edit(|spec| {
        spec.max_concurrency = Some("2".to_owned());
        spec.rollback = Some("{maxConcurrency: 1}".to_owned());
        spec.image = Some("bad5".to_owned());
    });
    world.rest();
    world.now = world.wake_at.unwrap();
    world.decide();
    assert_eq!(world.phase(), Phase::RollingBack);
    lost(&mut world);
    assert_eq!((world.phase(), world.reason()), (Phase::Holding, "StoreRebuilt"));
    world.release(ActionKind::Resume);
    world.finish();
    assert_eq!((world.phase(), runs(&world)), (Phase::RolledBack, vec!["shop:v1".to_owned(); 2]));
}

#[test]
fn semantics_42_a_specification_that_changed_meanwhile_holds_although_the_last_run_was_over() {
    let mut world = World::of(&["m1", "m2"], TWO_STEPS);
    world.finish();
    world.lose_store();
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    world.upload_all();
    world.rest();
    assert_eq!(world.reason(), "StoreRebuilt");
    assert_eq!(runs(&world), ["shop:v2", "shop:v2"]);
    world.release(ActionKind::Resume);
    world.finish();
    assert_eq!((world.phase(), runs(&world)), (Phase::Succeeded, vec!["shop:v3".to_owned(); 2]));
}

#[test]
fn semantics_42_who_can_not_upload_is_named_and_completed_when_it_comes() {
    let mut world = in_the_middle();
    world.silence("m1");
    lost(&mut world);
    assert_eq!(world.reason(), "StoreRebuilt");
    assert!(world.message().ends_with("1 member: m1"), "{}", world.message());
    assert!(!world.state.members.contains_key("m1"));
    world.release(ActionKind::Resume);
    world.finish();
    assert_eq!(world.reason(), "MemberUnreachable", "it may run anything");
    world.set_reachability("m1", Reachability::Reachable);
    assert_eq!(world.rest(), Vec::<String>::new(), "nobody is told anything who has not told what it has");
    world.upload("m1");
    world.rest();
    let previous = world.state.members["m1"].previous.clone().unwrap();
    assert_eq!(previous.images, images("v1"), "and not the canary's new image");
    world.release(ActionKind::Resume);
    world.finish();
    assert_eq!(world.phase(), Phase::Succeeded);
}

#[test]
fn semantics_42_a_member_that_missed_its_return_gets_it_when_it_comes_after_the_loss() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 100}]");
    world.edit(|spec| {
        spec.max_concurrency = Some("2".to_owned());
        spec.image = Some("bad5".to_owned());
    });
    world.rest();
    world.silence("m2");
    world.finish();
    assert_eq!((world.phase(), runs(&world)), (Phase::RolledBack, vec!["shop:v1".to_owned(), "shop:bad5".to_owned()]));
    lost(&mut world);
    assert_eq!(world.phase(), Phase::RolledBack);
    world.set_reachability("m2", Reachability::Reachable);
    world.upload("m2");
    let lines = world.finish();
    assert_eq!(runs(&world), ["shop:v1", "shop:v1"], "{lines:?}");
}

#[test]
fn semantics_42_a_status_that_lags_behind_the_members_is_not_believed() {
    let mut world = World::of(&["m1", "m2"], TWO_STEPS);
    world.finish();
    let old = world.summary().status;
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    world.rest();
    assert_eq!(runs(&world), ["shop:v3", "shop:v2"]);
    world.status = crds::ClusterScopeRolloutStatus { observed_generation: world.spec.generation, ..old };
    lost(&mut world);
    assert_eq!((world.reason(), world.state.header.runs_started), ("StoreRebuilt", 2));
    world.release(ActionKind::Abort);
    world.finish();
    assert_eq!(runs(&world), ["shop:v2", "shop:v2"], "what was accepted is where the abort goes");
}

#[test]
fn semantics_42_a_deleted_rollout_is_withdrawn_also_where_only_the_members_know_of_it() {
    let mut world = in_the_middle();
    world.deleted = true;
    world.lose_store();
    world.upload_all();
    let lines = world.rest();
    assert!(lines.iter().any(|line| line.starts_with("Withdraw m1")), "{lines:?}");
    assert!(world.state.is_spent());
    assert_eq!(runs(&world), ["shop:v2", "shop:v1"], "no workload changes");
}

#[test]
fn semantics_42_a_member_that_has_returned_by_itself_is_not_told_to_apply_again() {
    let mut world = World::of(&["m1", "m2"], TWO_STEPS);
    world.edit(|spec| spec.image = Some("bad5".to_owned()));
    world.rest();
    world.pass_own_deadline("m1");
    let lines = lost(&mut world);
    assert!(!lines.iter().any(|line| line.starts_with("Apply")), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("Return m1")), "{lines:?}");
    assert_eq!(world.reason(), "StoreRebuilt");
    world.release(ActionKind::Resume);
    world.finish();
    assert_eq!(world.phase(), Phase::RolledBack, "its failure counts");
}

#[test]
fn semantics_41_an_older_backup_takes_up_what_members_have_and_sends_nobody_back() {
    let mut world = World::of(&["m1", "m2"], TWO_STEPS);
    world.finish();
    let backup = world.backup();
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    world.finish();
    world.restore(backup);
    world.upload_all();
    let lines = world.rest();
    assert!(!lines.iter().any(|line| line.contains(": run 1 ")), "{lines:?}");
    assert_eq!((world.phase(), world.reason()), (Phase::Succeeded, "done"), "{lines:?}");
    assert_eq!((world.state.header.runs_started, runs(&world)), (2, vec!["shop:v3".to_owned(); 2]));
}

#[test]
fn semantics_41_orders_of_a_backup_are_forgotten_and_their_members_tell_what_they_have() {
    let mut world = in_the_middle();
    let backup = world.backup();
    world.silence("m1");
    world.restore(backup);
    world.upload_all();
    world.rest();
    assert!(!world.assignments.contains_key("m1"));
    world.set_reachability("m1", Reachability::Reachable);
    world.upload("m1");
    let lines = world.rest();
    assert_eq!(world.assignments["m1"].spec.fence.epoch, 2, "{lines:?}");
    assert_eq!(world.reason(), "StoreRebuilt");
}

#[test]
fn semantics_42_a_rollout_that_never_ran_just_starts() {
    let mut world = World::of(&["m1"], TWO_STEPS);
    lost(&mut world);
    assert_eq!((world.reason(), world.state.header.epoch), ("Pause", 2));
    world.answer("m1", Outcome::Healthy);
    world.finish();
    assert_eq!(world.state.header.run.as_ref().unwrap().stage, Stage::Succeeded);
}
