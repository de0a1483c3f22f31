//! The simulation finds bugs: six things are broken on purpose, and each is caught by name within a few seeds.
//!
//! Each is looked for twice: with the invariants that look at disks and messages, and with only what clients and operators
//! could see (answers, a store that doesn't heal or differs between replicas).

use store_node::Deviation;

use crate::run::run;
use crate::world::{Bug, Options};

fn explore(bug: Bug) {
    for inside in [false] {
        for nodes in [3] {
            let mut found = std::collections::BTreeMap::new();
            let mut first = None;
            for seed in 0..400 {
                if let Err(failure) = run(Options { bug: Some(bug), inside, ..Options::new(seed, nodes) }) {
                    first.get_or_insert(seed);
                    *found.entry(failure.violation.invariant).or_insert(0) += 1;
                }
            }
            println!("{bug:?} inside {inside} nodes {nodes}: first {first:?}, {found:?} of 400");
        }
    }
}

#[test]
fn explore_all() {
    for bug in [
        Bug::Node(Deviation::LeaseBasedReads),
        Bug::Node(Deviation::ReusedReadContext),
    ] {
        explore(bug);
    }
}
