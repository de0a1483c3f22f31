//! Rule 18: members that are healthy, and run old pods because the partition of their `StatefulSet` keeps them.

use crds::{Outcome, Phase};

use crate::world::World;

const SAID: &str = "partial, partition 2: 1 of 1 pods updated, 3 of 3 ready";

/// Two members, the first of which keeps old pods.
fn world() -> World {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50, pause: 60}]");
    world.agents.get_mut("m1").unwrap().partial = true;
    world
}

fn message(world: &World, kind: &str) -> String {
    world.summary().conditions.into_iter().find(|fact| fact.kind == kind).unwrap().message
}

#[test]
fn semantics_18_a_run_with_partial_members_succeeds_and_says_so_wherever_it_says_that() {
    let mut world = world();
    let told = world.finish();
    assert_eq!((world.phase(), world.reason()), (Phase::Succeeded, "done"));
    let words = "1 partial, as a partition keeps pods of an older template there: m1";
    let end = told.iter().find(|line| line.starts_with("Normal Succeeded")).unwrap();
    for text in [end, &message(&world, "Ready"), &message(&world, "Complete"), &world.state.history.runs[0].reason] {
        assert!(text.contains(words), "{text}");
    }
    let status = world.summary().status;
    assert_eq!((status.counts.healthy, status.counts.partial), (2, 1));
    assert_eq!(status.healthy_summary, "2/2 (1 partial)");
    world.answer_saying("m1", Outcome::Healthy, SAID);
    world.decide();
    assert_eq!(world.state_of("m1"), format!("Partial: {SAID}"));
}

#[test]
fn semantics_18_a_member_is_partial_until_the_last_old_pod_is_gone() {
    let mut world = world();
    world.finish();
    world.agents.get_mut("m1").unwrap().partial = false;
    world.answer("m1", Outcome::Healthy);
    world.decide();
    let status = world.summary().status;
    assert_eq!((status.counts.partial, status.healthy_summary.as_str()), (0, "2/2"));
    assert!(!message(&world, "Ready").contains("partial"));
    assert_eq!(world.state_of("m1"), "");
}

#[test]
fn semantics_18_one_that_is_no_longer_healthy_is_not_called_partial() {
    let mut world = world();
    world.finish();
    world.answer("m1", Outcome::Progressing);
    world.decide();
    assert_eq!(world.summary().status.counts.partial, 0);
    assert!(world.state_of("m1").starts_with("Unhealthy"), "{}", world.state_of("m1"));
}
