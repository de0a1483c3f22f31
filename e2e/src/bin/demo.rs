//! Brings a fleet up, rolls a good image out over it and then two bad ones, shows it live, and sums up.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use clap::builder::FalseyValueParser;
use e2e::demo::{Scenario, Screen, look_further, play};
use e2e::playground::{Options, Playground};
use e2e::progress::Progress;
use e2e::repository;
use e2e::signals::Signals;

/// Rollouts over real clusters, on this machine: a good one, and bad ones that go back by themselves: one that never
/// becomes ready, and one of which Prometheus says that it fails requests.
#[derive(Parser)]
struct Arguments {
    /// Number of members.
    #[arg(long, default_value_t = 4)]
    members: usize,
    /// Number of controllers: 1, 3 or 5.
    #[arg(long, default_value_t = 3)]
    controllers: usize,
    /// Folder for data, logs and state.json; default: .playground in the repository.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// End after the rollouts, with exit code 0 only if all ended on every member as they should.
    #[arg(long, env = "ONCE", value_parser = FalseyValueParser::new())]
    once: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    e2e::exit(run().await)
}

async fn run() -> Result<ExitCode> {
    let Arguments { members, controllers, dir, once } = Arguments::parse();
    let mut signals = Signals::new()?;
    let screen = Screen::new();
    let lines = screen.clone();
    let progress = Progress::new(move |line| lines.line(line));
    let dir = dir.unwrap_or_else(|| repository().join(".playground"));
    let options = Options::new(dir, members, controllers).with_prometheus().with_alertmanagers(1, &[]);
    let playground = tokio::select! {
        playground = Playground::up(options, progress.clone()) => playground?,
        () = signals.any() => {
            progress.line("stopped before all was ready; no process is left");
            return Ok(ExitCode::FAILURE);
        }
    };
    let outcome = tokio::select! {
        outcome = play_all(&playground, &screen) => Some(outcome),
        () = signals.any() => None,
    };
    screen.finish();
    if let Some(Err(error)) = &outcome {
        screen.line(&format!("the demo failed: {error:#}"));
    }
    look_further(&playground, &screen);
    if !once && outcome.is_some() {
        screen.line("The playground stays up; Ctrl-C ends it.");
        signals.any().await;
    }
    playground.stop().await;
    let as_expected = matches!(outcome, Some(Ok(true)));
    Ok(if as_expected { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Plays one after the other, each on what the one before has left; whether all ended as they should.
async fn play_all(playground: &Playground, screen: &Screen) -> Result<bool> {
    let mut as_expected = true;
    for scenario in [Scenario::good(), Scenario::bad(), Scenario::lossy()] {
        as_expected &= play(playground, &scenario, screen).await?.as_expected;
    }
    Ok(as_expected)
}
