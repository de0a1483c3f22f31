//! Rules 30 and 34: how a rollback ends when not everybody comes back, and when the rollout is deleted meanwhile.

use crds::{Outcome, Phase};
use rollout_core::Reachability;

use crate::rollback::two_of_three_failed;
use crate::world::images;

#[test]
fn semantics_30_an_incomplete_rollback_fails_names_the_members_and_keeps_their_previous_states() {
    let mut world = two_of_three_failed();
    world.decide();
    for member in ["m01", "m03"] {
        world.obey(member);
    }
    world.answer_saying("m02", Outcome::Progressing, "0 of 2 pods");
    world.decide();
    assert_eq!((world.reason(), world.wake_at), ("Rollback", Some(world.now + 30_000)));
    world.now += 29_999;
    assert_eq!(world.decide(), [""; 0]);
    world.now += 1;
    assert_eq!(
        world.decide(),
        [
            "Warning RollbackIncomplete: run 1: 1 member not back to what they ran before within their deadline: m02; 2 are back"
        ]
    );
    let reported =
        ["Return m01: run 1 v1, previous v1, drift reported", "Return m03: run 1 v0, previous v0, drift reported"];
    assert_eq!(world.decide(), reported, "announced once, and m02 goes on trying");
    assert_eq!((world.phase(), world.reason()), (Phase::Failed, "RollbackIncomplete"));
    assert_eq!(
        world.message(),
        "1 member not back to what they ran before: m02 (Progressing: 0 of 2 pods); their agents go on trying; repair them, or set another payload"
    );
    assert_eq!(world.state_of("m02"), "Failed: Progressing: 0 of 2 pods");
    let complete = world.summary().conditions.pop().unwrap();
    assert_eq!((complete.status, complete.reason.as_str()), (Some(false), "RollbackIncomplete"));
    world.set_reachability("m04", Reachability::Reachable);
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    assert_eq!(world.orders()[1], "Observe m02: run 2 v3, previous v1-hotfix", "it blocks no other run");
    world.finish();
    assert_eq!(world.phase(), Phase::Succeeded);
}

#[test]
fn semantics_30_a_late_return_is_taken_up() {
    let mut world = two_of_three_failed();
    world.decide();
    world.all_answer(&["m01", "m03"], Outcome::Healthy);
    world.advance(30);
    world.decide();
    world.obey("m02");
    world.decide();
    assert_eq!((world.phase(), world.reason()), (Phase::Failed, "Quarantined"));
    assert_eq!(world.summary().status.counts.returned, 3);
}

#[test]
fn semantics_30_a_member_that_was_not_healthy_before_need_not_be_after() {
    let mut world = two_of_three_failed();
    for record in world.state.members.values_mut() {
        record.previous.as_mut().unwrap().healthy = false;
    }
    for assignment in world.assignments.values_mut() {
        assignment.spec.previous.as_mut().into_iter().for_each(|previous| previous.healthy = false);
    }
    world.decide();
    for member in ["m01", "m02", "m03"] {
        world.answer(member, Outcome::Progressing);
    }
    world.decide();
    assert_eq!(world.phase(), Phase::RolledBack);
}

#[test]
fn semantics_30_a_report_of_other_images_is_no_return() {
    let mut world = two_of_three_failed();
    world.decide();
    world.obey_all();
    let report = world.reports.get_mut("m02").unwrap();
    report.workload.as_mut().unwrap().images = images("bad");
    world.decide();
    assert_eq!(world.phase(), Phase::RollingBack);
}

#[test]
fn semantics_30_the_unreachable_are_owed_their_return_and_get_it_when_they_come_back() {
    let mut world = two_of_three_failed();
    world.silence("m01");
    assert_eq!(world.orders().len(), 3, "the order is written and waits");
    for member in ["m02", "m03"] {
        world.obey(member);
    }
    assert_eq!(
        world.decide(),
        [
            "Warning RolledBack: run 1: 2 members back to what they ran before; 1 member unreachable and owed the return: m01"
        ]
    );
    world.decide();
    assert_eq!(world.phase(), Phase::RolledBack);
    assert_eq!(world.state_of("m01"), "Unreachable: its agent is silent; owed the return to what it ran before");
    assert_eq!((world.summary().status.counts.returning, world.summary().status.counts.returned), (1, 2));
    world.advance(86_400);
    assert_eq!(world.decide(), [""; 0]);
    world.set_reachability("m01", Reachability::Reachable);
    world.rest();
    assert_eq!(world.agents["m01"].runs, Some(images("v1")));
    assert_eq!(world.summary().status.counts.returned, 3);
}

#[test]
fn semantics_30_a_member_that_falls_silent_on_its_way_has_its_whole_deadline_when_it_is_heard_again() {
    let mut world = two_of_three_failed();
    world.decide();
    world.silence("m01");
    world.decide();
    world.obey("m02");
    world.advance(25);
    world.set_reachability("m01", Reachability::Reachable);
    world.decide();
    world.obey("m03");
    world.advance(29);
    world.decide();
    assert_eq!(world.phase(), Phase::RollingBack);
    world.obey("m01");
    world.decide();
    assert_eq!(world.phase(), Phase::RolledBack);
}

#[test]
fn semantics_30_a_member_owed_its_return_goes_back_there_when_the_next_run_fails_too() {
    let mut world = two_of_three_failed();
    world.silence("m01");
    world.decide();
    world.set_reachability("m04", Reachability::Reachable);
    world.rest();
    assert_eq!(world.phase(), Phase::RolledBack);
    world.edit(|spec| spec.image = Some("bad-again".to_owned()));
    world.set_reachability("m01", Reachability::Reachable);
    world.reports.remove("m01");
    assert_eq!(world.orders()[0], "Observe m02: run 2 bad-again", "m01 goes back first");
    world.obey("m01");
    assert_eq!(world.orders()[0], "Observe m01: run 2 bad-again");
    world.finish();
    assert_eq!(world.phase(), Phase::RolledBack);
    assert_eq!(world.agents["m01"].runs, Some(images("v1")));
}

#[test]
fn semantics_38_a_new_leader_ends_no_rollback_before_it_has_heard_everybody() {
    let mut world = two_of_three_failed();
    world.decide();
    world.obey_all();
    world.reports.remove("m03");
    world.set_reachability("m03", Reachability::Unknown);
    world.advance(3600);
    world.decide();
    assert_eq!(world.phase(), Phase::RollingBack);
    world.set_reachability("m03", Reachability::Unreachable);
    world.decide();
    assert_eq!(world.phase(), Phase::RolledBack);
}

#[test]
fn semantics_34_deletion_during_a_rollback_finishes_it_first() {
    let mut world = two_of_three_failed();
    world.decide();
    world.deleted = true;
    assert_eq!(world.decide(), ["Normal Deleting: deleted while run 1 is rolling back, which is finished first"]);
    assert_eq!(world.reason(), "Rollback");
    for member in ["m01", "m02"] {
        world.obey(member);
    }
    assert_eq!(world.decide(), [""; 0]);
    world.advance(30);
    assert_eq!(
        world.decide(),
        [
            "Warning RollbackIncomplete: run 1: 1 member not back to what they ran before within their deadline: m03; 2 are back"
        ],
        "bounded by the deadlines"
    );
    let orders = world.orders();
    assert_eq!(orders.len(), 4, "{orders:?}");
    assert!(orders.iter().all(|order| order.starts_with("Withdraw ")), "{orders:?}");
    assert_eq!(world.orders(), ["ReleaseFinalizer"]);
}
