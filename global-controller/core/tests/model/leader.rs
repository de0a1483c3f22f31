//! The leader and the store: decide on what is seen, commit it in one transaction under a fence and on a condition.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, PoisonError};

use crds::{Fence, GateMode, Intent, RolloutAssignment, RolloutAssignmentSpec, RolloutAssignmentStatus};
use rollout_core::{
    Claims, Command, Decision, Desired, GateSettings, HeardAlerts, HubFacts, MemberFacts, Millis, Observations,
    Reachability, RolloutState, Samples, decide, lint, lint_orders,
};

use super::check::{Guarantee, committed_break};
use super::setup::{Bug, Fleet, NOW, tag_of, tag_of_order};
use super::state::{Committed, Facts, Kept, Leader, Order, Proposal, State};

const EPOCH: i64 = 1;
/// How far a wrong clock is ahead.
const HOUR: Millis = 3_600_000;

/// What the leader sees. Owned, since observations borrow.
pub struct Seen {
    members: BTreeMap<String, MemberFacts>,
    assignments: BTreeMap<String, RolloutAssignment>,
    reports: BTreeMap<String, RolloutAssignmentStatus>,
    claims: Claims,
    samples: Samples,
    alerts: HeardAlerts,
    gates: GateSettings,
    judging_since: i64,
}

impl Seen {
    pub fn of(fleet: &Fleet, state: &State) -> Self {
        let named = || fleet.names.iter().cloned().zip(&state.members);
        let heard = fleet.names.iter().cloned().zip(&state.leader.heard);
        let mut assignments = state.committed.assignments.clone();
        for (name, member) in named() {
            if let Some(assignment) = assignments.get_mut(&name) {
                assignment.spec.fence = Fence { epoch: EPOCH, generation: i64::from(member.assigned) };
            }
        }
        let reports = named().filter_map(|(name, member)| Some((name, member.stored?.status(EPOCH))));
        Self {
            members: heard.map(|(name, heard)| (name, facts(*heard))).collect(),
            assignments,
            reports: reports.collect(),
            claims: state.committed.claims.clone(),
            samples: Samples::new(),
            alerts: HeardAlerts::new(),
            gates: GateSettings { when_unconfigured: GateMode::TimerOnly, ..GateSettings::default() },
            judging_since: state.leader.judging_since,
        }
    }

    pub fn observations(&self) -> Observations<'_> {
        Observations {
            members: &self.members,
            assignments: &self.assignments,
            reports: &self.reports,
            claims: &self.claims,
            actions: &[],
            samples: &self.samples,
            alerts: &self.alerts,
            gates: &self.gates,
            hub_fresh: true,
            judging_since: self.judging_since,
            hub: HubFacts::default(),
            recovery: None,
        }
    }
}

fn facts(reachable: Reachability) -> MemberFacts {
    MemberFacts {
        labels: BTreeMap::new(),
        reachable,
        cordoned: false,
        uploaded: true,
        api_level: crds::AGENT_API_LEVEL,
    }
}

/// What comes of deciding.
pub struct Decided {
    /// None: there is nothing to change.
    decision: Option<Decision>,
    /// What the linter says.
    unsound: Vec<String>,
    /// What the commit leaves, if it comes at once.
    committed: Option<Kept<Committed>>,
}

/// What the leader decides now.
pub fn decided(fleet: &Fleet, state: &State) -> Arc<Decided> {
    let mut hasher = DefaultHasher::new();
    let State { committed, leader, members, asked, .. } = state;
    (committed, &leader.heard, leader.judging_since, asked, now(fleet, state)).hash(&mut hasher);
    for member in members {
        (member.assigned, member.stored).hash(&mut hasher);
    }
    let mut known = fleet.decided.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(known.entry(hasher.finish()).or_insert_with(|| Arc::new(compute(fleet, state))))
}

/// The time by the leader's clock.
fn now(fleet: &Fleet, state: &State) -> Millis {
    let succeeded = state.left.crashes < fleet.setup.faults.crashes;
    if fleet.has(Bug::ClockRunsAhead) && succeeded { NOW + HOUR } else { NOW }
}

fn compute(fleet: &Fleet, state: &State) -> Decided {
    let seen = Seen::of(fleet, state);
    let observations = seen.observations();
    let desired = Desired::Present(&fleet.rollouts[state.asked]);
    let now = now(fleet, state);
    let before = &state.committed.state;
    let decision = decide(before, desired, &observations, now);
    if decision.commands.is_empty() && decision.state == *before {
        return Decided { decision: None, unsound: Vec::new(), committed: None };
    }
    let mut unsound = lint(&decision.state, desired, &observations);
    unsound.extend(lint_orders(&decision, &observations));
    let committed = Some(outcome(fleet, &state.committed, &decision));
    Decided { decision: Some(decision), unsound, committed }
}

/// The leader decides, and what it has decided waits for its commit; false if there is nothing to change.
pub fn propose(fleet: &Fleet, state: &mut State) -> bool {
    let Some(proposal) = proposal(fleet, state, &decided(fleet, state)) else { return state.broken.is_some() };
    if fleet.has(Bug::ActsBeforeCommit) {
        send(fleet, state, &proposal.decision, false);
    }
    state.leader.proposal = Some(Kept::<Proposal>::of(proposal));
    true
}

/// The leader decides and commits at once; false if there is nothing to change.
pub fn decide_and_commit(fleet: &Fleet, state: &mut State) -> bool {
    let decided = decided(fleet, state);
    let Some(proposal) = proposal(fleet, state, &decided) else { return state.broken.is_some() };
    state.deposed = state.deposed.as_ref().map(Kept::<Proposal>::overtaken);
    apply(fleet, state, &proposal, decided.committed.clone());
    true
}

