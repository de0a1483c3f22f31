//! A Prometheus of our own on loopback: real, with nothing scraped but what it is told.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::json;

use crate::assets::{Assets, Program};
use crate::part::{Part, Ready, http_client};
use crate::ports::Port;
use crate::process::Launch;

/// How often targets are scraped. Windows of rates must span several scrapes, and here pauses last seconds.
pub const SCRAPE_EVERY: &str = "1s";

/// A Prometheus, started and stopped as its part is.
#[derive(Debug)]
pub struct Prometheus {
    part: Arc<Part>,
    url: String,
    _port: Port,
}

/// One series of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value; may be NaN or infinite.
    pub value: f64,
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Setup<'a> {
    /// Its folder; created, and nobody else's.
    pub dir: &'a Path,
    /// Where its log goes.
    pub logs: &'a Path,
    /// What it scrapes: pairs of job and `host:port`.
    pub targets: &'a [(&'a str, String)],
    /// What protects it, as YAML of its `--web.config.file`. Then nobody but who may ask can tell when it is ready.
    pub web: Option<&'a str>,
}

impl Prometheus {
    /// Writes its configuration and takes a port; starts nothing.
    pub fn prepare(assets: &Assets, setup: &Setup<'_>) -> Result<Self> {
        let Setup { dir, logs, targets, web } = setup;
        fs::create_dir_all(dir).with_context(|| format!("failed to create \"{}\"", dir.display()))?;
        let port = Port::take()?;
        let address = format!("127.0.0.1:{}", port.number());
        let scheme = if web.is_some_and(|web| web.contains("tls_server_config")) { "https" } else { "http" };
        let url = format!("{scheme}://{address}");
        let mut launch = Launch::new(assets.path(Program::Prometheus))
            .arg("--config.file")
            .arg(written(dir, "prometheus.yml", &configuration(targets)?)?)
            .arg("--storage.tsdb.path")
            .arg(dir.join("data"))
            .args(["--web.listen-address", &address, "--web.external-url", &url, "--log.level", "warn"]);
        let mut ready = Ready::Http { url: format!("{url}/-/ready"), ca: None };
        if let Some(web) = web {
            launch = launch.arg("--web.config.file").arg(written(dir, "web.yml", web)?);
            ready = Ready::AtOnce;
        }
        Ok(Self { part: Part::new("prometheus", launch, logs, ready), url, _port: port })
    }

    /// Its process.
    pub fn part(&self) -> &Arc<Part> {
        &self.part
    }

    /// Base URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What an instant query that yields a vector yields now.
    pub async fn query(&self, promql: &str) -> Result<Vec<Series>> {
        query(&self.url, promql).await
    }
}

/// What an instant query that yields a vector yields now, of the Prometheus at this base URL.
pub async fn query(url: &str, promql: &str) -> Result<Vec<Series>> {
    ask(url, &[("query", promql)]).await
}

/// The same about a moment, as RFC 3339 writes it.
pub async fn query_at(url: &str, promql: &str, at: &str) -> Result<Vec<Series>> {
    ask(url, &[("query", promql), ("time", at)]).await
}

async fn ask(url: &str, parameters: &[(&str, &str)]) -> Result<Vec<Series>> {
    let promql = parameters.first().map_or("", |(_, promql)| promql);
    let request = http_client(None)?.get(format!("{url}/api/v1/query")).query(parameters);
    let answer: Answer = request.send().await?.json().await.context("Prometheus answered with no JSON")?;
    let data = answer.data.with_context(|| format!("no answer to {promql}: {}", answer.error.unwrap_or_default()))?;
    ensure!(data.kind == "vector", "{promql} yields a {}, not a vector", data.kind);
    let found: Vec<Found> = serde_json::from_value(data.result).context("a vector that can't be read")?;
    found.into_iter().map(Found::into_series).collect()
}

fn written(dir: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let file = dir.join(name);
    fs::write(&file, text).with_context(|| format!("failed to write \"{}\"", file.display()))?;
    Ok(file)
}

fn configuration(targets: &[(&str, String)]) -> Result<String> {
    let jobs: Vec<_> = targets
        .iter()
        .map(|(job, target)| json!({"job_name": job, "static_configs": [{"targets": [target]}]}))
        .collect();
    let all = json!({"global": {"scrape_interval": SCRAPE_EVERY}, "scrape_configs": jobs});
    crds::yaml::to_string(&all).context("failed to write Prometheus's configuration")
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    data: Option<Data>,
    #[serde(default)]
    error: Option<String>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    kind: String,
    result: serde_json::Value,
}

#[derive(Deserialize)]
struct Found {
    metric: BTreeMap<String, String>,
    /// Time, and the value as text.
    value: (f64, String),
}

impl Found {
    fn into_series(self) -> Result<Series> {
        let (_, text) = self.value;
        let value = text.parse().with_context(|| format!("\"{text}\" is no number"))?;
        Ok(Series { labels: self.metric, value })
    }
}
