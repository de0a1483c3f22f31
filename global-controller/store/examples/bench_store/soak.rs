//! This store alone under load: does anyone doubt its leader? And single loads, to be profiled.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::certificates::Authority;
use crate::etcd::Etcd;
use crate::load::{self, Work};
use crate::ours::{Ours, Own};
use crate::plan;
use crate::side::{Mode, Side};

/// More than what keeps both processors busy.
const CLIENTS: usize = 64;
/// Between two lines.
const LINE: Duration = Duration::from_mins(1);
/// Before a single load.
const WARM_UP: Duration = Duration::from_secs(1);

/// So many minutes of full load; fails if the term or the leader changed.
pub async fn run(minutes: u64) -> Result<ExitCode> {
    let root = tempfile::Builder::new().prefix("bench-store-").tempdir()?;
    let ours = Ours::start(root.path(), &Authority::new(root.path())?, Own::Leads).await?;
    let side = Side::ours(&ours, Mode::InProcess).await?;
    let first = ours.terms();
    println!("{CLIENTS} clients for {minutes} minutes, terms of the replicas at the start: {first:?}");
    let begun = Instant::now();
    let mut changes = 0;
    let mut before = first;
    for minute in 1..=minutes {
        let figures = load::run(&side, Work::Put, CLIENTS, LINE).await?;
        let now = ours.terms();
        if now != before {
            changes += 1;
            before.clone_from(&now);
        }
        println!(
            "minute {minute:>3}: {:>8.0} puts/s, p50 {:.2} ms, p99 {:.2} ms, failed {}, terms {now:?}, changes {changes}",
            figures.per_second, figures.p50, figures.p99, figures.failed
        );
    }
    ours.close().await;
    if changes > 0 {
        bail!("the term or the leader changed in {changes} of {minutes} minutes");
    }
    println!("no election in {} minutes", begun.elapsed().as_secs() / 60);
    Ok(ExitCode::SUCCESS)
}

/// One load, with the ids of the processes, for a profiler.
pub async fn cell(mode: &str, clients: usize, seconds: u64) -> Result<ExitCode> {
    let root = tempfile::Builder::new().prefix("bench-store-").tempdir()?;
    let authority = Authority::new(root.path())?;
    let (mode, own) = match mode {
        "in-process" => (Mode::InProcess, Own::Leads),
        "network" => (Mode::Network, Own::None),
        "etcd" => {
            let etcd = Etcd::start(&plan::etcd()?, root.path(), &authority).await?;
            return one_load(&Side::etcd(&etcd).await?, clients, seconds).await;
        }
        other => bail!("'{other}' is no mode"),
    };
    let ours = Ours::start(root.path(), &authority, own).await?;
    let code = one_load(&Side::ours(&ours, mode).await?, clients, seconds).await?;
    ours.close().await;
    Ok(code)
}

async fn one_load(side: &Side, clients: usize, seconds: u64) -> Result<ExitCode> {
    println!("load in {}, servers in {:?}, leader in {:?}", std::process::id(), side.servers, side.leader);
    load::run(side, Work::Put, clients, WARM_UP).await?;
    println!("{:?}", load::run(side, Work::Put, clients, Duration::from_secs(seconds)).await?);
    Ok(ExitCode::SUCCESS)
}
