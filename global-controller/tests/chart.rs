//! What the hub's chart writes into the `ConfigMap` is a configuration that the controller takes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use e2e::assets::{Assets, Program};
use e2e::harness::TestFolder;
use e2e::playground::charts;
use e2e::progress::Progress;
use global_controller::{Config, Credentials};
use serde_json::Value;

const VALUES: &str = r#"
gates:
  whenUnconfigured: Hold
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
    assert_eq!(secrets_rule(&objects), None);
}

#[tokio::test]
async fn sources_and_the_default_gate_reach_the_controller_as_they_are_written() {
    let folder = TestFolder::new("chart").unwrap();
    let file = folder.path().join("values.yaml");
    std::fs::write(&file, VALUES).unwrap();
    let objects = render(&["--values", file.to_str().unwrap()]).await;
    let settings = config(&objects).settings;
    let rate = settings.gates.success_rate;
    assert!(rate.good.as_str().contains(r#"cluster="{{cluster}}""#), "{rate:?}");
    assert_eq!(rate.minimum.to_string(), "99.5%");
    let names: Vec<_> = settings.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["central", "second"]);
    assert_eq!(settings.sources[0].credentials, Credentials::Secret { name: "token".into(), key: "token".into() });
    let rule = secrets_rule(&objects).unwrap();
    assert_eq!((&rule["resourceNames"], &rule["verbs"]), (&serde_json::json!(["token"]), &serde_json::json!(["get"])));
    let mounted = objects.iter().any(|object| object.to_string().contains("/etc/global-controller/prometheus\""));
    assert!(mounted, "the files' Secret is not mounted");
}
