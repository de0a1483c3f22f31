//! Everything that can happen next, as `stateright` explores it.

use std::sync::PoisonError;

use rollout_core::{Claims, Reachability, RolloutState};
use stateright::{Model, Property};

use super::agent;
use super::check;
use super::leader;
use super::setup::{Bug, Fleet, NOW, own_tag};
use super::state::{Agent, Committed, Kept, LONG_AGO_UNITS, Leader, Member, State};

/// Something that happens; members by number, orders and reports by their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// People ask for the next image.
    Ask,
    /// The leader decides and commits.
    Decide,
    /// It decides, and the commit takes its time.
    Stall,
    Commit,
    /// The leader dies or is cut off, and another leads.
    Crash,
    /// The one that was cut off tries to commit what it has decided.
    CommitLate,
    /// An order arrives, perhaps for a second time or after a newer one, and is carried out as far as that goes.
    Deliver(usize, usize),
    /// The same, and the agent dies before it is written down.
    DeliverHalf(usize, usize),
    /// The agent does what there is to do.
    Work(usize),
    /// It does one thing of that, and dies.
    WorkHalf(usize),
    /// The workload's pods become ready, and the agent says so.
    Ready(usize),
    /// A report arrives.
    Report(usize, usize),
    /// The agent dies and starts again.
    Restart(usize),
    Cut(usize),
    Mend(usize),
    /// The leader calls the member silent.
    Miss(usize),
    /// The leader hears it.
    Hear(usize),
    /// Time goes on.
    Pass,
}

