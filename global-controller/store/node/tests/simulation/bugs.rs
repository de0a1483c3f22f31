//! The simulation finds bugs: six things are broken on purpose, and each is caught by name within so many seeds.
//!
//! What breaks a promise to another replica is caught by the invariants that look at disks and messages, at once. What lies to
//! clients is looked for with those invariants off: the answers alone, or replicas that differ in the end, must show it.

use store_node::Deviation;

use crate::run::run;
use crate::world::{Bug, Options};

/// Seeds that a bug may need until it shows. Runs repeat, so a test takes as many as it took when it was written, until the
/// simulation changes.
const MOST_SEEDS: u64 = 600;

/// Whether the invariants that look inside are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Inside,
    Outside,
}

/// Runs seeds until one fails; what it breaks must be one of `expected`.
fn caught(bug: Bug, look: Look, expected: &[&str]) {
    for seed in 0..MOST_SEEDS {
        let options = Options { bug: Some(bug), inside: look == Look::Inside, ..Options::new(seed, 3) };
        if let Err(failure) = run(options) {
            let found = failure.violation;
            println!("{bug:?} broke '{}' after {} seeds: {}", found.invariant, seed + 1, found.detail);
            assert!(expected.contains(&found.invariant), "{bug:?} broke '{}' with seed {seed}", found.invariant);
            return;
        }
    }
    panic!("{bug:?} wasn't found in {MOST_SEEDS} seeds");
}

#[test]
fn acknowledging_before_the_sync_is_caught_as_a_broken_promise() {
    caught(Bug::AcknowledgeBeforeSync, Look::Inside, &["promises"]);
}

#[test]
fn acknowledging_before_the_sync_is_caught_from_outside() {
    caught(
        Bug::AcknowledgeBeforeSync,
        Look::Outside,
        &["linearizability", "convergence", "healing", "recovery", "panics"],
    );
}

#[test]
fn dropping_a_write_of_term_and_vote_is_caught_as_a_broken_promise() {
    caught(Bug::DropHardState, Look::Inside, &["promises"]);
}

#[test]
fn trusting_a_state_that_was_not_synced_is_caught_as_disagreement() {
    caught(Bug::TrustUnsyncedState, Look::Inside, &["agreement"]);
}

#[test]
fn trusting_a_state_that_was_not_synced_is_caught_from_outside() {
    caught(Bug::TrustUnsyncedState, Look::Outside, &["linearizability", "convergence"]);
}

#[test]
fn skipping_the_read_index_is_caught_as_not_linearizable() {
    caught(Bug::Node(Deviation::SkipReadIndex), Look::Outside, &["linearizability"]);
}

#[test]
fn skipping_the_read_index_is_caught_as_a_read_that_goes_back() {
    caught(Bug::Node(Deviation::SkipReadIndex), Look::Inside, &["reads"]);
}

#[test]
fn lease_based_reads_are_caught_as_not_linearizable() {
    caught(Bug::Node(Deviation::LeaseBasedReads), Look::Outside, &["linearizability"]);
}

#[test]
fn reused_contexts_of_reads_are_caught_as_not_linearizable() {
    caught(Bug::Node(Deviation::ReusedReadContext), Look::Outside, &["linearizability"]);
}
