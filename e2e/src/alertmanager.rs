//! An Alertmanager of our own on loopback: real, alone, and quick to tell.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::json;

use crate::assets::{Assets, Program};
use crate::part::{Part, Ready, http_client};
use crate::ports::Port;
use crate::process::Launch;

/// How long it gathers alerts of one group before it tells anybody, at first and later on. Pauses here last seconds.
const GROUP_WAIT: &str = "1s";
/// Longer than any test: who is told twice is told by mistake.
const REPEAT_INTERVAL: &str = "1h";
/// How often controllers are told again what fires, such as the watchdog: it may be silent for 30 s.
const WATCHDOG_INTERVAL: &str = "5s";

/// An Alertmanager, started and stopped as its part is.
#[derive(Debug)]
pub struct Alertmanager {
    part: Arc<Part>,
    url: String,
    file: PathBuf,
    _port: Port,
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Setup<'a> {
    /// How its part is called.
    pub name: &'a str,
    /// Its folder; created, and nobody else's.
    pub dir: &'a Path,
    /// Where its log goes.
    pub logs: &'a Path,
}

/// Whom it tells, one alert at a time.
#[derive(Clone, Debug, Default)]
pub struct Receivers<'a> {
    /// Webhooks that are told what controllers alert of.
    pub people: &'a [String],
    /// Webhooks of controllers, which are told of everything else, and again and again.
    pub controllers: &'a [String],
    /// File with the token that they ask for.
    pub token: Option<&'a Path>,
}

/// An alert that it has at present.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActiveAlert {
    /// What names it.
    pub labels: BTreeMap<String, String>,
    /// What is said about it.
    pub annotations: BTreeMap<String, String>,
    /// Its name there.
    pub fingerprint: String,
    /// Since when, as text.
    pub starts_at: String,
    /// When it was last told, as text.
    pub updated_at: String,
}

impl Alertmanager {
    /// Takes a port and writes a configuration by which nobody is told; starts nothing.
    pub fn prepare(assets: &Assets, setup: &Setup<'_>) -> Result<Self> {
        let Setup { name, dir, logs } = setup;
        fs::create_dir_all(dir).with_context(|| format!("failed to create \"{}\"", dir.display()))?;
        let file = dir.join("alertmanager.yml");
        let port = Port::take()?;
        let address = format!("127.0.0.1:{}", port.number());
        let url = format!("http://{address}");
        let launch = Launch::new(assets.path(Program::Alertmanager))
            .arg("--config.file")
            .arg(&file)
            .arg("--storage.path")
            .arg(dir.join("data"))
            .args(["--web.listen-address", &address, "--web.external-url", &url, "--cluster.listen-address", ""]);
        let ready = Ready::Http { url: format!("{url}/-/ready"), ca: None };
        let alertmanager = Self { part: Part::new(name, launch, logs, ready), url, file, _port: port };
        alertmanager.tells(&Receivers::default())?;
        Ok(alertmanager)
    }

    /// Writes whom it tells, for its next start.
    pub fn tells(&self, receivers: &Receivers<'_>) -> Result<()> {
        let text = crds::yaml::to_string(&configuration(receivers));
        let text = text.context("failed to write Alertmanager's configuration")?;
        fs::write(&self.file, text).with_context(|| format!("failed to write \"{}\"", self.file.display()))
    }

    /// Its process.
    pub fn part(&self) -> &Arc<Part> {
        &self.part
    }

    /// Base URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The alerts that fire at present.
    pub async fn alerts(&self) -> Result<Vec<ActiveAlert>> {
        let answer = http_client(None)?.get(format!("{}/api/v2/alerts", self.url)).send().await?.error_for_status()?;
        answer.json().await.context("Alertmanager answered with alerts that can't be read")
    }

    /// Gives it alerts, as Prometheus does: a list as its API takes it.
    pub async fn post(&self, alerts: &serde_json::Value) -> Result<()> {
        let request = http_client(None)?.post(format!("{}/api/v2/alerts", self.url)).json(alerts);
        request.send().await?.error_for_status().map(drop).context("Alertmanager took no alerts")
    }
}

fn configuration(Receivers { people, controllers, token }: &Receivers<'_>) -> serde_json::Value {
    let hook = |url: &String| json!({"url": url, "send_resolved": true});
    let protected = |url: &String| {
        let mut hook = hook(url);
        if let Some(token) = token {
            hook["http_config"] = json!({"authorization": {"credentials_file": token}});
        }
        hook
    };
    json!({
        "route": {
            "receiver": "people",
            "group_by": ["..."],
            "group_wait": GROUP_WAIT,
            "group_interval": GROUP_WAIT,
            "repeat_interval": REPEAT_INTERVAL,
            "routes": [{
                "receiver": "controllers",
                "matchers": ["alertname!~\"Rollout.*\""],
                "repeat_interval": WATCHDOG_INTERVAL,
            }],
        },
        "receivers": [
            {"name": "people", "webhook_configs": people.iter().map(hook).collect::<Vec<_>>()},
            {"name": "controllers", "webhook_configs": controllers.iter().map(protected).collect::<Vec<_>>()},
        ],
    })
}
