//! Rule 35: what becomes of a catch-up with what was accepted before a run that was given up, in troubles of all kinds.

use crds::{ActionKind, Intent, Outcome, Phase, Revision};
use rollout_core::{MemberStage, Reachability, RolloutState};

use crate::catch_up::rolled_back_after_a_success;
use crate::world::{Spec, World, images};

fn runs(world: &World, member: &str) -> Option<std::collections::BTreeMap<String, String>> {
    world.agents[member].runs.clone()
}

/// m05 has joined, and no pod of the accepted revision becomes ready there. It was told to run it.
fn one_under_way() -> World {
    let mut world = rolled_back_after_a_success();
    world.join("m05", "prod");
    world.agents.get_mut("m05").unwrap().cursed = true;
    world.rest();
    assert_eq!(world.assignments["m05"].spec.intent, Intent::Apply);
    world
}

/// The same once it has failed; m06 has joined since.
fn held() -> World {
    let mut world = one_under_way();
    world.finish();
    world.agents.get_mut("m05").unwrap().cursed = false;
    world.join("m06", "prod");
    world.finish();
    assert_eq!((runs(&world, "m05"), runs(&world, "m06")), (Some(images("v1")), Some(images("v1"))));
    world
}

fn retry_catch_up(world: &mut World) -> String {
    let accepted = world.state.header.accepted_revision.clone().unwrap();
    world.act_with(ActionKind::Retry, |action| action.revision = accepted)
}

fn late_failures(world: &World) -> usize {
    world.state.plan.late.as_ref().map_or(0, |late| late.run.failures)
}

#[test]
fn semantics_35_who_is_under_way_is_judged_also_while_the_object_is_invalid() {
    let mut world = one_under_way();
    world.edit(|spec| spec.steps = "[{setWeight: 101}]".to_owned());
    world.finish();
    assert_eq!(
        (world.reason(), world.state_of("m05")),
        ("Invalid", "Returned: runs again what it ran before: app=shop:v1".to_owned())
    );
    assert_eq!(runs(&world, "m05"), Some(images("v1")));
}

#[test]
fn semantics_35_while_the_object_is_invalid_nobody_else_is_told_and_who_has_arrived_is_taken_up() {
    let mut world = one_under_way();
    world.agents.get_mut("m05").unwrap().cursed = false;
    world.edit(|spec| spec.steps = "[{setWeight: 101}]".to_owned());
    world.join("m06", "prod");
    world.finish();
    assert!(matches!(world.state.members["m05"].stage, MemberStage::Healthy { .. }));
    assert!(!world.assignments.contains_key("m06"));
}

#[test]
fn semantics_35_it_goes_on_while_a_retry_of_the_refused_revision_can_not_start() {
    let mut world = one_under_way();
    world.edit(|spec| spec.targets = vec!["absent".to_owned()]);
    world.act(ActionKind::Retry);
    world.edit(|spec| spec.max_failures = Some("1".to_owned()));
    world.join("m06", "prod");
    world.finish();
    assert_eq!(world.reason(), "TargetMissing");
    assert_eq!((runs(&world, "m05"), runs(&world, "m06")), (Some(images("v1")), Some(images("v2"))));
    world.edit(|spec| spec.targets.clear());
    world.rest();
    assert_eq!((world.state.header.runs_started, world.state.plan.late.is_none()), (3, true));
}

#[test]
fn semantics_35_it_goes_on_however_many_runs_have_gone_wrong_since() {
    let mut world = rolled_back_after_a_success();
    world.edit(|spec| spec.history_limit = Some(1));
    for tag in ["bad2", "bad3", "bad4"] {
        world.edit(|spec| spec.image = Some(tag.to_owned()));
        world.finish();
    }
    let numbers: Vec<i64> = world.state.history.runs.iter().map(|past| past.number).collect();
    assert_eq!(numbers, [1, 4, 5], "the accepted one is kept beside those that the limit keeps");
    world.join("m05", "prod");
    world.finish();
    assert_eq!(runs(&world, "m05"), Some(images("v2")));
}

