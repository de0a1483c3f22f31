//! Alerts that fail a gate, and a watchdog that tells silence from health.

use std::collections::BTreeMap;

use crds::{ActionKind, GateMode, Outcome, Phase, Verdict};
use rollout_core::{HeardAlert, MemberStage, alerts};

use crate::world::World;
use crate::world::measures::{canaries, configured, unconfigured};

impl World {
    /// An Alertmanager tells of an alert that began to fire so many seconds ago.
    fn fires(&mut self, fingerprint: &str, labels: &[(&str, &str)], seconds_ago: i64) {
        let labels: BTreeMap<_, _> = labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let starts_at = self.now - seconds_ago * 1000;
        let alert = HeardAlert { labels, starts_at, ended_at: None, heard_at: self.now };
        self.heard.insert(fingerprint.to_owned(), alert);
    }

    fn is_over(&mut self, fingerprint: &str) {
        let now = self.now;
        self.heard.entry(fingerprint.to_owned()).and_modify(|alert| alert.ended_at = Some(now));
    }
}

const CRITICAL: (&str, &str) = ("severity", "critical");

/// Two canaries of four with a pause of a minute; no Prometheus is configured, and none is needed.
fn world(alerts: &str) -> World {
    let mut world = canaries(60, &format!("{{alerts: {alerts}}}"));
    world.gates = unconfigured(GateMode::Hold);
    world
}

#[test]
fn semantics_29_an_alert_that_fires_on_an_updated_member_takes_the_fleet_back() {
    let mut world = world("{match: {severity: critical}}");
    world.pass(10);
    assert_eq!(world.reason(), "Pause");
    world.fires("1", &[("alertname", "Errors"), CRITICAL, ("cluster", "m2")], 5);
    let lines = world.decide();
    let started = lines.iter().find(|line| line.contains("RollbackStarted")).unwrap();
    assert!(started.starts_with("Warning RollbackStarted: run 1: 1 alert fires: Errors on m2: every"), "{started}");
    world.rest();
    assert_eq!(world.phase(), Phase::RolledBack);
    for member in ["m1", "m2"] {
        assert!(matches!(world.state.stage_of(member), MemberStage::Returned { .. }), "{member}");
    }
    let firing: Vec<_> = alerts(&world.state, world.desired(), &world.observations(), world.now)
        .iter()
        .filter(|alert| alert.until.is_none())
        .map(|alert| alert.labels["alertname"].clone())
        .collect();
    assert_eq!(firing, ["RolloutGateFailed", "RolloutRolledBack"]);
}

#[test]
fn semantics_29_an_alert_fails_the_gate_at_any_time_of_the_run() {
    let mut world = world("{match: {severity: critical}}");
    world.decide();
    world.all_answer(&["m1", "m2"], Outcome::Observed);
    world.decide();
    world.fires("1", &[("alertname", "Errors"), CRITICAL, ("cluster", "m1")], 0);
    let lines = world.decide();
    assert!(lines.iter().any(|line| line.contains("RollbackStarted")), "{lines:?}");
}

#[test]
fn alerts_of_others_count_for_nothing() {
    let mut world = world("{match: {severity: critical}, watchdog: {silentSeconds: 600}}");
    world.fires("w", &[("alertname", "Watchdog"), CRITICAL, ("rollout", "checkout")], 9_999);
    world.pass(10);
    let others: [&[(&str, &str)]; 6] = [
        &[("alertname", "Errors"), CRITICAL, ("cluster", "m3")],
        &[("alertname", "Errors"), ("severity", "warning"), ("cluster", "m1")],
        &[("alertname", "Errors"), CRITICAL, ("instance", "m1")],
        &[("alertname", "Errors"), CRITICAL, ("rollout", "another")],
        &[("alertname", "RolloutHeld"), CRITICAL, ("rollout", "checkout")],
        &[("alertname", "Watchdog"), CRITICAL, ("cluster", "m1")],
    ];
    for (number, labels) in others.iter().enumerate() {
        world.fires(&number.to_string(), labels, 0);
    }
    // It fired before the run, which may be there to repair it.
    world.fires("old", &[("alertname", "Errors"), CRITICAL, ("cluster", "m1")], 11);
    world.pass(50);
    assert_eq!(world.reason(), "done", "what fires on m3 began before it was told");
}

#[test]
fn an_alert_may_name_the_rollout_or_the_member_in_another_label() {
    let mut world = world("{match: {severity: critical}, clusterLabel: site}");
    world.pass(10);
    world.fires("1", &[("alertname", "Errors"), CRITICAL, ("site", "m1")], 0);
    world.fires("2", &[("alertname", "Latency"), CRITICAL, ("rollout", "checkout")], 0);
    let lines = world.decide();
    assert!(lines.iter().any(|line| line.contains("2 alerts fire: Errors on m1, Latency")), "{lines:?}");
}

