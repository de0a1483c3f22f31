//! The linter of core over every rollout: over what is stored, and over what would be decided next.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rollout_core::{Desired, MemberFacts, Observations, decide, lint, lint_orders};

use super::Fault;
use crate::clock;
use crate::world::{Known, World};

/// How many rollouts there are, of hub and store, and what is broken about them.
pub(super) fn all(world: &World) -> (usize, BTreeSet<Fault>) {
    let members = world.member_facts();
    let uids = world.rollouts();
    let faults = uids.iter().flat_map(|uid| of_rollout(world, uid, &members)).collect();
    (uids.len(), faults)
}

fn of_rollout(world: &World, uid: &str, members: &BTreeMap<String, MemberFacts>) -> Vec<Fault> {
    let linted = catch_unwind(AssertUnwindSafe(|| {
        world.look(uid, members, |known, desired, observations| {
            let subject = format!("rollout {} ({uid})", known.state.header.name);
            let broken = broken(known, desired, observations);
            broken.into_iter().map(|broken| Fault::new(subject.clone(), broken)).collect()
        })
    }));
    linted.unwrap_or_else(|_| vec![Fault::new(format!("rollout ({uid})"), "deciding about it panics")])
}

fn broken(known: &Known, desired: Desired<'_>, observations: &Observations<'_>) -> Vec<String> {
    let desired = as_new_as_the_state(known, desired);
    let mut broken = lint(&known.state, desired, observations);
    let decision = decide(&known.state, desired, observations, clock::now_millis());
    let mut next = lint(&decision.state, desired, observations);
    next.extend(lint_orders(&decision, observations));
    // What is broken already is said once.
    next.retain(|sentence| !broken.contains(sentence));
    broken.extend(next.into_iter().map(|sentence| format!("the next decision would break this: {sentence}")));
    broken
}

/// A deletion can't be taken back. Where the state knows of one that the hub's picture doesn't show yet, the picture, of a
/// replica that doesn't lead, is the older of the two.
fn as_new_as_the_state<'a>(known: &Known, desired: Desired<'a>) -> Desired<'a> {
    match desired {
        Desired::Present(rollout) if known.state.header.deleting => Desired::Deleted { generation: rollout.generation },
        Desired::Invalid { generation, .. } if known.state.header.deleting => Desired::Deleted { generation },
        same => same,
    }
}
