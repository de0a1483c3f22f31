//! Rules 2, 6 and 48: what is kept of the runs that a rollout has had.

use crds::{ActionKind, Revision, RunOutcome};
use rollout_core::{MAX_PAST_RUNS, RolloutState};

use crate::world::{Spec, World};

/// Two members, one after the other.
fn world() -> World {
    World::fleet(2, Spec::selecting("[{setWeight: 50, pause: 60}]").with(|spec| spec.deadline_seconds = Some(30)))
}

fn set(world: &mut World, tag: &str) {
    world.edit(|spec| spec.image = Some(tag.to_owned()));
}

/// "1 v2 Succeeded: why", the oldest first.
fn told(world: &World) -> Vec<String> {
    let line = |past: &rollout_core::PastRun| {
        let outcome = past.outcome.map_or("under way", RunOutcome::as_str);
        world.named(format!("{} {} {outcome}: {}", past.number, past.revision, past.reason))
    };
    world.state.history.runs.iter().map(line).collect()
}

/// Tags of the payloads that are known.
fn payloads(world: &World) -> Vec<String> {
    let mut tags: Vec<String> = world
        .state
        .history
        .payloads
        .values()
        .map(|payload| payload.workload().unwrap().images["app"].replace("shop:", ""))
        .collect();
    tags.sort();
    tags
}

#[test]
fn semantics_48_every_run_is_kept_with_how_it_ended_and_why() {
    let mut world = world();
    world.finish();
    set(&mut world, "bad1");
    world.finish();
    set(&mut world, "v3");
    world.rest();
    set(&mut world, "v4");
    world.rest();
    world.act(ActionKind::Abort);
    world.finish();
    set(&mut world, "v5");
    world.rest();
    assert_eq!(
        told(&world),
        [
            "1 v2 Succeeded: 2 members healthy",
            "2 bad1 RolledBack: 1 member failed, 0 allowed",
            "3 v3 Superseded: run 4 to revision v4 came before its end",
            "4 v4 Aborted: aborted by alice",
            "5 v5 under way: ",
        ]
    );
    let run = &world.state.history.runs[1];
    assert_eq!((run.generation, run.finished_at.map(|at| at - run.started_at)), (2, Some(30_000)));
    assert_eq!(payloads(&world), ["bad1", "v2", "v3", "v4", "v5"]);
}

#[test]
fn semantics_48_a_run_that_gives_up_has_failed() {
    let mut world = world();
    world.edit(|spec| spec.rollback = Some("{scope: Member}".to_owned()));
    set(&mut world, "bad1");
    world.finish();
    assert_eq!(told(&world), ["1 bad1 Failed: 1 member failed, 0 allowed; healthy members kept the revision"]);
}

#[test]
fn semantics_02_a_payload_is_kept_once_however_many_runs_brought_it() {
    let mut world = world();
    for tag in ["v2", "v3", "v2", "v3"] {
        set(&mut world, tag);
        world.finish();
    }
    assert_eq!(world.state.history.runs.len(), 4);
    assert_eq!(payloads(&world), ["v2", "v3"]);
    assert!(world.state.history.payloads.iter().all(|(revision, payload)| Revision::of(payload) == *revision));
}

#[test]
fn semantics_06_the_oldest_runs_go_first_and_their_payloads_with_the_last_that_refers_to_them() {
    let mut world = world();
    world.edit(|spec| spec.history_limit = Some(2));
    world.finish();
    for tag in ["bad1", "bad2", "bad3", "bad4"] {
        set(&mut world, tag);
        world.finish();
    }
    let numbers: Vec<i64> = world.state.history.runs.iter().map(|past| past.number).collect();
    assert_eq!(numbers, [1, 3, 4, 5], "two beside the latest, and what was accepted last");
    assert_eq!(payloads(&world), ["bad2", "bad3", "bad4", "v2"]);
}

#[test]
fn semantics_06_a_lower_limit_lets_go_at_once_in_decisions_that_a_transaction_bears() {
    let mut world = world();
    for tag in 2..16 {
        set(&mut world, &format!("v{tag}"));
        world.finish();
    }
    assert_eq!((world.state.history.runs.len(), payloads(&world).len()), (14, 14));
    world.edit(|spec| spec.history_limit = Some(1));
    let before = world.state.history.payloads.len();
    world.decide();
    assert!(world.more && before - world.state.history.payloads.len() == 3);
    world.rest();
    assert_eq!((world.state.history.runs.len(), payloads(&world)), (2, vec!["v14".to_owned(), "v15".to_owned()]));
}

#[test]
fn guarantee_8_no_more_is_kept_than_the_limit_allows() {
    let mut world = world();
    world.edit(|spec| spec.history_limit = Some(100));
    for tag in 2..108 {
        set(&mut world, &format!("v{tag}"));
        world.rest();
    }
    assert_eq!(world.state.history.runs.len(), MAX_PAST_RUNS + 1);
    assert!(payloads(&world).len() <= MAX_PAST_RUNS + 2);
}

#[test]
fn semantics_01_a_run_to_the_same_revision_after_a_retry_is_another_entry() {
    let mut world = world();
    set(&mut world, "bad1");
    world.finish();
    world.act(ActionKind::Retry);
    world.finish();
    let outcomes: Vec<_> = world.state.history.runs.iter().map(|past| past.outcome).collect();
    assert_eq!(outcomes, [Some(RunOutcome::RolledBack); 2]);
}

#[test]
fn what_an_older_release_stored_gets_the_run_that_it_knows() {
    let mut world = world();
    world.finish();
    let mut stored = serde_json::to_value(&world.state).unwrap();
    stored.as_object_mut().unwrap().remove("history");
    world.state = serde_json::from_value::<RolloutState>(stored).unwrap();
    world.rest();
    assert_eq!(told(&world), ["1 v2 Succeeded: 2 members healthy"]);
    assert_eq!((world.state.history.runs[0].generation, payloads(&world)), (0, vec!["v2".to_owned()]));
}

#[test]
fn semantics_06_an_adopted_run_and_what_is_known_of_the_accepted_revision_are_noted_anew() {
    let mut world = world();
    world.finish();
    set(&mut world, "v3");
    world.rest();
    world.lose_store();
    world.rest();
    assert_eq!(told(&world), ["2 v3 under way: "]);
    assert!(payloads(&world).contains(&"v3".to_owned()));
}
