//! SEMANTICS 43: a hub that was restored from an older backup.

use crds::{ActionKind, Phase};

use crate::world::{Spec, World};

const TWO_STEPS: &str = "[{setWeight: 50, pause: 60}]";

fn runs(world: &World) -> Vec<String> {
    let image = |agent: &crate::world::Agent| agent.runs.as_ref().unwrap()["app"].clone();
    world.agents.values().map(image).collect()
}

/// v2 has succeeded; the first of two runs v3, and its pause is running. With the specification before that.
fn in_the_second_run() -> (World, Spec) {
    let mut world = World::of(&["m1", "m2"], TWO_STEPS);
    world.finish();
    let before = world.spec.clone();
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    world.rest();
    assert_eq!((world.reason(), runs(&world)), ("Pause", vec!["shop:v3".to_owned(), "shop:v2".to_owned()]));
    (world, before)
}

fn holds(world: &mut World) {
    world.advance(100_000);
    world.rest();
    assert_eq!((world.phase(), world.reason()), (Phase::Holding, "HubRewound"), "{}", world.message());
    assert_eq!(runs(world), ["shop:v3", "shop:v2"], "nobody was touched");
}

#[test]
fn semantics_43_a_lower_generation_holds_everything_until_a_person_accepts_the_hub() {
    let (mut world, before) = in_the_second_run();
    world.rewind_to(before);
    let lines = world.rest();
    assert!(lines[0].starts_with("Warning HubRewound: the hub was restored from an older backup (checkout has generation 1, and had 2 before)"), "{lines:?}");
    assert_eq!(lines.len(), 1, "{lines:?}");
    holds(&mut world);
    let lines = world.release(ActionKind::AcceptHub);
    assert!(lines.contains(&"AcceptHub".to_owned()), "{lines:?}");
    world.finish();
    assert_eq!(
        (world.phase(), runs(&world)),
        (Phase::Succeeded, vec!["shop:v2".to_owned(); 2]),
        "by the rules: superseded"
    );
    assert_eq!(world.state.header.runs_started, 3);
}

#[test]
fn semantics_43_so_does_another_specification_of_the_same_generation() {
    let (mut world, before) = in_the_second_run();
    world.rewind_to(Spec { generation: 2, image: Some("v4".to_owned()), ..before });
    holds(&mut world);
    assert!(world.message().contains("had another specification with the same"), "{}", world.message());
    world.release(ActionKind::AcceptHub);
    world.finish();
    assert_eq!((world.phase(), runs(&world)), (Phase::Succeeded, vec!["shop:v4".to_owned(); 2]));
}

#[test]
fn semantics_43_a_rollout_that_is_gone_with_our_finalizer_is_withdrawn_from_nobody() {
    let (mut world, _) = in_the_second_run();
    world.lose_object();
    holds(&mut world);
    assert!(world.message().contains("checkout is gone, though nobody took its finalizer away"), "{}", world.message());
    assert_eq!(world.claimed().len(), 2);
    world.hub.accept();
    world.finish();
    assert!(world.state.is_spent(), "accepted, it is gone by the rules");
    assert_eq!(runs(&world), ["shop:v3", "shop:v2"], "and no workload changes");
}

#[test]
fn semantics_43_one_whose_finalizer_somebody_took_away_in_sight_is_just_deleted() {
    let (mut world, _) = in_the_second_run();
    (world.deleted, world.hub.gone, world.hub.let_go, world.spec.generation) = (true, true, true, 0);
    world.finish();
    assert!(world.state.is_spent());
}

#[test]
fn semantics_43_a_member_that_the_backup_does_not_have_is_forgotten_only_when_the_hub_is_accepted() {
    let (mut world, before) = in_the_second_run();
    world.rewind_to(before);
    let lost = world.members.remove("m1").unwrap();
    holds(&mut world);
    assert!(world.state.members.contains_key("m1"));
    world.members.insert("m1".to_owned(), lost);
    world.release(ActionKind::AcceptHub);
    world.finish();
    assert_eq!((world.phase(), runs(&world)), (Phase::Succeeded, vec!["shop:v2".to_owned(); 2]));
}

#[test]
fn semantics_43_other_rollouts_hold_with_the_one_that_shows_it() {
    let (mut world, _) = in_the_second_run();
    world.hub.rewound = Some((world.now, "search is gone".to_owned()));
    holds(&mut world);
    assert!(world.message().contains("(search is gone)"), "{}", world.message());
    world.hub.accept();
    world.finish();
    assert_eq!((world.phase(), runs(&world)), (Phase::Succeeded, vec!["shop:v3".to_owned(); 2]));
}

#[test]
fn semantics_43_until_then_all_other_actions_are_refused_and_one_of_the_backup_accepts_nothing() {
    let (mut world, before) = in_the_second_run();
    let old = world.act(ActionKind::AcceptHub);
    world.advance(5);
    world.rewind_to(before);
    let abort = world.act(ActionKind::Abort);
    holds(&mut world);
    assert!(world.outcome_of(&old).contains("created before the hub was found to have gone back"));
    assert!(world.outcome_of(&abort).contains("accept the hub"), "{}", world.outcome_of(&abort));
    world.release(ActionKind::AcceptHub);
    world.finish();
    assert_eq!(world.phase(), Phase::Succeeded);
    let late = world.act(ActionKind::AcceptHub);
    world.rest();
    assert!(world.outcome_of(&late).contains("there is nothing to accept"), "{}", world.outcome_of(&late));
}

