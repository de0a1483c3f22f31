//! The agent, as `cluster-agent` has it: what it takes in, and one durable step after the other of what it does.

use crds::{Intent, Outcome, images_hash};

use super::Guarantee;
use super::setup::{Bug, Fleet, images, is_bad};
use super::state::{Agent, Deadline, Local, Member, OUTCOMES, Order, Report, State, Tag};

/// Late reports that may be under way beside the latest.
const LATE_REPORTS: usize = 1;

impl Agent {
    pub fn new(runs: Tag) -> Self {
        Self {
            mark: 0,
            local: None,
            runs,
            ready: !is_bad(runs),
            changed_under: 0,
            proven: 0,
            ran_bad: false,
            gave_up: 0,
        }
    }
}

/// Whether the agent would take this order in: it has seen nothing newer, and doesn't have it already.
pub fn takes(fleet: &Fleet, agent: &Agent, order: &Order) -> bool {
    let written = agent.local.as_ref().map_or(0, |local| local.order.fence);
    if fleet.has(Bug::AgentTakesLowerFence) {
        return order.fence != written;
    }
    order.fence > agent.mark || (order.fence == agent.mark && written < order.fence)
}

/// The mark rises before the order is written down; in between the agent may die.
pub fn mark(agent: &mut Agent, order: &Order) {
    agent.mark = agent.mark.max(order.fence);
}

/// Takes an order in.
pub fn take(state: &mut State, member: usize, order: Order) {
    let Member { agent, .. } = &mut state.members[member];
    mark(agent, &order);
    let deadline = match order.intent {
        Intent::Apply if order.returns => Deadline::Running(super::setup::DEADLINE_UNITS),
        _ => Deadline::None,
    };
    agent.local = Some(Local { order, said: None, applied: None, deadline });
    if !order.committed {
        state.broken = Some((Guarantee::Committed, format!("fence {} is not committed", order.fence)));
    }
}

/// The agent's process dies, and another one begins with what is durable. Reports on their way are lost, but it says the
/// latest again.
pub fn restart(fleet: &Fleet, state: &mut State, member: usize) {
    let member = &mut state.members[member];
    let latest = member.sent.iter().max().copied();
    member.sent = latest.into_iter().collect();
    if fleet.has(Bug::MarksLostAtRestart) {
        (member.agent.mark, member.agent.local) = (0, None);
    }
    if let Some(local) = &mut member.agent.local
        && fleet.has(Bug::GivenUpForgotten)
        && local.deadline == Deadline::Passed
    {
        (local.deadline, local.said) = (Deadline::Met, None);
    }
}

/// What the agent would do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Write down that it goes back.
    GiveUp,
    /// Change the workload.
    Change(Tag),
    /// Say so.
    Say(Outcome),
}

fn next_step(fleet: &Fleet, agent: &Agent) -> Option<Step> {
    let local = agent.local.as_ref()?;
    let Local { order, said, applied, deadline } = local;
    // Between mark and object it has something newer coming.
    if order.fence < agent.mark && !fleet.has(Bug::AgentTakesLowerFence) {
        return None;
    }
    let say = |outcome: Outcome| (*said != Some(outcome)).then_some(Step::Say(outcome));
    let given_up = *deadline == Deadline::Passed;
    let wanted = match order.intent {
        Intent::Withdraw => return say(Outcome::Withdrawn),
        Intent::Observe => return say(Outcome::Observed),
        Intent::Apply if !given_up => order.tag,
        Intent::Apply | Intent::Return => order.back?,
    };
    if *said == Some(Outcome::PreviousChanged) {
        return None;
    }
    let overdue = *deadline == Deadline::Running(0);
    if agent.runs != wanted && order.reports_drift {
        return say(Outcome::Drifted);
    }
    if agent.runs == wanted {
        let healthy = agent.ready || fleet.has(Bug::AgentSaysHealthyEarly);
        return match (given_up, healthy) {
            (true, _) => say(Outcome::Reverted),
            (false, true) => say(Outcome::Healthy),
            (false, false) if overdue => Some(Step::GiveUp),
            (false, false) => say(Outcome::Progressing),
        };
    }
    if overdue {
        return Some(Step::GiveUp);
    }
    let drifted = *applied == Some(wanted);
    let expected = given_up || order.expected.map_or(order.intent == Intent::Return, |expected| expected == agent.runs);
    if drifted || expected { Some(Step::Change(wanted)) } else { say(Outcome::PreviousChanged) }
}

