//! Rules 9 and 44: a step that waits for a person, and which approvals count.

use crds::{ActionKind, GateMode, Outcome, Phase};
use rollout_core::{Stage, WaitingOn};

use crate::world::{Spec, World};

const STEPS: &str = "[{setWeight: 50, pause: 60, approval: Required}]";

/// Two members, of which the first is updated; its pause is over.
fn awaiting() -> World {
    let mut world = World::of(&["m1", "m2"], STEPS);
    world.rest();
    world.advance(60);
    world.rest();
    world
}

#[test]
fn semantics_09_after_the_pause_a_step_waits_for_approval_and_says_the_command() {
    let mut world = World::of(&["m1", "m2"], STEPS);
    let lines = world.decide();
    assert!(lines[1].ends_with("1 new, at most 1 in flux; it waits for approval in the end"), "{lines:?}");
    world.rest();
    assert_eq!((world.reason(), world.phase()), ("Pause", Phase::Verifying));
    world.advance(60);
    let message = "1 member healthy; step 1 of 2 goes on when a person approves it: kubectl clusterrollout approve checkout --step 1";
    assert_eq!(world.decide(), [format!("Normal ApprovalRequired: {message}")]);
    assert_eq!((world.reason(), world.message().as_str(), world.phase()), ("Approval", message, Phase::Holding));
    let summary = world.summary();
    assert_eq!(summary.status.approval, Some(crds::Approval::Required));
    let stalled = summary.conditions.iter().find(|condition| condition.kind == "Stalled").unwrap();
    assert_eq!(stalled.status, Some(false), "waiting for a person is no fault");
    world.advance(86_400);
    assert_eq!(world.decide(), [""; 0], "no time passes for it");
}

#[test]
fn semantics_09_an_approval_lets_the_step_go_on_once() {
    let mut world = awaiting();
    let approval = world.act(ActionKind::Approve);
    let lines = world.decide();
    assert_eq!(lines[0], "Normal Approved: run 1: step 1 approved by alice (of a test)");
    assert!(lines.iter().any(|line| line == "Observe m2: run 1 v2"), "{lines:?}");
    assert_eq!(world.outcome_of(&approval), "Applied: step 1 goes on");
    assert_eq!(world.decide(), [""; 0]);
    world.finish();
    assert_eq!(world.reason(), "done");
}

#[test]
fn semantics_09_without_a_pause_approval_follows_health() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50, approval: Required}]");
    world.gates.when_unconfigured = GateMode::Hold;
    world.rest();
    assert_eq!(world.reason(), "Approval");
    world.act(ActionKind::Approve);
    world.finish();
    assert_eq!(world.reason(), "done");
}

#[test]
fn semantics_09_an_approval_that_comes_during_the_pause_waits_for_its_end() {
    let mut world = World::of(&["m1", "m2"], STEPS);
    world.rest();
    let approval = world.act(ActionKind::Approve);
    assert_eq!(world.decide(), [""; 0]);
    assert_eq!((world.outcome_of(&approval).as_str(), world.reason()), ("Pending", "Pause"));
    world.advance(60);
    let lines = world.decide();
    assert_eq!(lines[0], "Normal Approved: run 1: step 1 approved by alice (of a test)", "nobody is asked any more");
    assert_eq!(world.outcome_of(&approval), "Applied: step 1 goes on");
}

#[test]
fn semantics_09_an_approval_overrules_neither_an_unhealthy_member_nor_a_pause_by_hand() {
    let mut world = awaiting();
    world.answer_saying("m1", Outcome::Progressing, "a pod died");
    world.decide();
    let approval = world.act(ActionKind::Approve);
    assert_eq!(world.decide(), [""; 0]);
    assert_eq!((world.reason(), world.phase()), ("MemberUnhealthy", Phase::Verifying));
    world.edit(|spec| spec.paused = true);
    world.answer("m1", Outcome::Healthy);
    world.decide();
    assert_eq!((world.reason(), world.outcome_of(&approval).as_str()), ("Paused", "Pending"));
    world.edit(|spec| spec.paused = false);
    world.hub_fresh = false;
    world.decide();
    assert_eq!(world.outcome_of(&approval), "Pending", "what a silent hub said last may be old");
    world.hub_fresh = true;
    world.decide();
    assert_eq!(world.outcome_of(&approval), "Applied: step 1 goes on");
}

