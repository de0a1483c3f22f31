//! What the hub's chart writes into the `ConfigMap` is a configuration that the controller takes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use e2e::assets::{Assets, Program};
use e2e::harness::TestFolder;
use e2e::playground::charts;
use e2e::progress::Progress;
use global_controller::{AlertsConfig, Config, Credentials};
use serde_json::Value;

const VALUES: &str = r#"
gates:
  whenUnconfigured: Hold
  allowedPrometheusOrigins: ["https://prometheus.team.example.com"]
  successRate:
    good: sum(increase(http_requests_total{cluster="{{cluster}}",code!~"5.."}[{{window}}]))
    total: sum(increase(http_requests_total{cluster="{{cluster}}"}[{{window}}]))
prometheus:
  filesSecretName: prometheus-files
  sources:
  - {name: central, address: "https://prometheus.example.com", secretRef: {name: token, key: token}}
  - name: second
    address: http://prometheus:9090/base
    bearerTokenFile: /etc/global-controller/prometheus/token
    headers: {X-Scope-OrgID: shop}
    timeoutSeconds: 5
alerts:
  filesSecretName: alerts-files
  externalUrl: https://rollouts.example.com
  labels: {hub: eu}
  resendSeconds: 60
  webhook: {secretRef: {name: webhook-token, key: token}}
  alertmanagers:
  - {address: "https://alertmanager-0.example.com", secretRef: {name: alert-token, key: token}}
  - {address: "http://alertmanager-1:9093/base", bearerTokenFile: /etc/global-controller/alerts/token}
events:
  sinks: [{address: "https://events.example.com/rollouts", secretRef: {name: event-token, key: token}}]
"#;

async fn render(values: &[&str]) -> Vec<Value> {
    let assets = Assets::ensure(&[Program::Helm], &Progress::stderr()).await.unwrap();
    crds::yaml::documents(&charts::template(&assets, "rollout-hub", values).await.unwrap()).unwrap()
}

fn config(objects: &[Value]) -> Config {
    let map = objects.iter().find(|object| object["kind"] == "ConfigMap").unwrap();
    let text = map["data"]["config.yaml"].as_str().unwrap();
    Config::parse(text, Some("global-controller-0"), None).unwrap()
}

fn secrets_rule(objects: &[Value]) -> Option<Value> {
    let roles = objects.iter().filter(|object| object["kind"] == "Role" || object["kind"] == "ClusterRole");
    let mut rules = roles.flat_map(|role| role["rules"].as_array().unwrap().clone());
    rules.find(|rule| rule["resources"].as_array().unwrap().iter().any(|kind| kind == "secrets"))
}

#[tokio::test]
async fn by_default_there_is_no_source_and_no_secret_can_be_read() {
    let objects = render(&[]).await;
    let settings = config(&objects).settings;
    assert_eq!((settings.sources.len(), settings.gates), (0, rollout_core::GateSettings::default()));
    assert_eq!(settings.alerts, AlertsConfig::default());
    assert_eq!(secrets_rule(&objects), None);
}

#[tokio::test]
async fn sources_alertmanagers_and_the_default_gate_reach_the_controller_as_they_are_written() {
    let folder = TestFolder::new("chart").unwrap();
    let file = folder.path().join("values.yaml");
    std::fs::write(&file, VALUES).unwrap();
    let objects = render(&["--values", file.to_str().unwrap()]).await;
    let settings = config(&objects).settings;
    let origins: Vec<String> = settings.gates.allowed_origins.iter().map(ToString::to_string).collect();
    assert_eq!(origins, ["https://prometheus.team.example.com"]);
    let rate = settings.gates.success_rate;
    assert!(rate.good.as_str().contains(r#"cluster="{{cluster}}""#), "{rate:?}");
    assert_eq!(rate.minimum.to_string(), "99.5%");
    let names: Vec<_> = settings.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["central", "second"]);
    assert_eq!(settings.sources[0].credentials, Credentials::Secret { name: "token".into(), key: "token".into() });
    let rule = secrets_rule(&objects).unwrap();
    assert_eq!(
        (&rule["resourceNames"], &rule["verbs"]),
        (&serde_json::json!(["token", "alert-token", "webhook-token", "event-token"]), &serde_json::json!(["get"]))
    );
    for folder in ["prometheus", "alerts"] {
        let path = format!("/etc/global-controller/{folder}\"");
        assert!(objects.iter().any(|object| object.to_string().contains(&path)), "no Secret is mounted there: {path}");
    }
    assert_eq!(settings.events.sinks[0].server.address, "https://events.example.com/rollouts");
    let AlertsConfig { alertmanagers, external_url, labels, resend, webhook } = settings.alerts;
    assert_eq!(webhook, Some(Credentials::Secret { name: "webhook-token".into(), key: "token".into() }));
    let addresses: Vec<_> = alertmanagers.iter().map(|one| one.server.address.as_str()).collect();
    assert_eq!(addresses, ["https://alertmanager-0.example.com", "http://alertmanager-1:9093/base"]);
    assert_eq!(external_url.as_deref(), Some("https://rollouts.example.com"));
    assert_eq!((labels["hub"].as_str(), resend.as_secs()), ("eu", 60));
}