impl Model for Fleet {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let committed = Committed {
            state: RolloutState::new("checkout", "11e8-b0a7"),
            assignments: [].into(),
            claims: Claims::default(),
        };
        let count = self.setup.members;
        let long_ago = NOW - i64::from(LONG_AGO_UNITS) * super::setup::UNIT;
        vec![State {
            committed: Kept::<Committed>::of(committed),
            leader: Leader { judging_since: long_ago, heard: vec![Reachability::Reachable; count], proposal: None },
            deposed: None,
            members: (0..count).map(|number| Member::new(Agent::new(own_tag(number)))).collect(),
            asked: 0,
            left: self.setup.faults,
            stage_age: 0,
            broken: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_some() {
            return;
        }
        self.actions_of_leader(state, actions);
        for (number, member) in state.members.iter().enumerate() {
            self.actions_of_member(state, number, member, actions);
        }
        actions.push(Action::Pass);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let changed = self.happen(&mut state, action);
        (changed && state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        check::properties()
    }
}

impl Member {
    fn new(agent: Agent) -> Self {
        Self { link_up: true, assigned: 0, orders: Vec::new(), agent, sent: Vec::new(), stored: None }
    }
}

impl Fleet {
    fn actions_of_leader(&self, state: &State, actions: &mut Vec<Action>) {
        if state.asked + 1 < self.rollouts.len() {
            actions.push(Action::Ask);
        }
        if state.leader.proposal.is_none() {
            actions.push(Action::Decide);
            if state.left.stalls > 0 {
                actions.push(Action::Stall);
            }
        } else {
            actions.push(Action::Commit);
        }
        if state.left.crashes > 0 {
            actions.push(Action::Crash);
        }
        if state.deposed.is_some() {
            actions.push(Action::CommitLate);
        }
    }

    fn actions_of_member(&self, state: &State, number: usize, member: &Member, actions: &mut Vec<Action>) {
        let heard = state.leader.heard[number];
        if member.link_up {
            for (place, order) in member.orders.iter().enumerate() {
                if agent::takes(self, &member.agent, order) {
                    actions.push(Action::Deliver(number, place));
                    if state.left.restarts > 0 {
                        actions.push(Action::DeliverHalf(number, place));
                    }
                }
            }
            actions.extend((0..member.sent.len()).map(|place| Action::Report(number, place)));
            if heard != Reachability::Reachable {
                actions.push(Action::Hear(number));
            }
            if state.left.cuts > 0 {
                actions.push(Action::Cut(number));
            }
        } else {
            actions.push(Action::Mend(number));
            if heard != Reachability::Unreachable {
                actions.push(Action::Miss(number));
            }
        }
        actions.push(Action::Work(number));
        if state.left.restarts > 0 {
            actions.push(Action::WorkHalf(number));
        }
        if agent::may_become_ready(&member.agent) {
            actions.push(Action::Ready(number));
        }
        if state.left.restarts > 0 {
            actions.push(Action::Restart(number));
        }
    }

    /// Lets it happen; false if that changes nothing.
    pub fn happen(&self, state: &mut State, action: Action) -> bool {
        match action {
            Action::Ask => state.asked += 1,
            Action::Decide if self.has(Bug::ActsBeforeCommit) => {
                let decided = leader::propose(self, state);
                leader::commit(self, state);
                return decided;
            }
            Action::Decide => return leader::decide_and_commit(self, state),
            Action::Stall => {
                state.left.stalls -= 1;
                return leader::propose(self, state);
            }
            Action::Commit => leader::commit(self, state),
            Action::Crash => {
                state.left.crashes -= 1;
                leader::succeed(state);
            }
            Action::CommitLate => leader::commit_late(self, state),
            Action::Pass => return self.pass(state),
            Action::Deliver(number, _)
            | Action::DeliverHalf(number, _)
            | Action::Work(number)
            | Action::WorkHalf(number)
            | Action::Ready(number)
            | Action::Report(number, _)
            | Action::Restart(number) => {
                let changed = self.happen_to_agent(state, number, action);
                state.tidy(number, leader::keeps_orders(self));
                return changed;
            }
            Action::Cut(number) => {
                state.left.cuts -= 1;
                state.members[number].link_up = false;
            }
            Action::Mend(number) => state.members[number].link_up = true,
            Action::Miss(number) => state.leader.heard[number] = Reachability::Unreachable,
            Action::Hear(number) => state.leader.heard[number] = Reachability::Reachable,
        }
        true
    }

    fn happen_to_agent(&self, state: &mut State, number: usize, action: Action) -> bool {
        let restarts = matches!(action, Action::DeliverHalf(..) | Action::WorkHalf(_) | Action::Restart(_));
        state.left.restarts -= u8::from(restarts);
        match action {
            Action::Deliver(_, place) => {
                let order = state.members[number].orders[place];
                agent::take(state, number, order);
                self.work(state, number);
            }
            Action::DeliverHalf(_, place) => {
                let order = state.members[number].orders[place];
                agent::mark(&mut state.members[number].agent, &order);
                agent::restart(self, state, number);
            }
            Action::Work(_) => return self.work(state, number),
            Action::WorkHalf(_) => {
                let worked = agent::work(self, state, number);
                agent::restart(self, state, number);
                return worked;
            }
            Action::Ready(_) => {
                state.members[number].agent.ready = true;
                self.work(state, number);
            }
            Action::Report(_, place) => {
                let member = &mut state.members[number];
                member.stored = Some(member.sent[place]);
            }
            Action::Restart(_) => agent::restart(self, state, number),
            _ => return false,
        }
        true
    }

    /// The agent does what there is to do, step by step.
    fn work(&self, state: &mut State, number: usize) -> bool {
        let mut worked = false;
        while state.broken.is_none() && agent::work(self, state, number) {
            worked = true;
        }
        worked
    }

    /// Time goes on by itself when there is nothing to do at present; before, somebody is slow.
    fn pass(&self, state: &mut State) -> bool {
        if self.is_busy(state) {
            if state.left.delays == 0 {
                return false;
            }
            state.left.delays -= 1;
        }
        let mut later = self.later.lock().unwrap_or_else(PoisonError::into_inner);
        state.pass(!self.has(Bug::ClockStandsStill), &mut later);
        true
    }

    /// Whether anybody has something to do at present. Who has lost the link waits for it, and nobody for people.
    fn is_busy(&self, state: &State) -> bool {
        let heard = state.members.iter().zip(&state.leader.heard).any(|(member, heard)| {
            let right = if member.link_up { Reachability::Reachable } else { Reachability::Unreachable };
            *heard != right
        });
        let at_work = |member: &Member| {
            let comes = member.orders.iter().any(|order| agent::takes(self, &member.agent, order));
            let linked = member.link_up && (comes || !member.sent.is_empty());
            linked || agent::has_work(self, &member.agent) || agent::may_become_ready(&member.agent)
        };
        heard
            || state.leader.proposal.is_some()
            || state.deposed.is_some()
            || state.members.iter().any(at_work)
            || leader::decided(self, state).is_news()
    }
}
