//! The control group: updated members are judged against those that are not updated yet, in the same time.

use crds::{Phase, Verdict};
use rollout_core::{Answer, MemberStage, Reachability};

use crate::world::World;
use crate::world::measures::{canaries, configured, key};

const DROP: &str = "success-rate-drop";
const UPDATED: [&str; 2] = ["m1", "m2"];
const CONTROL: [&str; 2] = ["m3", "m4"];
const ALL: [&str; 4] = ["m1", "m2", "m3", "m4"];

/// Four members, two of them canaries, with a pause of two minutes and a measurement each ten seconds. 500 requests a second
/// reach each of them, and one of a thousand fails.
fn world(analysis: &str) -> World {
    let mut world = canaries(120, analysis);
    world.serve(&ALL, 500.0, 0.001);
    world
}

fn compared() -> World {
    world("{interval: 10, compare: {with: NotYetUpdated, maxDrop: '0.3%'}}")
}

fn events(lines: &[String], reason: &str) -> Vec<String> {
    lines.iter().filter(|line| line.contains(&format!(" {reason}: "))).cloned().collect()
}

fn found(world: &World) -> &str {
    &world.samples[&key(DROP, None)].found
}

#[test]
fn members_that_do_as_well_as_the_control_group_pass_and_both_are_shown() {
    let mut world = compared();
    let lines = world.pass(119);
    assert_eq!(events(&lines, "GatePassed"), Vec::<String>::new());
    let expected = "99.9% of 110000 requests succeed where updated, 99.9% of 110000 where not updated yet: not shown to be more than 0.3% less (e-value 0.014, fails from 20)";
    assert_eq!(found(&world), expected);
    let lines = world.pass(1);
    assert_eq!(events(&lines, "GatePassed").len(), 1);
    assert_eq!((world.reason(), world.samples[&key(DROP, None)].passed), ("done", 12));
}

#[test]
fn a_revision_that_makes_things_worse_goes_back_although_it_is_above_the_minimum() {
    let mut world = compared();
    world.pass(5);
    world.serve(&UPDATED, 500.0, 0.005);
    let lines = world.pass(110);
    let [started] = events(&lines, "RollbackStarted").try_into().unwrap();
    let words = "success-rate-drop: 99.5";
    assert!(
        started.contains(words) && started.contains("99.9% of") && started.contains("more than 0.3% less"),
        "{started}"
    );
    assert_eq!((world.phase(), world.reason()), (Phase::RolledBack, "Quarantined"));
    let degraded = &world.summary().conditions[4];
    assert!(degraded.message.contains(words), "{degraded:?}");
}

#[test]
fn a_drop_that_is_allowed_passes() {
    let mut world = compared();
    world.serve(&UPDATED, 500.0, 0.0039);
    world.pass(121);
    assert_eq!(world.reason(), "done", "{}", world.message());
}

#[test]
fn when_all_members_degrade_at_once_the_run_holds_and_goes_on_by_itself() {
    let mut world = compared();
    world.pass(35);
    world.serve(&ALL, 500.0, 0.2);
    let mut lines = world.pass(20);
    assert_eq!((world.phase(), world.reason()), (Phase::Holding, "GlobalTrouble"));
    let message = world.message();
    assert!(
        message.contains("are in trouble as well as updated ones") && message.contains("where not updated yet"),
        "{message}"
    );
    let summary = world.summary();
    assert_eq!(summary.status.gate.unwrap().verdict, Some(Verdict::Inconclusive));
    let stalled = summary.conditions.iter().find(|condition| condition.kind == "Stalled").unwrap();
    assert_eq!((stalled.status, stalled.reason.as_str()), (Some(true), "GlobalTrouble"));
    lines.extend(world.pass(600));
    assert_eq!(world.phase(), Phase::Holding, "it waits as long as it lasts");
    assert_eq!(events(&lines, "GlobalTrouble").len(), 1, "{lines:?}");

    world.serve(&ALL, 500.0, 0.001);
    let lines = world.pass(30);
    assert_eq!(events(&lines, "TroubleOver").len(), 1);
    assert_eq!((world.phase(), world.reason()), (Phase::Verifying, "Pause"), "the pause begins anew, in full");
    assert_eq!(world.state.header.quarantine.len(), 0);
    world.pass(121);
    assert_eq!(world.reason(), "done", "what was measured in the trouble is forgotten: {}", world.message());
}

#[test]
fn trouble_at_the_very_beginning_of_the_pause_holds_too() {
    let mut world = compared();
    world.serve(&ALL, 500.0, 0.01);
    world.pass(300);
    assert_eq!((world.phase(), world.reason()), (Phase::Holding, "GlobalTrouble"));
}

