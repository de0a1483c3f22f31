//! Decisions fed back: what a record holds, and what becomes of one that was changed. (That every decision of every other
//! test comes out the same is checked by their world.)

use crds::{Fence, Outcome as Answer};
use rollout_core::decide;
use rollout_core::replay::{Inputs, InputsDiff, Outcome, Recorded, Replayer, Unrecorded, digest};

use crate::world::{Spec, World};

/// A base, and the difference to the next decision, with the digest of that one.
fn two(world: &mut World) -> (Recorded, InputsDiff, String) {
    let inputs = Inputs::of(&world.state, world.desired(), &world.observations(), world.now);
    let base = Recorded::Base { state: Box::new(world.state.clone()), inputs: Box::new(inputs.clone()) };
    let first = world.propose();
    world.commit(first.clone());
    let fence = world.assignments.values().map(|one| one.spec.fence).max().unwrap_or_default();
    world.answer("a", Answer::Observed);
    let mut followed = inputs;
    followed.follow("checkout", &first.commands, fence);
    let diff = followed.until(fence, &world.state, world.desired(), &world.observations(), world.now);
    let second = world.propose();
    (base, diff, digest(&world.state, &second))
}

fn replayed(replayer: &mut Replayer, recorded: &Recorded) -> String {
    match replayer.next(recorded) {
        Outcome::Decided { digest, .. } => digest,
        other => panic!("{other:?}"),
    }
}

#[test]
fn guarantee_7_a_record_is_as_large_as_the_news_and_comes_out_the_same() {
    let mut world = World::of(&["a", "b"], "[{setWeight: 50}]");
    let (base, diff, expected) = two(&mut world);
    // The order and the claim of the decision before are foreseen, the report is not.
    assert!(diff.assignments.is_empty() && diff.held.is_empty() && diff.members.is_empty());
    assert_eq!(diff.reports.set.keys().collect::<Vec<_>>(), ["a"]);
    let mut replayer = Replayer::default();
    replayed(&mut replayer, &base);
    assert_eq!(replayed(&mut replayer, &Recorded::Difference { inputs: Box::new(diff) }), expected);
}

#[test]
fn a_record_that_was_changed_comes_out_different() {
    let mut world = World::of(&["a", "b"], "[{setWeight: 50}]");
    let (base, mut diff, expected) = two(&mut world);
    diff.fence = Fence { epoch: 1, generation: 99 };
    let mut replayer = Replayer::default();
    replayed(&mut replayer, &base);
    let found = replayed(&mut replayer, &Recorded::Difference { inputs: Box::new(diff) });
    assert_ne!(found, expected, "a report that answers another order counts for nothing");
}

#[test]
fn what_builds_on_a_record_that_is_not_there_is_not_decided() {
    let mut world = World::of(&["a", "b"], "[{setWeight: 50}]");
    let (base, diff, _) = two(&mut world);
    let diff = Recorded::Difference { inputs: Box::new(diff) };
    let mut replayer = Replayer::default();
    assert!(matches!(replayer.next(&diff), Outcome::Baseless));
    replayed(&mut replayer, &base);
    let gap = Recorded::NotReplayable { why: Unrecorded::TooLarge };
    assert!(matches!(replayer.next(&gap), Outcome::Unrecorded(Unrecorded::TooLarge)));
    assert!(matches!(replayer.next(&diff), Outcome::Baseless));
}

#[test]
fn a_base_tells_how_its_state_differs_from_what_was_decided_before() {
    let mut world = World::of(&["a", "b"], "[{setWeight: 50}]");
    let (base, _, _) = two(&mut world);
    let mut replayer = Replayer::default();
    replayed(&mut replayer, &base);
    let mut state = world.state.clone();
    state.plan.wave_end = 2;
    let inputs = Inputs::of(&state, world.desired(), &world.observations(), world.now);
    let edited = Recorded::Base { state: Box::new(state), inputs: Box::new(inputs) };
    let Outcome::Decided { drift, .. } = replayer.next(&edited) else { panic!("it has all it needs") };
    assert_eq!(drift, ["plan.waveEnd: 2, replayed 1"]);
}

#[test]
fn members_that_a_rollout_does_not_mean_are_not_recorded_and_decide_nothing() {
    let mut world = World::new(Spec::selecting("[{setWeight: 50}]"), &["a", "b"]);
    world.join("stranger", "test");
    let inputs = Inputs::of(&world.state, world.desired(), &world.observations(), world.now);
    assert_eq!(inputs.members.keys().collect::<Vec<_>>(), ["a", "b"]);
    let with_all = world.propose();
    assert_eq!(decide(&world.state, inputs.desired(), &inputs.observations(), inputs.now), with_all);
}
