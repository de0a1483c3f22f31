//! Our own log against `raft-engine`, through the interface that the store's writer uses.
//!
//! `cargo run --release -p federated-store --example log_engines -- SECONDS PAIRS`. Files go to `TMPDIR`: point it at the
//! disk that is meant. A pair runs each engine at 1, 16 and 64 entries a flush; which engine begins alternates. The
//! table shows medians, and the median of the ratios within each pair: figures move with the machine, ratios less.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_precision_loss)]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use federated_store::{DiskLog, LogKind, LogOptions};
use store_node::{Batch, DurableLog, Entry, HardState};

const ENTRY_BYTES: usize = 256;
const PER_FLUSH: [u64; 3] = [1, 16, 64];
/// The store keeps this many entries behind its newest snapshot, at most three times.
const KEPT: u64 = 20_000;
/// Entries written to see what the log takes on disk.
const MANY: u64 = 2_000_000;
const SECONDS: f64 = 2.0;
const PAIRS: usize = 5;
/// Set in the process that measures memory: which engine.
const CHILD: &str = "LOG_ENGINES_CHILD";

#[derive(Clone, Copy)]
struct Load {
    per_second: f64,
    p99_ms: f64,
    amplification: f64,
}

#[derive(Clone, Copy)]
struct Footprint {
    disk_mib: f64,
    reopen_ms: f64,
    resident_mib: f64,
    peak_mib: f64,
}

fn main() {
    if let Ok(kind) = std::env::var(CHILD) {
        let kind = LogKind::ALL.into_iter().find(|found| format!("{found:?}") == kind).unwrap();
        let Footprint { disk_mib, reopen_ms, resident_mib, peak_mib } = footprint(kind);
        println!("{disk_mib} {reopen_ms} {resident_mib} {peak_mib}");
        return;
    }
    let mut args = std::env::args().skip(1);
    let seconds = args.next().map_or(SECONDS, |text| text.parse().expect("SECONDS is a number"));
    let pairs = args.next().map_or(PAIRS, |text| text.parse().expect("PAIRS is a number"));
    println!("{ENTRY_BYTES}-byte entries, {seconds} s a run, {pairs} alternating pairs");
    println!("| entries a flush | engine | entries/s | p99 ms | write amplification |");
    println!("|---|---|---|---|---|");
    for per_flush in PER_FLUSH {
        let mut runs: [Vec<Load>; 2] = [Vec::new(), Vec::new()];
        for pair in 0..pairs {
            for turn in 0..2 {
                let place = (pair + turn) % 2;
                runs[place].push(load(LogKind::ALL[place], per_flush, Duration::from_secs_f64(seconds)));
            }
        }
        for (kind, runs) in LogKind::ALL.iter().zip(&runs) {
            let of = |field: fn(&Load) -> f64| median(runs.iter().map(field).collect());
            let (speed, p99, amplification) = (of(|l| l.per_second), of(|l| l.p99_ms), of(|l| l.amplification));
            println!("| {per_flush} | {kind:?} | {speed:.0} | {p99:.2} | {amplification:.1} |");
        }
        let ratio = |field: fn(&Load) -> f64| {
            median(runs[0].iter().zip(&runs[1]).map(|(ours, theirs)| field(ours) / field(theirs)).collect())
        };
        let (speed, p99, amplification) = (ratio(|l| l.per_second), ratio(|l| l.p99_ms), ratio(|l| l.amplification));
        println!("| {per_flush} | ratio | {speed:.2} | {p99:.2} | {amplification:.2} |");
    }
    println!("\n| engine | disk after {MANY} entries, MiB | reopened in ms | resident MiB | peak MiB |");
    println!("|---|---|---|---|---|");
    for kind in LogKind::ALL {
        let mut child = Command::new(std::env::current_exe().unwrap());
        let output = child.env(CHILD, format!("{kind:?}")).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let figures: Vec<_> =
            text.split_whitespace().map(|text| format!("{:.0}", text.parse::<f64>().unwrap())).collect();
        println!("| {kind:?} | {} |", figures.join(" | "));
    }
}

/// Writes batches and has them flushed, and what was compacted freed, as the store does.
struct Writing {
    log: DiskLog,
    next: u64,
    number: u64,
    compacted: u64,
}

impl Writing {
    fn begin(folder: &Path, kind: LogKind) -> Self {
        let (log, _) = DiskLog::open(folder, LogOptions { kind, ..LogOptions::default() }).unwrap();
        Self { log, next: 2, number: 0, compacted: 0 }
    }

    fn flush(&mut self, per_flush: u64) {
        let indexes = self.next..self.next + per_flush;
        let entries = indexes.map(|index| Entry {
            term: 1,
            index,
            // Not zeros: what the engine doesn't compress here it wouldn't elsewhere.
            data: (0..ENTRY_BYTES)
                .map(|n| u8::try_from((index + n as u64 * 31) % 251).unwrap())
                .collect::<Vec<_>>()
                .into(),
            ..Entry::default()
        });
        let entries = entries.collect();
        self.next += per_flush;
        self.number += 1;
        let first_kept = (self.next - self.compacted > 2 * KEPT).then(|| self.next - KEPT);
        self.compacted = first_kept.unwrap_or(self.compacted);
        let hard_state = HardState { term: 1, vote: 1, commit: self.next - per_flush - 1, ..HardState::default() };
        let batch = Batch { number: self.number, entries, hard_state, first_kept, must_sync: true, snapshot: None };
        self.log.write(&[batch]).unwrap();
        if first_kept.is_some() {
            self.log.purger().purge().unwrap();
        }
    }
}

fn load(kind: LogKind, per_flush: u64, length: Duration) -> Load {
    let folder = tempfile::tempdir().unwrap();
    let mut writing = Writing::begin(folder.path(), kind);
    for _ in 0..200 {
        writing.flush(per_flush);
    }
    let (written, first, start) = (written_bytes(), writing.next, Instant::now());
    let mut times = Vec::new();
    while start.elapsed() < length {
        let began = Instant::now();
        writing.flush(per_flush);
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    let elapsed = start.elapsed().as_secs_f64();
    let entries = (writing.next - first) as f64;
    times.sort_by(f64::total_cmp);
    Load {
        per_second: entries / elapsed,
        p99_ms: times[times.len() * 99 / 100],
        amplification: (written_bytes() - written) as f64 / (entries * ENTRY_BYTES as f64),
    }
}

fn footprint(kind: LogKind) -> Footprint {
    let folder = tempfile::tempdir().unwrap();
    let mut writing = Writing::begin(folder.path(), kind);
    while writing.next < MANY {
        writing.flush(256);
    }
    let resident_mib = status_mib("VmRSS:");
    let peak_mib = status_mib("VmHWM:");
    drop(writing);
    let files = std::fs::read_dir(folder.path()).unwrap();
    let bytes: u64 = files.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    let start = Instant::now();
    let reopened = Writing::begin(folder.path(), kind);
    let reopen_ms = start.elapsed().as_secs_f64() * 1000.0;
    drop(reopened);
    Footprint { disk_mib: bytes as f64 / 1024.0 / 1024.0, reopen_ms, resident_mib, peak_mib }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Bytes that this process had written to the disk, its background threads included.
fn written_bytes() -> u64 {
    number_after("/proc/self/io", "write_bytes:")
}

fn status_mib(name: &str) -> f64 {
    number_after("/proc/self/status", name) as f64 / 1024.0
}

fn number_after(path: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
