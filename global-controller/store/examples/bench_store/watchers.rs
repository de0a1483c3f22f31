//! Watchers: how long a put takes to the last of 100, and what one costs in memory.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::load::{self, VALUE_BYTES};
use crate::measures::{Bench, order};
use crate::side::Side;

/// Watchers of the fan-out.
const WATCHERS: usize = 100;
const PATIENCE: Duration = Duration::from_secs(10);
/// After watchers came or went: memory is given out and taken back a little later.
const REST: Duration = Duration::from_millis(500);

/// The median time from a put until the last watcher has it.
pub async fn fanout(bench: &mut Bench<'_>) -> Result<()> {
    for pair in 0..bench.plan.pairs {
        let mut took = [0.0; 2];
        for who in order(pair) {
            bench.settle().await;
            took[who as usize] = fanout_of(bench.side(who), bench.plan.fanouts).await?;
        }
        let [ours, etcd] = took;
        println!("  fan-out {:<10} pair {pair}: ours {ours:.3} ms, etcd {etcd:.3} ms", bench.mode.name());
        bench.report.add("watch_fanout_ms", bench.mode, WATCHERS, ours, etcd);
    }
    Ok(())
}

async fn fanout_of(side: &Side, puts: usize) -> Result<f64> {
    let (heard, mut hearing) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    for watcher in 0..WATCHERS {
        let mut values = side.handle(watcher)?.watch("fanout/").await?;
        let heard = heard.clone();
        tasks.spawn(async move {
            while let Some(value) = values.next().await {
                if heard.send(value).is_err() {
                    return;
                }
            }
        });
    }
    let handle = side.handle(0)?;
    let mut took = Vec::new();
    for number in 0..puts {
        let mut value = vec![b'v'; VALUE_BYTES];
        value[..8].copy_from_slice(&(number as u64).to_le_bytes());
        let value = Bytes::from(value);
        let begun = Instant::now();
        handle.put("fanout/key".to_owned(), value.clone()).await?;
        for _ in 0..WATCHERS {
            let heard = timeout(PATIENCE, hearing.recv()).await.context("a watcher didn't hear of a put")?;
            anyhow::ensure!(heard.as_ref() == Some(&value), "a watcher heard something else");
        }
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    Ok(load::part(&took, 50))
}

/// What many watchers add to the leader's memory, for each of them. Comes before any load, and watchers of earlier
/// pairs stay: memory that was used before and given back to the allocator would hide what they take.
pub async fn memory(bench: &mut Bench<'_>) -> Result<()> {
    let watchers = bench.plan.watchers;
    let mut staying = JoinSet::new();
    for pair in 0..bench.plan.pairs {
        let mut bytes = [0.0; 2];
        for who in order(pair) {
            bytes[who as usize] = memory_of(bench.side(who), watchers, &mut staying).await?;
        }
        let [ours, etcd] = bytes;
        println!("  watcher {:<10} pair {pair}: ours {ours:.0} bytes, etcd {etcd:.0} bytes", bench.mode.name());
        bench.report.add("watcher_bytes", bench.mode, watchers, ours, etcd);
    }
    staying.shutdown().await;
    Ok(())
}

async fn memory_of(side: &Side, watchers: usize, staying: &mut JoinSet<()>) -> Result<f64> {
    sleep(REST).await;
    let before = side.leader_bytes()?;
    for watcher in 0..watchers {
        let mut values = side.handle(watcher)?.watch(&format!("watched/{watcher}/")).await?;
        staying.spawn(async move { while values.next().await.is_some() {} });
    }
    sleep(REST).await;
    let after = side.leader_bytes()?;
    #[allow(clippy::cast_precision_loss, reason = "memory of a process is far below 2^52 bytes")]
    let grown = after.saturating_sub(before) as f64;
    Ok(grown / load::count(watchers))
}
