//! Rules 24 and 37: members that a person keeps out of new waves.

use crds::Phase;

use crate::world::{Spec, World};

const STEPS: &str = "[{setWeight: 50, pause: 60}]";

#[test]
fn semantics_37_a_cordoned_member_is_passed_over_in_no_budget_and_owed_the_revision() {
    let mut world = World::of(&["m1", "m2", "m3", "m4"], STEPS);
    world.cordon("m2", true);
    world.rest();
    assert_eq!(world.state.plan.wave_end, 2, "it counts in the weight, and nobody comes in its place");
    assert_eq!(world.reason(), "Pause");
    assert_eq!(world.state_of("m2"), "Cordoned: kept out of new waves; owed the revision");
    let told = world.finish();
    assert!(told.iter().all(|line| !line.contains(" m2:")), "not even observed: {told:?}");
    assert_eq!(world.phase(), Phase::Succeeded);
    let counts = world.summary().status.counts;
    assert_eq!((counts.total, counts.healthy, counts.owed, counts.not_started), (4, 3, 1, 0));
    assert_eq!(world.reason(), "Owed");
    assert!(world.message().starts_with("1 member cordoned and owed revision"), "{}", world.message());
    assert!(world.message().ends_with("m2; they get it when they are no longer cordoned"), "{}", world.message());

    world.cordon("m2", false);
    world.finish();
    assert_eq!(world.applied().len(), 4);
    assert_eq!(world.waiting_on(), None);
}

#[test]
fn semantics_24_a_first_wave_of_cordoned_members_holds_and_takes_nobody_else() {
    let mut world = World::of(&["m1", "m2", "m3", "m4"], "[{setWeight: 25, pause: 60}]");
    world.cordon("m1", true);
    world.finish();
    assert_eq!((world.phase(), world.reason()), (Phase::Holding, "Cordoned"));
    assert!(world.message().contains("nobody else to be updated in this step: m1"), "{}", world.message());
    assert!(world.applied().is_empty());
    world.cordon("m1", false);
    world.finish();
    assert_eq!(world.phase(), Phase::Succeeded);
}

#[test]
fn semantics_37_silent_and_cordoned_members_are_told_apart() {
    let spec = Spec::new(&["m1", "m2", "m3", "m4"], STEPS).with(|spec| spec.max_unreachable = Some("1".to_owned()));
    let mut world = World::new(spec, &["m1", "m2", "m3", "m4"]);
    world.silence("m3");
    world.cordon("m4", true);
    let told = world.finish();
    let end = told.iter().find(|line| line.contains("Succeeded")).unwrap();
    assert!(end.ends_with("; 1 unreachable and owed it: m3; 1 cordoned and owed it: m4"), "{end}");
    let message = world.message();
    assert!(message.contains("m3; they get it when they are heard again; 1 member cordoned"), "{message}");
}

#[test]
fn semantics_37_what_a_member_was_told_before_it_was_cordoned_goes_on() {
    let mut world = World::of(&["m1", "m2"], STEPS);
    world.rest();
    assert!(world.applied().contains("m1"));
    world.cordon("m1", true);
    world.finish();
    assert_eq!(world.phase(), Phase::Succeeded, "it is as healthy as any other");
    assert_eq!(world.waiting_on(), None);
}