#[test]
fn only_the_updated_bad_is_a_failure_also_below_the_minimum() {
    let mut world = compared();
    world.pass(35);
    world.serve(&UPDATED, 500.0, 0.2);
    world.pass(15);
    assert_eq!(world.phase(), Phase::RolledBack);
}

#[test]
fn a_revision_that_is_bad_after_trouble_that_was_everywhere_goes_back_after_it() {
    let mut world = compared();
    world.pass(35);
    world.serve(&ALL, 500.0, 0.2);
    world.pass(60);
    world.serve(&CONTROL, 500.0, 0.001);
    let lines = world.pass(60);
    assert_eq!(events(&lines, "TroubleOver").len(), 1);
    assert_eq!(events(&lines, "RollbackStarted").len(), 1, "{}", world.message());
}

#[test]
fn a_fix_passes_while_the_control_group_is_still_bad() {
    let mut world = compared();
    world.serve(&CONTROL, 500.0, 0.2);
    world.pass(121);
    assert_eq!(world.reason(), "done", "{}", world.message());
}

#[test]
fn a_member_below_the_minimum_is_not_judged_before_the_control_group_is_known() {
    let mut world = compared();
    let fails = || vec![Answer::Failed("HTTP 503".to_owned()); 8];
    world.says(DROP, None, fails());
    world.serve(&["m1"], 500.0, 0.02);
    world.pass(60);
    assert_eq!(world.reason(), "Pause");
    let gate = world.summary().status.gate.unwrap();
    assert!(gate.message.contains("whether the control group does better is not known yet"), "{}", gate.message);
    world.pass(100);
    assert_eq!((world.reason(), world.phase()), ("GateInconclusive", Phase::Holding));
    world.said.clear();
    world.pass(10);
    assert_eq!(world.phase(), Phase::RolledBack, "{}", world.message());
}

#[test]
fn semantics_26_too_few_requests_of_the_control_group_are_no_data_and_roll_nothing_back() {
    let mut world = world("{interval: 10, onNoData: Rollback, compare: {with: NotYetUpdated, maxDrop: '0.3%'}}");
    world.serve(&CONTROL, 0.1, 0.0);
    world.pass(121);
    assert_eq!((world.reason(), world.phase()), ("GateNoData", Phase::Holding));
    assert!(
        world.message().contains("requests where not updated yet, fewer than minRequests (100)"),
        "{}",
        world.message()
    );
    world.serve(&CONTROL, 500.0, 0.0);
    world.pass(121);
    assert_eq!(world.reason(), "done", "{}", world.message());
}

#[test]
fn semantics_27_a_prometheus_that_is_away_neither_passes_nor_fails_a_comparison() {
    let mut world = compared();
    world.says(DROP, None, vec![Answer::Failed("HTTP 503".to_owned()); 8]);
    world.pass(200);
    assert_eq!(world.reason(), "GateInconclusive");
    world.said.clear();
    world.pass(130);
    assert_eq!(world.reason(), "done", "{}", world.message());
}

#[test]
fn one_member_without_an_answer_is_left_out_until_it_has_one() {
    let mut world = compared();
    world.traffic.remove("m4");
    world.pass(121);
    assert_eq!(world.reason(), "done", "{}", world.message());
}

#[test]
fn semantics_25_both_groups_are_asked_about_the_same_window_which_begins_with_the_pause() {
    let mut world = compared();
    world.pass(3);
    world.advance(27);
    let asks = world.due().asks;
    let ask = asks.iter().find(|ask| ask.key == key(DROP, None)).unwrap();
    let expected: Vec<String> = ["m3", "m4", "m2", "m1"]
        .iter()
        .flat_map(|member| ["good", "total"].map(|what| format!("{what}{{cluster=\"{member}\"}}[30s]")))
        .collect();
    let queries: Vec<&str> = ask.queries.iter().map(|query| query.text.as_str()).collect();
    assert_eq!(queries, expected);
    assert_eq!(ask.window_seconds, 30);
}

