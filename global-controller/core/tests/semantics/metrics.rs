//! Metric gates: what is measured when, and what follows from it.

use crds::{Phase, Verdict};
use rollout_core::{Answer, MemberStage, Stage, Whom};

use crate::world::measures::{canaries, configured, key, of_thousand, one, silence};
use crate::world::{Spec, World};

/// Four members, two of them canaries, with a pause of a minute and a measurement each ten seconds.
fn world(analysis: &str) -> World {
    canaries(60, analysis)
}

fn events(lines: &[String], reason: &str) -> Vec<String> {
    lines.iter().filter(|line| line.contains(&format!(" {reason}: "))).cloned().collect()
}

#[test]
fn semantics_09_a_pause_passes_on_evidence_and_says_which() {
    let mut world = world("{interval: 10}");
    let lines = world.pass(59);
    assert_eq!(world.reason(), "Pause");
    assert_eq!(events(&lines, "GatePassed"), Vec::<String>::new());
    assert_eq!(world.phase(), Phase::Verifying);
    let lines = world.pass(1);
    let expected = "Normal GatePassed: success-rate on m1: 100% of 1000 requests succeed, minimum 99.5%; 1 more pass";
    assert_eq!(events(&lines, "GatePassed"), [expected]);
    assert_eq!(world.reason(), "done");
    assert_eq!(world.samples[&key("success-rate", Some("m1"))].passed, 6);
}

#[test]
fn without_analysis_the_configured_success_rate_is_checked() {
    let mut world = world("");
    world.says("success-rate", Some("m2"), of_thousand(990.0));
    let lines = world.pass(30);
    let [started] = events(&lines, "GateFailed").try_into().unwrap_or_else(|_| {
        let [started] = events(&lines, "RollbackStarted").try_into().unwrap();
        [started]
    });
    assert!(started.contains("success-rate on m2: 99% of 1000 requests succeed, minimum 99.5%"), "{started}");
}

#[test]
fn what_failed_a_gate_stays_in_the_status_with_its_queries_and_their_moment() {
    let mut world = world("{interval: 10}");
    world.pass(15);
    assert_eq!(world.summary().status.gate.unwrap().queries, [""; 0], "what passes needs no explanation");
    world.says("success-rate", Some("m2"), of_thousand(994.0));
    world.pass(10);
    let asked_at = world.samples[&key("success-rate", Some("m2"))].at;
    let queries = ["good{cluster=\"m2\"}[20s]", "total{cluster=\"m2\"}[20s]"];
    world.pass(30);
    world.finish();
    assert_eq!(world.phase(), Phase::RolledBack);
    let gate = world.summary().status.gate.unwrap();
    assert_eq!((gate.verdict, gate.queries), (Some(Verdict::Fail), queries.map(str::to_owned).to_vec()));
    assert_eq!(gate.measured_at, Some(crds::micro_time_from_millis(asked_at)));
    assert!(gate.message.starts_with("success-rate on m2: 99.4% of 1000 requests"), "{}", gate.message);
}

#[test]
fn semantics_29_a_failed_gate_takes_the_whole_fleet_back_and_quarantines() {
    let mut world = world("{interval: 10}");
    world.pass(15);
    world.says("success-rate", Some("m2"), of_thousand(994.0));
    let lines = world.pass(10);
    let [started] = events(&lines, "RollbackStarted").try_into().unwrap();
    assert!(
        started.starts_with("Warning RollbackStarted: run 1: success-rate on m2: 99.4% of 1000 requests"),
        "{started}"
    );
    assert_eq!(world.phase(), Phase::RolledBack);
    assert_eq!(world.reason(), "Quarantined");
    for member in ["m1", "m2"] {
        assert!(matches!(world.state.stage_of(member), MemberStage::Returned { .. }), "{member}");
    }
    assert_eq!(world.state.header.quarantine.len(), 1);
    let degraded = &world.summary().conditions[4];
    assert!(degraded.message.contains("success-rate on m2: 99.4%"), "{degraded:?}");
}

#[test]
fn semantics_23_the_failure_limit_counts_for_each_series() {
    let mut world = world("{interval: 10, failureLimit: 2}");
    world.says("success-rate", Some("m1"), of_thousand(900.0));
    world.says("success-rate", Some("m2"), of_thousand(900.0));
    world.pass(20);
    assert_eq!(world.reason(), "Pause", "two failures each are within the limit");
    world.says("success-rate", Some("m1"), of_thousand(1000.0));
    let lines = world.pass(10);
    let [started] = events(&lines, "RollbackStarted").try_into().unwrap();
    assert!(started.contains("on m2: 90% of 1000 requests succeed, minimum 99.5%, 3 times, 2 allowed"), "{started}");
}

