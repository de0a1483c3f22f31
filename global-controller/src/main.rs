//! The controller's program.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use global_controller::ask_command;
use global_controller::decisions_command::{self, DecisionsCommand};
use global_controller::store_command::{self, StoreCommand};
use global_controller::{Config, init_logging, serve};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Rolls changes out over a fleet of Kubernetes clusters.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs one replica of the controller until SIGINT or SIGTERM.
    Serve {
        /// Configuration: a YAML file, read again when it changes.
        #[arg(long)]
        config: PathBuf,
        /// Id of this replica, one of store.replicas; wins over the file's.
        #[arg(long)]
        id: Option<String>,
        /// An etcd as the store, etcd://host:port[,host:port]...; wins over the file's store.etcd.endpoints.
        #[arg(long)]
        store: Option<String>,
    },
    /// Puts a query to a Prometheus of the configuration as a gate would, and prints the answer.
    Ask(ask_command::Arguments),
    /// Backs up, restores or inspects the embedded store.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Exports what was decided, and takes recorded decisions again.
    #[command(subcommand)]
    Decisions(DecisionsCommand),
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Serve { config, id, store } => run(config, id, store).await,
        Command::Ask(arguments) => ask_command::run(arguments).await,
        Command::Store(command) => store_command::run(command).await,
        Command::Decisions(command) => decisions_command::run(command).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(path: PathBuf, id: Option<String>, store: Option<String>) -> Result<()> {
    let config = Config::read(&path, id.as_deref(), store.as_deref())
        .with_context(|| format!("unfit configuration '{}'", path.display()))?;
    init_logging(config.log_format);
    // kube's client takes the process's provider, and several may be compiled in.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let stop = CancellationToken::new();
    let mut terminated = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    let stopping = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
        tracing::info!("stopping");
        stopping.cancel();
    });
    serve(config, path, stop).await?;
    Ok(())
}
