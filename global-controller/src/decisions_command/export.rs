//! `decisions export`: the latest decisions as one file.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::source::Source;

/// Arguments of `decisions export`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    source: Source,
    /// The file to write; one that is there is replaced.
    #[arg(long)]
    to: PathBuf,
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let Arguments { source, to } = arguments;
    let exported = source.read().await?;
    let text = serde_json::to_vec(&exported).context("failed to write JSON")?;
    std::fs::write(&to, text).with_context(|| format!("failed to write '{}'", to.display()))?;
    println!("{} decisions are in {}", exported.decisions.len(), to.display());
    Ok(())
}
