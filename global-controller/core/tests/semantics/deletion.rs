//! Rule 34: deletion withdraws, changes no workload, and waits for nobody.

use crds::Outcome;

use crate::world::{Spec, World};

fn in_the_pause_of_two() -> World {
    let mut world = World::fleet(4, Spec::selecting("[{setWeight: 50, pause: 60}]"));
    world.rest();
    world
}

#[test]
fn semantics_34_deletion_withdraws_and_releases_the_finalizer_once_that_is_durable() {
    let mut world = in_the_pause_of_two();
    world.deleted = true;
    let decision = world.propose();
    assert!(!decision.state.header.finalizer_released, "the withdrawals are not in the store yet");
    assert_eq!(
        world.decide(),
        [
            "Normal Deleting: deleted in run 1: 2 members of 4 were told to run revision v2; assignments are withdrawn and no workload changes",
            "Withdraw m01: run 1 v2 over v1, previous v1",
            "Withdraw m02: run 1 v2 over v1, previous v1",
        ]
    );
    assert_eq!(world.decide(), ["ReleaseFinalizer"]);
    assert_eq!(world.decide(), [""; 0], "released once; the header keeps it");
    assert!(world.state.header.finalizer_released && !world.state.is_spent());
    assert_eq!(world.message(), "withdrawn, not yet acknowledged by 2 members: m01, m02; this delays nothing");
}

#[test]
fn semantics_34_a_member_is_forgotten_when_it_has_acknowledged() {
    let mut world = in_the_pause_of_two();
    world.deleted = true;
    world.decide();
    world.answer("m02", Outcome::Healthy);
    assert_eq!(world.decide(), ["ReleaseFinalizer"], "that was no acknowledgement");
    world.answer("m02", Outcome::Withdrawn);
    assert_eq!(world.decide(), ["Forget m02"]);
    assert!(!world.state.is_spent());
    world.answer("m01", Outcome::Withdrawn);
    assert_eq!(world.decide(), ["Forget m01"]);
    assert!(world.state.is_spent());
    assert_eq!(world.reason(), "done");
}

#[test]
fn semantics_34_unreachable_members_a_silent_hub_and_a_pause_never_delay_it() {
    let mut world = in_the_pause_of_two();
    world.edit(|spec| spec.paused = true);
    world.decide();
    world.silence("m01");
    world.hub_fresh = false;
    world.deleted = true;
    assert_eq!(
        world.orders(),
        ["Withdraw m01: run 1 v2 over v1, previous v1", "Withdraw m02: run 1 v2 over v1, previous v1"]
    );
    assert_eq!(world.orders(), ["ReleaseFinalizer"]);
}

#[test]
fn semantics_34_members_whose_member_cluster_is_gone_are_forgotten_at_once() {
    let mut world = in_the_pause_of_two();
    world.delete_member("m01");
    world.delete_member("m02");
    world.deleted = true;
    assert_eq!(world.orders(), ["Forget m01", "Forget m02", "ReleaseFinalizer"]);
    assert!(world.state.is_spent());
}

#[test]
fn semantics_34_before_any_run_the_finalizer_goes_at_once() {
    let mut world = World::new(Spec::selecting("[{setWeight: 50}]"), &[]);
    world.decide();
    world.deleted = true;
    assert_eq!(world.decide(), ["Normal Deleting: deleted before any run started", "ReleaseFinalizer"]);
    assert!(world.state.is_spent());
}

#[test]
fn semantics_34_an_observed_member_is_withdrawn_too() {
    let mut world = World::of(&["m1"], "[{setWeight: 100}]");
    world.decide();
    world.deleted = true;
    assert_eq!(
        world.decide(),
        [
            "Normal Deleting: deleted in run 1: 0 members of 1 were told to run revision v2; assignments are withdrawn and no workload changes",
            "Withdraw m1: run 1 v2",
        ]
    );
}

#[test]
fn semantics_34_a_deletion_goes_on_where_a_crash_left_it() {
    let mut world = in_the_pause_of_two();
    world.deleted = true;
    world.decide();
    // The decision that releases is committed, and the controller dies before it acts on it.
    let decision = world.propose();
    world.commit(decision);
    assert!(world.state.header.finalizer_released);
    world.rest();
    assert!(world.state.is_spent());
}

#[test]
fn semantics_34_a_withdrawal_under_way_is_not_repeated() {
    let mut world = in_the_pause_of_two();
    world.join("m02", "test");
    world.decide();
    world.deleted = true;
    assert_eq!(world.orders(), ["Withdraw m01: run 1 v2 over v1, previous v1"]);
}
