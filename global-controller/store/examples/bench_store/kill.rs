//! `kill -9` of the leader: how long until a write succeeds again.
//!
//! The caller is a controller that outlives the leader: on our side it has its own follower in its process, on etcd's
//! a client for each of the other members. Every few milliseconds it tries a new write and does not wait for the
//! earlier ones, so that a write lost with the leader costs nobody its whole deadline.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::certificates::Authority;
use crate::etcd::Etcd;
use crate::handle::Handle;
use crate::load;
use crate::measures::{Who, order};
use crate::ours::{Ours, Own};
use crate::plan::Plan;
use crate::report::{Report, median};
use crate::side::Mode;

/// Between two tries.
const TRY: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_mins(1);
/// Puts before each kill, so that it hits a store at work.
const PUTS: usize = 100;
/// After the killed one came back: it catches up, and the leader knows that it does.
const REST: Duration = Duration::from_millis(500);

/// Kills each side's leader so many times, in turn.
pub async fn run(plan: &Plan, root: &Path, report: &mut Report) -> Result<()> {
    let folder = root.join("kills");
    let authority = Authority::new(&folder)?;
    let mut ours = Ours::start(&folder, &authority, Own::Follows).await?;
    let mut etcd = Etcd::start(&plan.etcd, &folder, &authority).await?;
    let mut all = [Vec::new(), Vec::new()];
    for pair in 0..plan.kills {
        let mut took = [0.0; 2];
        for who in order(pair) {
            took[who as usize] = match who {
                Who::Ours => kill_ours(&mut ours).await?,
                Who::Etcd => kill_etcd(&mut etcd).await?,
            };
            all[who as usize].push(took[who as usize]);
        }
        println!("  kill, pair {pair}: ours {:.0} ms, etcd {:.0} ms", took[0], took[1]);
    }
    // One number for each side: kills of a pair have nothing in common, so a ratio of two single ones says nothing.
    let [mine, theirs] = &all;
    let (ours_p50, etcd_p50) = (median(mine.clone()), median(theirs.clone()));
    report.add("leader_kill_to_write_ms", Mode::InProcess, 1, ours_p50, etcd_p50);
    report.note(format!(
        "leader killed {} times on each side; longest: ours {:.0} ms, etcd {:.0} ms; ratio of medians",
        plan.kills,
        mine.iter().copied().fold(0.0, f64::max),
        theirs.iter().copied().fold(0.0, f64::max)
    ));
    ours.close().await;
    drop(etcd);
    std::fs::remove_dir_all(&folder).context("failed to remove a folder")
}

async fn kill_ours(ours: &mut Ours) -> Result<f64> {
    let leader = ours.settle().await?;
    let survivors = [ours.handle()?];
    load::put_count(&survivors, 1, PUTS).await?;
    let begun = Instant::now();
    ours.kill(leader);
    let took = first_write(&survivors, begun).await?;
    ours.start_replica(leader).await?;
    let [back] = ours.connect(leader, 1).await?.try_into().map_err(|_| anyhow::anyhow!("no connection"))?;
    caught_up(&back).await?;
    Ok(took)
}

async fn kill_etcd(etcd: &mut Etcd) -> Result<f64> {
    let leader = etcd.leader().await?;
    let mut survivors = Vec::new();
    for place in (0..3).filter(|place| *place != leader) {
        survivors.extend(etcd.connect(place, 1).await?);
    }
    load::put_count(&survivors, 1, PUTS).await?;
    let begun = Instant::now();
    etcd.kill(leader);
    let took = first_write(&survivors, begun).await?;
    etcd.start_member(leader)?;
    etcd.leader().await?;
    let [back] = etcd.connect(leader, 1).await?.try_into().map_err(|_| anyhow::anyhow!("no connection"))?;
    caught_up(&back).await?;
    Ok(took)
}

/// Tries at all survivors in turn until one write succeeds.
async fn first_write(survivors: &[Handle], begun: Instant) -> Result<f64> {
    let (done, mut first) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    for (number, handle) in survivors.iter().cycle().cloned().enumerate() {
        let done = done.clone();
        tasks.spawn(async move {
            if handle.put(load::key(number), load::value()).await.is_ok() {
                let _ = done.send(begun.elapsed());
            }
        });
        if let Ok(took) = timeout(TRY, first.recv()).await {
            let took = took.context("no writer is left")?;
            return Ok(took.as_secs_f64() * 1e3);
        }
        anyhow::ensure!(begun.elapsed() < PATIENCE, "no write succeeds after the leader was killed");
    }
    anyhow::bail!("no survivor to write to")
}

/// Waits until a replica that came back answers a linearizable read, which it does once it has caught up.
async fn caught_up(back: &Handle) -> Result<()> {
    let give_up = Instant::now() + PATIENCE;
    while back.get(&load::key(0)).await.is_err() {
        anyhow::ensure!(Instant::now() < give_up, "a replica that was restarted doesn't catch up");
        sleep(Duration::from_millis(20)).await;
    }
    sleep(REST).await;
    Ok(())
}
