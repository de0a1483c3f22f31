//! One run: a phase with faults, a phase that must heal, and what is checked at the end.

use std::panic::{AssertUnwindSafe, catch_unwind};

use store_node::{Op, State, Txn};

use crate::history::{Call, Outcome};
use crate::invariants::Violation;
use crate::linearizability::{self, Verdict};
use crate::recorder::digest;
use crate::world::{Counts, Options, TICK_MICROS, World};

/// Of the phase with faults, in microseconds: 600 ticks.
const FAULTS_MICROS: u64 = 600 * TICK_MICROS;
/// Everything has healed by then, in microseconds: several elections, and the deadline of the last operation.
const HEAL_MICROS: u64 = 300 * TICK_MICROS;
/// A write after that takes no longer than this, in microseconds: no election is needed any more.
const WRITE_MICROS: u64 = 20 * TICK_MICROS;
/// A request that nothing else answers is given up by then, in microseconds: 1,100 ticks.
const EXPIRY_MICROS: u64 = 1_100 * TICK_MICROS;

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    pub hash: u64,
    pub counts: Counts,
    pub operations: usize,
    pub acknowledged: usize,
    pub unknown: usize,
}

/// A run that broke something.
#[derive(Clone, Debug)]
pub struct Failure {
    pub options: Options,
    pub violation: Violation,
}

/// Runs one seed.
pub fn run(options: Options) -> Result<Report, Failure> {
    catch_unwind(AssertUnwindSafe(|| play(options).0)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let detail = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
        Err(Failure { options, violation: Violation { invariant: "panics", detail } })
    })
}

/// Runs a seed that failed again, with words.
pub fn explain(failure: &Failure) -> String {
    let Failure { options, violation } = failure;
    let again = catch_unwind(AssertUnwindSafe(|| play(Options { worded: true, ..*options })));
    let (trace, violation) = match again {
        Ok((Err(again), trace)) => (trace, again.violation),
        Ok((Ok(_), _)) => ("it doesn't fail again: the simulation is not deterministic".to_owned(), violation.clone()),
        Err(_) => ("it panics, so there is no trace".to_owned(), violation.clone()),
    };
    let (seed, nodes) = (options.seed, options.nodes);
    format!(
        "{trace}\n'{}' broken by seed {seed} with {nodes} nodes: {}\nrepeat with: SIMULATION_SEED={seed} \
         SIMULATION_NODES={nodes} cargo test --release -p store-node --test simulation one_seed -- --nocapture\n",
        violation.invariant, violation.detail
    )
}

fn play(options: Options) -> (Result<Report, Failure>, String) {
    let mut world = World::new(options);
    world.run_until(FAULTS_MICROS);
    if world.failure.is_none() {
        world.heal();
        world.run_until(FAULTS_MICROS + HEAL_MICROS);
    }
    if world.failure.is_none() {
        healed(&mut world);
    }
    if world.failure.is_none() {
        linearizable(&mut world);
    }
    let text = world.trace.text();
    let report = Report {
        hash: world.trace.hash(),
        counts: world.counts,
        operations: world.history.len(),
        acknowledged: world.invariants.acknowledged.count(),
        unknown: world.history.iter().filter(|operation| operation.outcome == Outcome::Unknown).count(),
    };
    let result = match world.failure {
        Some(violation) => Err(Failure { options, violation }),
        None => Ok(report),
    };
    (result, text)
}

/// Without faults there is a leader, a write goes through, nobody waits, and all members hold the same.
fn healed(world: &mut World) {
    if world.asking() {
        return world.broken("healing", "clients still wait for answers".to_owned());
    }
    let leads = |world: &World, id| world.replicas[&id].node.as_ref().is_some_and(|node| node.view().fence.is_some());
    let Some(leader) = world.ids().into_iter().find(|id| leads(world, *id)) else {
        return world.broken("healing", "nobody leads".to_owned());
    };
    let then = vec![Op::Put { key: "k0".to_owned(), value: "last".into() }];
    let txn = Txn::new(None, Vec::new(), then).expect("within the limits");
    let last = world.history.len();
    world.begin(0, leader, Call::Txn(txn));
    world.run_until(world.now + WRITE_MICROS);
    if !matches!(world.history[last].outcome, Outcome::Returned(..)) {
        return world.broken("healing", format!("a write ended as {:?}", world.history[last].outcome));
    }
    // Replicas that were removed or never belonged to the store owe nobody an answer.
    let node = world.replicas[&leader].node.as_ref();
    let members = node.map(|node| node.membership().members()).unwrap_or_default();
    world.replicas.retain(|id, _| members.contains(id));
    if world.replicas.values().any(|replica| !replica.requests.is_empty()) {
        // A write that lay beyond the end of the log that won has no place that would tell its fate.
        world.run_until(world.now + EXPIRY_MICROS);
    }
    if let Some((id, replica)) = world.replicas.iter().find(|(_, replica)| !replica.requests.is_empty()) {
        let detail = format!("replica {id} still owes answers: {:?}", replica.requests);
        return world.broken("healing", detail);
    }
    same_everywhere(world);
}

fn same_everywhere(world: &mut World) {
    let tables: Vec<_> = world
        .replicas
        .values()
        .filter_map(|replica| replica.node.as_ref())
        .map(|node| (node.state().applied(), node.state().table.revision(), digest(&node.state().table)))
        .collect();
    if tables.len() != world.replicas.len() || tables.windows(2).any(|pair| pair[0] != pair[1]) {
        return world.broken("convergence", format!("the tables differ: {tables:?}"));
    }
    if world.options.inside {
        let end = tables.first().map_or(0, |table| table.1);
        let survived = world.invariants.acknowledged.survived(&world.invariants.agreement, end);
        if let Err(detail) = survived {
            world.broken("acknowledged", detail);
        }
    }
}

fn linearizable(world: &mut World) {
    match linearizability::check(&world.history) {
        Verdict::Linearizable => {}
        Verdict::Violation { placed, stuck } => {
            let of = world.history.len();
            let before = world.history.iter().map(|operation| format!("{operation:?}\n"));
            let before: String = if world.options.worded { before.collect() } else { String::new() };
            let detail = format!("no order of more than {placed} of {of} operations; then one of {stuck:#?}\n{before}");
            world.broken("linearizability", detail);
        }
        Verdict::Undecided => world.broken("linearizability", "the search gave up".to_owned()),
    }
}
