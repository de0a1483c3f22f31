//! What one decision may change, and that several add up to the same.

use std::collections::BTreeSet;

use crds::Outcome;
use rollout_core::MAX_MEMBERS_PER_DECISION;

use crate::world::{Spec, World};

fn fleet(count: usize) -> World {
    World::fleet(
        count,
        Spec::selecting("[{setWeight: 100}]").with(|spec| spec.max_concurrency = Some("'100%'".to_owned())),
    )
}

/// Members changed by each decision until there is no more; decisions that only take claims left out.
fn batches(world: &mut World) -> Vec<usize> {
    let mut sizes = Vec::new();
    loop {
        let decision = world.propose();
        let size = decision.changed_members.len();
        sizes.extend((size > 0).then_some(size));
        let more = decision.more;
        world.commit(decision);
        if !more {
            return sizes;
        }
    }
}

#[test]
fn a_decision_changes_at_most_30_members_and_says_that_there_is_more() {
    let mut world = fleet(70);
    assert_eq!(batches(&mut world), [30, 30, 10]);
    for number in 1..=70 {
        world.answer(&format!("m{number:02}"), Outcome::Observed);
    }
    let changed: usize = batches(&mut world).iter().sum();
    assert!(changed >= 70, "{changed} changes");
    assert_eq!(world.applied().len(), 70);
    for number in 1..=70 {
        world.answer(&format!("m{number:02}"), Outcome::Healthy);
    }
    assert_eq!(batches(&mut world), [30, 30, 10]);
    assert_eq!(world.reason(), "done");
}

#[test]
fn exactly_30_members_are_no_more() {
    let mut world = fleet(MAX_MEMBERS_PER_DECISION);
    assert_eq!(batches(&mut world), [MAX_MEMBERS_PER_DECISION]);
}

#[test]
fn nothing_is_concluded_while_there_is_more() {
    let mut world = fleet(40);
    world.rest();
    world.edit(|spec| spec.image = Some("v3".to_owned()));
    world.rest();
    assert_eq!(world.state.header.settled_run, 2);
    for member in world.members.keys().cloned().collect::<Vec<_>>() {
        world.answer(&member, Outcome::Progressing);
    }
    let first = world.propose();
    assert!(first.more && first.changed_members.len() == MAX_MEMBERS_PER_DECISION);
    assert_eq!(batches(&mut world), [30, 10]);
}

#[test]
fn semantics_34_a_large_deletion_takes_several_decisions_and_releases_after_the_last() {
    let mut world = fleet(70);
    world.rest();
    world.deleted = true;
    assert_eq!(batches(&mut world), [30, 30, 10]);
    assert!(!world.state.header.finalizer_released);
    assert_eq!(world.orders(), ["ReleaseFinalizer"]);
    world.obey_all();
    assert_eq!(batches(&mut world), [30, 30, 10]);
    assert!(world.state.is_spent());
}

#[test]
fn semantics_36_members_that_are_deleted_in_large_numbers_are_forgotten_in_several_decisions() {
    let mut world = fleet(70);
    world.rest();
    world.members.clear();
    let mut forgotten = BTreeSet::new();
    for _ in 0..3 {
        forgotten.extend(world.orders());
    }
    assert_eq!(forgotten.len(), 70);
    assert_eq!((world.state.members.len(), world.state.plan.members.len()), (0, 0));
}
