//! This store and etcd side by side: `make bench-store`, or `QUICK=1 make bench-store`.
//!
//! Three replicas of each on loopback, fsync and mutual TLS on for both, files on the same disk (`TMPDIR`), 256-byte
//! values, one after the other in the order ours, etcd, etcd, ours. Ratios within a pair say more than figures: those
//! differ between machines and hours. `ETCD` names etcd's program.
//!
//! - `bench_store` runs all measures, prints the table and writes the JSON that `OUT` names.
//! - `bench_store again kill|million` runs that part again, and replaces its lines in the JSON of an earlier run.
//! - `bench_store soak MINUTES` puts a full load on this store and fails if its leader changes.
//! - `bench_store cell in-process|network|etcd CLIENTS SECONDS` is one load on one side alone, to be profiled.
//! - `bench_store replica FOLDER` is a replica of ours; the other commands start it.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod certificates;
mod etcd;
mod handle;
mod kill;
mod load;
mod machine;
mod measures;
mod million;
mod ours;
mod plan;
mod process;
mod remote;
mod replica;
mod report;
mod service;
mod side;
mod soak;
mod watchers;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::plan::Plan;

/// Child processes end with the thread that started them, and this is the one that lives as long as the program: all
/// of them are started from here, never from a task.
fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_name("load").enable_all().build();
    let done = runtime.context("failed to start the runtime").and_then(|runtime| runtime.block_on(run()));
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => measures::run(&Plan::from_environment()?).await,
        ["again", part] => measures::again(&Plan::from_environment()?, part).await,
        ["replica", folder] => replica::run(Path::new(folder)).await,
        ["soak", minutes] => soak::run(minutes.parse().context("MINUTES is no number")?).await,
        ["cell", mode, clients, seconds] => {
            let clients = clients.parse().context("CLIENTS is no number")?;
            soak::cell(mode, clients, seconds.parse().context("SECONDS is no number")?).await
        }
        _ => bail!(
            "usage: bench_store [again kill|million | soak MINUTES | cell in-process|network|etcd CLIENTS SECONDS]"
        ),
    }
}
