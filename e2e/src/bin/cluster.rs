//! Starts one cluster of its own, prints its kubeconfig and process ids, and runs until SIGINT or SIGTERM.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use e2e::control_plane::Role;
use e2e::harness;
use e2e::signals::Signals;

/// One cluster: an API server with controllers, a scheduler and nodes.
#[derive(Parser)]
struct Arguments {
    /// Folder for its data and logs.
    #[arg(long)]
    dir: PathBuf,
    /// Number of nodes; 0 is a cluster that only keeps objects.
    #[arg(long, default_value_t = 1)]
    nodes: u32,
    /// Panic when it is ready, to show that nothing is left behind.
    #[arg(long, hide = true)]
    panic_when_ready: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    e2e::exit(run().await)
}

async fn run() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut signals = Signals::new()?;
    let role = if arguments.nodes == 0 { Role::Hub } else { Role::Member { nodes: arguments.nodes } };
    let start = harness::start_cluster(&arguments.dir, "cluster", role);
    let cluster = tokio::select! {
        cluster = start => cluster?,
        () = signals.any() => return Ok(ExitCode::SUCCESS),
    };
    for part in cluster.parts() {
        println!("{} pid {}", part.name(), part.pid().unwrap_or_default());
    }
    println!("kubeconfig {}", cluster.kubeconfig().display());
    assert!(!arguments.panic_when_ready, "asked to panic");
    signals.any().await;
    cluster.stop().await;
    Ok(ExitCode::SUCCESS)
}
