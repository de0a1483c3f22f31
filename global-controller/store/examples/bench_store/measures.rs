//! The whole run: every measure, ours and etcd in turn.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::certificates::Authority;
use crate::etcd::Etcd;
use crate::load::{self, Figures, Work};
use crate::ours::{Ours, Own};
use crate::plan::Plan;
use crate::report::Report;
use crate::side::{CONNECTIONS, Mode, Side};
use crate::{kill, million, watchers};

/// One shows latency, 1,000 what group commit is worth.
const PUT_CLIENTS: [usize; 5] = [1, 16, 64, 256, 1_000];
const GET_CLIENTS: [usize; 2] = [64, 1_000];
/// Keys of one page, on both sides: with 256-byte values it stays below the 4 MiB that etcd's client decodes.
const PAGE: usize = 10_000;
/// Keys of one transaction that fills the range: the bound here is 100 and etcd's 128.
const FILL: usize = 100;

/// Ours first in even pairs, etcd first in odd ones.
pub fn order(pair: usize) -> [Who; 2] {
    if pair.is_multiple_of(2) { [Who::Ours, Who::Etcd] } else { [Who::Etcd, Who::Ours] }
}

/// A side's name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// This store.
    Ours,
    /// The other one.
    Etcd,
}

/// Both sides of one mode, and what is found.
pub struct Bench<'a> {
    /// How much.
    pub plan: &'a Plan,
    /// How ours is reached.
    pub mode: Mode,
    /// Ours.
    pub ours: Side,
    /// etcd.
    pub etcd: Side,
    /// Where results go.
    pub report: &'a mut Report,
}

impl Bench<'_> {
    /// A side by name.
    pub fn side(&self, who: Who) -> &Side {
        match who {
            Who::Ours => &self.ours,
            Who::Etcd => &self.etcd,
        }
    }

    /// Lets both sides come to rest.
    pub async fn settle(&self) {
        tokio::time::sleep(self.plan.settle).await;
    }
}