#[test]
fn semantics_23_the_last_measurement_is_at_the_end_and_must_pass() {
    let mut world = world("{interval: 25, failureLimit: 5}");
    let mut times = Vec::new();
    world.rest();
    for second in 1..=60 {
        world.advance(1);
        if !world.measure().is_empty() {
            times.push(second);
        }
        if second == 55 {
            world.says("success-rate", Some("m1"), of_thousand(900.0));
        }
        world.rest();
    }
    assert_eq!(times, [25, 50, 60]);
    assert_eq!(world.reason(), "GateInconclusive", "one failure within the limit at the end passes nothing");
    world.says("success-rate", Some("m1"), of_thousand(1000.0));
    world.pass(25);
    assert_eq!(world.reason(), "done");
}

#[test]
fn semantics_23_a_gate_needs_as_many_measurements_as_fit_into_the_pause() {
    let mut world = world("{interval: 10}");
    let away = || vec![Answer::Failed("connection refused".to_owned()); 2];
    for member in ["m1", "m2"] {
        world.says("success-rate", Some(member), away());
    }
    world.pass(60);
    assert_eq!((world.reason(), world.phase()), ("GateInconclusive", Phase::Holding));
    assert!(
        world.message().contains("good: connection refused") || world.message().contains("total: connection refused")
    );
    for member in ["m1", "m2"] {
        world.says("success-rate", Some(member), of_thousand(1000.0));
    }
    world.pass(49);
    assert_eq!((world.reason(), world.phase()), ("Measurement", Phase::Verifying), "{}", world.message());
    assert!(world.message().ends_with("(4 of 6 measurements)"), "{}", world.message());
    world.pass(11);
    assert_eq!(world.reason(), "done");
}

#[test]
fn semantics_27_nothing_to_measure_holds_and_is_announced_once() {
    let mut world = world("{interval: 10}");
    world.says("success-rate", Some("m2"), silence());
    let mut lines = world.pass(60);
    lines.extend(world.pass(100));
    let [held] = events(&lines, "GateNoData").try_into().unwrap();
    assert!(held.contains("success-rate on m2: total: no series; measuring goes on"), "{held}");
    assert_eq!(world.phase(), Phase::Holding);
    let gate = world.summary().status.gate.unwrap();
    assert_eq!((gate.mode, gate.verdict), (None, Some(Verdict::NoData)));
    world.says("success-rate", Some("m2"), of_thousand(999.0));
    world.pass(70);
    assert_eq!(world.reason(), "done", "{}", world.message());
}

#[test]
fn no_data_rolls_back_where_that_is_asked_for_but_errors_never_do() {
    let mut world = world("{interval: 10, onNoData: Rollback}");
    world.says("success-rate", Some("m1"), vec![Answer::Failed("HTTP 503".to_owned()); 2]);
    world.says("success-rate", Some("m2"), silence());
    world.pass(59);
    assert_eq!(world.reason(), "Pause", "traffic may still come");
    let lines = world.pass(1);
    let [started] = events(&lines, "RollbackStarted").try_into().unwrap();
    assert!(started.contains("success-rate on m2: total: no series, and onNoData is Rollback"), "{started}");

    let mut world = self::world("{interval: 10, onNoData: Rollback}");
    world.says("success-rate", Some("m1"), vec![Answer::Failed("HTTP 503".to_owned()); 2]);
    world.pass(120);
    assert_eq!(world.reason(), "GateInconclusive");
}

#[test]
fn max_pause_is_patience_before_the_run_is_said_to_hold() {
    let mut world = world("{interval: 10, maxPause: 90}");
    world.says("success-rate", Some("m1"), silence());
    let lines = world.pass(89);
    assert_eq!((world.reason(), world.phase()), ("GateNoData", Phase::Verifying));
    assert_eq!(events(&lines, "GateNoData"), Vec::<String>::new());
    let lines = world.pass(1);
    assert_eq!(world.phase(), Phase::Holding);
    assert_eq!(events(&lines, "GateNoData").len(), 1);
}

#[test]
fn semantics_11_measuring_goes_on_while_paused_and_a_failure_still_rolls_back() {
    let mut world = world("{interval: 10}");
    world.pass(5);
    world.edit(|spec| spec.paused = true);
    world.pass(100);
    assert_eq!(world.reason(), "Paused");
    assert!(world.samples[&key("success-rate", Some("m1"))].passed >= 9);
    world.says("success-rate", Some("m1"), of_thousand(0.0));
    world.pass(10);
    assert_eq!(world.phase(), Phase::RolledBack);
}

