//! The controllers: configuration, certificates, processes.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::folder::Folder;
use super::options::Options;
use super::programs::Programs;
use crate::alertmanager::Alertmanager;
use crate::part::{Part, Ready};
use crate::pki::{Authority, REPLICA_ORGANIZATION};
use crate::ports::Port;
use crate::process::Launch;
use crate::prometheus::Prometheus;

/// How often alerts are repeated; four times as long after the last time they are over by themselves.
const RESEND_SECONDS: u64 = 10;

/// What Alertmanagers must know to tell the controllers of alerts.
const ALERT_TOKEN: &str = "playground";

/// How rollouts name the playground's Prometheus.
const SOURCE: &str = "central";

/// One replica of the controller.
#[derive(Debug)]
pub(super) struct Controller {
    pub(super) id: String,
    /// Base URL of its listener for people.
    pub(super) url: String,
    /// Base URL of its listener for agents.
    pub(super) agents_url: String,
    /// Its rights on the hub; written when the hub is there.
    pub(super) kubeconfig: PathBuf,
    pub(super) part: Arc<Part>,
    _ports: [Port; 3],
}

/// Makes folders, certificates and configurations; starts nothing.
pub(super) fn prepare(
    options: &Options,
    folder: &Folder,
    programs: &Programs,
    authority: &Authority,
    prometheus: Option<&Prometheus>,
    alertmanagers: &[Alertmanager],
) -> Result<Vec<Controller>> {
    let ports: Vec<[Port; 3]> =
        (0..options.controllers).map(|_| Ok([Port::take()?, Port::take()?, Port::take()?])).collect::<Result<_>>()?;
    let replicas: Vec<_> = (1..).zip(&ports).map(|(number, ports)| replica(number, ports)).collect();
    let mut controllers = Vec::new();
    for (number, ports) in (1..).zip(ports) {
        let id = id(number);
        let dir = folder.path().join("controllers").join(&id);
        authority.write(&authority.issue(REPLICA_ORGANIZATION, &id)?, &dir.join("tls"))?;
        let kubeconfig = dir.join("hub.kubeconfig");
        let listen = |port: &Port| format!("127.0.0.1:{}", port.number());
        let [agents, people, operations] = &ports;
        let config = json!({
            "id": id,
            "dataDir": dir.join("data"),
            "hub": {"kubeconfig": kubeconfig},
            "listen": {"agents": listen(agents), "people": listen(people), "operations": listen(operations)},
            "tls": {"dir": dir.join("tls")},
            "store": {"cluster": "playground", "replicas": replicas},
            "gates": gates(options, prometheus),
            "prometheus": {"sources": sources(prometheus)},
            "alerts": alerts(alertmanagers, folder)?,
            "events": {"sinks": options.event_sinks.iter().map(|sink| json!({"address": sink})).collect::<Vec<_>>()},
            "log": {"format": "text"},
        });
        let file = dir.join("config.yaml");
        let text = crds::yaml::to_string(&config).context("failed to write a configuration")?;
        fs::write(&file, text).with_context(|| format!("failed to write \"{}\"", file.display()))?;
        let mut launch = Launch::new(&programs.controller).args(["serve", "--config"]).arg(&file);
        for (key, value) in &options.controller_environment {
            launch = launch.env(key, value);
        }
        let ready = Ready::Http { url: format!("http://{}/readyz", listen(operations)), ca: None };
        controllers.push(Controller {
            part: Part::new(&id, launch, &folder.logs(), ready),
            url: format!("http://{}", listen(people)),
            agents_url: format!("https://{}", listen(agents)),
            id,
            kubeconfig,
            _ports: ports,
        });
    }
    Ok(controllers)
}

/// The success rate of the simulated traffic is what a pause checks, where there is any.
fn gates(options: &Options, prometheus: Option<&Prometheus>) -> serde_json::Value {
    let mut gates = json!({"whenUnconfigured": options.gates});
    if prometheus.is_some() {
        let count = |more: &str| {
            let labels = r#"cluster="{{cluster}}",namespace="{{namespace}}",workload="{{workload}}""#;
            format!("sum(increase(http_requests_total{{{labels}{more}}}[{{{{window}}}}]))")
        };
        gates["successRate"] = json!({"good": count(",code!~\"5..\""), "total": count("")});
    }
    gates
}

fn sources(prometheus: Option<&Prometheus>) -> Vec<serde_json::Value> {
    prometheus.map(|prometheus| json!({"name": SOURCE, "address": prometheus.url()})).into_iter().collect()
}

/// Often, since a test waits for what is repeated.
fn alerts(alertmanagers: &[Alertmanager], folder: &Folder) -> Result<serde_json::Value> {
    let token = folder.alert_token();
    fs::write(&token, ALERT_TOKEN).with_context(|| format!("failed to write \"{}\"", token.display()))?;

    let addresses: Vec<_> = alertmanagers.iter().map(|one| json!({"address": one.url()})).collect();
    Ok(json!({
        "alertmanagers": addresses,
        "resendSeconds": RESEND_SECONDS,
        "labels": {"hub": "playground"},
        "webhook": {"bearerTokenFile": token},
    }))
}

fn id(number: usize) -> String {
    format!("controller-{number}")
}

fn replica(number: usize, [agents, ..]: &[Port; 3]) -> serde_json::Value {
    json!({"id": id(number), "number": number, "url": format!("https://127.0.0.1:{}", agents.number())})
}
