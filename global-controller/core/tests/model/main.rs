//! Small fleets, explored exhaustively: whatever leader, store, network, agents, clocks and people do, in any order.
//!
//! The leader decides by the real `decide`; store, network and agents are models of what they promise (see the modules).
//! Every property is also shown to be able to fail: with one promise broken ([`Bug`]) the checker finds a way.
//!
//! What is bounded: members, edits and faults, by [`Setup`]; of each member's reports the latest and one that is late are
//! under way; time goes in steps of 15 s, by itself once nobody has anything to do, and before as often as `delays` allows.
//! What an agent does in one go is one step, unless it dies in between. Numbers of fences and decisions are only ever
//! compared, and times only with durations, so states that differ in nothing else are one (see `state`): within these
//! bounds no run is cut short. Not in here: workloads that fall ill after they were healthy, the hub, claims of others,
//! deletion, members that come and go; `properties.rs` draws those at random.
//!
//! All of it takes one to two minutes on one core; `cargo test --release -p rollout-core --test model -- --nocapture` prints
//! how many states there are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod agent;
mod check;
mod fair;
mod leader;
mod setup;
#[path = "../world/spec.rs"]
#[allow(dead_code)]
mod spec;
mod state;
mod step;

use std::time::Instant;

use stateright::{Checker as _, HasDiscoveries, Model as _};

use check::{
    BUDGETS, COMMITTED, ENDS, FENCES, GIVES_UP, Guarantee, ONE_LEADER, OWES, REFUSED, REFUSES, ROLLS_BACK, SOUND,
    STEPS, SUCCEEDS,
};
use setup::{Bug, Faults, Fleet, Setup};

/// Explores everything, prints how much that was, and fails if anything breaks, or if an outcome in `seen` never comes.
fn explore(setup: Setup, seen: &[&'static str]) {
    let (name, began) = (setup.name, Instant::now());
    let fleet = Fleet::new(setup, None);
    let checker = fleet.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let took = began.elapsed().as_secs_f64();
    let (unique, all, depth) = (checker.unique_state_count(), checker.state_count(), checker.max_depth());
    println!("{name}: {unique} states, {all} steps, at most {depth} deep, {took:.1} s");
    let discoveries = checker.discoveries();
    for property in checker.model().properties() {
        let found = discoveries.get(property.name);
        if property.expectation.discovery_is_failure() {
            let story = found.map(|path| check::story(checker.model(), path));
            assert!(found.is_none(), "{} fails in '{name}':\n{}", property.name, story.unwrap());
        } else {
            assert!(found.is_some() || !seen.contains(&property.name), "'{name}' never came to: {}", property.name);
        }
    }
}

/// With this bug the checker finds a way to break this property.
fn assert_found(setup: Setup, bug: Bug, property: &'static str) {
    let fleet = Fleet::new(setup, Some(bug));
    let wanted = HasDiscoveries::AllOf([property].into());
    let checker = fleet.checker().finish_when(wanted).spawn_bfs().join();
    let unique = checker.unique_state_count();
    let path = checker.discovery(property).unwrap_or_else(|| panic!("{unique} states, and {bug:?} breaks nothing"));
    println!("{bug:?} breaks \"{property}\" after {} steps; {unique} states", path.into_actions().len());
}

const GOOD: Setup = Setup {
    name: "two members, a good image",
    members: 2,
    images: &[2],
    weight: 50,
    max_concurrency: 2,
    max_failures: 0,
    max_unreachable: 0,
    strict: false,
    faults: Faults { crashes: 1, stalls: 1, delays: 2, cuts: 0, restarts: 1 },
};

/// Both get it at the same time, and no pod of it becomes ready.
const BAD: Setup = Setup {
    name: "two members, a bad image",
    images: &[9],
    weight: 100,
    faults: Faults { crashes: 1, stalls: 0, delays: 2, cuts: 0, restarts: 1 },
    ..GOOD
};

#[test]
fn a_good_image_while_leaders_and_agents_die_and_are_slow() {
    explore(GOOD, &[SUCCEEDS, ROLLS_BACK, GIVES_UP]);
}

#[test]
fn a_good_image_while_members_are_cut_off() {
    let faults = Faults { crashes: 1, stalls: 0, delays: 2, cuts: 1, restarts: 0 };
    explore(Setup { name: "a good image, a link down", max_unreachable: 1, faults, ..GOOD }, &[SUCCEEDS]);
}

#[test]
fn a_bad_image_while_leaders_and_agents_die_and_are_slow() {
    explore(BAD, &[ROLLS_BACK, GIVES_UP]);
}

#[test]
fn a_bad_image_while_members_are_cut_off() {
    let faults = Faults { crashes: 0, stalls: 0, delays: 1, cuts: 1, restarts: 0 };
    explore(Setup { name: "a bad image, a link down", faults, ..BAD }, &[ROLLS_BACK, OWES]);
}

#[test]
fn an_image_that_another_supersedes_while_decisions_are_committed_late() {
    let faults = Faults { crashes: 1, stalls: 1, delays: 1, cuts: 0, restarts: 0 };
    explore(
        Setup { name: "one image after the other", images: &[2, 3], max_concurrency: 1, faults, ..GOOD },
        &[SUCCEEDS],
    );
}

#[test]
fn a_bad_image_that_is_asked_for_again_after_it_was_rolled_back() {
    let faults = Faults { crashes: 1, stalls: 0, delays: 1, cuts: 0, restarts: 0 };
    let setup = Setup { name: "a bad image, a good one, the bad one", images: &[9, 2, 9], weight: 50, faults, ..BAD };
    explore(setup, &[SUCCEEDS, ROLLS_BACK, REFUSES]);
}

#[test]
fn strict_tolerance_on_three_members() {
    let faults = Faults { crashes: 0, stalls: 0, delays: 1, cuts: 1, restarts: 0 };
    let setup = Setup { name: "three members, strict", members: 3, max_failures: 1, strict: true, faults, ..BAD };
    explore(setup, &[ROLLS_BACK, OWES]);
}

#[test]
fn soft_tolerance_on_three_members() {
    let faults = Faults { crashes: 1, stalls: 0, delays: 0, cuts: 0, restarts: 0 };
    let setup = Setup { name: "three members, soft", members: 3, max_failures: 1, faults, ..BAD };
    explore(setup, &[ROLLS_BACK]);
}

#[test]
fn every_property_can_fail() {
    let one = Setup { members: 1, faults: Faults { stalls: 1, delays: 3, ..BAD.faults }, ..BAD };
    assert_found(one, Bug::ActsBeforeCommit, COMMITTED);
    assert_found(one, Bug::AgentTakesLowerFence, FENCES);
    assert_found(one, Bug::MarksLostAtRestart, FENCES);
    assert_found(one, Bug::DeposedCommits, ONE_LEADER);
    assert_found(Setup { images: &[2], ..one }, Bug::AgentSaysHealthyEarly, STEPS);
    assert_found(Setup { images: &[2], ..one }, Bug::ClockRunsAhead, STEPS);
    let few = Faults { delays: 0, ..BAD.faults };
    let three = Setup { members: 3, max_concurrency: 1, max_failures: 1, faults: few, ..BAD };
    assert_found(three, Bug::FailuresForgotten, BUDGETS);
    assert_found(one, Bug::GivenUpForgotten, REFUSED);
    assert_found(one, Bug::QuarantineForgotten, SOUND);
    assert_found(Setup { images: &[2], ..one }, Bug::ClockStandsStill, ENDS);
}
