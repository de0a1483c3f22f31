//! What ends a pause while no metric source is configured.

use crds::GateMode;

use crate::world::World;

#[test]
fn semantics_27_silence_is_no_evidence_and_holds_at_the_end_of_a_pause() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50, pause: 60}]");
    world.gates.when_unconfigured = GateMode::Hold;
    world.rest();
    assert_eq!(world.reason(), "Pause");
    world.advance(60);
    let [held] = world.decide().try_into().unwrap();
    assert!(held.starts_with("Warning GateUnconfigured: the pause is over, but no metric source"), "{held}");
    assert_eq!((world.decide(), world.wake_at), (vec![], None), "announced once, and time changes nothing");
    let status = world.summary().status;
    assert_eq!(status.phase, Some(crds::Phase::Holding));
    assert_eq!(status.gate.and_then(|gate| gate.mode), Some(GateMode::Hold));
}

#[test]
fn semantics_27_timer_only_ends_a_pause_by_time_and_says_so() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50, pause: 60}]");
    world.gates.when_unconfigured = GateMode::Hold;
    world.rest();
    world.advance(60);
    world.decide();
    world.gates.when_unconfigured = GateMode::TimerOnly;
    assert_eq!(world.orders(), ["Observe m2: run 1 v2"]);
    let gate = world.summary().status.gate.unwrap();
    assert_eq!(gate.mode, Some(GateMode::TimerOnly));
    assert!(gate.message.starts_with("no metric was checked"), "{}", gate.message);
}

#[test]
fn semantics_27_a_soak_holds_as_a_pause_does() {
    let mut world = World::of(&["m1"], "[{setWeight: 100}]");
    world.edit(|spec| spec.soak_seconds = Some(60));
    world.gates.when_unconfigured = GateMode::Hold;
    world.rest();
    world.advance(60);
    world.decide();
    assert_eq!(world.reason(), "GateUnconfigured");
}

#[test]
fn semantics_09_hold_does_not_keep_a_step_without_pause() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50}]");
    world.gates.when_unconfigured = GateMode::Hold;
    world.finish();
    assert_eq!(world.reason(), "done");
    assert_eq!(world.summary().status.gate, None, "there was nothing to check at");
}
