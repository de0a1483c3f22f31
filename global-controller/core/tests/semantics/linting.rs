//! The linter finds what it is for: each of its sentences about a state that breaks it.

use crds::Outcome;
use rollout_core::{Clock, Decision, Desired, MemberStage, RolloutState, Stage, Touched, Weight, lint, lint_orders};

use crate::world::{Spec, World};

/// A sound world: m1 healthy and in its pause, m2 to come.
fn sound() -> World {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50, pause: 60}]");
    world.rest();
    world
}

/// What the linter says about the sound world after `damage`.
fn findings(damage: impl FnOnce(&mut RolloutState)) -> Vec<String> {
    let mut world = sound();
    damage(&mut world.state);
    lint(&world.state, world.desired(), &world.observations())
}

#[test]
fn a_sound_state_has_no_finding() {
    assert_eq!(findings(|_| {}), [""; 0]);
}

#[test]
fn a_damaged_plan_is_found() {
    assert_eq!(findings(|state| state.plan.members[1] = "m1".to_owned()), ["the plan names a member twice"]);
    assert!(
        findings(|state| state.plan.wave_end = 3).contains(&"waves of 3 members have begun in a plan of 2".to_owned())
    );
    assert_eq!(
        findings(|state| {
            let record = state.members["m1"].clone();
            state.members.insert("m2".to_owned(), record);
        }),
        ["m2 is Healthy { since: 1767225600000 }, but its wave has not begun"]
    );
}

#[test]
fn a_damaged_run_is_found() {
    let run = |damage: fn(&mut rollout_core::Run)| findings(|state| damage(state.header.run.as_mut().unwrap()));
    assert_eq!(run(|run| run.step = 1), ["Pausing(Running { ends_at: 1767225660000 }) in step 1 of 1"]);
    assert!(run(|run| run.step = 2).contains(&"step 2 of 1".to_owned()));
    assert_eq!(run(|run| run.finished_at = Some(5)), ["a run has an end if and only if it is over"]);
    assert!(run(|run| run.number = 2).contains(&"the run is not the latest started".to_owned()));
    assert_eq!(
        run(|run| run.stage = Stage::Soaking(Clock::Stopped { remaining_millis: 1 })),
        ["Soaking(Stopped { remaining_millis: 1 }) in step 0 of 1"]
    );
    let step = |percent, before: rollout_core::Step| rollout_core::Step {
        weight: Weight::try_from(percent).unwrap(),
        ..before
    };
    let mut world = sound();
    let run = world.state.header.run.as_mut().unwrap();
    run.steps = vec![run.steps[0], step(20, run.steps[0])];
    assert_eq!(lint(&world.state, world.desired(), &world.observations()), ["weights decrease"]);
}

#[test]
fn an_early_success_is_found() {
    let found = findings(|state| {
        let run = state.header.run.as_mut().unwrap();
        run.step = 1;
        run.stage = Stage::Succeeded;
        run.finished_at = Some(5);
    });
    assert_eq!(found, ["the run succeeded and its revision is not accepted"]);
}

#[test]
fn a_damaged_member_is_found() {
    let member =
        |damage: fn(&mut rollout_core::MemberRecord)| findings(|state| damage(state.members.get_mut("m1").unwrap()));
    assert!(member(|record| record.run = 9).contains(&"m1 speaks of run 9 of 1".to_owned()));
    assert!(
        member(|record| record.previous = None).contains(&"m1 was touched with no previous state recorded".to_owned())
    );
    assert_eq!(
        member(|record| record.touched = Touched::No),
        ["m1 was told to apply or to return and counts as untouched"]
    );
    assert_eq!(
        member(|record| record.previous.as_mut().unwrap().uid.push('x')),
        ["m1: the assignment's previous state is not the record's"]
    );
    assert_eq!(
        member(|record| record.stage = MemberStage::Observing),
        ["m1 is Observing after the wave was healthy, 0 allowed"]
    );
}

#[test]
fn a_damaged_rollback_is_found() {
    let quarantine = "a run was given up, and is not retried, if and only if its revision is in quarantine";
    assert_eq!(
        findings(|state| state.header.quarantine.push(state.header.run.as_ref().unwrap().revision.clone())),
        [quarantine]
    );
    assert_eq!(
        findings(|state| state.header.run.as_mut().unwrap().failures = 1),
        ["1 failed, 0 allowed, and the run goes on"]
    );
    let found = findings(|state| {
        let run = state.header.run.as_mut().unwrap();
        run.stage = Stage::RolledBack;
        run.finished_at = Some(5);
    });
    assert_eq!(found, [quarantine, "m1 is Healthy { since: 1767225600000 } after the rollback"]);
}