/// Whether there is anything to do.
pub fn has_work(fleet: &Fleet, agent: &Agent) -> bool {
    next_step(fleet, agent).is_some()
}

/// One durable step; false if there is nothing to do.
pub fn work(fleet: &Fleet, state: &mut State, member: usize) -> bool {
    let Some(step) = next_step(fleet, &state.members[member].agent) else { return false };
    let agent = &mut state.members[member].agent;
    let Some(local) = &mut agent.local else { return false };
    match step {
        Step::GiveUp => {
            local.deadline = Deadline::Passed;
            agent.gave_up = local.order.fence;
        }
        Step::Change(tag) => {
            local.applied = Some(tag);
            let fence = local.order.fence;
            let lower = fence < agent.changed_under.max(agent.mark);
            agent.changed_under = agent.changed_under.max(fence);
            (agent.runs, agent.ready) = (tag, false);
            agent.ran_bad |= is_bad(tag);
            let again = agent.gave_up == fence && local.order.intent == Intent::Apply && tag == local.order.tag;
            if lower {
                let what = format!("{} changes under {fence}, seen {}", fleet.names[member], agent.mark);
                state.broken = Some((Guarantee::Fences, what));
            } else if again {
                let what = format!("{} runs {tag} again, which it has given up", fleet.names[member]);
                state.broken = Some((Guarantee::Refused, what));
            }
        }
        Step::Say(outcome) => say(state, member, outcome),
    }
    true
}

fn say(state: &mut State, member: usize, outcome: Outcome) {
    let Member { agent, sent, stored, .. } = &mut state.members[member];
    let Some(local) = &mut agent.local else { return };
    local.said = Some(outcome);
    if outcome == Outcome::Healthy && agent.ready && local.order.intent == Intent::Apply {
        agent.proven = local.order.fence;
    }
    if outcome == Outcome::Healthy && matches!(local.deadline, Deadline::Running(_)) {
        local.deadline = Deadline::Met;
    }
    let sequence = sent.iter().chain(stored.iter()).map(|report| report.sequence).max().unwrap_or(0) + 1;
    let number = OUTCOMES.iter().position(|known| *known == outcome).unwrap();
    let outcome = u8::try_from(number).unwrap();
    let surplus = sent.len().saturating_sub(LATE_REPORTS);
    sent.drain(..surplus);
    sent.push(Report {
        fence: local.order.fence,
        sequence,
        outcome,
        runs: agent.runs,
        ready: agent.ready,
        applied: local.applied.or(Some(agent.runs).filter(|runs| *runs == local.order.tag)),
    });
}

/// Whether pods that run now may become ready.
pub fn may_become_ready(agent: &Agent) -> bool {
    !agent.ready && !is_bad(agent.runs)
}

impl Report {
    /// As the leader reads it.
    pub fn status(self, epoch: i64) -> crds::RolloutAssignmentStatus {
        let observation = crds::WorkloadObservation {
            uid: "w".to_owned(),
            generation: 1,
            observed_generation: 1,
            images: images(self.runs),
            desired: 2,
            updated: 2,
            ready: if self.ready { 2 } else { 0 },
            available: if self.ready { 2 } else { 0 },
            healthy: self.ready,
            partial: false,
            snapshot: None,
        };
        crds::RolloutAssignmentStatus {
            fence: crds::Fence { epoch, generation: i64::from(self.fence) },
            sequence: i64::from(self.sequence),
            outcome: OUTCOMES[usize::from(self.outcome)],
            applied_hash: self.applied.map(|tag| images_hash(&images(tag))),
            workload: Some(observation),
            message: String::new(),
            changed_at: None,
            deadline: None,
        }
    }
}
