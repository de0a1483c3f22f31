//! Rule 22: drift is repaired or reported, by where the run stands and what the specification says; and members that
//! somebody else fights for.

use std::collections::BTreeSet;

use crds::{ActionKind, OnDeadline, OnDrift, Outcome, Phase};
use rollout_core::{MemberRecord, MemberStage, Reachability, Run};

use crate::world::{Spec, World, images};

const WHO: &str = "kubectl-set has set app to shop:v9 instead of shop:v2";

/// `m1` to `m3` in two waves, at once within each, with a deadline of 30 s and a pause of 60 s between the waves.
fn world(edit: impl FnOnce(&mut Spec)) -> World {
    let spec = Spec::new(&["m1", "m2", "m3"], "[{setWeight: 60, pause: 60}]").with(|spec| {
        spec.deadline_seconds = Some(30);
        spec.max_concurrency = Some("3".to_owned());
        edit(spec);
    });
    World::new(spec, &["m1", "m2", "m3"])
}

/// All run v2, and drift is only reported.
fn lax() -> World {
    let mut world = world(|spec| spec.enforce = false);
    world.finish();
    assert_eq!((world.phase(), world.reason()), (Phase::Succeeded, "done"));
    world
}

/// `m1` and `m2` have failed at bad, and are back.
fn rolled_back() -> World {
    let mut world = world(|spec| spec.image = Some("bad".to_owned()));
    world.finish();
    assert_eq!((world.phase(), world.reason()), (Phase::RolledBack, "Quarantined"));
    world
}

pub fn meddle(world: &mut World, member: &str) {
    world.agents.get_mut(member).unwrap().runs = Some(images("v9"));
}

fn reported(world: &World) -> Vec<&str> {
    let reported = world.assignments.iter().filter(|(_, order)| order.spec.on_drift == OnDrift::Report);
    reported.map(|(member, _)| member.as_str()).collect()
}

fn stage(world: &World, member: &str) -> MemberStage {
    world.state.members[member].stage
}

fn condition(world: &World, kind: &str) -> (Option<bool>, String) {
    let found = world.summary().conditions.into_iter().find(|condition| condition.kind == kind).unwrap();
    (found.status, found.reason)
}

#[test]
fn semantics_22_while_a_run_is_active_and_after_its_success_drift_is_repaired_and_the_end_writes_no_order() {
    let mut world = world(|_| ());
    world.rest();
    meddle(&mut world, "m1");
    world.rest();
    assert_eq!((world.reason(), &world.agents["m1"].runs), ("Pause", &Some(images("v2"))));
    let mut lines = world.finish();
    let end = lines.iter().position(|line| line.starts_with("Normal Succeeded")).unwrap();
    assert_eq!(lines.split_off(end + 1), [""; 0]);
    meddle(&mut world, "m1");
    world.rest();
    assert_eq!(world.agents["m1"].runs, Some(images("v2")));
    assert_eq!(reported(&world), [""; 0]);
}

#[test]
fn semantics_22_without_enforce_drift_is_repaired_until_the_success_and_reported_from_then_on() {
    let mut world = world(|spec| spec.enforce = false);
    world.rest();
    meddle(&mut world, "m1");
    world.rest();
    assert_eq!((world.reason(), &world.agents["m1"].runs), ("Pause", &Some(images("v2"))));
    world.finish();
    assert_eq!(reported(&world), ["m1", "m2", "m3"]);
    assert_eq!((world.phase(), world.summary().status.counts.healthy), (Phase::Succeeded, 3));

    meddle(&mut world, "m2");
    world.answer_saying("m2", Outcome::Drifted, WHO);
    assert_eq!(
        world.decide(),
        [format!("Warning MemberDrifted: m2 no longer runs what it was told to, which is not repaired: {WHO}")]
    );
    assert_eq!(world.state_of("m2"), format!("Drifted: Drifted: {WHO}"));
    let counts = world.summary().status.counts;
    assert_eq!((counts.healthy, counts.in_flux, counts.failed), (2, 1, 0));
    assert_eq!((world.phase(), world.reason()), (Phase::Succeeded, "done"));
    assert_eq!(condition(&world, "Ready"), (Some(false), "MemberUnhealthy".to_owned()));
    assert_eq!(condition(&world, "Degraded"), (Some(true), "MembersDrifted".to_owned()));
    // However long that lasts.
    world.advance(100_000);
    assert_eq!(world.finish(), [""; 0]);
    assert_eq!(world.agents["m2"].runs, Some(images("v9")));

    world.agents.get_mut("m2").unwrap().runs = Some(images("v2"));
    world.finish();
    assert_eq!((world.state_of("m2"), world.summary().status.counts.healthy), (String::new(), 3));
    assert_eq!(condition(&world, "Degraded"), (Some(false), "NotDegraded".to_owned()));
}

