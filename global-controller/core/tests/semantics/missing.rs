//! Rule 21: members without the workload, when `ifMissing` is `Skip`.

use crds::{Outcome, Phase};
use rollout_core::MemberStage;

use crate::world::{Spec, World, images};

/// Ten members in steps of 20 percent and all, of which these have no workload.
fn lacking(members: &[&str]) -> World {
    let spec = Spec::selecting("[{setWeight: 20, pause: 60}]").with(|spec| {
        spec.if_missing = Some("Skip".to_owned());
        spec.max_concurrency = Some("'100%'".to_owned());
    });
    let mut world = World::fleet(10, spec);
    for member in members {
        world.agents.get_mut(*member).unwrap().runs = None;
    }
    world
}

fn begun(world: &World) -> &[String] {
    world.state.begun()
}

#[test]
fn semantics_21_skip_leaves_a_member_out_of_the_weights_and_the_next_in_order_takes_its_place() {
    let mut world = lacking(&["m02"]);
    world.decide();
    assert_eq!(begun(&world), ["m01", "m02"]);
    world.answer("m01", Outcome::Observed);
    world.answer_saying("m02", Outcome::WorkloadMissing, "Deployment shop/checkout does not exist");
    assert_eq!(
        world.decide(),
        [
            "Normal MemberSkipped: 1 member left out, since the workload is missing there and ifMissing is Skip: m02 (WorkloadMissing: Deployment shop/checkout does not exist); 9 members left, 2 of them in the waves begun",
            "Observe m03: run 1 v2",
            "Apply m01: run 1 v2 over v1, previous v1",
        ]
    );
    assert_eq!(begun(&world), ["m01", "m03"]);
    let counts = world.summary().status.counts;
    assert_eq!((counts.total, counts.skipped), (9, 1));
    assert_eq!(
        world.state_of("m02"),
        "Skipped: Deployment shop/checkout does not exist; left out, since ifMissing is Skip"
    );
}

#[test]
fn semantics_21_a_run_succeeds_without_those_that_were_skipped_and_says_so() {
    let mut world = lacking(&["m02", "m09"]);
    let lines = world.finish();
    assert_eq!((world.reason(), world.phase()), ("done", Phase::Succeeded));
    let end = lines.iter().find(|line| line.starts_with("Normal Succeeded")).unwrap();
    assert_eq!(
        end,
        "Normal Succeeded: run 1: 8 members healthy at revision v2; 2 left out, as the workload is missing there: m02, m09"
    );
    assert_eq!(world.summary().status.healthy_summary, "8/8");
    assert!(world.assignments["m02"].spec.intent == crds::Intent::Observe, "it goes on being observed");
}

#[test]
fn semantics_21_a_canary_without_the_workload_is_replaced_by_the_next_in_order() {
    let mut world = lacking(&["m01", "m02"]);
    world.rest();
    assert_eq!(begun(&world), ["m03", "m04"]);
    assert_eq!(world.applied().into_iter().collect::<Vec<_>>(), ["m03", "m04"]);
}

#[test]
fn semantics_21_where_nobody_has_the_workload_the_run_holds_until_somebody_does() {
    let all: Vec<String> = (1..=10).map(|number| format!("m{number:02}")).collect();
    let mut world = lacking(&all.iter().map(String::as_str).collect::<Vec<_>>());
    world.finish();
    assert_eq!((world.reason(), world.phase()), ("WorkloadMissing", Phase::Holding));
    assert!(world.message().starts_with("no member has Deployment shop/checkout, so all are left out"));
    world.agents.get_mut("m07").unwrap().runs = Some(images("v1"));
    world.finish();
    assert_eq!((world.reason(), world.summary().status.counts.healthy), ("done", 1));
    assert_eq!(world.agents["m07"].runs, Some(images("v2")));
}

#[test]
fn semantics_21_a_workload_that_appears_joins_the_steps_that_have_not_begun() {
    let mut world = lacking(&["m02"]);
    world.rest();
    assert_eq!(world.reason(), "Pause");
    world.agents.get_mut("m02").unwrap().runs = Some(images("v1"));
    assert_eq!(world.rest(), [""; 0]);
    assert_eq!(world.state.stage_of("m02"), MemberStage::Planned);
    assert_eq!((begun(&world).len(), world.state.plan.members.len()), (2, 10), "it is of no wave that has begun");
    world.finish();
    assert_eq!((world.reason(), world.applied().len()), ("done", 10));
}

#[test]
fn semantics_21_a_workload_that_appears_later_gets_the_accepted_revision() {
    let mut world = lacking(&["m02"]);
    world.finish();
    world.agents.get_mut("m02").unwrap().runs = Some(images("v1"));
    let lines = world.finish();
    assert_eq!(lines[0], "Normal CatchUpStarted: run 1: 1 member left to get the accepted revision v2: m02");
    assert_eq!((world.reason(), world.agents["m02"].runs.clone()), ("done", Some(images("v2"))));
}

#[test]
fn semantics_21_a_workload_that_appears_in_the_last_step_waits_for_the_end() {
    let mut world = lacking(&["m02"]);
    world.rest();
    world.advance(60);
    world.decide();
    assert!(world.state.header.run.as_ref().unwrap().in_last_step());
    world.agents.get_mut("m02").unwrap().runs = Some(images("v1"));
    world.rest();
    assert_eq!(world.state_of("m02"), "Skipped: has the workload by now; gets the accepted revision after the run");
    world.finish();
    assert_eq!((world.reason(), world.applied().len()), ("done", 10));
}

#[test]
fn semantics_21_who_joins_without_the_workload_after_a_success_is_left_out_too() {
    let mut world = lacking(&[]);
    world.finish();
    world.join("m11", "prod");
    world.agents.get_mut("m11").unwrap().runs = None;
    world.finish();
    assert_eq!((world.reason(), world.state.stage_of("m11")), ("done", MemberStage::Skipped));
}

#[test]
fn semantics_21_one_that_was_touched_before_is_waited_for_not_skipped() {
    let mut world = lacking(&[]);
    world.rest();
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    world.decide();
    world.agents.get_mut("m01").unwrap().runs = None;
    world.rest();
    assert_eq!(world.reason(), "WorkloadMissing");
    assert_eq!(world.state.plan.members.len(), 10);
}

#[test]
fn semantics_21_setting_hold_again_waits_for_those_that_were_skipped() {
    let mut world = lacking(&["m02"]);
    world.rest();
    world.edit(|spec| spec.if_missing = None);
    world.finish();
    assert_eq!((world.reason(), world.state.header.runs_started), ("WorkloadMissing", 1));
    world.edit(|spec| spec.if_missing = Some("Skip".to_owned()));
    world.finish();
    assert_eq!(world.reason(), "done");
}

#[test]
fn semantics_21_each_run_finds_anew_who_lacks_the_workload() {
    let mut world = lacking(&["m02"]);
    world.finish();
    world.agents.get_mut("m02").unwrap().runs = Some(images("v1"));
    world.agents.get_mut("m05").unwrap().runs = None;
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    world.finish();
    assert_eq!(world.agents["m02"].runs, Some(images("v3")));
    assert_eq!((world.reason(), world.state.stage_of("m05")), ("done", MemberStage::Skipped));
}

#[test]
fn semantics_21_a_skipped_member_that_leaves_the_selection_is_withdrawn() {
    let mut world = lacking(&["m02"]);
    world.finish();
    world.join("m02", "test");
    assert_eq!(world.orders(), ["Withdraw m02: run 1 v2"]);
    world.rest();
    assert!(!world.state.members.contains_key("m02"));
}
