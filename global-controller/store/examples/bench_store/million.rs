//! Memory and disk after a million puts to 10,000 keys.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::time::sleep;

use crate::certificates::Authority;
use crate::etcd::Etcd;
use crate::load;
use crate::machine;
use crate::ours::{Ours, Own};
use crate::plan::Plan;
use crate::report::Report;
use crate::side::{CONNECTIONS, Mode};

/// As many as the loads have at most: it is the quickest way to a million.
const CLIENTS: usize = 1_000;
/// What is still to be written or given back may be.
const REST: Duration = Duration::from_secs(3);

/// Puts, and looks. Ours puts in the leader's own process, as in a controller: its memory holds the callers, too.
pub async fn run(plan: &Plan, root: &Path, report: &mut Report) -> Result<()> {
    let folder = root.join("million");
    let authority = Authority::new(&folder)?;
    println!("  {} puts on ours …", plan.puts);
    let begun = Instant::now();
    let mut store = Ours::start(&folder, &authority, Own::None).await?;
    let leader = store.leader().await?;
    let failed = store.load(leader, CLIENTS, plan.puts).await?;
    let took = begun.elapsed();
    sleep(REST).await;
    let ours = look(store.child(leader), &store.children(), &store.data_dirs())?;
    drop(store);
    println!("  {} puts on etcd …", plan.puts);
    let begun = Instant::now();
    let etcd = Etcd::start(&plan.etcd, &folder, &authority).await?;
    let leader = etcd.leader().await?;
    let etcd_failed = load::put_count(&etcd.connect(leader, CONNECTIONS).await?, CLIENTS, plan.puts).await?;
    let etcd_took = begun.elapsed();
    sleep(REST).await;
    let theirs = look(etcd.process(leader), &etcd.processes(), &etcd.data_dirs())?;
    drop(etcd);
    report.add("memory_bytes", Mode::InProcess, CLIENTS, ours.largest, theirs.largest);
    report.add("disk_bytes", Mode::InProcess, CLIENTS, ours.disk, theirs.disk);
    let mb = |bytes: f64| bytes / 1e6;
    report.note(format!(
        "{} puts to {} keys, one pair: ours in {:.0} s ({failed} failed), leader {:.0} MB of memory, largest replica \
         {:.0} MB, disk {:.0} MB a replica; etcd in {:.0} s ({etcd_failed} failed), leader {:.0} MB, largest member \
         {:.0} MB, disk {:.0} MB a member",
        plan.puts,
        load::KEYS,
        took.as_secs_f64(),
        mb(ours.leader),
        mb(ours.largest),
        mb(ours.disk),
        etcd_took.as_secs_f64(),
        mb(theirs.leader),
        mb(theirs.largest),
        mb(theirs.disk)
    ));
    std::fs::remove_dir_all(&folder).context("failed to remove a folder")
}

struct Look {
    leader: f64,
    largest: f64,
    disk: f64,
}

#[allow(clippy::cast_precision_loss, reason = "bytes of one machine are far below 2^52")]
fn look(leader: Option<u32>, processes: &[u32], folders: &[PathBuf]) -> Result<Look> {
    let memory = processes.iter().map(|id| machine::resident_bytes(*id)).collect::<Result<Vec<_>>>()?;
    let disk = folders.iter().map(|folder| machine::disk_bytes(folder)).collect::<Result<Vec<_>>>()?;
    Ok(Look {
        leader: machine::resident_bytes(leader.context("the leader's process is unknown")?)? as f64,
        largest: memory.into_iter().max().unwrap_or(0) as f64,
        disk: disk.into_iter().max().unwrap_or(0) as f64,
    })
}
