//! A state of the whole system, kept canonical: two that behave alike are equal.
//!
//! - The present is always the same instant. When time goes on everything else moves back, and what lies further back
//!   than the longest duration stays there.
//! - Fences of a member are numbered afresh, as only their order counts, and so are its reports.
//! - The number of decisions, when runs began, those that are over but the accepted one, and what people are alerted of decide
//!   nothing; nor, without alerts that are heard, when a member was told.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crds::{Intent, Outcome, RolloutAssignment, RunOutcome};
use rollout_core::{Claims, Clock, Decision, MemberStage, Millis, PastRun, Reachability, RolloutState, Silence, Stage};
use serde::Serialize;

use super::setup::{DEADLINE_UNITS, Faults, NOW, UNIT};

/// The image of a member's one container, by number.
pub type Tag = u8;

/// Steps of time after which nothing depends any more on how long ago something was: no duration is longer than a deadline.
pub const LONG_AGO_UNITS: u8 = DEADLINE_UNITS + 1;

/// A large value that rarely changes, shared, and compared by its digest.
#[derive(Clone, Debug)]
pub struct Kept<T> {
    value: Arc<T>,
    digest: u64,
}

/// What is written to it goes into the hash.
struct Hashing(DefaultHasher);

impl std::io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<T> Kept<T> {
    fn new(value: T, identify: impl FnOnce(&T, &mut Hashing) -> serde_json::Result<()>) -> Self {
        let mut hashing = Hashing(DefaultHasher::new());
        identify(&value, &mut hashing).unwrap();
        Self { value: Arc::new(value), digest: hashing.0.finish() }
    }
}

impl<T> std::ops::Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> PartialEq for Kept<T> {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl<T> Eq for Kept<T> {}

impl<T> Hash for Kept<T> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.digest.hash(hasher);
    }
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub committed: Kept<Committed>,
    pub leader: Leader,
    /// What a leader has decided that leads no more, and that it may still try to commit.
    pub deposed: Option<Kept<Proposal>>,
    pub members: Vec<Member>,
    /// Which of the rollouts people ask for now.
    pub asked: usize,
    pub left: Faults,
    /// Steps of time since run, step or stage last changed; at most [`LONG_AGO_UNITS`].
    pub stage_age: u8,
    /// The guarantee that was broken on the way here, and how.
    pub broken: Option<(super::Guarantee, String)>,
}

/// What the store has committed, but for fences and reports, which each member keeps.
#[derive(Clone, Debug)]
pub struct Committed {
    pub state: RolloutState,
    /// With fence zero.
    pub assignments: BTreeMap<String, RolloutAssignment>,
    pub claims: Claims,
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Leader {
    pub judging_since: Millis,
    /// Who is heard, member by member.
    pub heard: Vec<Reachability>,
    pub proposal: Option<Kept<Proposal>>,
}

/// A decision that is not committed.
#[derive(Clone, Debug)]
pub struct Proposal {
    pub decision: Decision,
    /// Each member, as it truly was then.
    pub facts: Vec<Facts>,
    pub stage_age: u8,
    /// Steps of time since it was decided; at most [`LONG_AGO_UNITS`].
    pub waited: u8,
    /// Another decision was committed since.
    pub overtaken: bool,
}

/// A member as it truly was when something was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// It has been healthy under its present order to apply.
    pub proven: bool,
    pub silent: bool,
}

/// A member, and what is on its way to and from it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    pub link_up: bool,
    /// Fence of the committed assignment; 0: there is none.
    pub assigned: u8,
    /// Orders that may still arrive: committed at any time, or about to be.
    pub orders: Vec<Order>,
    pub agent: Agent,
    /// Reports on their way.
    pub sent: Vec<Report>,
    pub stored: Option<Report>,
}

/// An assignment as an agent needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Order {
    pub fence: u8,
    pub intent: Intent,
    /// The image to apply.
    pub tag: Tag,
    /// The image to return to.
    pub back: Option<Tag>,
    /// What must run before it is applied.
    pub expected: Option<Tag>,
    /// Whether the agent goes back by itself at its deadline.
    pub returns: bool,
    /// Whether drift is reported, and not repaired.
    pub reports_drift: bool,
    /// Whether the store has it.
    pub committed: bool,
}

