#![allow(clippy::unwrap_used)]

use rollout_core::Reachability;

use super::*;
use crate::decisions_command::Taken;
use crate::test_story::Story;

fn kind(taken: &Taken) -> &'static str {
    match taken.record.replay.as_ref().unwrap() {
        Recorded::Base { .. } => "base",
        Recorded::Difference { .. } => "difference",
        Recorded::NotReplayable { .. } => "nothing",
    }
}

/// So many decisions in a row: a member in flux falls silent and is heard again.
fn many(story: &mut Story, count: usize) -> Vec<Taken> {
    let mut taken = Vec::new();
    let mut silent = false;
    while taken.len() < count {
        silent = !silent;
        story.reach("m00000", if silent { Reachability::Unreachable } else { Reachability::Reachable });
        taken.extend(story.decide());
    }
    taken
}

/// A rollout with a member in flux.
fn in_flux(members: usize) -> Story {
    let mut story = Story::new(members);
    story.decide().unwrap();
    story.obey();
    story.decide().unwrap();
    story
}

#[test]
fn the_first_record_is_complete_and_the_next_ones_tell_what_changed() {
    let taken = Story::new(2).run();
    let kinds: Vec<&str> = taken.iter().map(kind).collect();
    assert_eq!(kinds[0], "base");
    assert!(kinds.len() > 4 && kinds[1..].iter().all(|kind| *kind == "difference"), "{kinds:?}");
}

#[test]
fn every_so_many_decisions_all_is_recorded() {
    let every = usize::try_from(BASE_EVERY).unwrap();
    // Two decisions came before.
    let taken = many(&mut in_flux(2), 3 * every);
    let bases: Vec<u64> =
        taken.iter().filter(|one| kind(one) == "base").map(|one| one.record.decision.number).collect();
    assert_eq!(bases, [BASE_EVERY + 1, 2 * BASE_EVERY + 1, 3 * BASE_EVERY + 1]);
}

#[test]
fn a_new_leader_begins_with_a_base() {
    let mut story = in_flux(2);
    story.recorder = Recorder::default();
    assert_eq!(many(&mut story, 3).iter().map(kind).collect::<Vec<_>>(), ["base", "difference", "difference"]);
}

#[test]
fn guarantee_8_a_fleet_that_is_too_large_to_be_recorded_says_so_and_is_not_tried_each_time() {
    let mut story = Story::new(MAX_ENTRIES + 1);
    let mut taken = Vec::new();
    // Claims come first, some at each decision, until there are too many entries for a base.
    while taken.last().is_none_or(|last| kind(last) != "nothing") {
        taken.push(story.decide().unwrap());
        assert!(taken.len() < 2 * MAX_ENTRIES);
    }
    let next: Vec<Taken> = (0..3).filter_map(|_| story.decide()).collect();
    assert!(next.iter().all(|one| kind(one) == "nothing"));
}
