//! `global-controller decisions …`: what was decided, to take along and to take again.
//!
//! Deciding is a function, and each record holds what its decision was taken on. So a decision that surprised can be taken
//! again on another machine, byte for byte, by this very program: with the version that decided it must come out the same,
//! with another it shows what that one would have done.

mod export;
mod replay;
mod source;

pub(crate) use source::{PAGE, Taken, TakenPage};

use anyhow::Result;
use clap::Subcommand;

/// What to do with recorded decisions.
#[derive(Debug, Subcommand)]
pub enum DecisionsCommand {
    /// Writes the latest decisions with all that they were taken on to a file, for a bug report. It holds names, labels,
    /// images and queries of the fleet and who did what to a run, and no credentials.
    Export(export::Arguments),
    /// Takes recorded decisions again and says which come out different. Fails if any does.
    Replay(replay::Arguments),
}

/// Does it.
pub async fn run(command: DecisionsCommand) -> Result<()> {
    match command {
        DecisionsCommand::Export(arguments) => export::run(arguments).await,
        DecisionsCommand::Replay(arguments) => replay::run(arguments).await,
    }
}
