//! `kubectl clusterrollout`: what a rollout waits for, and what people do to its runs.

mod act;
mod arguments;
mod controller;
mod explain;
mod history;
mod hub;
mod output;
mod pause;
mod plan;
mod watch;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;

use arguments::{Arguments, Command, Reasoned};
use hub::Hub;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // kube's client takes the process's provider, and several may be compiled in.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match run(arguments).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<ExitCode> {
    let hub = Hub::connect(&arguments.connection).await?;
    match arguments.command {
        Command::Get { name, output } => output::get(&hub, name.as_deref(), output).await?,
        Command::Watch { name, output } => watch::run(&hub, name.as_deref(), output).await?,
        Command::Plan(planned) => plan::run(&hub, &planned).await?,
        Command::Explain { name } => print!("{}", explain::text(&hub.rollout(&name).await?)),
        Command::History { name, controller, output } => history::print(&controller.url, &name, output).await?,
        Command::Undo { name, controller, undo } => history::undo(&hub, &controller.url, &name, &undo).await?,
        Command::Approve { name, step, act } => return act::approve(&hub, &name, step, &act).await,
        Command::Abort { name, act } => return act::abort(&hub, &name, &act).await,
        Command::Retry { name, catch_up, act } => return act::retry(&hub, &name, catch_up, &act).await,
        Command::AcceptHub { name, act } => return act::accept_hub(&hub, &name, &act).await,
        Command::Pause { name } => pause::set(&hub, &name, true).await?,
        Command::Resume { name, why: Some(why), waiting } => {
            return act::resume(&hub, &name, &Reasoned { why, waiting }).await;
        }
        Command::Resume { name, why: None, waiting: _ } => pause::end(&hub, &name).await?,
    }
    Ok(ExitCode::SUCCESS)
}
