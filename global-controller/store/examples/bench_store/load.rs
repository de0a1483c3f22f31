//! Loads: so many clients, each with one operation under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;

use crate::handle::Handle;
use crate::side::Side;

/// Length of each value.
pub const VALUE_BYTES: usize = 256;
/// Keys that the loads write over and over, each client in its own order.
pub const KEYS: usize = 10_000;
/// After a failure, so that a store that refuses everything isn't asked without a pause.
const PAUSE: Duration = Duration::from_millis(10);

/// What clients do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Put a value.
    Put,
    /// Read a key, linearizable.
    Get,
}

/// What a load showed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Successful operations in a second.
    pub per_second: f64,
    /// Half of them took at most this, in milliseconds.
    pub p50: f64,
    /// 99 of 100 took at most this, in milliseconds.
    pub p99: f64,
    /// Failed ones.
    pub failed: usize,
    /// Servers' processor time for each, in microseconds.
    pub server_us: f64,
    /// Clients' processor time for each, in microseconds.
    pub client_us: f64,
}

/// The key with this number.
pub fn key(number: usize) -> String {
    format!("bench/{:08}", number % KEYS)
}

/// A value.
pub fn value() -> Bytes {
    vec![b'v'; VALUE_BYTES].into()
}

/// Runs a load for so long.
pub async fn run(side: &Side, work: Work, clients: usize, length: Duration) -> Result<Figures> {
    let before = side.times()?;
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for client in 0..clients {
        tasks.push(tokio::spawn(client_until(side.handle(client)?, work, client, clients, begun + length)));
    }
    let (mut took, mut failed) = (Vec::new(), 0);
    for task in tasks {
        let (some, failures) = task.await?;
        took.extend(some);
        failed += failures;
    }
    let length = begun.elapsed();
    let after = side.times()?;
    let each = |before: Duration, after: Duration| {
        after.saturating_sub(before).as_secs_f64() * 1e6 / count(took.len()).max(1.0)
    };
    let (server_us, client_us) = (each(before.0, after.0), each(before.1, after.1));
    let per_second = count(took.len()) / length.as_secs_f64();
    took.sort_unstable();
    Ok(Figures { per_second, p50: part(&took, 50), p99: part(&took, 99), failed, server_us, client_us })
}

async fn client_until(
    handle: Handle,
    work: Work,
    client: usize,
    clients: usize,
    end: Instant,
) -> (Vec<Duration>, usize) {
    let value = value();
    let (mut took, mut failed) = (Vec::new(), 0);
    let mut number = client;
    loop {
        let begun = Instant::now();
        if begun >= end {
            return (took, failed);
        }
        let done = match work {
            Work::Put => handle.put(key(number), value.clone()).await.is_ok(),
            Work::Get => handle.get(&key(number)).await.is_ok(),
        };
        number += clients;
        if done {
            took.push(begun.elapsed());
        } else {
            failed += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Puts so many values from so many clients, and says how many failed.
pub async fn put_count(handles: &[Handle], clients: usize, puts: usize) -> Result<usize> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for handle in handles.iter().cycle().take(clients) {
        let (handle, next, value) = (handle.clone(), Arc::clone(&next), value());
        tasks.push(tokio::spawn(async move {
            let mut failed = 0;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= puts {
                    return failed;
                }
                if handle.put(key(number), value.clone()).await.is_err() {
                    failed += 1;
                }
            }
        }));
    }
    let mut failed = 0;
    for task in tasks {
        failed += task.await?;
    }
    Ok(failed)
}

/// The sorted durations' percentile, in milliseconds.
pub fn part(sorted: &[Duration], percent: usize) -> f64 {
    let found = sorted.get(sorted.len() * percent / 100).or(sorted.last()).copied().unwrap_or_default();
    found.as_secs_f64() * 1e3
}

/// A count as a float: those here are far below 2^32.
pub fn count(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