#[test]
fn semantics_22_a_changed_enforce_reaches_orders_that_are_out_and_is_no_new_attempt() {
    let mut world = lax();
    meddle(&mut world, "m2");
    world.rest();
    let before = world.state.members["m1"].clone();
    world.edit(|spec| spec.enforce = true);
    assert_eq!(world.orders().len(), 3);
    assert_eq!(reported(&world), [""; 0]);
    // No deadline begins after which a member would go back.
    assert!(world.assignments.values().all(|order| order.spec.on_deadline == OnDeadline::Hold));
    let after = &world.state.members["m1"];
    assert_eq!(
        (after.stage, &after.previous, after.touched, after.told_at),
        (before.stage, &before.previous, before.touched, before.told_at)
    );
    world.finish();
    assert_eq!((&world.agents["m2"].runs, world.summary().status.counts.healthy), (&Some(images("v2")), 3));
    assert_eq!(world.orders(), [""; 0]);
    world.edit(|spec| spec.enforce = false);
    assert_eq!(world.orders().len(), 3);
    assert_eq!(world.orders(), [""; 0]);
}

#[test]
fn semantics_22_what_was_said_before_an_order_came_again_says_nothing_about_it() {
    let mut world = lax();
    meddle(&mut world, "m2");
    world.rest();
    world.edit(|spec| spec.enforce = true);
    world.orders();
    // The report is of the order before.
    assert_eq!((world.state_of("m2"), world.orders()), ("Unhealthy: no answer yet".to_owned(), vec![]));
    world.answer_saying("m2", Outcome::Contended, "argocd");
    assert_eq!(world.decide(), [""; 0], "it is known that somebody else has changed it");
    assert_eq!(world.state_of("m2"), "Contended: Contended: argocd");
}

#[test]
fn semantics_22_after_a_rollback_drift_is_reported_and_changes_nothing_else() {
    let mut world = rolled_back();
    assert_eq!(reported(&world), ["m1", "m2"]);
    let before = world.summary().status;
    meddle(&mut world, "m1");
    world.answer_saying("m1", Outcome::Drifted, "argocd has set app to shop:v9 instead of shop:v1");
    let told = "Warning MemberDrifted: m1 no longer runs what it was told to, which is not repaired: argocd has set app to shop:v9 instead of shop:v1";
    assert_eq!(world.decide(), [told]);
    assert_eq!(world.state_of("m1"), "Drifted: Drifted: argocd has set app to shop:v9 instead of shop:v1");
    assert!(world.state_of("m2").starts_with("Returned: "));
    world.advance(100_000);
    assert_eq!(world.finish(), [""; 0]);
    let after = world.summary().status;
    assert_eq!((after.phase, after.counts, after.waiting_on), (before.phase, before.counts, before.waiting_on));
    assert!(matches!(stage(&world, "m1"), MemberStage::Returned { .. }));
    assert_eq!(world.agents["m1"].runs, Some(images("v9")));
    // The next run takes what it finds.
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    world.decide();
    world.obey_all();
    let orders = world.orders();
    assert_eq!(orders[0], "Apply m1: run 2 v3 over v9, previous v9");
    assert_eq!(reported(&world), [""; 0]);
    world.finish();
    assert_eq!((world.phase(), world.state_of("m1")), (Phase::Succeeded, String::new()));
}