#[test]
fn semantics_35_it_is_watched_also_when_an_older_release_has_let_the_accepted_run_go() {
    let mut world = one_under_way();
    let mut stored = serde_json::to_value(&world.state).unwrap();
    let accepted_run = stored["history"]["runs"].as_array_mut().unwrap().remove(0);
    assert_eq!(accepted_run["number"], 1);
    stored["plan"]["late"].as_object_mut().unwrap().remove("heldFor");
    world.state = serde_json::from_value::<RolloutState>(stored).unwrap();
    world.finish();
    assert_eq!((runs(&world, "m05"), late_failures(&world)), (Some(images("v1")), 1));
}

#[test]
fn semantics_35_over_budget_it_says_that_it_holds_and_why_and_the_phase_is_that_of_the_latest_run() {
    let mut world = one_under_way();
    world.join("m06", "prod");
    world.join("m07", "prod");
    world.join("m08", "prod");
    let lines = world.finish();
    let text = "1 member failed to catch up with what was accepted before, 0 allowed: m05; 4 members not told to run that until maxFailures bears it, the payload changes or a person retries: kubectl clusterrollout retry --catch-up";
    let told: Vec<&String> = lines.iter().filter(|line| line.contains("CatchUpHeld")).collect();
    assert_eq!(told, [&format!("Warning CatchUpHeld: {text}")], "{lines:#?}");
    assert_eq!((world.phase(), world.reason()), (Phase::RolledBack, "Quarantined"));
    let degraded = world.summary().conditions.remove(4);
    assert_eq!(degraded.reason, "RolledBack");
    assert!(degraded.message.ends_with(text), "{}", degraded.message);
    assert_eq!(world.state_of("m05"), "Returned: runs again what it ran before: app=shop:v1");
    assert_eq!(world.state_of("m08"), "Owed: owed the accepted revision; the catch-up holds");
    let raised: Vec<_> = world.state.header.alerts.0.iter().filter(|raised| raised.until.is_none()).collect();
    assert!(raised.iter().any(|raised| raised.fact.reason.as_deref() == Some("CatchUpHeld")), "{raised:?}");
    // What is said once is not said again, until it is over and comes up anew.
    world.edit(|spec| spec.max_failures = Some("2".to_owned()));
    let lines = world.finish();
    assert!(!lines.iter().any(|line| line.contains("CatchUpHeld")), "{lines:#?}");
    assert_eq!((runs(&world, "m08"), world.state_of("m08")), (Some(images("v2")), String::new()));
    let degraded = world.summary().conditions.remove(4);
    assert!(!degraded.message.contains("catch up"), "{}", degraded.message);
}

#[test]
fn semantics_32_and_35_where_nothing_returns_by_itself_it_says_who_holds_it() {
    let mut world = rolled_back_after_a_success();
    world.edit(|spec| spec.rollback = Some("{mode: Manual}".to_owned()));
    world.join("m05", "prod");
    world.agents.get_mut("m05").unwrap().cursed = true;
    world.rest();
    world.join("m06", "prod");
    let lines = world.finish();
    let held = "Warning DeadlinePassed: 1 member not healthy within progressDeadlineSeconds (30 s): m05 (Progressing)";
    assert!(lines.iter().any(|line| line.starts_with(held)), "{lines:#?}");
    let degraded = world.summary().conditions.remove(4);
    assert!(degraded.message.contains("m05 (Progressing)"), "{}", degraded.message);
    assert_eq!((world.phase(), world.reason()), (Phase::RolledBack, "Quarantined"));
    world.agents.get_mut("m05").unwrap().cursed = false;
    world.finish();
    assert_eq!((runs(&world, "m05"), runs(&world, "m06")), (Some(images("v2")), Some(images("v2"))));
}

