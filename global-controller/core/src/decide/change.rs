//! A decision in the making: the next state, the commands so far, and how many members may still change.

use std::collections::BTreeSet;

use super::{Command, Decision, Desired, Event, EventKind, MAX_MEMBERS_PER_DECISION};
use crate::gates::OpenGate;
use crate::returns::Returns;
use crate::tally::Tally;
use crate::waiting::late_hold;
use crate::words::{MAX_MESSAGE_CHARS, bounded};
use crate::{
    Clock, MemberRecord, MemberStage, Millis, Observations, RolloutState, Run, Stage, Target, Touched, WaitingOn,
    alerts, history, waiting_on,
};

/// Operations that a member takes: its record, and its assignment or, when it is forgotten, assignment and report.
const MEMBER_OPERATIONS: usize = 3;
/// Operations of a transaction that are left to members and claims: 90 of the 100 that it bears, conditions included; the
/// others are the header, its condition, the plan, the record of the decision, the list of past runs and five payloads.
const MAX_OPERATIONS: usize = MEMBER_OPERATIONS * MAX_MEMBERS_PER_DECISION;
/// Of a claim: itself and its condition.
const CLAIM_OPERATIONS: usize = 2;

pub(super) struct Change<'a> {
    pub state: RolloutState,
    pub observations: &'a Observations<'a>,
    pub now: Millis,
    /// There was more to change than one decision may. Nothing may then be concluded from the members' state.
    pub more: bool,
    commands: Vec<Command>,
    changed: BTreeSet<String>,
    claims: usize,
}

impl<'a> Change<'a> {
    pub fn new(state: &RolloutState, observations: &'a Observations<'a>, now: Millis) -> Self {
        Self {
            state: state.clone(),
            observations,
            now: now.max(state.header.decided_at),
            more: false,
            commands: Vec::new(),
            changed: BTreeSet::new(),
            claims: 0,
        }
    }

    /// Whether this member may still change in this decision; notes that there is more if it may not.
    pub fn claim(&mut self, member: &str) -> bool {
        if self.changed.contains(member) {
            return true;
        }
        self.bears(1, 0) && self.changed.insert(member.to_owned())
    }

    /// Takes or releases a claim, if the transaction bears it; notes that there is more if it doesn't.
    pub fn command_claim(&mut self, command: Command) {
        if self.bears(0, 1) {
            self.claims += 1;
            self.commands.push(command);
        }
    }

    /// Whether this claim is released already: several reasons may ask for it, and no key may be written twice.
    pub fn releases(&self, member: &str, target: &Target) -> bool {
        let is = |command: &Command| matches!(command, Command::Release { member: of, target: on } if of == member && on == target);
        self.commands.iter().any(is)
    }

    /// Whether the transaction bears so many members and claims more; notes that there is more if it doesn't.
    pub fn bears(&mut self, members: usize, claims: usize) -> bool {
        let operations = MEMBER_OPERATIONS * (self.changed.len() + members) + CLAIM_OPERATIONS * (self.claims + claims);
        let bears = operations <= MAX_OPERATIONS;
        self.more |= !bears;
        bears
    }

    pub fn command(&mut self, command: Command) {
        self.commands.push(command);
    }

    pub fn announce(&mut self, kind: EventKind, reason: &'static str, message: &str) {
        let event = Event { kind, reason, message: bounded(message, MAX_MESSAGE_CHARS) };
        self.commands.push(Command::Announce { event });
    }

    /// The member's record, brought into the current run.
    pub fn record(&mut self, member: &str) -> &mut MemberRecord {
        let number = self.state.header.runs_started;
        let settled = self.state.header.settled_run;
        let record = self.state.members.entry(member.to_owned()).or_insert_with(|| MemberRecord::new(number));
        enter_run(record, number, settled);
        if record.touched != Touched::No && record.containers.is_empty() {
            // Written before containers were noted: any of them may have been set.
            record.containers.extend(record.previous.iter().flat_map(|previous| previous.images.keys().cloned()));
        }
        record
    }

    /// The run, while it is on its way through the steps.
    pub fn active_run(&mut self) -> Option<&mut Run> {
        self.state.header.run.as_mut().filter(|run| run.goes_forward())
    }

    pub fn tally(&self) -> Tally {
        Tally::of(&self.state, self.observations, self.now)
    }

    pub fn returns(&self) -> Returns {
        Returns::of(&self.state, self.observations, self.now)
    }

