//! Measuring through the whole run: what fails there takes it back wherever it stands, and nothing else follows from it.

use crds::{ActionKind, Outcome, Phase};
use rollout_core::{MemberStage, Stage};

use crate::world::measures::{background, canaries, configured, key, of_thousand, one, silence};
use crate::world::{Spec, World};

/// Four members, updated one after the other, in one wave without a pause; a measurement each ten seconds.
fn world(analysis: &str) -> World {
    let mut world = World::of(&["m1", "m2", "m3", "m4"], "[{setWeight: 100}]");
    world.edit(|spec| {
        spec.max_concurrency = Some("1".to_owned());
        spec.soak_seconds = Some(0);
        spec.analysis = Some(analysis.to_owned());
    });
    world.gates = configured();
    world
}

/// m1 is updated and healthy, and m2 hangs.
fn under_way(analysis: &str) -> World {
    let mut world = world(analysis);
    world.agents.get_mut("m2").unwrap().cursed = true;
    world.rest();
    assert!(matches!(world.state.stage_of("m1"), MemberStage::Healthy { .. }));
    assert!(matches!(world.state.stage_of("m2"), MemberStage::Applying { .. }));
    world
}

fn rate(member: &str) -> rollout_core::SampleKey {
    background("success-rate", Some(member))
}

#[test]
fn semantics_29_what_fails_while_a_wave_is_out_takes_the_fleet_back_at_once() {
    let mut world = under_way("{interval: 10, background: true}");
    world.pass(15);
    assert_eq!((world.reason(), world.samples[&rate("m1")].passed), ("MemberHealth", 1));
    world.says("success-rate", Some("m1"), of_thousand(900.0));
    let lines = world.pass(10);
    let started = lines.iter().find(|line| line.contains("RollbackStarted")).unwrap();
    let words = "run 1: success-rate on m1, in the background: 90% of 1000 requests succeed, minimum 99.5%: every";
    assert!(started.contains(words), "{started}");
    world.agents.get_mut("m2").unwrap().cursed = false;
    world.rest();
    assert_eq!((world.phase(), world.applied().len()), (Phase::RolledBack, 0));
    assert_eq!((world.due().next_at, world.state.is_measured()), (None, false), "and measuring ends");
}

#[test]
fn without_background_nothing_is_measured_between_pauses() {
    let mut world = under_way("{interval: 10}");
    world.says("success-rate", Some("m1"), of_thousand(0.0));
    world.pass(60);
    assert_eq!((world.reason(), world.samples.len()), ("MemberHealth", 0));
}

#[test]
fn it_begins_an_interval_after_the_first_member_is_healthy() {
    let mut world = world("{interval: 10, background: true}");
    world.decide();
    assert_eq!(world.due().next_at, None, "there is nobody to measure yet");
    world.all_answer(&["m1", "m2", "m3", "m4"], Outcome::Observed);
    world.decide();
    world.advance(100);
    world.answer("m1", Outcome::Healthy);
    world.decide();
    assert_eq!(world.due().next_at, Some(world.now + 10_000));
}

#[test]
fn semantics_23_failures_count_over_the_whole_run_and_each_pause_counts_anew() {
    let mut world = World::of(&["m1", "m2", "m3", "m4"], "[{setWeight: 25, pause: 60}, {setWeight: 50, pause: 60}]");
    world.edit(|spec| spec.analysis = Some("{interval: 10, failureLimit: 1, background: true}".to_owned()));
    world.gates = configured();
    for pause in 1..=2 {
        world.pass(25);
        world.says("success-rate", Some("m1"), of_thousand(900.0));
        let lines = world.pass(10);
        world.says("success-rate", Some("m1"), of_thousand(1000.0));
        if pause == 1 {
            assert_eq!(world.reason(), "Pause", "{lines:?}");
            world.pass(25);
            assert_eq!(world.state.header.run.as_ref().unwrap().step, 1);
            assert_eq!(world.samples[&rate("m1")].failed, 1);
        } else {
            assert_eq!(world.samples[&key("success-rate", Some("m1"))].failed, 1, "the pause has one of its own");
            let started = lines.iter().find(|line| line.contains("RollbackStarted")).unwrap();
            assert!(started.contains("in the background") && started.contains("2 times, 1 allowed"), "{started}");
        }
    }
    assert_eq!(world.phase(), Phase::RolledBack);
}