#[test]
fn semantics_22_who_is_owed_its_return_or_is_late_has_drift_repaired_until_it_is_back() {
    let mut world = world(|spec| spec.image = Some("bad".to_owned()));
    world.rest();
    world.silence("m2");
    world.finish();
    assert_eq!((world.phase(), stage(&world, "m2")), (Phase::RolledBack, MemberStage::Owed));
    assert_eq!(reported(&world), ["m1"]);
    world.set_reachability("m2", Reachability::Reachable);
    let lines = world.rest();
    assert_eq!(lines, ["Return m2: run 1 v1, previous v1, drift reported"]);
    assert!(matches!(stage(&world, "m2"), MemberStage::Returned { .. }));
    assert_eq!(world.agents["m2"].runs, Some(images("v1")));
}

#[test]
fn semantics_22_a_member_that_failed_alone_is_repaired_as_long_as_the_others_are() {
    let mut world = world(|spec| spec.max_failures = Some("1".to_owned()));
    world.agents.get_mut("m2").unwrap().cursed = true;
    world.finish();
    assert_eq!((world.phase(), reported(&world)), (Phase::Succeeded, vec![]));
    world.edit(|spec| spec.enforce = false);
    world.finish();
    assert_eq!(reported(&world), ["m1", "m2", "m3"]);
    assert_eq!(world.summary().status.counts.failed, 1);
}

#[test]
fn semantics_22_after_a_bad_end_nobody_is_repaired_and_the_next_run_finds_what_they_run() {
    let mut world = world(|_| ());
    world.finish();
    world.edit(|spec| spec.image = Some("bad".to_owned()));
    world.finish();
    assert_eq!(world.phase(), Phase::RolledBack);
    // The last had no part in it, and its order is that of the run before.
    assert_eq!(world.assignments["m3"].spec.rollout.run, 1);
    assert_eq!(reported(&world), ["m1", "m2", "m3"]);
    let before = world.state.members["m3"].clone();
    meddle(&mut world, "m3");
    world.rest();
    assert!(world.state_of("m3").starts_with("Drifted: "));
    assert_eq!(world.state.members["m3"], MemberRecord { drifted: true, ..before });
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    world.rest();
    assert_eq!((world.reason(), reported(&world)), ("Pause", vec!["m3"]));
    world.advance(60);
    world.decide();
    world.obey_all();
    assert_eq!(world.orders(), ["Apply m3: run 3 v3 over v9, previous v9"]);
    world.finish();
    assert_eq!((world.phase(), reported(&world)), (Phase::Succeeded, vec![]));
}

#[test]
fn semantics_22_a_return_of_who_had_only_reported_drift_before_is_repaired_until_it_is_over() {
    let mut world = world(|spec| spec.rollback = Some("{scope: Member}".to_owned()));
    world.agents.get_mut("m2").unwrap().cursed = true;
    world.finish();
    assert_eq!((world.phase(), reported(&world)), (Phase::Failed, vec!["m1", "m2"]));
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    world.decide();
    assert_eq!(stage(&world, "m1"), MemberStage::Observing);
    world.act(ActionKind::Abort);
    assert_eq!(world.orders(), ["Return m1: run 2 v1, previous v1", "Return m2: run 2 v1, previous v1"]);
    world.finish();
    assert_eq!((world.phase(), reported(&world)), (Phase::RolledBack, vec!["m1", "m2"]));
}

#[test]
fn semantics_22_an_invalid_object_keeps_nobody_under_repair_after_a_rollback() {
    let mut world = world(|spec| spec.image = Some("bad".to_owned()));
    world.rest();
    world.edit(|spec| spec.steps = "[{setWeight: 101}]".to_owned());
    world.finish();
    assert_eq!((world.phase(), reported(&world)), (Phase::RolledBack, vec!["m1", "m2"]));
}

#[test]
fn semantics_22_a_member_that_is_unhealthy_at_the_end_gets_no_deadline_with_the_repeated_order() {
    let mut world = world(|_| ());
    world.finish();
    world.answer_saying("m1", Outcome::Progressing, "1 of 2 pods");
    world.decide();
    world.edit(|spec| spec.enforce = false);
    assert_eq!(world.orders().len(), 3);
    let order = &world.assignments["m1"].spec;
    assert_eq!((order.on_drift, order.on_deadline), (OnDrift::Report, OnDeadline::Hold));
}

