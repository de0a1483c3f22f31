//! Alerts as gates: a real Alertmanager tells the controllers, by its webhook.

use crate::common;
use crate::common::{V2, V3, apply, checkouts, members_with, rollout, until_described, until_phase, until_waiting, up};
use crds::Phase;
use e2e::alertmanager::Alertmanager;
use e2e::harness::TestFolder;
use e2e::playground::{Options, Playground};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

const CANARY: &str = "prod-us-east";
const MEMBERS: [&str; 2] = [CANARY, "prod-us-west"];

fn checkout(image: &str, pause: u32) -> String {
    let analysis = "{alerts: {match: {severity: critical}, watchdog: {silentSeconds: 30}}}";
    let targets = format!("targetClusters: [{}]\n  analysis: {analysis}", MEMBERS.join(", "));
    let strategy =
        format!("{{maxConcurrency: 2, canary: {{steps: [{{setWeight: 10, pause: {pause}}}], soakSeconds: 6}}}}");
    rollout("checkout", &targets, image, &strategy)
}

/// An alert as Prometheus would post it; it fires until `ends_in` is over.
async fn fire(alertmanager: &Alertmanager, name: &str, cluster: Option<&str>, ends_in: SignedDuration) {
    let mut labels = json!({"alertname": name, "severity": "critical"});
    if let Some(cluster) = cluster {
        labels["cluster"] = json!(cluster);
    }
    let now = Timestamp::now();
    let ends = (now + ends_in).to_string();
    alertmanager.post(&json!([{"labels": labels, "startsAt": now.to_string(), "endsAt": ends}])).await.unwrap();
}

/// A Watchdog has no severity to match: it only says that the way is open.
async fn watch(alertmanager: &Alertmanager) {
    fire(alertmanager, "Watchdog", None, SignedDuration::from_hours(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn semantics_27_and_29_an_alert_that_fires_takes_the_fleet_back_and_a_silent_watchdog_holds() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("alert-gates").unwrap();
    let playground = up(Options::new(folder.path(), 2, 3).named(&MEMBERS).with_alertmanagers(1, &[])).await;
    let alertmanager = &playground.alertmanagers()[0];
    nobody_without_the_token_tells_anything(&playground).await;
    without_a_watchdog_it_holds(&playground, alertmanager).await;
    an_alert_takes_the_canary_back(&playground, alertmanager).await;
    an_alertmanager_that_is_away_is_no_good_news(&playground, alertmanager).await;
    common::down(playground).await;
}

async fn nobody_without_the_token_tells_anything(playground: &Playground) {
    let client = reqwest::Client::new();
    for (_, url) in playground.controllers() {
        let url = format!("{url}/api/v1/alerts");
        for token in [None, Some("wrong")] {
            let request = client.post(&url).json(&json!({"alerts": []}));
            let request = match token {
                Some(token) => request.bearer_auth(token),
                None => request,
            };
            assert_eq!(request.send().await.unwrap().status().as_u16(), 401, "{token:?}");
        }
        let odd = client.post(&url).bearer_auth("playground").json(&json!({"alerts": [{}]})).send().await.unwrap();
        assert_eq!(odd.status().as_u16(), 422);
    }
}

async fn without_a_watchdog_it_holds(playground: &Playground, alertmanager: &Alertmanager) {
    apply(playground, &checkout(V2, 10)).await;
    let held = until_waiting(playground, "checkout", "GateNoData").await;
    assert_eq!((held.phase, held.step, held.counts.assigned), (Some(Phase::Holding), 1, 1));
    let message = held.waiting_on.unwrap().message;
    assert!(
        message.contains("alert Watchdog was not told for 30 s, so others may fire unheard: prod-us-east"),
        "{message}"
    );
    watch(alertmanager).await;
    let done = until_phase(playground, "checkout", Phase::Succeeded).await;
    assert_eq!((done.counts.healthy, done.counts.failed), (2, 0));
}

async fn an_alert_takes_the_canary_back(playground: &Playground, alertmanager: &Alertmanager) {
    let before = checkouts(playground).await;
    apply(playground, &checkout(V3, 60)).await;
    until_phase(playground, "checkout", Phase::Verifying).await;
    // One of a member that has not got it yet is not its doing.
    fire(alertmanager, "Latency", Some("prod-us-west"), SignedDuration::from_hours(1)).await;
    fire(alertmanager, "Errors", Some(CANARY), SignedDuration::from_hours(1)).await;
    let status = until_phase(playground, "checkout", Phase::RolledBack).await;
    assert_eq!((status.counts.returned, status.counts.not_started), (1, 1));
    for ((member, old_image, old), (_, image, new)) in before.iter().zip(&checkouts(playground).await) {
        let changes = if member == CANARY { 2 } else { 0 };
        assert_eq!((image, *new), (old_image, old + changes), "{member}");
    }
    until_described(playground, "checkout", &["RollbackStarted", "1 alert fires: Errors on prod-us-east"]).await;
}

/// Both alerts fire on, but since before this run.
async fn an_alertmanager_that_is_away_is_no_good_news(playground: &Playground, alertmanager: &Alertmanager) {
    let image = "registry.example.com/checkout:v4";
    // The watchdog was heard a moment ago, and is silent before the pause is over, however slow the machine is.
    playground.kill_part("alertmanager-1").await.unwrap();
    apply(playground, &checkout(image, 45)).await;
    let held = until_waiting(playground, "checkout", "GateNoData").await;
    assert_eq!((held.phase, held.step), (Some(Phase::Holding), 1));
    assert_eq!(members_with(playground, image).await, [CANARY]);
    playground.start_part("alertmanager-1").await.unwrap();
    watch(alertmanager).await;
    until_phase(playground, "checkout", Phase::Succeeded).await;
}