#[test]
fn semantics_35_and_43_while_the_hub_is_in_doubt_nobody_is_judged_and_nothing_is_said_of_it() {
    let mut world = one_under_way();
    let before = Spec { generation: 1, ..world.spec.clone() };
    world.rewind_to(before);
    let lines = world.finish();
    assert!(lines[0].starts_with("Warning HubRewound"), "{lines:#?}");
    world.advance(3_600);
    assert_eq!(world.rest(), [""; 0]);
    assert_eq!((world.reason(), late_failures(&world)), ("HubRewound", 0));
    world.release(ActionKind::AcceptHub);
    world.finish();
    assert_eq!((late_failures(&world), runs(&world, "m05")), (1, Some(images("v1"))));
}

#[test]
fn semantics_33_and_35_a_retry_of_the_accepted_revision_lifts_it() {
    let mut world = held();
    let retry = retry_catch_up(&mut world);
    let lines = world.finish();
    assert_eq!(world.outcome_of(&retry), "Applied: revision v2 goes again to 1 member that failed: m05", "{lines:#?}");
    assert_eq!((runs(&world, "m05"), runs(&world, "m06")), (Some(images("v2")), Some(images("v2"))));
    assert_eq!((late_failures(&world), world.state.header.runs_started), (0, 2));
    assert_eq!((world.phase(), world.state.header.quarantine.len()), (Phase::RolledBack, 1), "nothing else is retried");
    let again = retry_catch_up(&mut world);
    world.decide();
    assert!(world.outcome_of(&again).starts_with("Refused: "), "{}", world.outcome_of(&again));
}

#[test]
fn semantics_33_a_retry_of_the_accepted_revision_is_refused_where_nobody_catches_up() {
    let mut world = rolled_back_after_a_success();
    let unknown = world.act_with(ActionKind::Retry, |action| action.revision = Revision("unknown".to_owned()));
    let late = world.act_with(ActionKind::Retry, |action| action.run = 1);
    world.decide();
    for retry in [unknown, late] {
        assert!(world.outcome_of(&retry).starts_with("Refused: "), "{}", world.outcome_of(&retry));
    }
}

#[test]
fn semantics_33_a_retry_while_paused_waits_for_the_end_of_the_pause() {
    let mut world = held();
    world.edit(|spec| spec.paused = true);
    retry_catch_up(&mut world);
    world.finish();
    assert_eq!(runs(&world, "m05"), Some(images("v1")));
    world.edit(|spec| spec.paused = false);
    world.finish();
    assert_eq!(runs(&world, "m05"), Some(images("v2")));
}

/// m02 lacked the workload in `tag`'s run, and has it by now.
fn skipped(image: &str) -> World {
    let spec = Spec::selecting("[{setWeight: 50}]").with(|spec| {
        spec.deadline_seconds = Some(30);
        spec.max_concurrency = Some("'100%'".to_owned());
        spec.if_missing = Some("Skip".to_owned());
    });
    let mut world = World::fleet(4, spec);
    let lost = |world: &mut World| world.agents.get_mut("m02").unwrap().runs = None;
    if image == "v2" {
        lost(&mut world);
    }
    world.finish();
    lost(&mut world);
    if image == "bad" {
        world.edit(|spec| spec.image = Some("bad".to_owned()));
        world.finish();
    } else {
        world.edit(|spec| (spec.image, spec.steps) = (Some("bad".to_owned()), "[{setWeight: 20}]".to_owned()));
        world.finish();
    }
    assert_eq!(world.phase(), Phase::RolledBack);
    assert_eq!(world.state.members["m02"].stage, MemberStage::Skipped);
    world
}

#[test]
fn semantics_21_and_35_one_that_was_skipped_gets_what_was_accepted_when_it_has_the_workload() {
    for run in ["v2", "bad"] {
        let mut world = skipped(run);
        world.finish();
        assert_eq!(runs(&world, "m02"), None, "it lacks it yet");
        world.agents.get_mut("m02").unwrap().runs = Some(images("v1"));
        world.answer("m02", Outcome::Observed);
        world.finish();
        assert_eq!((runs(&world, "m02"), world.phase()), (Some(images("v2")), Phase::RolledBack), "skipped in {run}");
        assert_eq!(world.summary().status.counts.skipped, 0);
    }
}

