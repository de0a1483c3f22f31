//! Puts a second and how long one takes, on one replica and on three over mutual TLS in one process.
//!
//! `make bench`, or `cargo run --release -p federated-store --example puts -- SECONDS`. Files go to `TMPDIR`: point it
//! at the disk that is meant. Each line also has a bare append with `fdatasync`, measured before and after on the same
//! disk, and the ratio: how many puts were done in the time of one such append (the better median of the two). Figures
//! differ between machines and hours, ratios less; run it on a machine that has nothing else to do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use common::cluster::Cluster;
use federated_store::{Op, Store, Tuning, TxnOutcome};

/// What etcd's own load generator is usually run with, so that the two can be compared.
const VALUE_BYTES: usize = 256;
/// Each client writes these keys over and over: the store's size stays bounded.
const KEYS_PER_CLIENT: u64 = 1_000;
/// A client alone shows latency, 64 show what group commit is worth.
const CLIENTS: [usize; 2] = [1, 64];
/// Before each measurement: connections, caches, the log's first files.
const WARM_UP: Duration = Duration::from_secs(1);
/// Before a bare append: what a load left to write in the background must not slow it.
const SETTLE: Duration = Duration::from_secs(2);
/// Of the bare append.
const APPEND: Duration = Duration::from_secs(1);
/// Seconds of each measurement unless the command line says otherwise.
const SECONDS: u64 = 5;
/// A bound on a mistyped command line.
const MOST_SECONDS: u64 = 600;

/// What one load showed.
struct Figures {
    per_second: f64,
    p50: Duration,
    p99: Duration,
    failed: usize,
}

#[tokio::main]
async fn main() {
    let length = std::env::args().nth(1).map_or(SECONDS, |seconds| seconds.parse().expect("SECONDS is a number"));
    let length = Duration::from_secs(length.clamp(1, MOST_SECONDS));
    let folder = tempfile::tempdir().unwrap();
    println!("{VALUE_BYTES}-byte values, {} s a line, files in {}", length.as_secs(), folder.path().display());
    println!(
        "{:>8} {:>7} {:>9} {:>8} {:>8} {:>6} {:>14} {:>15}",
        "replicas", "clients", "put/s", "p50 ms", "p99 ms", "failed", "append p50 ms", "puts an append"
    );
    one_replica(folder.path(), length).await;
    three_replicas(folder.path(), length).await;
}

async fn one_replica(folder: &Path, length: Duration) {
    let store = common::open_single(&folder.join("one")).await;
    for clients in CLIENTS {
        measure(1, clients, &store, folder, length).await;
    }
    store.close().await;
}

async fn three_replicas(folder: &Path, length: Duration) {
    let mut cluster = Cluster::in_folder(&folder.join("three"), Tuning::default());
    for place in 0..3 {
        cluster.start(place).await;
    }
    for clients in CLIENTS {
        let leader = cluster.leader().await;
        measure(3, clients, &cluster.store(leader), folder, length).await;
    }
    cluster.close_all().await;
}

async fn measure(replicas: usize, clients: usize, store: &Store, folder: &Path, length: Duration) {
    let before = append(folder).await;
    put_from(store, clients, WARM_UP).await;
    let put = put_from(store, clients, length).await;
    let append = before.min(append(folder).await);
    println!(
        "{replicas:>8} {clients:>7} {:>9.0} {:>8.3} {:>8.3} {:>6} {:>14.3} {:>15.2}",
        put.per_second,
        millis(put.p50),
        millis(put.p99),
        put.failed,
        millis(append),
        put.per_second * append.as_secs_f64()
    );
}

/// Puts from so many clients at once, each with one put under way.
async fn put_from(store: &Store, clients: usize, length: Duration) -> Figures {
    let begun = Instant::now();
    let tasks: Vec<_> =
        (0..clients).map(|client| tokio::spawn(put_until(store.clone(), client, begun + length))).collect();
    let (mut took, mut failed) = (Vec::new(), 0);
    for task in tasks {
        let (some, failures) = task.await.unwrap();
        took.extend(some);
        failed += failures;
    }
    figures(took, failed, begun.elapsed())
}

async fn put_until(store: Store, client: usize, end: Instant) -> (Vec<Duration>, usize) {
    let value = vec![b'v'; VALUE_BYTES];
    let (mut took, mut failed) = (Vec::new(), 0);
    for number in 0_u64.. {
        let begun = Instant::now();
        if begun >= end {
            break;
        }
        let key = format!("bench/{client}/{}", number % KEYS_PER_CLIENT);
        let put = Op::Put { key, value: value.clone().into() };
        match store.txn(None, Vec::new(), vec![put]).await {
            Ok(TxnOutcome::Committed { .. }) => took.push(begun.elapsed()),
            _ => failed += 1,
        }
    }
    (took, failed)
}

/// The floor under every put, as a median: one value at the end of a file, made durable, one after the other.
async fn append(folder: &Path) -> Duration {
    tokio::time::sleep(SETTLE).await;
    let file = folder.join("append");
    tokio::task::spawn_blocking(move || append_for(&file, APPEND)).await.unwrap().p50
}

fn append_for(file: &Path, length: Duration) -> Figures {
    let mut file = File::create(file).unwrap();
    let value = [b'v'; VALUE_BYTES];
    let begun = Instant::now();
    let mut took = Vec::new();
    while begun.elapsed() < length {
        let started = Instant::now();
        file.write_all(&value).unwrap();
        file.sync_data().unwrap();
        took.push(started.elapsed());
    }
    figures(took, 0, begun.elapsed())
}

fn figures(mut took: Vec<Duration>, failed: usize, length: Duration) -> Figures {
    took.sort_unstable();
    let part = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or_default();
    let count = u32::try_from(took.len()).expect("600 s have fewer operations than 2^32");
    Figures { per_second: f64::from(count) / length.as_secs_f64(), p50: part(50), p99: part(99), failed }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
