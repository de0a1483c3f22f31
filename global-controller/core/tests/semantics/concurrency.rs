//! Rule 12: how many members may be in flux.

use crds::Outcome;

use crate::world::{Spec, World};

fn fleet(count: usize, limit: Option<&str>, steps: &str) -> World {
    World::fleet(count, Spec::selecting(steps).with(|spec| spec.max_concurrency = limit.map(str::to_owned)))
}

fn flux_limit(world: &World) -> usize {
    world.state.header.run.as_ref().map_or(0, |run| run.flux_limit)
}

#[test]
fn semantics_12_max_concurrency_is_10_percent_by_default_rounded_up_and_at_least_one() {
    for (count, limit) in [(1, 1), (9, 1), (10, 1), (11, 2), (30, 3)] {
        let mut world = fleet(count, None, "[{setWeight: 100}]");
        world.decide();
        assert_eq!(flux_limit(&world), limit, "for {count} members");
    }
}

#[test]
fn semantics_12_a_percentage_resolves_when_a_wave_starts_against_the_members_up_to_it() {
    let mut world = fleet(20, Some("'20%'"), "[{setWeight: 10, pause: 60}, {setWeight: 50, pause: 60}]");
    let mut limits = Vec::new();
    for _ in 0..3 {
        world.rest();
        limits.push((world.state.plan.wave_end, flux_limit(&world)));
        world.advance(60);
    }
    assert_eq!(limits, [(2, 1), (10, 2), (20, 4)]);
}

#[test]
fn semantics_12_the_limit_never_falls_within_a_run() {
    let mut world = fleet(20, Some("'50%'"), "[{setWeight: 50, pause: 60}, {setWeight: 60, pause: 60}]");
    world.rest();
    assert_eq!(flux_limit(&world), 5);
    for number in 3..=20 {
        world.delete_member(&format!("m{number:02}"));
    }
    world.rest();
    world.advance(60);
    world.rest();
    assert_eq!((world.state.plan.members.len(), flux_limit(&world)), (2, 5));
}

#[test]
fn semantics_12_a_changed_max_concurrency_applies_at_once() {
    let mut world = fleet(10, Some("1"), "[{setWeight: 100}]");
    world.decide();
    let members: Vec<String> = world.members.keys().cloned().collect();
    for member in &members {
        world.answer(member, Outcome::Observed);
    }
    assert_eq!(world.orders().len(), 1);
    world.edit(|spec| spec.max_concurrency = Some("'40%'".to_owned()));
    assert_eq!(world.orders().len(), 3, "up to 4 of 10");
    world.edit(|spec| spec.max_concurrency = Some("2".to_owned()));
    assert_eq!(world.orders(), [""; 0]);
    for member in ["m01", "m02"] {
        world.answer(member, Outcome::Healthy);
    }
    assert_eq!(world.orders(), [""; 0], "two are still in flux");
    world.answer("m03", Outcome::Healthy);
    assert_eq!(world.orders(), ["Apply m05: run 1 v2 over v1, previous v1"]);
}

#[test]
fn semantics_12_members_are_told_in_order_as_others_become_healthy() {
    let mut world = fleet(4, Some("2"), "[{setWeight: 100}]");
    assert_eq!(world.orders().len(), 4, "all are observed at once: that touches nothing");
    world.all_answer(&["m04", "m02", "m03"], Outcome::Observed);
    assert_eq!(
        world.orders(),
        ["Apply m02: run 1 v2 over v1, previous v1", "Apply m03: run 1 v2 over v1, previous v1"]
    );
    world.answer("m01", Outcome::Observed);
    assert_eq!(world.orders(), [""; 0]);
    world.answer("m03", Outcome::Healthy);
    assert_eq!(world.orders(), ["Apply m01: run 1 v2 over v1, previous v1"]);
}

#[test]
fn semantics_12_a_member_in_flux_of_a_superseded_run_does_not_keep_the_fix_from_going_out() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50, pause: 60}]");
    world.rest();
    world.advance(60);
    world.decide();
    world.answer("m2", Outcome::Observed);
    world.decide();
    world.answer_saying("m2", Outcome::Progressing, "crash loop");
    world.decide();
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    world.decide();
    world.answer("m1", Outcome::Observed);
    assert_eq!(world.orders(), ["Apply m1: run 2 v3 over v2, previous v1"], "m2 hangs in a later wave");
}