#[test]
fn semantics_35_and_36_one_that_is_meant_again_gets_it_though_nobody_has_heard_of_its_withdrawal() {
    let mut world = rolled_back_after_a_success();
    world.join("m04", "test");
    assert_eq!(world.orders(), ["Withdraw m04: run 2 bad"]);
    world.join("m04", "prod");
    world.silence("m04");
    world.finish();
    assert_eq!((world.assignments["m04"].spec.intent, world.assignments["m04"].spec.rollout.run), (Intent::Observe, 1));
    world.set_reachability("m04", Reachability::Reachable);
    world.finish();
    assert_eq!(world.state_of("m04"), "");
    assert!(matches!(world.state.members["m04"].stage, MemberStage::Healthy { .. }));
}

#[test]
fn semantics_28_and_35_failures_of_those_that_have_left_it_count_on() {
    let mut world = held();
    for member in ["m05", "m06"] {
        world.join(member, "test");
    }
    world.finish();
    assert_eq!((world.state.members.contains_key("m05"), late_failures(&world)), (false, 1));
    world.join("m07", "prod");
    world.finish();
    assert_eq!((runs(&world, "m07"), world.phase()), (Some(images("v1")), Phase::RolledBack));
    let retry = retry_catch_up(&mut world);
    world.finish();
    assert_eq!(world.outcome_of(&retry), "Applied: failures of members that are gone count no more");
    assert_eq!(runs(&world, "m07"), Some(images("v2")));
}

#[test]
fn semantics_42_a_restored_store_counts_those_under_way_by_what_they_tell() {
    let mut world = rolled_back_after_a_success();
    let backup = world.backup();
    for member in ["m05", "m06", "m07"] {
        world.join(member, "prod");
    }
    world.decide();
    world.all_answer(&["m05", "m06"], Outcome::Observed);
    world.decide();
    world.all_answer(&["m05", "m06"], Outcome::Progressing);
    world.decide();
    world.restore(backup);
    world.upload_all();
    while world.decide() != [""; 0] || world.more {}
    assert_eq!(world.phase(), Phase::RolledBack);
    let late = world.state.plan.late.as_ref().unwrap();
    let begun = &late.members[..late.wave_end];
    assert!(begun.contains(&"m05".to_owned()) && begun.contains(&"m06".to_owned()), "{begun:?}");
    assert!(!world.assignments.contains_key("m07"), "as many as may be are under way");
    world.finish();
    for member in ["m05", "m06", "m07"] {
        assert_eq!(runs(&world, member), Some(images("v2")), "{member}");
    }
}

#[test]
fn semantics_42_a_restored_store_counts_those_that_have_failed_since() {
    for since in [false, true] {
        let mut world = one_under_way();
        let (before, mut after) = (world.backup(), held());
        world.finish();
        let backup = if since { before } else { after.backup() };
        after.restore(backup);
        after.upload_all();
        after.finish();
        assert_eq!((late_failures(&after), runs(&after, "m05")), (1, Some(images("v1"))), "since: {since}");
        assert_eq!(runs(&after, "m06"), Some(images("v1")), "over budget");
    }
}

#[test]
fn semantics_42_a_restored_store_that_never_knew_of_it_does_not_tell_one_again_that_has_failed() {
    let mut world = rolled_back_after_a_success();
    let backup = world.backup();
    world.join("m05", "prod");
    world.agents.get_mut("m05").unwrap().cursed = true;
    world.finish();
    world.restore(backup);
    world.upload_all();
    world.finish();
    assert_eq!((late_failures(&world), world.assignments["m05"].spec.intent), (1, Intent::Return));
}
