//! Brings a whole fleet up on this machine, and stops and starts parts of it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use e2e::playground::{Action, Options, Playground, ask};
use e2e::progress::Progress;
use e2e::signals::Signals;

/// A fleet of real clusters on this machine.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Brings everything up, writes DIR/state.json when all is ready, and runs until SIGINT or SIGTERM.
    Up(Up),
    /// Ends one part of the running playground, such as hub/apiserver, member-2/agent or controller-1.
    Stop(One),
    /// Brings one part back on its old ports and data, and returns when it is ready.
    Start(One),
}

#[derive(Args)]
struct Up {
    /// Number of members, named member-1 and so on.
    #[arg(long, default_value_t = 4, conflicts_with = "names")]
    members: usize,
    /// Names of the members, separated by commas.
    #[arg(long, value_delimiter = ',')]
    names: Vec<String>,
    /// Number of controllers: 1, 3 or 5.
    #[arg(long, default_value_t = 3)]
    controllers: usize,
    /// Members whose agent gets no webhook, separated by commas: all goes over the stream that it opens.
    #[arg(long, value_delimiter = ',')]
    no_webhook: Vec<String>,
    /// Nodes of each member.
    #[arg(long, default_value_t = 2)]
    nodes: u32,
    /// Also run a Prometheus, and simulated traffic that it scrapes; DIR/traffic.json changes that.
    #[arg(long)]
    prometheus: bool,
    /// Also run an Alertmanager, which the controllers tell.
    #[arg(long)]
    alertmanager: bool,
    /// Folder for data, logs and state.json.
    #[arg(long)]
    dir: PathBuf,
}

#[derive(Args)]
struct One {
    /// The part.
    part: String,
    /// Folder of the running playground.
    #[arg(long)]
    dir: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Up(up) => run(up).await,
        Command::Stop(One { part, dir }) => ask(&dir, Action::Stop, &part).await,
        Command::Start(One { part, dir }) => ask(&dir, Action::Start, &part).await,
    };
    e2e::exit(result.map(|()| ExitCode::SUCCESS))
}

async fn run(up: Up) -> Result<()> {
    let Up { members, names, controllers, no_webhook, nodes, prometheus, alertmanager, dir } = up;
    let mut options = Options::new(dir, members, controllers);
    if !names.is_empty() {
        options.members = names;
    }
    options.no_webhook = no_webhook;
    options.nodes = nodes;
    options.prometheus = prometheus;
    options.alertmanagers = usize::from(alertmanager);
    let progress = Progress::stdout();
    let mut signals = Signals::new()?;
    // A signal during the start drops the unfinished fleet, which ends its processes.
    let playground = tokio::select! {
        playground = Playground::up(options, progress.clone()) => playground?,
        () = signals.any() => {
            progress.line("stopped before all was ready; no process is left");
            return Ok(());
        }
    };
    progress.line(format!("ready: {}", playground.dir().join("state.json").display()));
    signals.any().await;
    playground.stop().await;
    Ok(())
}