/// An agent and its workload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Agent {
    /// The highest fence that it has seen.
    pub mark: u8,
    pub local: Option<Local>,
    pub runs: Tag,
    /// Whether the workload is ready.
    pub ready: bool,
    /// The highest fence under which it has changed the workload.
    pub changed_under: u8,
    /// Fence of the order to apply under which it last said of a truly ready workload that it is; 0: none.
    pub proven: u8,
    /// Whether it has ever run an image that never becomes ready.
    pub ran_bad: bool,
    /// Fence of the order to apply that it has given up; 0: none.
    pub gave_up: u8,
}

/// The local object: the last known state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Local {
    pub order: Order,
    /// What the status says; none: nothing yet.
    pub said: Option<Outcome>,
    /// The image that was applied under this order.
    pub applied: Option<Tag>,
    pub deadline: Deadline,
}

/// The agent's own deadline for an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deadline {
    /// It does nothing by itself.
    None,
    /// Steps of time that are left.
    Running(u8),
    Met,
    /// It goes back, or has.
    Passed,
}

/// What an agent says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Report {
    pub fence: u8,
    pub sequence: u8,
    /// See [`OUTCOMES`].
    pub outcome: u8,
    pub runs: Tag,
    pub ready: bool,
    pub applied: Option<Tag>,
}

/// Outcomes of the modelled agents, by number.
pub const OUTCOMES: [Outcome; 7] = [
    Outcome::Observed,
    Outcome::Progressing,
    Outcome::Healthy,
    Outcome::PreviousChanged,
    Outcome::Withdrawn,
    Outcome::Reverted,
    Outcome::Drifted,
];

impl Kept<Committed> {
    pub fn of(mut committed: Committed) -> Self {
        settle(&mut committed.state);
        Self::new(committed, |Committed { state, assignments, claims }, hashing| {
            serde_json::to_writer(hashing, &(state, assignments, claims))
        })
    }
}

impl Kept<Proposal> {
    pub fn of(mut proposal: Proposal) -> Self {
        settle(&mut proposal.decision.state);
        Self::new(proposal, |proposal, hashing| {
            let Proposal { decision, facts, stage_age, waited, overtaken } = proposal;
            let decided = (&decision.state, &decision.commands, decision.more);
            serde_json::to_writer(hashing, &(decided, facts, stage_age, waited, overtaken))
        })
    }

    pub fn overtaken(&self) -> Self {
        Self::of(Proposal { overtaken: true, ..(**self).clone() })
    }

    fn shifted(&self, moves_clocks: bool) -> Self {
        let mut proposal = (**self).clone();
        shift_state(&mut proposal.decision.state, moves_clocks);
        proposal.waited = (proposal.waited + 1).min(LONG_AGO_UNITS);
        Self::of(proposal)
    }
}

/// What decides nothing is the same everywhere.
fn settle(state: &mut RolloutState) {
    state.header.decisions = 0;
    if let Some(run) = &mut state.header.run {
        run.started_at = NOW;
        run.finished_at = run.finished_at.map(|_| NOW);
    }
    for record in state.members.values_mut() {
        record.told_at = 0;
    }
    let RolloutState { history, header, plan, .. } = state;
    let latest = history.runs.last().map(|past| past.number);
    let accepted = |past: &PastRun| {
        past.outcome == Some(RunOutcome::Succeeded) && Some(&past.revision) == header.accepted_revision.as_ref()
    };
    history.runs.retain(|past| Some(past.number) == latest || accepted(past));
    if let Some(late) = &mut plan.late {
        late.run.started_at = NOW;
        late.run.finished_at = late.run.finished_at.map(|_| NOW);
    }
    for past in &mut history.runs {
        past.started_at = NOW;
        past.finished_at = past.finished_at.map(|_| NOW);
        past.reason.clear();
    }
    let latest = history.runs.last().map(|past| past.revision.clone());
    history.payloads.retain(|name, _| latest.as_ref() == Some(name) || header.accepted_revision.as_ref() == Some(name));
    let alerts = &mut state.header.alerts.0;
    alerts.retain(|raised| raised.until.is_none());
    for raised in alerts.iter_mut() {
        raised.since = NOW;
    }
    alerts.sort_by(|one, other| one.fact.cmp(&other.fact));
}

