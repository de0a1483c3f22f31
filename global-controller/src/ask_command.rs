//! `global-controller ask`: puts a query to a configured Prometheus as a gate would, for people who set one up.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::Instant;

use crate::clock;
use crate::config::{Config, Credentials, SourceConfig};
use crate::measure::{Answer, Figures, Labels, Sources};
use crate::remote::Secrets;
use crate::serve::hub_client;

/// Longest wait for an answer, with all retries: a person watches.
const DEADLINE: Duration = Duration::from_mins(2);

/// What to ask, and whom.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Configuration of the controller: a YAML file.
    #[arg(long)]
    config: PathBuf,
    /// Id of this replica, one of store.replicas; wins over the file's.
    #[arg(long)]
    id: Option<String>,
    /// Name of one of prometheus.sources; default: the first.
    #[arg(long)]
    source: Option<String>,
    /// The query, without placeholders.
    query: String,
}

/// Asks, and prints one line for each series of the answer. No answer is an error.
pub async fn run(arguments: Arguments) -> Result<()> {
    let Arguments { config: path, id, source, query } = arguments;
    let config = Config::read(&path, id.as_deref(), None)
        .with_context(|| format!("unfit configuration '{}'", path.display()))?;
    let source = find(&config.settings.sources, source.as_deref())?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let secrets = match source.credentials {
        Credentials::Secret { .. } => Secrets::of(hub_client(&config).await?, &config.hub.namespace),
        _ => Secrets::none(),
    };
    let sources = Sources::new(std::slice::from_ref(source), secrets, Figures::default());
    match sources.ask(&source.name, &query, clock::now_millis(), Instant::now() + DEADLINE).await {
        Answer::Failed(failure) => bail!("source '{}' gave no answer: {failure}", source.name),
        Answer::Scalar(value) => println!("{value}"),
        Answer::Vector(series) if series.is_empty() => eprintln!("no series"),
        Answer::Vector(series) => series.iter().for_each(|(labels, value)| println!("{} {value}", shown(labels))),
    }
    Ok(())
}

fn find<'a>(sources: &'a [SourceConfig], wanted: Option<&str>) -> Result<&'a SourceConfig> {
    let Some(wanted) = wanted else {
        return sources.first().context("the configuration has no prometheus.sources");
    };
    let found = sources.iter().find(|source| source.name == wanted);
    found.with_context(|| {
        let names: Vec<_> = sources.iter().map(|source| source.name.as_str()).collect();
        format!("there is no source '{wanted}'; there are: {}", names.join(", "))
    })
}

/// As Prometheus writes labels.
fn shown(labels: &Labels) -> String {
    let pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(","))
}