#[test]
fn semantics_22_more_members_than_one_decision_changes_are_told_one_decision_after_the_other() {
    let spec = Spec::selecting("[{setWeight: 100}]").with(|spec| spec.max_concurrency = Some("'100%'".to_owned()));
    let mut world = World::fleet(65, spec);
    world.finish();
    world.edit(|spec| spec.enforce = false);
    let orders: Vec<usize> = (0..4).map(|_| world.orders().len()).collect();
    assert_eq!(orders, [30, 30, 5, 0]);
    let told: BTreeSet<_> = reported(&world).into_iter().collect();
    assert_eq!(told.len(), 65);
}

#[test]
fn semantics_22_a_contended_member_fails_at_once_and_its_return_is_an_order_of_its_own() {
    let mut world = world(|_| ());
    world.decide();
    world.obey_all();
    world.decide();
    world.obey("m2");
    let said = "argocd has set other images 3 times within 10 minutes, the last time app to shop:v1 instead of shop:v2";
    world.answer_saying("m1", Outcome::Contended, said);
    assert_eq!(
        world.decide(),
        [
            format!("Warning MemberContended: m1 is contended, and not repaired any more: {said}"),
            format!(
                "Warning FailedMember: m1 (Contended: {said}) was contended before it was healthy: it returns to what it ran before"
            ),
            "Return m1: run 1 v1, previous v1".to_owned(),
            "Warning RollbackStarted: run 1: 1 member failed, 0 allowed: every touched member returns to what it ran before, and revision v2 is not rolled out again".to_owned(),
            "Return m2: run 1 v1, previous v1".to_owned(),
        ]
    );
    world.finish();
    assert_eq!((world.phase(), world.summary().status.counts.failed), (Phase::RolledBack, 1));
    assert_eq!(world.agents["m1"].runs, Some(images("v1")));
}

#[test]
fn semantics_22_a_return_that_is_contended_is_not_complete() {
    let mut world = world(|spec| spec.image = Some("bad".to_owned()));
    world.rest();
    world.advance(30);
    world.decide();
    world.obey("m2");
    world.answer_saying("m1", Outcome::Contended, "argocd");
    world.decide();
    assert_eq!((world.phase(), world.state_of("m1")), (Phase::RollingBack, "Returning: Contended: argocd".to_owned()));
    world.advance(30);
    world.decide();
    assert_eq!((world.phase(), world.reason()), (Phase::Failed, "RollbackIncomplete"));
    assert_eq!(world.state_of("m1"), "Failed: Contended: argocd");
}

#[test]
fn semantics_22_a_member_that_is_contended_after_having_been_healthy_has_failed_after_a_minute() {
    let mut world = world(|_| ());
    world.rest();
    world.answer_saying("m1", Outcome::Contended, "argocd");
    assert_eq!(world.decide(), ["Warning MemberContended: m1 is contended, and not repaired any more: argocd"]);
    assert_eq!((world.reason(), world.state_of("m1")), ("MemberUnhealthy", "Contended: Contended: argocd".to_owned()));
    world.advance(59);
    assert_eq!(world.orders(), [""; 0]);
    world.advance(1);
    assert_eq!(world.orders(), ["Return m1: run 1 v1, previous v1", "Return m2: run 1 v1, previous v1"]);
}

#[test]
fn semantics_22_with_min_ready_seconds_a_contended_member_does_not_become_healthy() {
    let mut world = world(|spec| {
        spec.min_ready_seconds = Some(10);
        spec.rollback = Some("{mode: Manual}".to_owned());
    });
    world.decide();
    world.obey_all();
    world.decide();
    world.obey_all();
    world.decide();
    assert!(world.state.members["m1"].ready_since.is_some());
    world.answer("m1", Outcome::Contended);
    world.decide();
    assert_eq!(world.state.members["m1"].ready_since, None);
    assert!(matches!(stage(&world, "m1"), MemberStage::Applying { .. }));
}

