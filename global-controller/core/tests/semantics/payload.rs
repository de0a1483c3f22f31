//! Rules 1 to 5: what starts a run, and what merely changes it.

use crds::{Outcome, Revision};
use rollout_core::Stage;

use crate::world::{Spec, World, images};

/// Two targets, half of them first; m1 is updated and in its pause of 60 s.
fn in_the_pause_of_the_first_step() -> World {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50, pause: 60}]");
    world.rest();
    assert_eq!(world.reason(), "Pause");
    world
}

#[test]
fn semantics_01_the_first_payload_starts_the_first_run() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50, pause: 60}]");
    assert_eq!(
        world.decide(),
        [
            "Normal RunStarted: run 1 brings 2 members to revision v2",
            "Normal StepStarted: step 1 of 2: 50% are 1 of 2 members, 1 new, at most 1 in flux",
            "Observe m1: run 1 v2",
        ]
    );
    assert_eq!(world.decide(), [""; 0]);
}

#[test]
fn semantics_01_a_changed_payload_supersedes_the_run_and_begins_with_the_first_step() {
    let mut world = in_the_pause_of_the_first_step();
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    assert_eq!(
        world.decide(),
        [
            "Normal Superseded: run 1 to revision v2 is superseded by run 2 to revision v3",
            "Normal RunStarted: run 2 brings 2 members to revision v3",
            "Normal StepStarted: step 1 of 2: 50% are 1 of 2 members, 1 new, at most 1 in flux",
            "Observe m1: run 2 v3, previous v1",
        ]
    );
}

#[test]
fn semantics_01_going_back_to_the_payload_of_an_earlier_run_is_a_new_run() {
    let mut world = in_the_pause_of_the_first_step();
    for image in ["v3", "v2"] {
        world.edit(|spec| spec.image = Some(image.to_owned()));
        world.decide();
    }
    let run = world.state.header.run.as_ref().unwrap();
    assert_eq!((run.number, run.step), (3, 0));
}

#[test]
fn semantics_01_changes_of_all_other_fields_start_no_run() {
    let mut world = in_the_pause_of_the_first_step();
    world.edit(|spec| {
        spec.targets.reverse();
        spec.selector = Some("{matchLabels: {env: prod}}".to_owned());
        spec.steps = "[{setWeight: 50, pause: 90}, {setWeight: 60}]".to_owned();
        spec.soak_seconds = Some(5);
        spec.max_concurrency = Some("2".to_owned());
        spec.deadline_seconds = Some(30);
    });
    assert_eq!(world.decide(), [""; 0]);
    world.edit(|spec| spec.paused = true);
    assert_eq!(world.decide(), ["Normal Paused: paused: no further member is touched"]);
    assert_eq!(world.state.header.runs_started, 1);
}

#[test]
fn semantics_01_a_longer_or_shorter_pause_moves_the_end_of_the_running_one() {
    let mut world = in_the_pause_of_the_first_step();
    world.advance(10);
    for (pause, left) in [(300, 290), (20, 10)] {
        world.edit(|spec| spec.steps = format!("[{{setWeight: 50, pause: {pause}}}]"));
        world.rest();
        let until = world.waiting_on().and_then(|waiting| waiting.until()).unwrap();
        assert_eq!((until - world.now) / 1000, left, "of a pause of {pause} s");
    }
    world.edit(|spec| spec.steps = "[{setWeight: 50, pause: 5}]".to_owned());
    assert_eq!(world.orders(), ["Observe m2: run 1 v2"], "the pause was over already");
}

#[test]
fn semantics_01_a_changed_soak_moves_the_end_of_the_running_one() {
    let mut world =
        World::new(Spec::new(&["m1"], "[{setWeight: 100}]").with(|spec| spec.soak_seconds = Some(60)), &["m1"]);
    world.rest();
    world.advance(10);
    assert_eq!(world.reason(), "Soak");
    world.edit(|spec| spec.soak_seconds = Some(30));
    assert_eq!(world.decide(), [""; 0]);
    world.advance(19);
    assert_eq!(world.decide(), [""; 0]);
    world.advance(1);
    assert_eq!(world.decide(), ["Normal Succeeded: run 1: 1 member healthy at revision v2"]);
}

#[test]
fn semantics_01_among_changed_steps_the_run_stays_at_its_weight() {
    let mut world = in_the_pause_of_the_first_step();
    world.edit(|spec| spec.steps = "[{setWeight: 20}, {setWeight: 50, pause: 60}, {setWeight: 80}]".to_owned());
    assert_eq!(world.decide(), [""; 0]);
    let run = world.state.header.run.as_ref().unwrap();
    assert_eq!(run.step, 1);
    assert!(matches!(run.stage, Stage::Pausing(_)), "{run:?}");
}

#[test]
fn semantics_01_a_step_taken_away_gives_way_to_the_next_higher_one() {
    let mut world = World::of(&["m1", "m2", "m3", "m4"], "[{setWeight: 25, pause: 60}, {setWeight: 75, pause: 60}]");
    world.rest();
    world.edit(|spec| spec.steps = "[{setWeight: 10, pause: 60}, {setWeight: 50, pause: 60}]".to_owned());
    assert_eq!(
        world.decide(),
        ["Normal StepStarted: step 2 of 3: 50% are 2 of 4 members, 1 new, at most 1 in flux", "Observe m2: run 1 v2",]
    );
}

