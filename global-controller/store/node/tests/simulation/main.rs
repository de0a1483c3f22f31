//! The replicated store in one thread from one seed: faults first, then everything has to heal.
//!
//! `SIMULATION_SEEDS` says how many seeds to run for each size, `SIMULATION_SEED` and `SIMULATION_NODES` which single one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bugs;
mod clients;
mod disk;
#[path = "../common/draw.rs"]
mod draw;
mod faults;
mod history;
mod invariants;
mod linearizability;
mod members;
mod model;
mod network;
mod recorder;
mod replica;
mod run;
mod trace;
mod world;

use run::{explain, run};
use world::Options;

/// Seeds for each size when nothing else is asked for: with the tests of `bugs`, what 40 s of one core can afford. Without
/// optimization a run takes ten times as long.
const DEFAULT_SEEDS: u64 = if cfg!(debug_assertions) { 60 } else { 1_500 };

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: '{text}'")))
}

fn run_seeds(nodes: u64) {
    let seeds = number("SIMULATION_SEEDS").unwrap_or(DEFAULT_SEEDS);
    let (mut crashes, mut torn, mut partitions, mut snapshots, mut elections) = (0, 0, 0, 0, 0);
    let mut changes = 0;
    let (mut events, mut operations, mut acknowledged, mut unknown) = (0, 0, 0, 0);
    for seed in 0..seeds {
        let report = run(Options::new(seed, nodes)).unwrap_or_else(|failure| panic!("{}", explain(&failure)));
        crashes += report.counts.crashes;
        torn += report.counts.torn_writes;
        partitions += report.counts.partitions;
        snapshots += report.counts.snapshots_installed;
        elections += report.counts.elections;
        changes += report.counts.membership_changes;
        events += report.counts.events;
        operations += report.operations;
        acknowledged += report.acknowledged;
        unknown += report.unknown;
    }
    println!(
        "{seeds} seeds with {nodes} nodes: {events} events, {elections} elections, {crashes} crashes ({torn} within a \
         write), {partitions} partitions, {snapshots} snapshots installed, {changes} membership changes, {operations} operations, {acknowledged} \
         writes acknowledged, {unknown} of unknown outcome"
    );
    let enough = usize::try_from(seeds).unwrap() * 20;
    assert!(acknowledged > enough, "hardly anything was written: {acknowledged} writes in {seeds} runs");
}

#[test]
fn three_nodes_keep_all_invariants_and_heal() {
    run_seeds(3);
}

#[test]
fn five_nodes_keep_all_invariants_and_heal() {
    run_seeds(5);
}

/// The seed of `SIMULATION_SEED`, with a trace when it fails.
#[test]
fn one_seed() {
    let (seed, nodes) = (number("SIMULATION_SEED").unwrap_or(1), number("SIMULATION_NODES").unwrap_or(3));
    let report = run(Options::new(seed, nodes)).unwrap_or_else(|failure| panic!("{}", explain(&failure)));
    println!("seed {seed} with {nodes} nodes: {report:?}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for nodes in [3, 5] {
        for seed in 0..6 {
            let hash = |seed| run(Options::new(seed, nodes)).unwrap().hash;
            assert_eq!(hash(seed), hash(seed), "seed {seed} with {nodes} nodes");
            assert_ne!(hash(seed), hash(seed + 1));
        }
    }
}