#[test]
fn semantics_22_and_32_with_manual_a_contended_member_holds_the_run_until_it_is_retried() {
    let mut world = world(|spec| spec.rollback = Some("{mode: Manual}".to_owned()));
    world.decide();
    world.obey_all();
    world.decide();
    world.obey("m2");
    world.answer_saying("m1", Outcome::Contended, "argocd");
    world.decide();
    assert_eq!((world.phase(), world.reason()), (Phase::Holding, "DeadlinePassed"));
    assert!(
        world.message().starts_with("1 member contended before being healthy: m1 (Contended: argocd)"),
        "{}",
        world.message()
    );
    world.act(ActionKind::Retry);
    assert_eq!(world.orders(), ["Apply m1: run 1 v2 over v1, previous v1"]);
    world.finish();
    assert_eq!(world.phase(), Phase::Succeeded);
}

#[test]
fn semantics_22_after_the_success_a_contended_member_is_shown_and_a_changed_enforce_tries_again() {
    let mut world = world(|_| ());
    world.finish();
    world.answer_saying("m1", Outcome::Contended, "argocd");
    world.decide();
    world.advance(100_000);
    assert_eq!(world.decide(), [""; 0]);
    assert_eq!((world.phase(), world.state_of("m1")), (Phase::Succeeded, "Contended: Contended: argocd".to_owned()));
    assert_eq!(condition(&world, "Degraded"), (Some(true), "MembersDrifted".to_owned()));
    world.edit(|spec| spec.enforce = false);
    world.rest();
    world.edit(|spec| spec.enforce = true);
    world.rest();
    assert_eq!((world.state_of("m1"), world.summary().status.counts.healthy), (String::new(), 3));
}

#[test]
fn semantics_22_and_35_members_that_have_drifted_hold_no_catch_up() {
    let mut world = lax();
    for member in ["m1", "m2", "m3"] {
        meddle(&mut world, member);
    }
    world.edit(|spec| {
        spec.selector = Some("{matchLabels: {env: prod}}".to_owned());
        spec.max_concurrency = Some("1".to_owned());
    });
    world.rest();
    world.join("m4", "prod");
    world.finish();
    assert_eq!((world.reason(), &world.agents["m4"].runs), ("done", &Some(images("v2"))));
    assert_eq!((reported(&world).len(), world.summary().status.counts.in_flux), (4, 3));
}

#[test]
fn semantics_22_a_silent_member_is_unreachable_whatever_it_said_last() {
    let mut world = lax();
    meddle(&mut world, "m1");
    world.rest();
    world.silence("m1");
    assert_eq!(
        world.state_of("m1"),
        "Owed: its agent is silent; owed the revision, which it gets when it is heard again"
    );
}

#[test]
fn semantics_22_and_42_a_lost_store_learns_who_has_arrived_from_orders_by_which_drift_is_reported() {
    for mut world in [lax(), rolled_back()] {
        meddle(&mut world, "m1");
        world.rest();
        let before = world.summary().status;
        world.lose_store();
        world.upload_all();
        world.rest();
        // Longer than any deadline: it neither fails nor goes back.
        world.advance(100_000);
        world.finish();
        let after = world.summary().status;
        assert_eq!((after.phase, after.counts), (before.phase, before.counts));
        assert!(world.state_of("m1").starts_with("Drifted: "), "{}", world.state_of("m1"));
        assert_eq!(world.agents["m1"].runs, Some(images("v9")));
        world.edit(|spec| (spec.image, spec.enforce) = (Some("v3".to_owned()), true));
        world.finish();
        assert_eq!((world.phase(), reported(&world)), (Phase::Succeeded, vec![]));
    }
}

#[test]
fn semantics_22_records_of_older_versions_repair_drift() {
    let world = lax();
    let mut run = serde_json::to_value(world.state.header.run.as_ref().unwrap()).unwrap();
    let mut record = serde_json::to_value(&world.state.members["m1"]).unwrap();
    assert_eq!((&run["onDrift"], &record["standing"]["onDrift"]), (&"Report".into(), &"Report".into()));
    run.as_object_mut().unwrap().remove("onDrift");
    record["standing"].as_object_mut().unwrap().remove("onDrift");
    let (run, record): (Run, MemberRecord) =
        (serde_json::from_value(run).unwrap(), serde_json::from_value(record).unwrap());
    assert_eq!((run.on_drift, record.standing.on_drift), (OnDrift::Repair, OnDrift::Repair));
}
