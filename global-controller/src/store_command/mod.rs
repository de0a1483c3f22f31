//! `global-controller store …`: tools for the embedded store of a running or stopped controller.
//!
//! Each subcommand is a file of its own: its arguments, and what it does with them. What they print goes to standard
//! output, as text or JSON; errors go to the caller.

mod backup;
mod inspect;
mod members;
mod output;
mod restore;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use clap::Subcommand;
use mutual_tls::Role;

use crate::config::Config;
use crate::serve::load_credentials;

/// What to do with the store.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Writes the store's state as it is now to a new file.
    Backup(backup::Arguments),
    /// Prepares this replica's empty folder from a backup, as the beginning of a new store.
    Restore(restore::Arguments),
    /// Shows what a replica's folder, or a running store, holds, and what is damaged.
    Inspect(inspect::Arguments),
    /// Shows and changes who belongs to the running store.
    #[command(subcommand)]
    Members(members::MembersCommand),
}

/// Does it.
pub async fn run(command: StoreCommand) -> Result<()> {
    match command {
        StoreCommand::Backup(arguments) => backup::run(arguments).await,
        StoreCommand::Restore(arguments) => restore::run(&arguments),
        StoreCommand::Inspect(arguments) => inspect::run(arguments).await,
        StoreCommand::Members(command) => members::run(command).await,
    }
}

/// The controller's configuration, as every subcommand that needs it takes it.
#[derive(Debug, clap::Args)]
struct Configured {
    /// Configuration of the controller: a YAML file.
    #[arg(long)]
    config: PathBuf,
    /// Id of this replica, one of store.replicas; wins over the file's.
    #[arg(long)]
    id: Option<String>,
}

impl Configured {
    fn read(&self) -> Result<Config> {
        read_config(&self.config, self.id.as_deref())
    }
}

fn read_config(path: &std::path::Path, id: Option<&str>) -> Result<Config> {
    Config::read(path, id, None).with_context(|| format!("unfit configuration '{}'", path.display()))
}

/// What it takes to speak to the replicas of a running store.
struct Connection {
    client: reqwest::Client,
    cluster: String,
    urls: Vec<String>,
}

impl Connection {
    /// With this replica's own certificate.
    fn new(config: &Config) -> Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = mutual_tls::client(&load_credentials(config)?, Role::Replica).context("failed to set up TLS")?;
        let urls = config.store.replicas.iter().map(|replica| replica.url.clone()).collect();
        Ok(Self { client, cluster: config.store.cluster.clone(), urls })
    }
}

/// Seconds since 1970 by this machine's clock.
fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
#[path = "store_command_test.rs"]
mod tests;