#[test]
fn semantics_43_a_recreated_rollout_goes_on_with_the_run_and_returns_where_that_would() {
    let (mut world, _) = in_the_second_run();
    world.lose_object();
    world.recreate(|_| ());
    world.rest();
    assert_eq!((world.phase(), world.reason()), (Phase::Holding, "HubRewound"));
    world.release(ActionKind::AcceptHub);
    let lines = world.rest();
    assert!(lines.iter().any(|line| line.starts_with("Warning Inherited")), "{lines:?}");
    assert_eq!((world.state.header.runs_started, world.claimed().len()), (2, 2));
    world.release(ActionKind::Abort);
    world.finish();
    assert_eq!((world.phase(), runs(&world)), (Phase::RolledBack, vec!["shop:v2".to_owned(); 2]));
}

#[test]
fn semantics_43_a_recreated_rollout_inherits_what_was_accepted_and_what_was_rolled_back() {
    let mut world = World::of(&["m1", "m2"], TWO_STEPS);
    world.finish();
    let accepted = world.state.header.accepted_revision.clone();
    world.edit(|spec| spec.image = Some("bad5".to_owned()));
    world.finish();
    assert_eq!(world.phase(), Phase::RolledBack);
    world.lose_object();
    world.recreate(|_| ());
    world.release(ActionKind::AcceptHub);
    world.finish();
    assert_eq!((world.reason(), world.state.header.accepted_revision.clone()), ("Quarantined", accepted));
    assert_eq!(runs(&world), ["shop:v2", "shop:v2"], "what was rolled back is not delivered");
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    world.finish();
    assert_eq!((world.phase(), runs(&world)), (Phase::Succeeded, vec!["shop:v3".to_owned(); 2]));
}

#[test]
fn semantics_43_a_recreated_rollout_inherits_what_it_ran_before_whole_and_keeps_as_much_as_it_is_told_to() {
    for (limit, kept) in [(None, 13), (Some(2), 3)] {
        let mut world = World::of(&["m1", "m2"], TWO_STEPS);
        for tag in 2..15 {
            world.edit(|spec| spec.image = Some(format!("v{tag}")));
            world.finish();
        }
        let history = world.state.history.clone();
        assert_eq!((history.runs.len(), history.payloads.len()), (13, 13));
        world.lose_object();
        world.recreate(|spec| spec.history_limit = limit);
        world.release(ActionKind::AcceptHub);
        world.finish();
        let now = &world.state.history;
        assert_eq!(now.runs, history.runs[13 - kept..]);
        assert_eq!(now.payloads.len(), kept);
    }
}

#[test]
fn semantics_43_a_fleet_of_more_members_than_one_decision_may_change_is_inherited_whole() {
    let mut world = World::fleet(70, Spec::selecting("[{setWeight: 100}]"));
    world.edit(|spec| spec.max_concurrency = Some("70".to_owned()));
    world.finish();
    world.lose_object();
    world.recreate(|_| ());
    world.release(ActionKind::AcceptHub);
    world.finish();
    assert_eq!((world.phase(), world.state.header.runs_started), (Phase::Succeeded, 1));
    assert_eq!((world.state.members.len(), world.claimed().len()), (70, 70));
}

#[test]
fn semantics_43_what_was_inherited_is_let_go_without_a_word_to_the_members() {
    let (mut world, _) = in_the_second_run();
    world.lose_object();
    world.hub.accept();
    world.hub.heir = Some(rollout_core::Heir::Expected);
    assert_eq!(world.rest(), [""; 0], "the heir comes first");
    world.hub.heir = Some(rollout_core::Heir::Installed);
    assert_eq!(world.rest(), [""; 0]);
    assert!(world.state.is_spent());
}

#[test]
fn semantics_43_a_deletion_that_the_backup_does_not_know_is_undone_when_the_hub_is_accepted() {
    let (mut world, _) = in_the_second_run();
    world.silence("m2");
    let before = world.spec.clone();
    world.deleted = true;
    world.edit(|_| ());
    world.rest();
    assert!(world.state.header.finalizer_released, "one that is silent delays nothing");
    world.deleted = false;
    world.rewind_to(before);
    world.rest();
    assert_eq!((world.phase(), world.reason()), (Phase::Holding, "HubRewound"));
    world.release(ActionKind::AcceptHub);
    world.set_reachability("m2", rollout_core::Reachability::Reachable);
    world.finish();
    assert_eq!((world.phase(), runs(&world)), (Phase::Succeeded, vec!["shop:v3".to_owned(); 2]));
}

#[test]
fn semantics_43_so_is_one_after_a_success_and_the_members_catch_up() {
    let mut world = World::of(&["m1", "m2"], TWO_STEPS);
    world.finish();
    world.silence("m2");
    let before = world.spec.clone();
    world.deleted = true;
    world.edit(|_| ());
    world.rest();
    world.deleted = false;
    world.rewind_to(before);
    world.rest();
    world.release(ActionKind::AcceptHub);
    world.set_reachability("m2", rollout_core::Reachability::Reachable);
    world.finish();
    assert_eq!(
        (world.phase(), world.reason(), runs(&world)),
        (Phase::Succeeded, "done", vec!["shop:v2".to_owned(); 2])
    );
    assert_eq!(world.summary().status.counts.healthy, 2);
}
