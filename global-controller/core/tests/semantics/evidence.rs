//! Rules 21 and 28, as far as they are built: what members answer that stops a run.

use crds::{Outcome, Phase};

use crate::world::{Spec, World};

fn observed(count: usize) -> World {
    let mut world = World::fleet(count, Spec::selecting("[{setWeight: 100, pause: 60}]"));
    world.decide();
    world
}

#[test]
fn semantics_21_a_missing_workload_is_named_before_any_member_is_touched() {
    let mut world = observed(3);
    world.all_answer(&["m01", "m03"], Outcome::Observed);
    world.agents.get_mut("m02").unwrap().runs = None;
    world.answer_saying("m02", Outcome::WorkloadMissing, "no Deployment shop/checkout");
    assert_eq!(
        world.decide(),
        [
            "Warning WorkloadMissing: Deployment shop/checkout or a container of it is missing on 1 member: m02 (WorkloadMissing: no Deployment shop/checkout); create it there, deselect them or set ifMissing: Skip"
        ]
    );
    assert_eq!(world.summary().status.phase, Some(Phase::Holding));
    world.agents.get_mut("m02").unwrap().runs = Some(crate::world::images("v1"));
    world.answer("m02", Outcome::Observed);
    assert_eq!(world.decide(), ["Apply m01: run 1 v2 over v1, previous v1"]);
}

#[test]
fn semantics_21_taking_the_member_out_of_the_selection_ends_the_hold() {
    let mut world = observed(2);
    world.answer("m01", Outcome::Observed);
    world.answer("m02", Outcome::WorkloadMissing);
    world.decide();
    world.join("m02", "test");
    assert_eq!(world.orders(), ["Withdraw m02: run 1 v2", "Apply m01: run 1 v2 over v1, previous v1"]);
}

#[test]
fn semantics_28_a_refusal_holds_and_the_agent_goes_on_trying() {
    let mut world = observed(2);
    world.all_answer(&["m01", "m02"], Outcome::Observed);
    world.decide();
    world.answer_saying("m01", Outcome::Refused, "quota exceeded");
    assert_eq!(
        world.decide(),
        [
            "Warning Refused: the API server of 1 member refuses: m01 (Refused: quota exceeded); the agent goes on trying"
        ]
    );
    world.answer("m01", Outcome::Healthy);
    assert_eq!(world.decide(), ["Apply m02: run 1 v2 over v1, previous v1"]);
}

#[test]
fn semantics_28_an_unhealthy_member_keeps_further_ones_from_being_touched_until_it_recovers() {
    let mut world = observed(2);
    world.all_answer(&["m01", "m02"], Outcome::Observed);
    world.decide();
    world.answer("m01", Outcome::Healthy);
    assert_eq!(world.orders(), ["Apply m02: run 1 v2 over v1, previous v1"]);
    world.answer_saying("m01", Outcome::Progressing, "crash loop");
    world.answer("m02", Outcome::Healthy);
    assert_eq!(world.decide(), ["Warning MemberUnhealthy: m01 is no longer healthy: Progressing: crash loop"]);
    let counts = world.summary().status.counts;
    assert_eq!((counts.healthy, counts.in_flux), (1, 1));
    world.answer("m01", Outcome::Healthy);
    assert_eq!(world.decide(), ["Normal PauseStarted: 2 members healthy: pause of 60 s until 2026-01-01T00:01:00Z"]);
}

#[test]
fn semantics_28_an_agent_that_has_just_started_does_not_make_its_member_unhealthy() {
    let mut world = observed(1);
    world.rest();
    assert_eq!(world.reason(), "Pause");
    world.answer("m01", Outcome::Accepted);
    assert_eq!(world.decide(), [""; 0]);
    assert_eq!(world.reason(), "Pause");
}

#[test]
fn semantics_28_a_member_is_watched_after_the_success() {
    let mut world = observed(1);
    world.finish();
    world.answer_saying("m01", Outcome::Progressing, "crash loop");
    assert_eq!(world.decide(), ["Warning MemberUnhealthy: m01 is no longer healthy: Progressing: crash loop"]);
    assert_eq!(world.summary().status.phase, Some(Phase::Succeeded));
    let ready = world.summary().conditions.remove(1);
    assert_eq!((ready.status, ready.reason.as_str()), (Some(false), "MemberUnhealthy"));
}