#[test]
fn an_assignment_of_another_revision_is_found() {
    let mut world = sound();
    world.assignments.get_mut("m1").unwrap().spec.revision.0.push('x');
    assert_eq!(
        lint(&world.state, world.desired(), &world.observations()),
        ["m1 is assigned another revision than the run's"]
    );
}

#[test]
fn an_early_release_is_found() {
    assert_eq!(
        findings(|state| state.header.finalizer_released = true),
        ["a rollout that is there was let go", "let go without deletion", "let go before every member was withdrawn"]
    );
    assert_eq!(findings(|state| state.header.settled_run = 9), ["a run was settled that never started"]);
}

#[test]
fn a_state_in_deletion_has_no_finding_wherever_its_run_stands() {
    for stop in ["Observation", "MemberHealth", "Pause", "Soak", "done"] {
        let mut world = World::of(&["m1"], "[{setWeight: 100, pause: 60}]");
        while world.reason() != stop {
            if world.decide().is_empty() && !world.obey_all() {
                world.now = world.wake_at.unwrap();
            }
        }
        world.deleted = true;
        while !world.decide().is_empty() {
            assert_eq!(lint(&world.state, Desired::Deleted { generation: 1 }, &world.observations()), [""; 0]);
        }
        world.answer("m1", Outcome::Withdrawn);
        world.decide();
        assert!(world.state.is_spent(), "deleted while waiting for {stop}");
    }
}

/// What the linter says about the orders of a decision that tells m1 and m2 of four to apply, after `damage`.
fn findings_in_orders(edit: impl FnOnce(&mut Spec), damage: impl FnOnce(&mut World, &mut Decision)) -> Vec<String> {
    let spec =
        Spec::selecting("[{setWeight: 100}]").with(|spec| spec.max_concurrency = Some("2".to_owned())).with(edit);
    let mut world = World::fleet(4, spec);
    world.decide();
    world.all_answer(&["m01", "m02", "m03", "m04"], Outcome::Observed);
    let mut decision = world.propose();
    damage(&mut world, &mut decision);
    lint_orders(&decision, &world.observations())
}

fn run(decision: &mut Decision) -> &mut rollout_core::Run {
    decision.state.header.run.as_mut().unwrap()
}

#[test]
fn orders_that_break_a_limit_or_the_quarantine_are_found() {
    let soft = |damage: fn(&mut World, &mut Decision)| findings_in_orders(|_| {}, damage);
    assert_eq!(soft(|_, _| {}), [""; 0]);
    assert_eq!(soft(|_, decision| run(decision).flux_limit = 1), ["2 in flux, 1 allowed"]);
    assert_eq!(
        soft(|_, decision| run(decision).failure_rules.tolerance = crds::FailureTolerance::Strict),
        ["2 may have failed, 0 allowed, and the tolerance is Strict"]
    );
    assert_eq!(soft(|world, _| world.silence("m01")), ["1 assigned and silent, 0 allowed, and the run goes on"]);
    assert_eq!(
        soft(|_, decision| {
            let revision = run(decision).revision.clone();
            decision.state.header.quarantine.push(revision);
        }),
        ["m01 is told to Apply a revision in quarantine", "m02 is told to Apply a revision in quarantine"]
    );
    assert_eq!(
        soft(|_, decision| decision.state.plan.wave_end = 1),
        ["m02 is told to Apply, but its wave has not begun"]
    );
    let borne = findings_in_orders(|spec| spec.max_unreachable = Some("1".to_owned()), |world, _| world.silence("m01"));
    assert_eq!(borne, [""; 0]);
}

#[test]
fn semantics_07_an_order_without_a_claim_is_found() {
    let claimed_by = |others: &[&str]| {
        findings_in_orders(
            |_| {},
            |world, _| {
                world.claims = rollout_core::Claims::default();
                for member in others {
                    world.claim_for("other", member);
                }
            },
        )
    };
    let both = ["m01 is told to Apply without a claim on it", "m02 is told to Apply without a claim on it"];
    assert_eq!(claimed_by(&[]), both, "nobody has one");
    assert_eq!(claimed_by(&["m01", "m02"]), both, "another rollout has it");
}