#[test]
fn in_a_pause_nothing_is_asked_twice_and_all_counts_for_both() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50, pause: 60}]");
    world.edit(|spec| spec.analysis = Some("{interval: 10, background: true}".to_owned()));
    world.gates = configured();
    world.pass(9);
    world.advance(1);
    let asked: Vec<String> = world.due().asks.iter().map(|ask| ask.key.to_string()).collect();
    assert_eq!(asked, ["success-rate on m1"]);
    world.pass(49);
    let (own, both) = (&world.samples[&key("success-rate", Some("m1"))], &world.samples[&rate("m1")]);
    assert_eq!((own.passed, both.passed), (5, 5));
}

#[test]
fn semantics_27_what_cannot_be_measured_in_the_background_holds_nothing() {
    let mut world = world("{interval: 10, onNoData: Rollback, background: true}");
    for member in ["m1", "m2", "m3", "m4"] {
        world.says("success-rate", Some(member), silence());
    }
    world.agents.get_mut("m4").unwrap().cursed = true;
    world.pass(60);
    assert_eq!((world.reason(), world.samples[&rate("m1")].unknown), ("MemberHealth", 6));
    world.agents.get_mut("m4").unwrap().cursed = false;
    world.rest();
    assert_eq!(world.reason(), "done", "what passes nothing keeps nothing");
}

#[test]
fn good_news_from_the_background_let_no_pause_pass() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50, pause: 60}]");
    world.edit(|spec| spec.analysis = Some("{interval: 10, background: true}".to_owned()));
    world.gates = configured();
    world.agents.get_mut("m1").unwrap().cursed = true;
    world.pass(30);
    world.agents.get_mut("m1").unwrap().cursed = false;
    world.pass(30);
    world.says("success-rate", Some("m1"), silence());
    world.pass(60);
    assert_eq!((world.reason(), world.phase()), ("GateNoData", Phase::Holding));
}

#[test]
fn semantics_11_measuring_goes_on_while_the_rollout_is_paused() {
    let mut world = under_way("{interval: 10, background: true}");
    world.edit(|spec| spec.paused = true);
    world.pass(15);
    assert_eq!(world.phase(), Phase::Paused);
    world.says("success-rate", Some("m1"), of_thousand(900.0));
    world.agents.get_mut("m2").unwrap().cursed = false;
    world.pass(10);
    assert_eq!(world.phase(), Phase::RolledBack);
}

#[test]
fn semantics_09_a_step_that_waits_for_approval_without_a_pause_is_measured_too() {
    let mut world = world("{interval: 10, background: true}");
    world.edit(|spec| "[{setWeight: 50, approval: Required}]".clone_into(&mut spec.steps));
    world.pass(20);
    assert_eq!(world.reason(), "Approval");
    world.says("success-rate", Some("m2"), of_thousand(900.0));
    world.pass(10);
    assert_eq!(world.phase(), Phase::RolledBack);
}

#[test]
fn semantics_32_with_mode_manual_nothing_goes_forward_until_a_person_retries() {
    let mut world = under_way("{interval: 10, background: true}");
    world.edit(|spec| spec.rollback = Some("{mode: Manual}".to_owned()));
    world.says("success-rate", Some("m1"), of_thousand(900.0));
    world.agents.get_mut("m2").unwrap().cursed = false;
    world.advance(10);
    world.measure();
    world.rest();
    assert_eq!((world.reason(), world.phase(), world.applied().len()), ("GateFailed", Phase::Holding, 2));
    world.says("success-rate", Some("m1"), of_thousand(1000.0));
    world.pass(30);
    assert_eq!(world.reason(), "GateFailed", "it stays failed");
    world.act(ActionKind::Retry);
    world.pass(1);
    assert_eq!(world.reason(), "done", "{}", world.message());
}