#[test]
fn the_groups_are_those_next_to_the_border_and_heard_at_most_32_of_each() {
    let names: Vec<String> = (0..100).map(|number| format!("m{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::of(&names, "[{setWeight: 50, pause: 60}]");
    world.edit(|spec| {
        spec.max_concurrency = Some("100".to_owned());
        spec.analysis = Some("{interval: 10, compare: {with: NotYetUpdated, maxDrop: '0.3%'}}".to_owned());
    });
    world.gates = configured();
    world.rest();
    world.set_reachability("m50", Reachability::Unreachable);
    world.advance(10);
    let asks = world.due().asks;
    let ask = asks.iter().find(|ask| ask.key == key(DROP, None)).unwrap();
    assert_eq!(ask.queries.len(), 2 * 64);
    let about = |member: &str| ask.queries.iter().any(|query| query.text.contains(&format!("\"{member}\"")));
    let asked: Vec<&str> = names.iter().copied().filter(|name| about(name)).collect();
    assert_eq!((asked[0], asked[31], asked[32], asked[63]), ("m18", "m49", "m51", "m82"));
}

#[test]
fn members_that_an_earlier_run_has_touched_are_no_control_group() {
    let mut world = compared();
    world.edit(|spec| "[{setWeight: 75, pause: 120}]".clone_into(&mut spec.steps));
    world.pass(20);
    assert!(matches!(world.state.stage_of("m3"), MemberStage::Healthy { .. }));
    world.edit(|spec| {
        "[{setWeight: 50, pause: 120}]".clone_into(&mut spec.steps);
        spec.image = Some("v3".to_owned());
    });
    world.rest();
    world.advance(10);
    let asks = world.due().asks;
    let ask = asks.iter().find(|ask| ask.key == key(DROP, None)).unwrap();
    assert_eq!(ask.queries.len(), 6, "{:?}", ask.queries);
    assert!(!ask.queries.iter().any(|query| query.text.contains("m3")), "{:?}", ask.queries);
}

#[test]
fn without_a_control_group_nothing_is_compared_which_is_said_and_the_minimum_still_holds() {
    let mut world = compared();
    world.edit(|spec| spec.soak_seconds = Some(60));
    world.pass(125);
    assert_eq!(world.reason(), "Soak");
    assert!(!world.due().asks.iter().any(|ask| ask.key == key(DROP, None)));
    let lines = world.pass(60);
    let passed = events(&lines, "GatePassed");
    assert!(passed[0].contains("nothing is compared: no member is left that is not updated"), "{passed:?}");
    assert_eq!(world.reason(), "done");

    let mut world = compared();
    world.edit(|spec| spec.soak_seconds = Some(60));
    world.pass(125);
    world.serve(&ALL, 500.0, 0.2);
    world.pass(60);
    assert_eq!(world.phase(), Phase::RolledBack, "whether it is global nobody can tell any more");
}

#[test]
fn semantics_11_trouble_that_ends_while_paused_leaves_the_clock_stopped() {
    let mut world = compared();
    world.pass(35);
    world.serve(&ALL, 500.0, 0.2);
    world.pass(20);
    world.edit(|spec| spec.paused = true);
    world.pass(20);
    world.serve(&ALL, 500.0, 0.001);
    let lines = world.pass(60);
    assert_eq!((events(&lines, "TroubleOver").len(), world.reason()), (1, "Paused"));
    assert!(world.message().contains("with 120 s") || world.message().contains("with 2 min"), "{}", world.message());
    world.edit(|spec| spec.paused = false);
    world.pass(121);
    assert_eq!(world.reason(), "done", "{}", world.message());
}

#[test]
fn semantics_01_a_changed_max_drop_begins_the_comparison_anew() {
    let mut world = compared();
    world.serve(&UPDATED, 500.0, 0.003);
    world.pass(100);
    world.edit(|spec| {
        spec.analysis = Some("{interval: 10, compare: {with: NotYetUpdated, maxDrop: '0.1%'}}".to_owned());
    });
    let lines = world.pass(60);
    assert_eq!(events(&lines, "GateChanged").len(), 1);
    assert_eq!(world.phase(), Phase::RolledBack, "{}", world.message());
}

#[test]
fn queries_that_cannot_be_compared_are_named_by_field_or_hold() {
    let own = |good: &str| {
        format!(
            "{{successRate: {{good: '{good}', total: 't{{{{cluster}}}}[{{{{window}}}}]'}}, compare: {{with: NotYetUpdated, maxDrop: '1%'}}}}"
        )
    };
    for (good, refused) in [
        ("g{{cluster}}[{{window}}]", false),
        ("g{{labels.zone}}[{{window}}]", false),
        ("g{{cluster}}[5m]", true),
        ("g[{{window}}]", true),
        ("g{{cluster}}{{revision}}[{{window}}]", true),
    ] {
        let world = world(&own(good));
        let problems = world.rollout().err().cloned().unwrap_or_default();
        let fields: Vec<&str> = problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(fields, if refused { vec!["spec.analysis.successRate.good"] } else { vec![] }, "{good}");
    }
    let mut world = compared();
    world.gates.success_rate.good = "good{cluster=\"{{cluster}}\"}[5m]".parse().unwrap();
    world.pass(130);
    assert_eq!(world.reason(), "GateInconclusive");
    assert!(world.message().contains("good and total must be about one member"), "{}", world.message());
}