#[test]
fn semantics_09_all_who_approve_a_step_are_told_so() {
    let mut world = awaiting();
    let first = world.act(ActionKind::Approve);
    let second = world.act_with(ActionKind::Approve, |spec| spec.who = "bob".to_owned());
    world.decide();
    assert_eq!([world.outcome_of(&first), world.outcome_of(&second)], ["Applied: step 1 goes on"; 2]);
}

#[test]
fn semantics_09_an_approval_counts_for_its_run_step_and_revision_only() {
    let mut world = awaiting();
    let run = world.act_with(ActionKind::Approve, |spec| spec.run = 2);
    let step = world.act_with(ActionKind::Approve, |spec| spec.step = 2);
    let revision = world.act_with(ActionKind::Approve, |spec| spec.revision = crds::Revision("other".to_owned()));
    let name = world.act_with(ActionKind::Approve, |spec| spec.rollout.name = "mine".to_owned());
    let lines = world.decide();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines.iter().all(|line| line.starts_with("Normal ActionRefused: Approve by alice refused: ")), "{lines:?}");
    assert_eq!(world.reason(), "Approval");
    for (uid, said) in [
        (run, "it is for run 2, but the latest is run 1: look at that, and create another action for it"),
        (step, "it is for step 2, but run 1 is at step 1: look at that, and approve it if it waits for that"),
        (
            revision,
            "it is for revision other, but that of the run is v2: look at it, and create another action for that",
        ),
        (
            name,
            "it names rollout \"mine\", but uid 11e8-b0a7 is that of rollout \"checkout\": create one with name and uid of the same rollout",
        ),
    ] {
        assert_eq!(world.outcome_of(&uid), format!("Refused: {said}"));
    }
}

#[test]
fn semantics_09_an_approval_of_a_step_that_needs_none_or_is_past_is_refused() {
    let mut world = World::of(&["m1", "m2", "m3"], "[{setWeight: 30, pause: 60}, {setWeight: 60, approval: Required}]");
    world.rest();
    let early = world.act(ActionKind::Approve);
    world.decide();
    assert_eq!(world.outcome_of(&early), "Refused: step 1 of run 1 has no approval: Required, so it goes on by itself");
    world.advance(60);
    world.rest();
    world.act(ActionKind::Approve);
    let late = world.act_with(ActionKind::Approve, |spec| spec.step = 1);
    world.rest();
    assert!(world.outcome_of(&late).starts_with("Refused: it is for step 1, but run 1 is at step "));
    world.finish();
    let over = world.act(ActionKind::Approve);
    world.decide();
    assert_eq!(world.outcome_of(&over), "Refused: run 1 goes forward no more: there is nothing to approve");
}

#[test]
fn semantics_09_a_new_payload_wants_a_new_approval() {
    let mut world = World::of(&["m1", "m2"], STEPS);
    world.rest();
    let approval = world.act(ActionKind::Approve);
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    world.decide();
    assert!(world.outcome_of(&approval).starts_with("Refused: it is for run 1, but the latest is run 2"));
    world.rest();
    world.advance(60);
    world.rest();
    assert_eq!(world.reason(), "Approval");
}

#[test]
fn semantics_01_approval_that_is_added_or_taken_away_applies_to_the_running_step() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50, pause: 60}]");
    world.rest();
    world.edit(|spec| STEPS.clone_into(&mut spec.steps));
    world.advance(60);
    world.rest();
    assert_eq!(world.reason(), "Approval");
    assert_eq!(world.state.header.run.as_ref().unwrap().stage, Stage::AwaitingApproval);
    world.edit(|spec| "[{setWeight: 50, pause: 60}]".clone_into(&mut spec.steps));
    world.finish();
    assert_eq!(world.reason(), "done");
}

#[test]
fn semantics_09_a_step_that_adds_nobody_still_waits_for_approval() {
    let steps = "[{setWeight: 50}, {setWeight: 50, approval: Required}]";
    let mut world = World::new(Spec::new(&["m1", "m2"], steps), &["m1", "m2"]);
    world.rest();
    let wait = world.waiting_on();
    assert!(matches!(wait, Some(WaitingOn::Approval { step: 2, steps: 3, members: 1, .. })), "{wait:?}");
}