impl State {
    /// Time goes on by one step.
    pub fn pass(&mut self, moves_clocks: bool, later: &mut HashMap<u64, Kept<Committed>>) {
        let before = &self.committed;
        let after = later.entry(before.digest).or_insert_with(|| {
            let mut committed = (**before).clone();
            shift_state(&mut committed.state, moves_clocks);
            Kept::<Committed>::of(committed)
        });
        self.committed = after.clone();
        self.leader.judging_since = earlier(self.leader.judging_since);
        self.leader.proposal = self.leader.proposal.as_ref().map(|one| one.shifted(moves_clocks));
        self.deposed = self.deposed.as_ref().map(|one| one.shifted(moves_clocks));
        self.stage_age = (self.stage_age + 1).min(LONG_AGO_UNITS);
        for member in &mut self.members {
            if let Some(Local { deadline: Deadline::Running(left), .. }) = &mut member.agent.local {
                *left = left.saturating_sub(1);
            }
        }
    }

    /// Numbers fences and reports of a member afresh, and forgets orders and reports that can do nothing any more.
    pub fn tidy(&mut self, member: usize, keeps_orders: bool) {
        let member = &mut self.members[member];
        let (mark, stored) = (member.agent.mark, member.stored);
        let written = member.agent.local.as_ref().map_or(0, |local| local.order.fence);
        let seen = |order: &Order| order.fence < mark || (order.fence == mark && written == mark);
        member.orders.retain(|order| keeps_orders || !seen(order));
        let news =
            |report: &Report| stored.is_none_or(|old| (report.fence, report.sequence) > (old.fence, old.sequence));
        member.sent.retain(news);
        member.renumber();
    }
}

impl Member {
    fn renumber(&mut self) {
        let mut fences: Vec<&mut u8> = vec![&mut self.assigned, &mut self.agent.mark];
        fences.extend([&mut self.agent.changed_under, &mut self.agent.proven, &mut self.agent.gave_up]);
        fences.extend(self.orders.iter_mut().map(|order| &mut order.fence));
        fences.extend(self.agent.local.iter_mut().map(|local| &mut local.order.fence));
        let reports = self.sent.iter_mut().chain(self.stored.iter_mut());
        let mut sequences = Vec::new();
        for report in reports {
            fences.push(&mut report.fence);
            sequences.push(&mut report.sequence);
        }
        rank(fences);
        rank(sequences);
    }
}

/// Replaces numbers by their ranks; 0 stays.
fn rank(numbers: Vec<&mut u8>) {
    let order: BTreeSet<u8> = numbers.iter().map(|number| **number).chain([0]).collect();
    for number in numbers {
        *number = u8::try_from(order.range(..*number).count()).unwrap();
    }
}

/// A time after a step of time has passed. Zero is no time.
fn earlier(at: Millis) -> Millis {
    if at == 0 { 0 } else { (at - UNIT).max(NOW - i64::from(LONG_AGO_UNITS) * UNIT) }
}

fn shift_state(state: &mut RolloutState, moves_clocks: bool) {
    state.header.decided_at = earlier(state.header.decided_at);
    if let Some(run) = &mut state.header.run {
        run.gate_began_at = earlier(run.gate_began_at);
        run.gate_ended_at = earlier(run.gate_ended_at);
        match &mut run.stage {
            Stage::Pausing(Clock::Running { ends_at }) | Stage::Soaking(Clock::Running { ends_at }) if moves_clocks => {
                *ends_at = earlier(*ends_at);
            }
            _ => {}
        }
    }
    for record in state.members.values_mut() {
        match &mut record.stage {
            MemberStage::Applying { since }
            | MemberStage::Healthy { since }
            | MemberStage::Unhealthy { since }
            | MemberStage::Returning { since }
            | MemberStage::Returned { since } => *since = earlier(*since),
            MemberStage::Planned
            | MemberStage::Observing
            | MemberStage::Owed
            | MemberStage::Withdrawing
            | MemberStage::Skipped => {}
        }
        if let Silence::Ended { at } = &mut record.silence {
            *at = earlier(*at);
        }
        record.ready_since = record.ready_since.map(earlier);
    }
}
