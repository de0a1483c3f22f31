//! Compares engines for the applied state in one run: `state_engines [SECONDS]`, seconds of each load.
//!
//! Each engine runs in a process of its own, so that its memory, processor time and writes are told apart. Durable is
//! none of them: the log is, and the state can always be made from it again. ADR 11 has a run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_precision_loss)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::fs;
use std::path::Path;
use std::process::Command as Process;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use federated_store::backup::Backup;
use federated_store::{MAX_OPERATIONS, Op};
use redb::{Database, Durability, TableDefinition};
use store_node::{Changes, Command, Membership, Position, SharedTable, State, Table, Txn};

const VALUE_BYTES: usize = 256;
const KEYS: u64 = 10_000;
/// Puts after which the space on disk is looked at.
const OVERWRITES: u64 = 1_000_000;
const BATCHES: [u64; 3] = [1, 16, 64];
const ENGINES: [&str; 4] = ["memory", "memory, sled behind", "sled", "redb"];
/// As the store's own copy: what may wait for sled, and what is written to it at once.
const WAITING: usize = 50_000;
const BEHIND: usize = 512;
/// As the store's own copy.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;
/// Between two commits of redb that reach the disk: what sled does by itself.
const FLUSH: Duration = Duration::from_millis(500);
const SECONDS: u64 = 5;
const MOST_SECONDS: u64 = 600;
/// Processor time is told in these.
const TICKS_PER_SECOND: f64 = 100.0;
/// Figures of one batch size: puts a second, p99 in µs, µs of processor a put, bytes written per byte put.
const FIGURES: usize = 4;

/// The applied state's engine, as [`store_node::State`] with puts alone.
trait Engine {
    /// Applies a batch of puts.
    fn apply(&mut self, puts: &[(String, Vec<u8>)]);
    /// Waits for what is written behind and closes.
    fn close(self: Box<Self>);
}

struct Memory {
    table: SharedTable,
    index: u64,
}

impl Memory {
    fn new() -> Self {
        let table = Table::new(Position { term: 1, index: 1 }, Membership::of_voters(vec![1]));
        Self { table: SharedTable::new(table), index: 1 }
    }

    fn changes(&mut self, puts: &[(String, Vec<u8>)]) -> Vec<Changes> {
        let commands: Vec<_> = puts
            .iter()
            .map(|(key, value)| {
                self.index += 1;
                let put = Op::Put { key: key.clone(), value: value.clone().into() };
                let txn = Txn::new(None, Vec::new(), vec![put]).unwrap();
                Command { position: Position { term: 1, index: self.index }, txn: Some(txn) }
            })
            .collect();
        self.table.apply(&commands).into_iter().filter_map(|applied| applied.changes).collect()
    }
}

impl Engine for Memory {
    fn apply(&mut self, puts: &[(String, Vec<u8>)]) {
        self.changes(puts);
    }

    fn close(self: Box<Self>) {}
}

struct Behind {
    memory: Memory,
    changes: SyncSender<Changes>,
    thread: JoinHandle<()>,
}

impl Behind {
    fn new(folder: &Path) -> Self {
        let (changes, waiting) = sync_channel(WAITING);
        let db = open_sled(folder);
        Self { memory: Memory::new(), changes, thread: std::thread::spawn(move || follow(&db, &waiting)) }
    }
}

fn follow(db: &sled::Db, waiting: &Receiver<Changes>) {
    while let Ok(first) = waiting.recv() {
        let mut batch = sled::Batch::default();
        for changes in std::iter::once(first).chain(waiting.try_iter().take(BEHIND - 1)) {
            for change in changes.changes {
                batch.insert(change.key.as_bytes(), change.value.unwrap().as_ref());
            }
        }
        db.apply_batch(batch).unwrap();
    }
    db.flush().unwrap();
}

impl Engine for Behind {
    fn apply(&mut self, puts: &[(String, Vec<u8>)]) {
        for changes in self.memory.changes(puts) {
            self.changes.send(changes).unwrap();
        }
    }

    fn close(self: Box<Self>) {
        drop(self.changes);
        self.thread.join().unwrap();
    }
}

fn open_sled(folder: &Path) -> sled::Db {
    sled::Config::new().path(folder).cache_capacity(CACHE_BYTES).open().unwrap()
}

struct Sled(sled::Db);

