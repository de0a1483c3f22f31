//! Metric gates on a real Prometheus that scrapes simulated traffic: who passes, who goes back, and who holds.

use crate::common;
use crate::common::{
    V2, apply, checkouts, members_with, rollout, status, until, until_described, until_phase, until_waiting, up,
};
use crds::{GateStatus, Phase, PlanAnswer, Verdict};
use e2e::harness::TestFolder;
use e2e::playground::{Options, Playground, Rule};
use e2e::prometheus;

const CANARY: &str = "prod-us-east";
const MEMBERS: [&str; 3] = [CANARY, "prod-us-west", "prod-mars"];
/// One in a thousand of its requests fails: 99.9 % succeed.
const GOOD: &str = "registry.example.com/checkout:v2-e1";
/// 99.2 % succeed.
const LOSSY: &str = "registry.example.com/checkout:v3-e8";

/// The image over all three, the canary first. `analysis` is flow YAML.
fn checkout(image: &str, analysis: &str) -> String {
    let targets = format!("targetClusters: [{}]\n  analysis: {analysis}", MEMBERS.join(", "));
    let strategy = "{maxConcurrency: 2, canary: {steps: [{setWeight: 10, pause: 15}], soakSeconds: 10}}";
    rollout("checkout", &targets, image, strategy)
}

fn image(tag: &str) -> String {
    format!("registry.example.com/checkout:{tag}")
}

#[tokio::test(flavor = "multi_thread")]
async fn semantics_23_to_29_a_pause_passes_on_evidence_alone() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("gates").unwrap();
    let playground = up(Options::new(folder.path(), 3, 3).named(&MEMBERS).with_prometheus()).await;
    what_cannot_be_measured_is_said_before_anything_is_touched(&playground).await;
    a_good_image_passes(&playground).await;
    a_lossy_image_goes_back_by_itself(&playground).await;
    what_agents_measure_themselves_passes_and_fails(&playground).await;
    what_fails_in_the_background_goes_back_in_the_middle_of_a_wave(&playground).await;
    without_traffic_it_holds(&playground).await;
    a_prometheus_that_is_away_neither_passes_nor_fails(&playground).await;
    a_leader_that_dies_in_a_pause_takes_no_measurement_with_it(&playground).await;
    a_plan_tells_what_would_be_done_and_how_its_gates_would_have_done(&playground).await;
    common::down(playground).await;
}

async fn what_cannot_be_measured_is_said_before_anything_is_touched(playground: &Playground) {
    let before = checkouts(playground).await;
    let broken = "{metrics: [{name: lag, query: 'sum(lag{cluster=\"{{cluster}}\"}', condition: value < 1}]}";
    apply(playground, &checkout(V2, broken)).await;
    let invalid = until_waiting(playground, "checkout", "Invalid").await.waiting_on.unwrap().message;
    assert!(invalid.contains("spec.analysis.metrics[0].query") && invalid.contains("must be PromQL"), "{invalid}");
    apply(playground, &checkout(V2, "{prometheus: {source: elsewhere}}")).await;
    let missing = until_waiting(playground, "checkout", "SourceMissing").await;
    assert_eq!(missing.phase, Some(Phase::Pending));
    assert!(missing.waiting_on.unwrap().message.contains("use central"));
    apply(playground, &checkout(V2, "{prometheus: {address: 'http://127.0.0.1:9090/base'}}")).await;
    let waiting = until_waiting(playground, "checkout", "AddressNotAllowed").await.waiting_on.unwrap().message;
    assert!(waiting.contains("add http://127.0.0.1:9090 to gates.allowedPrometheusOrigins"), "{waiting}");
    // What a schema can say the API server refuses.
    let out_of_range = "{interval: 1, successRate: {minimum: 101%}}";
    let against_the_rules = "{successRate: {good: x}, metrics: [{name: success-rate, query: x, condition: value > 1}]}";
    let nothing_left = "{background: true, compare: {with: NotYetUpdated, maxDrop: 1%}}";
    let half = "{from: Member, prometheus: {source: central}, successRate: {}}";
    let credentials = "{prometheus: {address: 'http://me:secret@127.0.0.1'}}";
    let both = "{prometheus: {source: central, address: 'http://127.0.0.1:9090'}}";
    let refusals: [(&str, [&str; 2]); 6] = [
        (credentials, ["spec.analysis.prometheus.address", "should match"]),
        (both, ["spec.analysis.prometheus.source", "give source or address, and not both"]),
        (half, ["leave prometheus out", "give successRate.good and total"]),
        (nothing_left, ["spec.analysis.background", "measured in pauses alone"]),
        (out_of_range, ["spec.analysis.interval", "spec.analysis.successRate.minimum"]),
        (against_the_rules, ["good and total together", "choose another"]),
    ];
    for (analysis, words) in refusals {
        let refused = playground.kubectl().apply(&checkout(V2, analysis)).await.unwrap();
        let told = words.iter().all(|words| refused.stderr.contains(words));
        assert!(!refused.success && told, "no {words:?} in {}", refused.stderr);
    }
    assert_eq!(checkouts(playground).await, before);
}

