//! `cluster-agent`: parses the command line and runs the agent until it is told to stop.

use anyhow::{Context as _, anyhow};
use clap::Parser as _;
use cluster_agent::options::Options;
use cluster_agent::{agent, logging};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Several providers may be compiled in; the client for the API server takes the process's own.
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow!("failed to choose the provider of cryptography"))?;
    let options = Options::parse();
    logging::init(options.log_format);
    let settings = options.validate()?;
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    let stopping = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("told to stop");
        stopping.cancel();
    });
    Ok(agent::run(settings, stop).await?)
}