impl Engine for Sled {
    fn apply(&mut self, puts: &[(String, Vec<u8>)]) {
        let mut batch = sled::Batch::default();
        for (key, value) in puts {
            batch.insert(key.as_bytes(), value.as_slice());
        }
        self.0.apply_batch(batch).unwrap();
    }

    fn close(self: Box<Self>) {
        self.0.flush().unwrap();
    }
}

const TABLE: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("state");

struct Redb {
    db: Database,
    flushed: Instant,
}

impl Redb {
    fn open(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let db = Database::builder().set_cache_size(CACHE_BYTES.try_into().unwrap()).create(folder.join("state"));
        Self { db: db.unwrap(), flushed: Instant::now() }
    }

    fn write(&mut self, puts: &[(String, Vec<u8>)], durability: Durability) {
        let mut write = self.db.begin_write().unwrap();
        write.set_durability(durability).unwrap();
        let mut table = write.open_table(TABLE).unwrap();
        for (key, value) in puts {
            table.insert(key.as_str(), value.as_slice()).unwrap();
        }
        drop(table);
        write.commit().unwrap();
    }
}

impl Engine for Redb {
    fn apply(&mut self, puts: &[(String, Vec<u8>)]) {
        let due = self.flushed.elapsed() >= FLUSH;
        self.write(puts, if due { Durability::Immediate } else { Durability::None });
        if due {
            self.flushed = Instant::now();
        }
    }

    fn close(mut self: Box<Self>) {
        self.write(&[], Durability::Immediate);
    }
}

fn open(engine: &str, folder: &Path) -> Box<dyn Engine> {
    match engine {
        "memory" => Box::new(Memory::new()),
        "memory, sled behind" => Box::new(Behind::new(folder)),
        "sled" => Box::new(Sled(open_sled(folder))),
        "redb" => Box::new(Redb::open(folder)),
        other => panic!("no engine '{other}'"),
    }
}

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [engine, seconds, folder] => measure(engine, length(seconds), Path::new(folder)),
        [seconds] => compare(length(seconds)),
        _ => compare(Duration::from_secs(SECONDS)),
    }
}

fn length(seconds: &str) -> Duration {
    Duration::from_secs(seconds.parse::<u64>().expect("SECONDS is a number").clamp(1, MOST_SECONDS))
}

/// Runs every engine in a process of its own and prints the table.
fn compare(length: Duration) {
    println!(
        "{VALUE_BYTES}-byte values, {KEYS} keys, {} s a load; × is the ratio to the memory table",
        length.as_secs()
    );
    println!(
        "{:<20} {:>5} {:>10} {:>6} {:>9} {:>6} {:>8} {:>6} {:>9}",
        "engine", "batch", "puts/s", "×", "p99 µs", "×", "CPU µs", "×", "write amp"
    );
    let mut base: Vec<f64> = Vec::new();
    let mut rest = Vec::new();
    for engine in ENGINES {
        let figures = run(engine, length);
        if base.is_empty() {
            base.clone_from(&figures);
        }
        for (place, batch) in BATCHES.iter().enumerate() {
            let [rate, p99, cpu, amplification] = figures[place * FIGURES..][..FIGURES] else { unreachable!() };
            let ratio = |figure: usize| figures[place * FIGURES + figure] / base[place * FIGURES + figure];
            println!(
                "{engine:<20} {batch:>5} {rate:>10.0} {:>6.2} {p99:>9.1} {:>6.1} {cpu:>8.2} {:>6.1} {amplification:>9.1}",
                ratio(0),
                ratio(1),
                ratio(2)
            );
        }
        rest.push((engine, figures[BATCHES.len() * FIGURES..].to_vec()));
    }
    println!("\nafter {OVERWRITES} puts to {KEYS} keys, 64 a batch:");
    println!("{:<20} {:>10} {:>12} {:>10}", "engine", "disk MB", "reopen ms", "RSS MB");
    for (engine, figures) in rest {
        println!("{engine:<20} {:>10.1} {:>12.1} {:>10.1}", figures[0], figures[1], figures[2]);
    }
}

fn run(engine: &str, length: Duration) -> Vec<f64> {
    let folder = tempfile::tempdir().unwrap();
    let seconds = length.as_secs().to_string();
    let program = std::env::current_exe().unwrap();
    let output = Process::new(program).args([engine, &seconds]).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{engine}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().map(|figure| figure.parse().unwrap()).collect()
}