    pub fn finish(mut self, before: &RolloutState, desired: Desired<'_>) -> Decision {
        let inherits = self.observations.hub.predecessor.is_some() && self.state.header.inherited_from.is_none();
        let keep = match desired {
            // What is inherited is complete before any of it is let go.
            Desired::Present(rollout) if !inherits => Some(rollout.past_runs),
            Desired::Present(_) | Desired::Invalid { .. } | Desired::Deleted { .. } => None,
        };
        self.more |= history::follow(&mut self.state, before, keep);
        let waiting = (!self.more).then(|| waiting_on(&self.state, desired, self.observations, self.now));
        if let Some(waiting) = &waiting {
            self.announce_hold(waiting.as_ref());
            self.announce_late_hold(desired, waiting.as_ref());
        }
        self.follow_alerts(desired, waiting.as_ref());
        if !self.commands.is_empty() || self.state != *before {
            self.state.header.decisions += 1;
            self.state.header.decided_at = self.now;
        }
        let Self { state, observations, now, more, commands, mut changed, claims: _ } = self;
        changed.retain(|member| state.members.get(member) != before.members.get(member));
        let wake_at = wake_at(&state, desired, observations, now);
        Decision { state, commands, changed_members: changed, more, wake_at }
    }

    /// Announces each hold once: when its reason comes up, not again while it lasts.
    fn announce_hold(&mut self, waiting: Option<&WaitingOn>) {
        let hold = waiting.filter(|waiting| waiting.holds());
        if let Some(hold) = hold
            && self.state.header.held_for.as_deref() != Some(hold.reason())
        {
            self.announce(EventKind::Warning, hold.reason(), &hold.message());
        }
        self.state.header.held_for = hold.map(|hold| hold.reason().to_owned());
    }

    /// The same of the catch-up after a run that was given up.
    fn announce_late_hold(&mut self, desired: Desired<'_>, waiting: Option<&WaitingOn>) {
        let hold = late_hold(&self.state, desired, waiting, self.observations, self.now);
        let Some(late) = self.state.plan.late.as_mut() else { return };
        let reason = hold.as_ref().map(|hold| hold.reason().to_owned());
        let known = std::mem::replace(&mut late.held_for, reason);
        if let Some(hold) = hold.filter(|hold| known.as_deref() != Some(hold.reason())) {
            self.announce(EventKind::Warning, hold.reason(), &hold.message());
        }
    }

    /// Raises and ends what people are alerted of. While there is more to change only the run's own stage says anything.
    fn follow_alerts(&mut self, desired: Desired<'_>, waiting: Option<&Option<WaitingOn>>) {
        let Some(waiting) = waiting else {
            let facts = alerts::facts_of_run(&self.state, desired);
            return self.state.header.alerts.raise(facts.keys(), self.now);
        };
        let facts = alerts::facts(&self.state, desired, waiting.as_ref(), self.observations, self.now);
        self.state.header.alerts.raise(facts.keys(), self.now);
        self.state.header.alerts.end_others(&facts, self.now);
    }
}

/// Makes a record speak of the current run. What an older run recorded as previous state stays, unless a run
/// has succeeded or was rolled back since: then what the member runs now is where a failure would return to. One that
/// has not gone back yet still has to go where it was to, and so has one that was never healthy since it was told.
fn enter_run(record: &mut MemberRecord, number: i64, settled: i64) {
    if record.run == number {
        return;
    }
    if record.run <= settled && !record.stage.owes_return() && !record.is_unproven() {
        record.previous = None;
        record.touched = Touched::No;
        record.containers.clear();
    } else if record.touched == Touched::Perhaps {
        record.touched = Touched::Yes;
    }
    record.run = number;
    record.stage = MemberStage::Planned;
    record.ready_since = None;
    record.idle = false;
    record.partial = false;
    record.awaits_owner = false;
}

fn wake_at(state: &RolloutState, desired: Desired<'_>, observations: &Observations<'_>, now: Millis) -> Option<Millis> {
    let deleted = matches!(desired, Desired::Deleted { .. });
    // Nothing moves until a person decides.
    let held = observations.hub.rewound.is_some() || (state.header.hold.is_some() && !deleted);
    let run = state.header.run.as_ref().filter(|_| !held)?;
    let clock = match run.stage {
        Stage::Pausing(Clock::Running { ends_at }) | Stage::Soaking(Clock::Running { ends_at }) => Some(ends_at),
        _ => None,
    };
    let deadline = if run.stage == Stage::RollingBack || deleted {
        Returns::of(state, observations, now).next_deadline
    } else if run.judges() {
        Tally::of(state, observations, now).next_deadline
    } else {
        None
    };
    let gate = OpenGate::of(run).map(|gate| gate.patience_ends_at());
    let silence = OpenGate::of(run).and_then(|gate| gate.watchdog_falls_silent(observations, now));
    let late = state.plan.late.as_deref().filter(|_| !deleted);
    let late = late.and_then(|late| Tally::of_late(late, state, observations, now).next_deadline);
    clock.into_iter().chain(deadline).chain(late).chain(gate).chain(silence).filter(|at| *at > now).min()
}