#[test]
fn semantics_29_with_scope_member_those_that_fail_in_the_background_go_back() {
    let mut world = under_way("{interval: 10, background: true}");
    world.edit(|spec| spec.rollback = Some("{scope: Member}".to_owned()));
    world.says("success-rate", Some("m1"), of_thousand(900.0));
    world.pass(20);
    world.agents.get_mut("m2").unwrap().cursed = false;
    world.rest();
    assert!(matches!(world.state.stage_of("m1"), MemberStage::Returned { .. }));
    assert_eq!(world.state.header.run.as_ref().unwrap().stage, Stage::GivenUp);
}

#[test]
fn what_was_measured_of_another_run_or_analysis_counts_no_more() {
    let mut world = under_way("{interval: 10, failureLimit: 1, background: true}");
    world.says("success-rate", Some("m1"), of_thousand(900.0));
    world.pass(10);
    assert_eq!(world.samples[&rate("m1")].failed, 1);
    world.edit(|spec| spec.analysis = Some("{interval: 10, failureLimit: 2, background: true}".to_owned()));
    world.pass(20);
    assert_eq!((world.samples[&rate("m1")].failed, world.reason()), (2, "MemberHealth"));
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    world.pass(10);
    let sample = &world.samples[&rate("m1")];
    assert_eq!((sample.gate.run, sample.failed), (2, 1));
}

#[test]
fn what_is_measured_once_for_all_does_not_wait_for_the_last_member() {
    let mut world = world(
        "{interval: 10, background: true, metrics: [{name: queue, query: 'max(queue[{{window}}])', condition: value < 1}]}",
    );
    world.decide();
    world.all_answer(&["m1", "m2", "m3", "m4"], Outcome::Observed);
    world.decide();
    for member in ["m1", "m2", "m3"] {
        world.answer(member, Outcome::Healthy);
        world.decide();
        world.advance(6);
        world.measure();
        world.decide();
    }
    assert_eq!(world.samples[&background("queue", None)].passed, 1);
    world.agents.get_mut("m4").unwrap().cursed = true;
    world.says("queue", None, one(2.0));
    world.pass(10);
    assert_eq!(world.phase(), Phase::RolledBack);
}

const COMPARED: &str = "{interval: 10, background: true, compare: {with: NotYetUpdated, maxDrop: '0.3%'}, metrics: [{name: lag, query: 'lag{c=\"{{cluster}}\"}', condition: value < 1}]}";

#[test]
fn beside_a_control_group_the_success_rate_is_left_to_the_pauses() {
    let mut world = under_way(COMPARED);
    world.says("success-rate", Some("m1"), of_thousand(0.0));
    world.pass(30);
    assert_eq!(world.reason(), "MemberHealth");
    let measured: Vec<String> = world.samples.keys().map(ToString::to_string).collect();
    assert_eq!(measured, ["lag on m1, in the background"]);
    world.says("lag", Some("m1"), one(2.0));
    world.pass(10);
    assert_eq!(world.phase(), Phase::RolledBack);
}

#[test]
fn trouble_that_is_everywhere_fails_nothing_and_begins_the_background_anew() {
    let mut world = canaries(120, COMPARED);
    let all = ["m1", "m2", "m3", "m4"];
    world.serve(&all, 500.0, 0.001);
    world.says("lag", Some("m1"), one(0.5));
    world.pass(35);
    world.serve(&all, 500.0, 0.3);
    world.pass(20);
    assert_eq!(world.reason(), "GlobalTrouble");
    world.says("lag", Some("m1"), one(2.0));
    world.pass(20);
    assert_eq!(world.reason(), "GlobalTrouble");
    world.serve(&all, 500.0, 0.001);
    world.says("lag", Some("m1"), one(0.5));
    world.pass(300);
    assert_eq!(world.reason(), "done", "{}", world.message());
}

#[test]
fn a_background_in_which_nothing_would_be_measured_is_refused() {
    let analysis = "{background: true, compare: {with: NotYetUpdated, maxDrop: '0.3%'}}";
    let spec = Spec::new(&["m1"], "[{setWeight: 100}]").with(|spec| spec.analysis = Some(analysis.to_owned()));
    let [problem] = spec.validate().unwrap_err().try_into().unwrap();
    assert_eq!(problem.field, "spec.analysis.background");
}
