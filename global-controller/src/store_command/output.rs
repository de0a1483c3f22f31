//! Text for people, JSON for programs.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use federated_store::backup::Summary;
use serde::Serialize;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

impl Output {
    /// Prints a value, as `text` or as JSON.
    pub(super) fn print<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
        let text = match self {
            Self::Text => text(value),
            Self::Json => serde_json::to_string_pretty(value).context("failed to write JSON")?,
        };
        write(format!("{}\n", text.trim_end()).as_bytes())
    }
}

/// Writes to standard output. A reader that has gone, as `head` does, is no failure.
pub(super) fn write(bytes: &[u8]) -> Result<()> {
    match std::io::stdout().lock().write_all(bytes) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("failed to write to standard output"),
    }
}

/// A backup in a few lines.
pub(super) fn summary(summary: &Summary) -> String {
    let Summary { cluster, replica, taken_seconds, term, index, revision, epoch, keys, bytes, checksum } = summary;
    format!(
        "cluster   {cluster}, from replica {replica} at {taken_seconds} s after 1970\n\
         state     revision {revision}, {keys} keys, epoch {epoch}, up to index {index} of term {term}\n\
         file      {bytes} bytes, checksum {checksum}"
    )
}
