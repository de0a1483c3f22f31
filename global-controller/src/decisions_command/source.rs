//! Where recorded decisions come from: a running controller, a stopped replica's folder, or a file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::ArgGroup;
use federated_store::inspect;
use serde::{Deserialize, Serialize};

use crate::keys::{self, Key};
use crate::records::Replayable;

/// Version of the file's format. A reader refuses a higher one.
const FORMAT: u32 = 1;
/// Records of one answer: each holds half a MiB at most.
pub(crate) const PAGE: usize = 50;
/// Of one request; the answer is read from the store.
const DEADLINE: Duration = Duration::from_secs(30);

/// Where decisions are read from.
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("source").required(true).args(["url", "data_dir", "file"])))]
pub(super) struct Source {
    /// Base URL of a running controller's listener for people, as in `http://127.0.0.1:8080`.
    #[arg(long)]
    url: Option<String>,
    /// Folder of a replica that doesn't run (dataDir of its configuration). Nothing in it is changed.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// A file that `decisions export` wrote.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Name of a rollout: its decisions only.
    #[arg(long)]
    rollout: Option<String>,
}

/// What a file holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Exported {
    format: u32,
    /// Version of the program that wrote it.
    written_by: String,
    /// By rollout, and in their order.
    pub(super) decisions: Vec<Taken>,
}

/// One decision, and whose it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Taken {
    /// metadata.uid of the rollout.
    pub(crate) uid: String,
    /// The decision, and what it was taken on.
    #[serde(flatten)]
    pub(crate) record: Replayable,
}

/// Some decisions of a rollout.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TakenPage {
    /// In their order.
    pub(crate) decisions: Vec<Taken>,
    /// Whether there are later ones.
    pub(crate) more: bool,
}

impl Exported {
    fn new(mut decisions: Vec<Taken>) -> Self {
        let place = |one: &Taken| (one.record.decision.rollout.clone(), one.uid.clone(), one.record.decision.number);
        decisions.sort_by_key(place);
        Self { format: FORMAT, written_by: env!("CARGO_PKG_VERSION").to_owned(), decisions }
    }
}

impl Source {
    /// Reads them.
    pub(super) async fn read(self) -> Result<Exported> {
        let Self { url, data_dir, file, rollout } = self;
        let mut exported = match (url, data_dir, file) {
            (Some(url), _, _) => Exported::new(ask(&url, rollout.as_deref()).await?),
            (_, Some(folder), _) => Exported::new(read_folder(&folder)?),
            (_, _, Some(file)) => read_file(&file)?,
            (None, None, None) => bail!("one of --url, --data-dir and --file is needed"),
        };
        if let Some(name) = rollout {
            exported.decisions.retain(|one| one.record.decision.rollout == name);
            ensure!(!exported.decisions.is_empty(), "there are no decisions about a rollout '{name}'");
        }
        Ok(exported)
    }
}

async fn ask(url: &str, rollout: Option<&str>) -> Result<Vec<Taken>> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = url.trim_end_matches('/');
    let builder = reqwest::Client::builder().timeout(DEADLINE);
    // Plain HTTP needs no authorities, and a machine may have none.
    let builder = if url.starts_with("https:") { builder } else { builder.tls_certs_only([]) };
    let client = builder.build().context("failed to make an HTTP client")?;
    if let Some(name) = rollout {
        let found = decisions_of(&client, url, name).await?;
        return found.with_context(|| format!("{url} knows no rollout '{name}'"));
    }
    let mut decisions = Vec::new();
    for name in rollouts(&client, url).await? {
        // One that was deleted since takes its decisions along.
        decisions.extend(decisions_of(&client, url, &name).await?.unwrap_or_default());
    }
    Ok(decisions)
}

async fn rollouts(client: &reqwest::Client, url: &str) -> Result<BTreeSet<String>> {
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    let named: Option<Vec<Named>> = get(client, &format!("{url}/api/v1/rollouts"), &[]).await?;
    Ok(named.unwrap_or_default().into_iter().map(|one| one.name).collect())
}

/// None: there is no such rollout, or not any more.
async fn decisions_of(client: &reqwest::Client, url: &str, rollout: &str) -> Result<Option<Vec<Taken>>> {
    let mut decisions: Vec<Taken> = Vec::new();
    loop {
        let after = decisions.last().map_or(0, |last| last.record.decision.number).to_string();
        let query = [("rollout", rollout), ("after", &after)];
        let page = get(client, &format!("{url}/api/v1/decisions/replay"), &query).await?;
        let Some(TakenPage { decisions: some, more }) = page else { return Ok(None) };
        let more = more && !some.is_empty();
        decisions.extend(some);
        if !more {
            return Ok(Some(decisions));
        }
    }
}

/// The answer; none where there is nothing (404).
async fn get<T: for<'de> Deserialize<'de>>(
    client: &reqwest::Client,
    url: &str,
    query: &[(&str, &str)],
) -> Result<Option<T>> {
    let answer = client.get(url).query(query).send().await.with_context(|| format!("failed to ask {url}"))?;
    let status = answer.status();
    let body = answer.bytes().await.with_context(|| format!("failed to read the answer of {url}"))?;
    if status == reqwest::StatusCode::NOT_FOUND {
        return Ok(None);
    }
    ensure!(status.is_success(), "{url} answered {status}: {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).map(Some).with_context(|| format!("the answer of {url} is not what was expected"))
}

fn read_folder(folder: &Path) -> Result<Vec<Taken>> {
    let contents = inspect::contents(folder, &std::env::temp_dir())?;
    let (mut decisions, mut after) = (Vec::new(), None::<String>);
    loop {
        let (items, more) = contents.page(keys::DECISIONS, after.as_deref(), PAGE);
        after = items.last().map(|item| item.key.clone());
        for item in items {
            let Some(Key::Decision { uid, .. }) = Key::parse(&item.key) else { continue };
            let record = serde_json::from_slice(&item.value);
            let record = record.with_context(|| format!("the record '{}' can't be read", item.key))?;
            decisions.push(Taken { uid: uid.to_owned(), record });
        }
        if !more {
            return Ok(decisions);
        }
    }
}

fn read_file(file: &Path) -> Result<Exported> {
    let text = std::fs::read(file).with_context(|| format!("failed to read '{}'", file.display()))?;
    let exported: Exported = serde_json::from_slice(&text)
        .with_context(|| format!("'{}' is no file of `decisions export`", file.display()))?;
    let found = exported.format;
    ensure!(found <= FORMAT, "'{}' has format {found}, this program reads up to {FORMAT}", file.display());
    Ok(exported)
}
