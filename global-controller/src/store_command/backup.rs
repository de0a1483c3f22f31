//! `store backup`: from a running store by default, from the folder of a stopped replica on request.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use federated_store::backup::{self, Entries};

use super::output::{self, Output};
use super::{Connection, now_seconds, read_config};

/// Arguments of `store backup`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Configuration of a replica whose certificate may be used: any replica that answers gives the backup.
    #[arg(long, required_unless_present = "from_folder")]
    config: Option<PathBuf>,
    /// Id of that replica; wins over the file's.
    #[arg(long)]
    id: Option<String>,
    /// Folder of a replica that doesn't run, instead of a running store.
    #[arg(long, conflicts_with_all = ["config", "id"])]
    from_folder: Option<PathBuf>,
    /// With --from-folder: also entries not known there to be committed. For when no majority can run: of the folders
    /// of a majority, the one whose log ends with the highest term, and among those at the highest index, holds every
    /// acknowledged write. Where each ends is what 'store inspect --folder' says; the promised term doesn't count.
    #[arg(long, requires = "from_folder", conflicts_with = "config")]
    all_entries: bool,
    /// File to write; must not exist.
    #[arg(long)]
    to: PathBuf,
    /// How the result is printed.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let Arguments { config, id, from_folder, all_entries, to, output } = arguments;
    let summary = match (from_folder, config) {
        (Some(folder), _) => {
            let entries = if all_entries { Entries::All } else { Entries::Committed };
            let place = std::env::temp_dir();
            backup::from_folder(&folder, entries, &to, &place, now_seconds())?
        }
        (None, config) => {
            let config = config.context("either --config or --from-folder is needed")?;
            let connection = Connection::new(&read_config(&config, id.as_deref())?)?;
            backup::fetch(&connection.client, &connection.cluster, &connection.urls, &to).await?
        }
    };
    output.print(&summary, output::summary)
}
