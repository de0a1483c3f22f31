//! Metrics that each member's own Prometheus is asked for, by its agent.

use crds::{GateMode, Phase};
use rollout_core::{Answer, Whom};

use crate::world::measures::{canaries, configured, key, of_thousand, one, unconfigured};
use crate::world::{Spec, World};

const RATE: &str = "{from: Member, interval: 10, successRate: {good: 'good[{{window}}]', total: 'total[{{window}}]'}}";

/// Four members, two of them canaries, with a pause of a minute; the hub has no Prometheus.
fn world(analysis: &str) -> World {
    let mut world = canaries(60, analysis);
    world.gates = unconfigured(GateMode::Hold);
    world
}

#[test]
fn each_query_is_asked_of_each_updated_member_whatever_it_names() {
    let analysis = "{from: Member, interval: 10, metrics: [{name: queue, query: 'max(queue)', condition: value < 9}]}";
    let mut world = world(analysis);
    world.rest();
    world.advance(10);
    let asks = world.due().asks;
    let asked: Vec<_> = asks.iter().map(|ask| (ask.key.clone(), ask.asked.clone())).collect();
    let of = |member: &str| (key("queue", Some(member)), Whom::Member(member.to_owned()));
    assert_eq!(asked, [of("m1"), of("m2")]);
    world.says("queue", Some("m2"), one(9.0));
    world.pass(10);
    assert_eq!(world.phase(), Phase::RolledBack);
}

#[test]
fn the_hub_needs_no_prometheus_and_its_minimum_counts() {
    let mut world = world(RATE);
    world.pass(60);
    assert_eq!(world.reason(), "done", "{}", world.message());
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    world.says("success-rate", Some("m1"), of_thousand(994.0));
    let lines = world.pass(10);
    let started = lines.iter().find(|line| line.contains("RollbackStarted")).unwrap();
    assert!(started.contains("success-rate on m1: 99.4% of 1000 requests succeed, minimum 99.5%"), "{started}");
}

#[test]
fn semantics_27_an_agent_that_cannot_answer_holds_and_is_named() {
    let mut world = world(&RATE.replace("interval", "onNoData: Rollback, interval"));
    let none = || Answer::Failed("its agent has no --prometheus-url".to_owned());
    world.says("success-rate", Some("m2"), vec![none(), none()]);
    world.pass(90);
    assert_eq!((world.reason(), world.phase()), ("GateInconclusive", Phase::Holding));
    let words = "success-rate on m2: total: its agent has no --prometheus-url";
    assert!(world.message().contains(words), "{}", world.message());
    world.says("success-rate", Some("m2"), of_thousand(1000.0));
    world.pass(60);
    assert_eq!(world.reason(), "done");
}

#[test]
fn back_to_the_hub_its_prometheus_is_asked_or_missed() {
    let mut world = world(RATE);
    world.pass(5);
    world.edit(|spec| spec.analysis = Some("{interval: 10}".to_owned()));
    world.rest();
    assert_eq!(world.reason(), "SourceMissing");
    world.gates = configured();
    world.rest();
    world.advance(10);
    assert_eq!(world.due().asks[0].asked, Whom::Source("central".to_owned()));
    world.edit(|spec| spec.analysis = Some(RATE.to_owned()));
    world.rest();
    world.advance(10);
    assert_eq!(world.due().asks[0].asked, Whom::Member("m1".to_owned()));
}

#[test]
fn what_a_members_own_prometheus_cannot_be_asked_is_refused() {
    for (analysis, field) in [
        ("{from: Member}", "spec.analysis.from"),
        ("{from: Member, successRate: {minimum: 99%}}", "spec.analysis.from"),
        (&RATE.replace("interval", "prometheus: {source: central}, interval"), "spec.analysis.prometheus"),
        (
            &RATE
                .replace("interval", "compare: {with: NotYetUpdated, maxDrop: 1%}, interval")
                .replace("good[", "good{c=\"{{cluster}}\"}[")
                .replace("total[", "total{c=\"{{cluster}}\"}["),
            "spec.analysis.compare",
        ),
    ] {
        let spec = Spec::new(&["m1"], "[{setWeight: 100}]").with(|spec| spec.analysis = Some(analysis.to_owned()));
        let problems: Vec<String> = spec.validate().unwrap_err().iter().map(|one| one.field.clone()).collect();
        assert_eq!(problems, [field], "{analysis}");
    }
}