#[test]
fn semantics_11_the_last_measurement_is_at_the_end_also_after_a_pause() {
    let mut world = world("{interval: 10}");
    world.pass(5);
    world.edit(|spec| spec.paused = true);
    world.pass(300);
    world.edit(|spec| spec.paused = false);
    world.rest();
    world.says("success-rate", Some("m1"), silence());
    world.pass(55);
    assert_eq!(world.reason(), "GateNoData", "what passed before the end doesn't count at the end");
}

#[test]
fn semantics_01_a_changed_analysis_begins_the_pause_anew() {
    let mut world = world("{interval: 10}");
    world.pass(50);
    world.edit(|spec| spec.analysis = Some("{interval: 5}".to_owned()));
    let lines = world.rest();
    assert_eq!(events(&lines, "GateChanged").len(), 1);
    world.pass(59);
    assert_eq!(world.reason(), "Pause");
    assert_eq!(world.samples[&key("success-rate", Some("m1"))].passed, 11, "earlier measurements don't count");
    world.pass(1);
    assert_eq!(world.reason(), "done");
}

#[test]
fn semantics_26_what_comes_from_the_configuration_is_pinned_at_the_start() {
    let mut world = world("{interval: 10}");
    world.pass(5);
    world.gates.success_rate.minimum = "100%".parse().unwrap();
    world.gates.sources = vec!["new".to_owned()];
    let lines = world.rest();
    assert_eq!(events(&lines, "GateChanged"), Vec::<String>::new());
    assert_eq!(world.state.header.run.as_ref().unwrap().gate.as_ref().unwrap().source, "central");
    world.says("success-rate", Some("m1"), of_thousand(999.0));
    world.pass(60);
    assert_eq!(world.reason(), "done");
}

#[test]
fn a_source_that_is_configured_later_opens_the_gate_of_a_run_that_held_without_one() {
    let mut world = world("");
    world.gates.sources.clear();
    world.pass(61);
    assert_eq!(world.reason(), "GateUnconfigured");
    world.gates = configured();
    world.pass(61);
    assert_eq!(world.reason(), "done", "{}", world.message());
}

#[test]
fn semantics_23_a_query_without_a_member_is_measured_once() {
    let mut world = world(
        "{interval: 10, metrics: [{name: errors, query: 'sum(errors)', condition: 'value < 1'}, {name: lag, query: 'lag{c=\"{{cluster}}\"}', condition: 'value < 1'}]}",
    );
    world.rest();
    world.advance(10);
    let lines = world.measure();
    let expected = [
        "errors: Pass 0.1, must be value < 1",
        "lag on m1: Pass 0.1, must be value < 1",
        "lag on m2: Pass 0.1, must be value < 1",
    ];
    assert_eq!(lines, expected, "without successRate only the metrics that are named are measured");
    world.says("errors", None, one(1.0));
    world.pass(10);
    assert_eq!(world.phase(), Phase::RolledBack);
}

#[test]
fn semantics_25_the_window_is_the_time_since_the_member_became_healthy() {
    let mut world = world("{interval: 10}");
    world.rest();
    world.advance(10);
    let asks = world.due().asks;
    let queries: Vec<&str> = asks[0].queries.iter().map(|query| query.text.as_str()).collect();
    assert_eq!(queries, ["good{cluster=\"m1\"}[10s]", "total{cluster=\"m1\"}[10s]"]);
    assert_eq!((asks[0].window_seconds, &asks[0].asked), (10, &Whom::Source("central".to_owned())));
}

#[test]
fn semantics_29_with_scope_member_those_return_whose_own_measurements_failed() {
    let mut world = world("{interval: 10}");
    world.edit(|spec| spec.rollback = Some("{scope: Member}".to_owned()));
    world.says("success-rate", Some("m2"), of_thousand(0.0));
    let lines = world.pass(15);
    assert_eq!(events(&lines, "GateFailed").len(), 1, "{lines:?}");
    assert!(matches!(world.state.stage_of("m1"), MemberStage::Healthy { .. }));
    assert!(matches!(world.state.stage_of("m2"), MemberStage::Returned { .. }));
    assert_eq!(world.phase(), Phase::Failed);
    assert_eq!(world.state.header.run.as_ref().unwrap().stage, Stage::GivenUp);
}