async fn a_good_image_passes(playground: &Playground) {
    let wider = "{interval: 5, metrics: [{name: answers, query: 'sum(up)', condition: value >= 1}], successRate: {}}";
    apply(playground, &checkout(GOOD, wider)).await;
    until_phase(playground, "checkout", Phase::Verifying).await;
    let done = until_phase(playground, "checkout", Phase::Succeeded).await;
    assert_eq!((done.counts.healthy, done.counts.failed), (3, 0));
    let words = ["GatePassed", "success-rate on prod-us-east: ", "requests succeed, minimum 99.5%"];
    until_described(playground, "checkout", &words).await;
}

async fn a_lossy_image_goes_back_by_itself(playground: &Playground) {
    let before = checkouts(playground).await;
    apply(playground, &checkout(LOSSY, "{interval: 5}")).await;
    let status = until_phase(playground, "checkout", Phase::RolledBack).await;
    assert_eq!((status.counts.returned, status.counts.not_started), (1, 2));
    assert_eq!(status.quarantined_revisions, [status.revision.clone().unwrap()]);
    let after = checkouts(playground).await;
    for ((member, old_image, old), (_, image, new)) in before.iter().zip(&after) {
        let changes = if member == CANARY { 2 } else { 0 };
        assert_eq!((image, *new), (old_image, old + changes), "{member}");
    }
    let words =
        ["RollbackStarted", "success-rate on prod-us-east: 99.", "requests succeed, minimum 99.5%", "Quarantined"];
    until_described(playground, "checkout", &words).await;
    is_what_prometheus_says(playground, &status.gate.unwrap()).await;
}

/// The queries that the status tells of, put again about the moment that it tells of.
async fn is_what_prometheus_says(playground: &Playground, gate: &GateStatus) {
    let (url, at) = (playground.prometheus().unwrap().url(), gate.measured_at.as_ref().unwrap().0.to_string());
    let mut counts = Vec::new();
    for query in &gate.queries {
        counts.push(prometheus::query_at(url, query, &at).await.unwrap()[0].value);
    }
    let [good, total] = counts.try_into().unwrap();
    let percent = (good / total * 1e6).floor() / 1e4;
    let said = format!("success-rate on {CANARY}: {percent}% of ");
    assert!(gate.message.starts_with(&said), "{} does not begin with {said}", gate.message);
    assert_eq!(gate.verdict, Some(Verdict::Fail));
}

/// The agents ask; which replica has their stream is left to chance.
async fn what_agents_measure_themselves_passes_and_fails(playground: &Playground) {
    let count = |more: &str| {
        let series = format!("http_requests_total{{cluster=\"{{{{cluster}}}}\",workload=\"checkout\"{more}}}");
        format!("'sum(increase({series}[{{{{window}}}}])) or vector(0)'")
    };
    let (good, total) = (count(",code!~\"5..\""), count(""));
    let analysis = format!("{{from: Member, interval: 5, successRate: {{good: {good}, total: {total}}}}}");
    apply(playground, &checkout(&image("v3-e0"), &analysis)).await;
    let done = until_phase(playground, "checkout", Phase::Succeeded).await;
    assert_eq!((done.counts.healthy, done.counts.failed), (3, 0));
    let words = ["GatePassed", "success-rate on prod-us-east: 100% of ", "requests succeed, minimum 99.5%"];
    until_described(playground, "checkout", &words).await;
    apply(playground, &checkout(&image("v3-e40"), &analysis)).await;
    let status = until_phase(playground, "checkout", Phase::RolledBack).await;
    assert_eq!((status.counts.returned, status.counts.not_started), (1, 2));
    until_described(playground, "checkout", &["RollbackStarted", "success-rate on prod-us-east: 9"]).await;
}

/// Without any pause, one member after the other: the last ones are never reached. Of a wave those go first whose answers
/// come first.
async fn what_fails_in_the_background_goes_back_in_the_middle_of_a_wave(playground: &Playground) {
    let targets = format!("targetClusters: [{}]\n  analysis: {{interval: 5, background: true}}", MEMBERS.join(", "));
    let strategy = "{maxConcurrency: 1, minReadySeconds: 20, canary: {steps: [{setWeight: 100}], soakSeconds: 600}}";
    let lossy = image("v3-e30");
    apply(playground, &rollout("checkout", &targets, &lossy, strategy)).await;
    let status = until_phase(playground, "checkout", Phase::RolledBack).await;
    assert!(status.counts.not_started > 0, "{status:?}");
    let told =
        until_described(playground, "checkout", &["RollbackStarted", ", in the background: 9", "Quarantined"]).await;
    let names_it = |member: &&str| told.contains(&format!("success-rate on {member}, in the background: 9"));
    assert!(MEMBERS.iter().any(names_it), "{told}");
    assert_eq!(members_with(playground, &lossy).await, Vec::<String>::new());
}