#[test]
fn semantics_01_waves_that_are_done_stay_done_when_all_steps_become_smaller() {
    let mut world = World::of(&["m1", "m2", "m3", "m4"], "[{setWeight: 50, pause: 60}]");
    world.rest();
    assert_eq!(world.applied().len(), 2);
    world.edit(|spec| spec.steps = "[{setWeight: 25, pause: 30}]".to_owned());
    assert_eq!(
        world.decide(),
        [
            "Normal StepStarted: step 1 of 2: 25% are 2 of 4 members, 0 new, at most 1 in flux",
            "Normal PauseStarted: 2 members healthy: pause of 30 s until 2026-01-01T00:00:30Z",
        ]
    );
}

#[test]
fn semantics_01_in_the_last_step_changed_steps_change_nothing() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50}]");
    world.edit(|spec| spec.soak_seconds = Some(60));
    world.rest();
    assert_eq!(world.reason(), "Soak");
    world.edit(|spec| spec.steps = "[{setWeight: 10, pause: 60}, {setWeight: 20, pause: 60}]".to_owned());
    assert_eq!(world.decide(), [""; 0]);
    assert_eq!(world.summary().status.step_summary, "3/3");
    world.advance(60);
    assert_eq!(world.decide(), ["Normal Succeeded: run 1: 2 members healthy at revision v2"]);
}

#[test]
fn semantics_02_each_assignment_carries_the_revision_and_the_images_that_it_names() {
    let mut world = World::of(&["m1"], "[{setWeight: 100}]");
    world.decide();
    let spec = &world.assignments["m1"].spec;
    let payload = world.rollout().unwrap().payload.as_ref().unwrap();
    assert_eq!(spec.revision, payload.revision);
    assert_eq!(spec.revision, Revision::of(&payload.content));
    assert_eq!(*spec.images(), images("v2"));
}

#[test]
fn semantics_02_health_counts_only_with_the_hash_and_images_that_were_assigned() {
    let mut world = World::of(&["m1"], "[{setWeight: 100, pause: 60}]");
    for outcome in [Outcome::Observed, Outcome::Healthy] {
        world.decide();
        world.answer("m1", outcome);
    }
    let good = world.reports["m1"].clone();
    let mut other_hash = good.clone();
    other_hash.applied_hash = Some(crds::images_hash(&images("v9")));
    let mut other_images = good.clone();
    other_images.workload.as_mut().unwrap().images = images("v1");
    let mut old_generation = good.clone();
    old_generation.workload.as_mut().unwrap().observed_generation = 6;
    let mut nothing_seen = good.clone();
    nothing_seen.workload = None;
    for report in [other_hash, other_images, old_generation, nothing_seen] {
        world.reports.insert("m1".to_owned(), report.clone());
        world.decide();
        assert_eq!(world.reason(), "MemberHealth", "on the word of {report:?}");
    }
    world.reports.insert("m1".to_owned(), good);
    world.decide();
    assert_eq!(world.reason(), "Pause");
}

#[test]
fn semantics_03_without_a_workload_the_rollout_is_accepted_and_waits() {
    let mut world =
        World::new(Spec::new(&["m1"], "[{setWeight: 10, pause: 300}]").with(|spec| spec.image = None), &["m1"]);
    assert_eq!(world.decide(), [""; 0]);
    assert_eq!(world.reason(), "NoPayload");
    assert_eq!(world.wake_at, None);
    world.edit(|spec| spec.image = Some("v2".to_owned()));
    assert_eq!(world.orders(), ["Observe m1: run 1 v2"]);
}

#[test]
fn semantics_04_the_accepted_revision_is_that_of_the_last_run_that_succeeded() {
    let mut world = World::of(&["m1"], "[{setWeight: 100}]");
    world.decide();
    assert_eq!(world.summary().status.accepted_revision, None);
    world.finish();
    let accepted = world.state.header.run.as_ref().map(|run| run.revision.clone());
    assert_eq!(world.summary().status.accepted_revision, accepted);
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    world.decide();
    assert_eq!(world.state.header.runs_started, 2);
    assert_eq!(world.summary().status.accepted_revision, accepted, "a run that has not ended changes nothing");
    world.finish();
    assert_ne!(world.summary().status.accepted_revision, accepted);
}

#[test]
fn semantics_05_a_run_that_changed_no_member_ends_with_nothing_to_do() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50}]");
    for agent in world.agents.values_mut() {
        agent.runs = Some(images("v2"));
    }
    let last = world.finish().pop();
    assert_eq!(last.as_deref(), Some("Normal NothingToDo: run 1: 2 members ran the images of revision v2 already"));
    let complete = world.summary().conditions.pop().unwrap();
    assert_eq!((complete.kind, complete.status, complete.reason.as_str()), ("Complete", Some(true), "NothingToDo"));
}

#[test]
fn semantics_05_one_changed_member_is_enough_for_a_success() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50}]");
    world.agents.get_mut("m1").unwrap().runs = Some(images("v2"));
    let last = world.finish().pop();
    assert_eq!(last.as_deref(), Some("Normal Succeeded: run 1: 2 members healthy at revision v2"));
}