/// Measures one engine and prints its figures on one line.
fn measure(engine: &str, length: Duration, folder: &Path) {
    let mut figures = Vec::new();
    for batch in BATCHES {
        figures.extend(load(engine, batch, length, &folder.join(format!("load-{batch}"))));
    }
    figures.extend(overwrite(engine, &folder.join("overwrite")));
    println!("{}", figures.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
}

/// Batches of puts as they come to the state, keys in an order that looks random.
struct Puts(u64);

impl Puts {
    fn next(&mut self, count: u64) -> Vec<(String, Vec<u8>)> {
        let puts = (0..count).map(|_| {
            self.0 += 1;
            // A prime step visits every key once before any comes again.
            let key = self.0.wrapping_mul(7_919) % KEYS;
            let mut value = vec![b'v'; VALUE_BYTES];
            value[..8].copy_from_slice(&self.0.to_le_bytes());
            (format!("clusters/{key:06}/reach"), value)
        });
        puts.collect()
    }
}

fn load(engine: &str, batch: u64, length: Duration, folder: &Path) -> [f64; FIGURES] {
    let mut state = open(engine, folder);
    let mut puts = Puts(0);
    for _ in 0..KEYS.div_ceil(MAX_OPERATIONS as u64) {
        state.apply(&puts.next(MAX_OPERATIONS as u64));
    }
    let (cpu, written) = (cpu_seconds(), written_bytes());
    let (begun, first) = (Instant::now(), puts.0);
    let (mut took, mut bytes) = (Vec::new(), 0);
    while begun.elapsed() < length {
        let next = puts.next(batch);
        bytes += next.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        let started = Instant::now();
        state.apply(&next);
        took.push(started.elapsed());
    }
    // What is written behind belongs to the load: its time and its processor.
    state.close();
    let (elapsed, count) = (begun.elapsed().as_secs_f64(), (puts.0 - first) as f64);
    took.sort_unstable();
    let p99 = took[took.len() * 99 / 100].as_secs_f64() * 1e6;
    let cpu = (cpu_seconds() - cpu) * 1e6 / count;
    [count / elapsed, p99, cpu, (written_bytes() - written) as f64 / bytes as f64]
}

/// Megabytes on disk, milliseconds to open again, megabytes of memory.
fn overwrite(engine: &str, folder: &Path) -> [f64; 3] {
    let mut state = open(engine, folder);
    let mut puts = Puts(0);
    while puts.0 < OVERWRITES {
        state.apply(&puts.next(64));
    }
    let memory = resident_bytes() as f64 / 1e6;
    state.close();
    if engine.starts_with("memory") {
        let (file, reopen) = rebuilt(folder);
        return [(size(folder) + file) as f64 / 1e6, reopen, memory];
    }
    let disk = size(folder) as f64 / 1e6;
    let begun = Instant::now();
    drop(open(engine, folder));
    [disk, begun.elapsed().as_secs_f64() * 1e3, memory]
}

/// A memory table comes back from a snapshot: length of the file, and milliseconds to read and check it.
fn rebuilt(folder: &Path) -> (u64, f64) {
    let beside = folder.with_extension("store");
    let file = folder.with_extension("snapshot");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = common::open_single(&beside).await;
        let mut puts = Puts(0);
        for _ in 0..KEYS.div_ceil(64) {
            let then = puts.next(64).into_iter().map(|(key, value)| Op::Put { key, value: value.into() }).collect();
            store.txn(None, Vec::new(), then).await.unwrap();
        }
        store.embedded().unwrap().backup(file.clone(), 0).await.unwrap();
        store.close().await;
    });
    let begun = Instant::now();
    drop(Backup::read(&file).unwrap());
    (file.metadata().unwrap().len(), begun.elapsed().as_secs_f64() * 1e3)
}

fn size(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let sizes = entries.map(|entry| {
        let (path, metadata) = (entry.as_ref().unwrap().path(), entry.unwrap().metadata().unwrap());
        if metadata.is_dir() { size(&path) } else { metadata.len() }
    });
    sizes.sum()
}

fn cpu_seconds() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap();
    // The name in brackets may hold blanks; user and system time are the 12th and 13th field after it.
    let fields: Vec<_> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / TICKS_PER_SECOND
}

fn written_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/io").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.unwrap().parse().unwrap()
}

fn resident_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}