async fn without_traffic_it_holds(playground: &Playground) {
    playground.shape_traffic(&[(CANARY, Rule { silent: Some(true), ..Rule::default() })]).unwrap();
    apply(playground, &checkout(&image("v4"), "{interval: 5}")).await;
    let held = until_waiting(playground, "checkout", "GateNoData").await;
    assert_eq!((held.phase, held.step, held.counts.assigned), (Some(Phase::Holding), 1, 1));
    assert_eq!(held.gate.unwrap().verdict, Some(Verdict::NoData));
    // Too few requests are no evidence either.
    playground.shape_traffic(&[(CANARY, Rule { rps: Some(1.0), ..Rule::default() })]).unwrap();
    let few = |status: &crds::ClusterScopeRolloutStatus| {
        status.waiting_on.as_ref().is_some_and(|on| on.message.contains("fewer than minRequests (100)"))
    };
    until(playground, "checkout", "to hear too few requests", few).await;
    playground.shape_traffic(&[]).unwrap();
    let done = until_phase(playground, "checkout", Phase::Succeeded).await;
    assert_eq!((done.counts.healthy, done.counts.failed), (3, 0));
}

async fn a_prometheus_that_is_away_neither_passes_nor_fails(playground: &Playground) {
    apply(playground, &checkout(&image("v5"), "{interval: 5, onNoData: Rollback}")).await;
    until_phase(playground, "checkout", Phase::Verifying).await;
    playground.stop_part("prometheus").await.unwrap();
    let held = until_waiting(playground, "checkout", "GateInconclusive").await;
    assert_eq!((held.phase, held.step, held.counts.assigned), (Some(Phase::Holding), 1, 1));
    assert_eq!(members_with(playground, &image("v5")).await, [CANARY]);
    playground.start_part("prometheus").await.unwrap();
    let done = until_phase(playground, "checkout", Phase::Succeeded).await;
    assert_eq!(done.counts.healthy, 3);
}

async fn a_leader_that_dies_in_a_pause_takes_no_measurement_with_it(playground: &Playground) {
    apply(playground, &checkout(&image("v6"), "{interval: 5}")).await;
    until_phase(playground, "checkout", Phase::Verifying).await;
    let leader = playground.leader().await.unwrap().id.unwrap();
    playground.kill_part(&leader).await.unwrap();
    let done = until_phase(playground, "checkout", Phase::Succeeded).await;
    assert_eq!((done.counts.healthy, done.counts.failed), (3, 0));
    playground.start_part(&leader).await.unwrap();
}

/// By then Prometheus has seen a good canary, one that loses requests, and one without traffic.
async fn a_plan_tells_what_would_be_done_and_how_its_gates_would_have_done(playground: &Playground) {
    let before = (checkouts(playground).await, status(playground, "checkout").await.unwrap().run);
    let (plugin, (_, url)) = (playground.plugin(), playground.controllers().remove(0));
    let file = playground.dir().join("planned.yaml");
    let write = |yaml: &str| std::fs::write(&file, yaml).unwrap();
    let plan = async |more: &[&str]| {
        let arguments = ["plan", "-f", file.to_str().unwrap(), "--controller", &url];
        plugin.run(&[&arguments[..], more].concat()).await.unwrap()
    };
    write(&checkout(&image("v7"), "{interval: 5}"));
    let told = plan(&[]).await;
    assert!(told.success, "{told:?}");
    let words = [
        "for 3 members in 2 steps, which take at least 25s",
        "10s soak",
        "prod-us-west, prod-mars",
        "success-rate: at least 99.5% of at least 100 requests succeed",
        "cluster=\"prod-us-east\"",
    ];
    for words in words {
        assert!(told.stdout.contains(words), "no {words} in {}", told.stdout);
    }
    let tested = plan(&["--back-test", "4m", "-o", "json"]).await;
    let answer: PlanAnswer = serde_json::from_str(&tested.stdout).unwrap_or_else(|error| panic!("{error}: {tested:?}"));
    let gates = answer.back_test.unwrap().gates;
    let first = &gates[0];
    assert_eq!((gates.len(), first.step, first.members, first.pauses), (2, 1, 1, 16), "{first:?}");
    assert!(first.passed > 0 && first.failed + first.no_data > 0, "{first:?}");
    assert_eq!(first.passed + first.failed + first.inconclusive + first.no_data, 16, "{first:?}");
    assert!(first.examples.iter().all(|example| example.found.contains("prod-us-east")), "{first:?}");

    // What can't work is refused as it is when it is applied, and by the controller where that knows more.
    write(&checkout(&image("v7"), "{interval: 1}"));
    let refused = plan(&[]).await;
    assert!(!refused.success && refused.stderr.contains("spec.analysis.interval"), "{refused:?}");
    write(&checkout(&image("v7"), "{metrics: [{name: lag, query: 'sum(', condition: value < 1}]}"));
    let refused = plan(&[]).await;
    assert!(!refused.success && refused.stderr.contains("must be PromQL"), "{refused:?}");
    let other = checkout(&image("v7"), "{interval: 5}").replacen("name: checkout", "name: other", 1);
    write(&other);
    let conflicted = plan(&[]).await;
    assert!(conflicted.stdout.contains("it would not start: Conflicted"), "{conflicted:?}");
    let after = (checkouts(playground).await, status(playground, "checkout").await.unwrap().run);
    assert_eq!(after, before, "nothing was done");
}