fn proposal(fleet: &Fleet, state: &mut State, decided: &Decided) -> Option<Proposal> {
    let decision = decided.decision.clone()?;
    if !decided.unsound.is_empty() {
        state.broken = Some((Guarantee::Sound, decided.unsound.join("; ")));
        return None;
    }
    let members = fleet.names.iter().zip(&state.members).zip(&state.leader.heard);
    let facts = members.map(|((name, member), heard)| {
        let spec = state.committed.assignments.get(name).map(|one| &one.spec);
        let applies = spec.is_some_and(|spec| spec.intent == Intent::Apply);
        Facts { proven: applies && member.assigned == member.agent.proven, silent: *heard == Reachability::Unreachable }
    });
    Some(Proposal { decision, facts: facts.collect(), stage_age: state.stage_age, waited: 0, overtaken: false })
}

impl Decided {
    /// Whether there is anything to change.
    pub fn is_news(&self) -> bool {
        self.decision.is_some()
    }
}

/// The present leader's transaction.
pub fn commit(fleet: &Fleet, state: &mut State) {
    if let Some(proposal) = state.leader.proposal.take().filter(|proposal| !proposal.overtaken) {
        state.deposed = state.deposed.as_ref().map(Kept::<Proposal>::overtaken);
        apply(fleet, state, &proposal, None);
    }
}

/// That of one that leads no more: the store compares the terms, and commits nothing.
pub fn commit_late(fleet: &Fleet, state: &mut State) {
    let Some(proposal) = state.deposed.take() else { return };
    if fleet.has(Bug::DeposedCommits) {
        state.leader.proposal = state.leader.proposal.as_ref().map(Kept::<Proposal>::overtaken);
        apply(fleet, state, &proposal, None);
        state.broken = Some((Guarantee::OneLeader, "a decision of an earlier term was committed".to_owned()));
    }
}

/// Another leads from now on. What the old one has decided comes too late, or never.
pub fn succeed(state: &mut State) {
    state.deposed = state.leader.proposal.take().or(state.deposed.take());
    let heard = vec![Reachability::Unknown; state.members.len()];
    state.leader = Leader { judging_since: NOW, heard, proposal: None };
}

fn apply(fleet: &Fleet, state: &mut State, proposal: &Proposal, outcome_known: Option<Kept<Committed>>) {
    let decision = &proposal.decision;
    let broken = committed_break(fleet, &state.committed.state, proposal);
    state.broken = state.broken.take().or(broken);
    send(fleet, state, decision, true);
    let after = outcome_known.unwrap_or_else(|| outcome(fleet, &state.committed, decision));
    if place(&state.committed.state) != place(&after.state) {
        // A pause counts from its decision.
        state.stage_age = proposal.waited;
    }
    state.committed = after;
}

/// What the store holds after a commit.
fn outcome(fleet: &Fleet, before: &Committed, decision: &Decision) -> Kept<Committed> {
    let mut after = before.clone();
    after.state = decision.state.clone();
    if let Some(run) = &mut after.state.header.run
        && fleet.has(Bug::FailuresForgotten)
    {
        run.failures = 0;
    }
    if fleet.has(Bug::QuarantineForgotten) {
        after.state.header.quarantine.clear();
    }
    for command in &decision.commands {
        match command {
            Command::Assign { member, spec } => {
                after.assignments.insert(member.clone(), RolloutAssignment::new("checkout", (**spec).clone()));
            }
            Command::Forget { member } => drop(after.assignments.remove(member)),
            Command::Claim { member, target, claim } => {
                after.claims.held.entry(member.clone()).or_default().insert(target.clone(), claim.clone());
            }
            Command::Release { member, target } => {
                after.claims.held.get_mut(member).and_then(|held| held.remove(target));
            }
            Command::TakeUp { .. } | Command::AcceptHub | Command::Announce { .. } | Command::ReleaseFinalizer => {}
        }
    }
    Kept::<Committed>::of(after)
}

/// Where a run stands: when this changes, a pause begins or ends.
fn place(state: &RolloutState) -> Option<(i64, usize, std::mem::Discriminant<rollout_core::Stage>)> {
    state.header.run.as_ref().map(|run| (run.number, run.step, std::mem::discriminant(&run.stage)))
}

/// Each order gets the store's next revision as its fence, and is under way from then on.
fn send(fleet: &Fleet, state: &mut State, decision: &Decision, committed: bool) {
    for command in &decision.commands {
        let Command::Assign { member: name, spec } = command else { continue };
        let number = fleet.names.iter().position(|known| known == name).unwrap();
        let member = &mut state.members[number];
        let order = order(fleet, spec, member.assigned + 1, committed);
        // A guess that was sent early was right about the fence, if nothing else was committed in between.
        member.orders.retain(|known| known.committed || *known != Order { committed: false, ..order });
        member.orders.push(order);
        if committed {
            member.assigned = order.fence;
        }
        state.tidy(number, keeps_orders(fleet));
    }
}

/// Whether an agent could still take an order that is below its mark.
pub fn keeps_orders(fleet: &Fleet) -> bool {
    fleet.has(Bug::AgentTakesLowerFence) || fleet.has(Bug::MarksLostAtRestart)
}

fn order(fleet: &Fleet, spec: &RolloutAssignmentSpec, fence: u8, committed: bool) -> Order {
    Order {
        fence,
        intent: spec.intent,
        tag: tag_of_order(spec),
        back: spec.previous.as_ref().map(|previous| tag_of(&previous.images)),
        expected: spec.expected_hash.as_ref().map(|hash| fleet.tag_of_hash(hash)),
        returns: spec.on_deadline == crds::OnDeadline::Return,
        reports_drift: spec.on_drift == crds::OnDrift::Report,
        committed,
    }
}