#[test]
fn semantics_29_with_scope_member_the_member_that_the_alert_names_goes_back() {
    let mut world = world("{match: {severity: critical}}");
    world.edit(|spec| spec.rollback = Some("{scope: Member}".to_owned()));
    world.pass(10);
    world.fires("1", &[("alertname", "Errors"), CRITICAL, ("cluster", "m1")], 0);
    world.rest();
    assert!(matches!(world.state.stage_of("m1"), MemberStage::Returned { .. }));
    assert!(matches!(world.state.stage_of("m2"), MemberStage::Healthy { .. }));
    assert_eq!(world.phase(), Phase::Failed);
}

#[test]
fn semantics_32_with_mode_manual_nothing_goes_forward_while_it_fires() {
    let mut world = world("{match: {severity: critical}}");
    world.edit(|spec| {
        spec.rollback = Some("{mode: Manual}".to_owned());
        spec.max_concurrency = Some("1".to_owned());
    });
    world.decide();
    world.all_answer(&["m1", "m2"], Outcome::Observed);
    world.decide();
    world.fires("1", &[("alertname", "Errors"), CRITICAL, ("cluster", "m1")], 0);
    world.rest();
    assert_eq!((world.reason(), world.applied().len()), ("GateFailed", 1));
    world.is_over("1");
    world.pass(60);
    assert_eq!(world.reason(), "done");
}

#[test]
fn semantics_27_a_watchdog_gone_silent_is_no_data_and_not_health() {
    let mut world = world("{match: {severity: critical}, watchdog: {silentSeconds: 90}}");
    world.pass(60);
    assert_eq!(world.reason(), "GateNoData", "it was never told");
    assert!(world.message().contains("alert Watchdog was not told for 90 s, so others may fire unheard: m1, m2"));
    assert_eq!(world.phase(), Phase::Holding);
    world.fires("w", &[("alertname", "Watchdog")], 9_999);
    world.rest();
    assert_eq!(world.reason(), "done");

    let mut world = self::world("{match: {severity: critical}, watchdog: {silentSeconds: 30}}");
    world.fires("w", &[("alertname", "Watchdog")], 9_999);
    world.pass(29);
    assert_eq!(world.reason(), "Pause");
    world.pass(31);
    assert_eq!(world.reason(), "GateNoData", "the last was too long ago");
    world.fires("w", &[("alertname", "Watchdog")], 9_999);
    world.is_over("w");
    world.rest();
    assert_eq!(world.reason(), "GateNoData", "one that is over is silent");
}

#[test]
fn semantics_27_a_member_with_a_watchdog_of_its_own_is_judged_by_that() {
    let mut world = world("{match: {severity: critical}, watchdog: {silentSeconds: 90}}");
    world.fires("all", &[("alertname", "Watchdog")], 9_999);
    world.fires("m2", &[("alertname", "Watchdog"), ("cluster", "m2")], 9_999);
    world.pass(45);
    world.fires("all", &[("alertname", "Watchdog")], 9_999);
    world.advance(50);
    world.rest();
    assert_eq!(world.reason(), "GateNoData");
    assert!(world.message().ends_with("unheard: m2; measuring goes on"), "{}", world.message());
    let gate = world.summary().status.gate.unwrap();
    assert_eq!(gate.verdict, Some(Verdict::NoData));
}

#[test]
fn semantics_09_while_a_person_is_waited_for_a_watchdog_must_be_heard() {
    let mut world = World::of(&["m1", "m2"], "[{setWeight: 50, pause: 60, approval: Required}]");
    world.edit(|spec| {
        spec.analysis = Some("{alerts: {match: {severity: critical}, watchdog: {silentSeconds: 90}}}".to_owned());
        spec.soak_seconds = Some(0);
    });
    world.gates = unconfigured(GateMode::Hold);
    world.fires("w", &[("alertname", "Watchdog")], 9_999);
    world.pass(60);
    assert_eq!(world.reason(), "Approval");
    world.pass(40);
    assert_eq!(world.reason(), "GateNoData");
    world.act(ActionKind::Approve);
    world.rest();
    assert_eq!(world.reason(), "GateNoData", "an approval overrules nothing");
    world.fires("w", &[("alertname", "Watchdog")], 9_999);
    world.rest();
    assert_ne!(world.reason(), "GateNoData");
}

#[test]
fn semantics_24_without_a_healthy_member_there_is_nothing_that_an_alert_could_speak_of() {
    let mut world = world("{match: {severity: critical}}");
    world.pass(10);
    world.edit(|spec| spec.max_unreachable = Some("4".to_owned()));
    for member in ["m1", "m2"] {
        world.silence(member);
    }
    world.pass(60);
    assert_ne!(world.reason(), "done");
    assert_eq!(world.summary().status.gate.unwrap().verdict, Some(Verdict::NoData));
}

#[test]
fn alerts_and_metrics_are_one_gate() {
    let mut world = world("{match: {severity: critical}}");
    world.edit(|spec| {
        spec.analysis = Some("{interval: 10, successRate: {}, alerts: {match: {severity: critical}}}".to_owned());
    });
    assert_eq!(world.reason(), "SourceMissing");
    world.gates = configured();
    let lines = world.pass(60);
    assert!(lines.iter().any(|line| line.contains("GatePassed: success-rate on m1")), "{lines:?}");
    assert_eq!(world.reason(), "done");
}