/// Runs everything.
pub async fn run(plan: &Plan) -> Result<ExitCode> {
    let begun = Instant::now();
    let root = tempfile::Builder::new().prefix("bench-store-").tempdir()?;
    let mut report = Report::default();
    println!("{} pairs of each, {} s a load, files in {}", plan.pairs, plan.window.as_secs(), root.path().display());
    for mode in [Mode::InProcess, Mode::Network] {
        let folder = root.path().join(mode.name());
        let authority = Authority::new(&folder)?;
        let own = if mode == Mode::InProcess { Own::Leads } else { Own::None };
        let ours = Ours::start(&folder, &authority, own).await?;
        let etcd = Etcd::start(&plan.etcd, &folder, &authority).await?;
        let sides = (Side::ours(&ours, mode).await?, Side::etcd(&etcd).await?);
        let mut bench = Bench { plan, mode, ours: sides.0, etcd: sides.1, report: &mut report };
        watchers::memory(&mut bench).await?;
        for clients in PUT_CLIENTS {
            loads(&mut bench, Work::Put, clients).await?;
        }
        for clients in GET_CLIENTS {
            loads(&mut bench, Work::Get, clients).await?;
        }
        ranges(&mut bench).await?;
        watchers::fanout(&mut bench).await?;
        drop(bench);
        ours.close().await;
        drop(etcd);
        std::fs::remove_dir_all(&folder).context("failed to remove a folder")?;
    }
    kill::run(plan, root.path(), &mut report).await?;
    million::run(plan, root.path(), &mut report).await?;
    notes(&mut report, begun.elapsed().as_secs());
    report.finish(&plan.out)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs one part again and puts its lines into the JSON of an earlier run.
pub async fn again(plan: &Plan, part: &str) -> Result<ExitCode> {
    let root = tempfile::Builder::new().prefix("bench-store-").tempdir()?;
    let mut report = Report::default();
    match part {
        "kill" => kill::run(plan, root.path(), &mut report).await?,
        "million" => million::run(plan, root.path(), &mut report).await?,
        _ => anyhow::bail!("'{part}' is neither kill nor million"),
    }
    report.replace(&plan.out)?;
    Ok(ExitCode::SUCCESS)
}

fn notes(report: &mut Report, seconds: u64) {
    report.note(format!(
        "Both sides' network clients share {CONNECTIONS} HTTP/2 connections to the leader. etcd runs with its defaults: \
         no compaction, a snapshot every 10,000 entries, heartbeat 100 ms, election timeout 1,000 ms. In process, the \
         store's threads count as its server; its TLS and HTTP/2 to the other replicas share the callers' threads and \
         count as the client's."
    ));
    report.note(format!("took {seconds} s"));
}

/// Puts or gets from so many clients.
async fn loads(bench: &mut Bench<'_>, work: Work, clients: usize) -> Result<()> {
    let name = if work == Work::Put { "puts" } else { "gets" };
    let mut processor = Vec::new();
    for pair in 0..bench.plan.pairs {
        let mut found = [Figures::default(); 2];
        for who in order(pair) {
            bench.settle().await;
            load::run(bench.side(who), work, clients, bench.plan.warm_up).await?;
            found[who as usize] = load::run(bench.side(who), work, clients, bench.plan.window).await?;
        }
        let [ours, etcd] = found;
        println!(
            "  {name} {:<10} {clients:>4} clients, pair {pair}: ours {:>7.0}/s p50 {:>7.3} p99 {:>7.3} ms, etcd {:>6.0}/s \
             p50 {:>7.3} p99 {:>7.3} ms, ratio {:>5.2}, failed {}/{}",
            bench.mode.name(),
            ours.per_second,
            ours.p50,
            ours.p99,
            etcd.per_second,
            etcd.p50,
            etcd.p99,
            ours.per_second / etcd.per_second,
            ours.failed,
            etcd.failed
        );
        match work {
            Work::Put => {
                bench.report.add("puts_per_second", bench.mode, clients, ours.per_second, etcd.per_second);
                bench.report.add("put_p50_ms", bench.mode, clients, ours.p50, etcd.p50);
                bench.report.add("put_p99_ms", bench.mode, clients, ours.p99, etcd.p99);
            }
            Work::Get => bench.report.add("gets_per_second", bench.mode, clients, ours.per_second, etcd.per_second),
        }
        processor.push((ours, etcd));
    }
    let of = |pick: fn(&(Figures, Figures)) -> f64| crate::report::median(processor.iter().map(pick).collect());
    bench.report.note(format!(
        "processor µs for each of the {name}, {}, {clients} clients: ours servers {:.0} clients {:.0}, etcd servers \
         {:.0} clients {:.0}",
        bench.mode.name(),
        of(|pair| pair.0.server_us),
        of(|pair| pair.0.client_us),
        of(|pair| pair.1.server_us),
        of(|pair| pair.1.client_us)
    ));
    Ok(())
}

/// All pages of a long range, one after the other.
async fn ranges(bench: &mut Bench<'_>) -> Result<()> {
    for who in [Who::Ours, Who::Etcd] {
        fill(bench.side(who), bench.plan.range_keys).await?;
    }
    for pair in 0..bench.plan.pairs {
        let mut took = [0.0; 2];
        for who in order(pair) {
            bench.settle().await;
            took[who as usize] = range(bench.side(who), bench.plan.range_keys).await?;
        }
        let [ours, etcd] = took;
        println!("  range {:<10} pair {pair}: ours {ours:.1} ms, etcd {etcd:.1} ms", bench.mode.name());
        bench.report.add("range_ms", bench.mode, 1, ours, etcd);
    }
    Ok(())
}

async fn fill(side: &Side, keys: usize) -> Result<()> {
    for first in (0..keys).step_by(FILL) {
        let items = (first..keys.min(first + FILL)).map(|number| (format!("range/{number:08}"), load::value()));
        side.handle(first / FILL)?.put_all(items.collect()).await?;
    }
    Ok(())
}

async fn range(side: &Side, keys: usize) -> Result<f64> {
    let handle = side.handle(0)?;
    let begun = Instant::now();
    let (mut found, mut after) = (0, None::<String>);
    loop {
        let (count, last) = handle.page("range/", after.as_deref(), PAGE).await?;
        found += count;
        match last {
            Some(last) => after = Some(last),
            None => break,
        }
    }
    anyhow::ensure!(found == keys, "{found} keys in the range instead of {keys}");
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}
