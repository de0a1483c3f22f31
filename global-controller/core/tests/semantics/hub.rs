//! Rule 40: nothing goes forward while the hub's watch is silent, and everything else goes on.

use crds::{Outcome, Phase};

use crate::world::{Spec, World};

#[test]
fn semantics_40_no_run_starts_while_the_hub_is_silent() {
    let mut world = World::of(&["m1"], "[{setWeight: 100}]");
    world.hub_fresh = false;
    assert_eq!(
        world.decide(),
        ["Warning HubSilent: the hub's watch is silent: nothing goes forward until it is heard again"]
    );
    assert_eq!(world.summary().status.phase, Some(Phase::Pending));
    world.hub_fresh = true;
    assert_eq!(world.orders(), ["Observe m1: run 1 v2"]);
}

#[test]
fn semantics_40_no_forward_assignment_goes_out_and_reports_are_taken_up() {
    let mut world = World::fleet(2, Spec::selecting("[{setWeight: 100, pause: 60}]"));
    world.decide();
    world.all_answer(&["m01", "m02"], Outcome::Observed);
    world.decide();
    world.hub_fresh = false;
    world.answer("m01", Outcome::Healthy);
    assert_eq!(
        world.decide(),
        ["Warning HubSilent: the hub's watch is silent: nothing goes forward until it is heard again"]
    );
    assert_eq!(world.summary().status.counts.healthy, 1);
    world.hub_fresh = true;
    assert_eq!(world.decide(), ["Apply m02: run 1 v2 over v1, previous v1"]);
}

#[test]
fn semantics_40_no_step_ends_while_the_hub_is_silent_though_its_pause_does() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50, pause: 60}]");
    world.rest();
    world.hub_fresh = false;
    assert_eq!(world.decide(), [""; 0]);
    assert_eq!(world.reason(), "Pause", "which would not go on yet anyway");
    world.advance(60);
    world.decide();
    assert_eq!(world.reason(), "HubSilent");
    world.hub_fresh = true;
    assert_eq!(world.orders(), ["Observe m2: run 1 v2"]);
}

#[test]
fn semantics_40_withdrawals_go_out_while_the_hub_is_silent() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 100, pause: 60}]");
    world.rest();
    world.edit(|spec| spec.targets.truncate(1));
    world.hub_fresh = false;
    assert_eq!(world.orders(), ["Withdraw m2: run 1 v2 over v1, previous v1"]);
}