#[test]
fn semantics_29_with_scope_member_those_return_of_whom_there_was_no_data_where_that_is_a_failure() {
    let mut world = world("{interval: 10, onNoData: Rollback}");
    world.edit(|spec| spec.rollback = Some("{scope: Member}".to_owned()));
    world.says("success-rate", Some("m2"), silence());
    world.pass(65);
    assert!(matches!(world.state.stage_of("m1"), MemberStage::Healthy { .. }));
    assert!(matches!(world.state.stage_of("m2"), MemberStage::Returned { .. }));
    assert_eq!(world.phase(), Phase::Failed);
}

#[test]
fn semantics_29_with_scope_member_more_than_one_decision_can_return_still_end_the_run() {
    let names: Vec<String> = (0..80).map(|number| format!("m{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::of(&names, "[{setWeight: 99, pause: 60}]");
    world.edit(|spec| {
        spec.max_concurrency = Some("80".to_owned());
        spec.max_failures = Some("80".to_owned());
        spec.rollback = Some("{scope: Member}".to_owned());
        spec.analysis = Some("{interval: 10}".to_owned());
    });
    world.gates = configured();
    for name in names.iter().skip(10) {
        world.says("success-rate", Some(name), of_thousand(0.0));
    }
    world.pass(15);
    let returned = |name: &&&str| matches!(world.state.stage_of(name), MemberStage::Returned { .. });
    assert_eq!(names.iter().filter(returned).count(), 70);
    assert_eq!(world.state.header.run.as_ref().unwrap().stage, Stage::GivenUp);
}

#[test]
fn semantics_32_with_mode_manual_a_failed_gate_holds_and_nothing_returns() {
    let mut world = world("{interval: 10}");
    world.edit(|spec| spec.rollback = Some("{mode: Manual}".to_owned()));
    world.says("success-rate", Some("m2"), of_thousand(0.0));
    let lines = world.pass(100);
    assert_eq!((world.reason(), world.phase()), ("GateFailed", Phase::Holding));
    assert_eq!(events(&lines, "GateFailed").len(), 1);
    assert!(world.message().contains("rollback.mode is Manual"), "{}", world.message());
    assert!(matches!(world.state.stage_of("m2"), MemberStage::Healthy { .. }));
}

#[test]
fn the_soak_is_gated_as_a_pause_is() {
    let mut world = world("{interval: 10}");
    world.edit(|spec| spec.soak_seconds = Some(30));
    world.pass(70);
    assert_eq!(world.reason(), "Soak");
    world.says("success-rate", Some("m4"), of_thousand(900.0));
    world.pass(10);
    assert_eq!(world.phase(), Phase::RolledBack);
}

#[test]
fn a_source_that_is_not_configured_keeps_the_run_from_starting() {
    let mut world = world("{prometheus: {source: centrl}}");
    world.rest();
    assert_eq!((world.reason(), world.phase()), ("SourceMissing", Phase::Pending));
    assert!(world.message().contains("\"centrl\" is not in the controller's configuration: use central, other"));
    world.edit(|spec| spec.analysis = Some("{prometheus: {source: other}}".to_owned()));
    world.rest();
    assert_eq!(world.reason(), "Pause");
}

#[test]
fn samples_of_an_earlier_gate_are_no_evidence() {
    let mut world = world("{interval: 10}");
    world.pass(60);
    assert_eq!(world.reason(), "done");
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    world.pass(59);
    assert_eq!(world.reason(), "Pause");
    let sample = &world.samples[&key("success-rate", Some("m1"))];
    assert_eq!((sample.gate.run, sample.passed), (2, 5));
}

#[test]
fn what_is_wrong_with_analysis_is_named_by_field() {
    let analysis = "{interval: 1, successRate: {good: 'x{{cluser}}', total: y}, metrics: [{name: lag, query: '{{', condition: 'value ~ 1'}, {name: lag, query: up, condition: 'value > 0'}]}";
    let spec = Spec::new(&["m1"], "[{setWeight: 100}]").with(|spec| spec.analysis = Some(analysis.to_owned()));
    let problems: Vec<String> = spec.validate().unwrap_err().iter().map(|problem| problem.field.clone()).collect();
    let expected = [
        "spec.analysis.metrics[0].query",
        "spec.analysis.metrics[0].condition",
        "spec.analysis.metrics[1].name",
        "spec.analysis.successRate.good",
        "spec.analysis.interval",
    ];
    assert_eq!(problems, expected);
}

#[test]
fn semantics_09_an_approval_counts_only_while_the_latest_verdict_is_pass() {
    let mut world = world("{interval: 10}");
    world.edit(|spec| "[{setWeight: 50, pause: 60, approval: Required}]".clone_into(&mut spec.steps));
    world.pass(61);
    assert_eq!((world.reason(), world.phase()), ("Approval", Phase::Holding));
    world.says("success-rate", Some("m1"), silence());
    world.pass(10);
    assert_eq!(world.reason(), "GateNoData", "measuring goes on while a person is waited for");
    world.act(crds::ActionKind::Approve);
    world.rest();
    assert_eq!(world.reason(), "GateNoData", "the approval waits");
    world.says("success-rate", Some("m1"), of_thousand(1000.0));
    world.pass(10);
    assert_eq!(world.reason(), "done", "{}", world.message());
}

#[test]
fn semantics_09_a_gate_that_fails_while_a_person_is_waited_for_rolls_back() {
    let mut world = world("{interval: 10}");
    world.edit(|spec| "[{setWeight: 50, pause: 60, approval: Required}]".clone_into(&mut spec.steps));
    world.pass(100);
    world.says("success-rate", Some("m1"), of_thousand(0.0));
    world.pass(10);
    assert_eq!(world.phase(), Phase::RolledBack);
}

#[test]
fn semantics_32_a_retry_opens_a_failed_gate_anew() {
    let mut world = world("{interval: 10}");
    world.edit(|spec| spec.rollback = Some("{mode: Manual}".to_owned()));
    world.says("success-rate", Some("m2"), of_thousand(0.0));
    world.pass(20);
    assert_eq!(world.reason(), "GateFailed");
    world.says("success-rate", Some("m2"), of_thousand(1000.0));
    world.pass(20);
    assert_eq!(world.reason(), "GateFailed", "it stays failed until a person acts");
    world.act(crds::ActionKind::Retry);
    world.pass(59);
    assert_eq!(world.reason(), "Pause");
    world.pass(1);
    assert_eq!(world.reason(), "done", "{}", world.message());
}

#[test]
fn semantics_34_what_is_being_deleted_is_measured_no_more() {
    let mut world = world("{interval: 10}");
    world.pass(5);
    world.deleted = true;
    world.decide();
    assert_eq!((world.due().next_at, world.state.is_measured()), (None, false));
}

#[test]
fn semantics_46_an_address_must_be_of_an_allowed_origin() {
    let mut world = world("{interval: 10, prometheus: {address: 'https://prometheus.example.com/base'}}");
    world.rest();
    assert_eq!((world.reason(), world.phase()), ("AddressNotAllowed", Phase::Pending));
    let message = "analysis.prometheus.address: \"https://prometheus.example.com/base\": the controller's configuration allows no address: add https://prometheus.example.com to gates.allowedPrometheusOrigins there";
    assert!(world.message().starts_with(message), "{}", world.message());
    world.gates.allowed_origins = vec!["https://prometheus.example.com".parse().unwrap()];
    world.pass(10);
    assert_eq!(world.reason(), "Pause");
    world.advance(10);
    let asked = world.due().asks[0].asked.clone();
    assert_eq!(asked, Whom::Source("https://prometheus.example.com/base".to_owned()));
    // Also in the middle of a run.
    world.gates.allowed_origins = vec!["http://prometheus.example.com".parse().unwrap()];
    world.pass(60);
    assert_eq!((world.reason(), world.phase()), ("AddressNotAllowed", Phase::Holding));
    world.gates.allowed_origins = vec!["https://prometheus.example.com:443".parse().unwrap()];
    world.pass(10);
    assert_eq!(world.reason(), "done", "{}", world.message());
}

#[test]
fn semantics_46_an_address_needs_no_configured_source_and_excludes_one() {
    let mut world = world("{interval: 10, prometheus: {address: 'http://prometheus:9090'}}");
    world.gates = crate::world::measures::unconfigured(crds::GateMode::Hold);
    world.gates.allowed_origins = vec!["http://prometheus:9090".parse().unwrap()];
    world.pass(60);
    assert_eq!(world.reason(), "done");
    let both = "{prometheus: {source: central, address: 'http://prometheus:9090'}}";
    for (analysis, field) in [
        (both, "spec.analysis.prometheus.source"),
        ("{prometheus: {}}", "spec.analysis.prometheus.source"),
        ("{prometheus: {address: 'http://me:secret@prometheus'}}", "spec.analysis.prometheus.address"),
    ] {
        let spec = Spec::new(&["m1"], "[{setWeight: 100}]").with(|spec| spec.analysis = Some(analysis.to_owned()));
        let problems: Vec<String> = spec.validate().unwrap_err().iter().map(|one| one.field.clone()).collect();
        assert_eq!(problems, [field], "{analysis}");
    }
}
