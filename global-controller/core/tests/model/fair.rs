//! A fair future of a state: nothing goes wrong any more, everybody does what there is to do, and time goes on when
//! nothing is left to do at present.
//!
//! Each of its steps is one of the model's, so the states on the way are explored themselves; once one is known to lead
//! to an end, all that lead to it do.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::PoisonError;

use crds::Phase;
use rollout_core::{Desired, Reachability, summarize, waiting_on};

use super::agent;
use super::leader::Seen;
use super::setup::{Fleet, NOW};
use super::state::State;
use super::step::Action;

/// More steps than any fair future takes: each run has two steps of a deadline or a pause, there and back.
const MAX_STEPS: usize = 2_000;

/// Whether a fair future of this state comes to an end, or to a reason that people can do something about.
pub fn ends(fleet: &Fleet, state: &State) -> bool {
    if state.broken.is_some() {
        return true;
    }
    let mut known = fleet.ending.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut state, mut way) = (state.clone(), HashSet::new());
    for _ in 0..MAX_STEPS {
        let digest = digest(&state);
        if known.contains(&digest) {
            known.extend(way);
            return true;
        }
        if !way.insert(digest) {
            // It goes in a circle.
            return false;
        }
        match next(fleet, &state) {
            Some(next) => state = next,
            None if is_at_rest(fleet, &state) => {
                known.extend(way);
                return true;
            }
            None => {
                if !fleet.happen(&mut state, Action::Pass) {
                    return false;
                }
            }
        }
    }
    false
}

fn digest(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

/// The first thing that can happen at present and changes anything; links first, then leader, then members.
fn next(fleet: &Fleet, state: &State) -> Option<State> {
    let try_one = |action: Action| {
        let mut next = state.clone();
        (fleet.happen(&mut next, action) && next != *state).then_some(next)
    };
    for (number, member) in state.members.iter().enumerate() {
        if !member.link_up {
            return try_one(Action::Mend(number));
        }
        if state.leader.heard[number] != Reachability::Reachable {
            return try_one(Action::Hear(number));
        }
    }
    let late = state.deposed.as_ref().and_then(|_| try_one(Action::CommitLate));
    let decides = || try_one(if state.leader.proposal.is_some() { Action::Commit } else { Action::Decide });
    late.or_else(decides).or_else(|| {
        state.members.iter().enumerate().find_map(|(number, member)| {
            let newest = member.orders.len().checked_sub(1);
            let takes = newest.filter(|place| agent::takes(fleet, &member.agent, &member.orders[*place]));
            let taken = takes.and_then(|place| try_one(Action::Deliver(number, place)));
            let ready = || agent::may_become_ready(&member.agent).then(|| try_one(Action::Ready(number))).flatten();
            let latest = || member.sent.len().checked_sub(1).and_then(|place| try_one(Action::Report(number, place)));
            taken.or_else(|| try_one(Action::Work(number))).or_else(ready).or_else(latest)
        })
    })
}

fn is_at_rest(fleet: &Fleet, state: &State) -> bool {
    let seen = Seen::of(fleet, state);
    let desired = Desired::Present(&fleet.rollouts[state.asked]);
    let status = summarize(&state.committed.state, desired, &seen.observations(), NOW).status;
    let waits = waiting_on(&state.committed.state, desired, &seen.observations(), NOW);
    let over = matches!(status.phase, Some(Phase::Succeeded | Phase::RolledBack | Phase::Failed));
    let told = matches!(status.phase, Some(Phase::Holding | Phase::Pending)) && waits.is_some_and(|wait| wait.holds());
    over || told
}
