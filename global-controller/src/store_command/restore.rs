//! `store restore`: once for each replica, with the same file, before any of them is started.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use federated_store::backup::{Backup, Summary};
use federated_store::restore::{self, Request};
use serde::Serialize;

use super::output::{self, Output};
use super::{Configured, now_seconds};
use crate::keys;

/// Arguments of `store restore`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    configured: Configured,
    /// The backup.
    #[arg(long)]
    from: PathBuf,
    /// Name of the store in the backup, if the store was given another name since.
    #[arg(long)]
    renamed_from: Option<String>,
    /// The highest epoch known elsewhere, as in an agent's status; the backup's own and the time are known.
    #[arg(long, default_value_t = 0)]
    known_epoch: u64,
    /// How the result is printed.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Serialize)]
struct Restored {
    replica: String,
    folder: PathBuf,
    epoch: u64,
    backup: Summary,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let Arguments { configured, from, renamed_from, known_epoch, output } = arguments;
    let config = configured.read()?;
    if config.store.etcd.is_some() {
        bail!("the store is an etcd: restore it with etcdctl");
    }
    let backup = Backup::read(from).context("the backup can't be used; nothing was changed")?;
    let known = (*known_epoch).max(backup.summary().epoch).max(controllers_epoch(&backup)?);
    let epoch = restore::next_epoch(now_seconds(), known);
    let replica = config.store.replicas.iter().find(|replica| replica.id == config.id);
    let request = Request {
        cluster: config.store.cluster.clone(),
        renamed_from: renamed_from.clone(),
        id: config.id.clone(),
        number: replica.context("this replica is not configured")?.number,
        data_dir: config.data_dir.clone(),
        epoch,
    };
    restore::prepare(&backup, &request)?;
    let restored = Restored { replica: config.id, folder: config.data_dir, epoch, backup: backup.summary().clone() };
    output.print(&restored, |Restored { replica, folder, epoch, backup }| {
        format!(
            "{}\nrestored  replica {replica} in {}, epoch {epoch} or the highest of all replicas'\n\
             next      restore the other replicas from the same file, then start all of them",
            output::summary(backup),
            folder.display()
        )
    })
}

/// The epoch that the controller had put on assignments.
fn controllers_epoch(backup: &Backup) -> Result<u64> {
    let Some(found) = backup.get(keys::EPOCH) else { return Ok(0) };
    serde_json::from_slice(&found.value).with_context(|| format!("'{}' in the backup is no number", keys::EPOCH))
}
