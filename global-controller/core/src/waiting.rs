//! What a rollout waits for, as a value. The same value feeds the condition, the Event, the API and the
//! dashboard, and this is the only place that words it.

use crds::{GateMode, Outcome, Revision};

use crate::plan::order;
use crate::returns::Returns;
use crate::tally::Tally;
use crate::{Clock, Desired, Millis, Observations, Problem, Rollout, RolloutState, Run, Stage, words};

/// What a rollout waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitingOn {
    /// Deletion: these members have not acknowledged yet.
    Withdrawal {
        /// Their names.
        members: Vec<String>,
    },
    /// The object is invalid.
    Invalid {
        /// All that is wrong with it.
        problems: Vec<Problem>,
    },
    /// There is nothing to deliver.
    NoPayload,
    /// Targets without `MemberCluster` keep the run from starting.
    TargetMissing {
        /// Their names.
        names: Vec<String>,
    },
    /// No member is selected.
    EmptyPlan,
    /// The payload was rolled back, and is never rolled out again.
    Quarantined {
        /// Its hash.
        revision: Revision,
    },
    /// The run was rolled back, and members have not returned within their deadline.
    RollbackIncomplete {
        /// They, and what their agents say.
        members: Vec<MemberTrouble>,
    },
    /// Members are going back to what they ran before.
    Rollback {
        /// They, and what their agents say.
        members: Vec<MemberTrouble>,
        /// Touched members that are back.
        returned: usize,
        /// All touched members.
        touched: usize,
    },
    /// Another payload waits for the end of a rollback.
    RollbackFirst {
        /// Touched members that are back.
        returned: usize,
        /// All touched members.
        touched: usize,
    },
    /// Members that failed within budget are going back to what they ran before.
    Return {
        /// They, and what their agents say.
        members: Vec<MemberTrouble>,
    },
    /// A person has paused it.
    Paused {
        /// What is left of the pause or soak that was running.
        remaining_millis: Option<i64>,
    },
    /// The hub's watch is silent.
    HubSilent,
    /// Members took longer than their deadline, and nothing returns by itself; the run holds until they are healthy or the
    /// payload changes.
    DeadlinePassed {
        /// They, and what their agents say.
        members: Vec<MemberTrouble>,
        /// The deadline.
        deadline_seconds: i64,
    },
    /// Members don't have the workload or one of its containers.
    WorkloadMissing {
        /// They, and what their agents say.
        members: Vec<MemberTrouble>,
        /// The workload, for people: "Deployment shop/checkout".
        workload: String,
    },
    /// API servers of members refuse the change.
    Refused {
        /// They, and what their agents say.
        members: Vec<MemberTrouble>,
    },
    /// Members that were healthy at the revision have not been for too long, and nothing returns by itself.
    MemberFailed {
        /// They, and what their agents say.
        members: Vec<MemberTrouble>,
    },
    /// Members that were healthy at the revision are no longer.
    MemberUnhealthy {
        /// They, and what their agents say.
        members: Vec<MemberTrouble>,
    },
    /// Members that the step needs are silent.
    MemberUnreachable {
        /// Their names.
        members: Vec<String>,
    },
    /// A new leader has not heard these members yet.
    Heartbeat {
        /// Their names.
        members: Vec<String>,
    },
    /// Members have not yet said what they run.
    Observation {
        /// Their names.
        members: Vec<String>,
    },
    /// Members are becoming healthy.
    MemberHealth {
        /// They, and what their agents say.
        members: Vec<MemberTrouble>,
    },
    /// The pause of a step.
    Pause {
        /// Its end.
        until: Millis,
        /// Members updated so far.
        members: usize,
    },
    /// The soak at the end.
    Soak {
        /// Its end.
        until: Millis,
        /// Members, all updated.
        members: usize,
    },
    /// A pause or soak is over, but no metric source is configured, and that means hold.
    GateUnconfigured,
    /// The controller itself: the next decision goes on.
    Decision,
}

/// A member and what its agent says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberTrouble {
    /// The member.
    pub name: String,
    /// The agent's answer to the present assignment, if there is one yet.
    pub outcome: Option<Outcome>,
    /// The agent's message, may be empty.
    pub message: String,
}

impl WaitingOn {
    /// A word for programs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Withdrawal { .. } => "Withdrawal",
            Self::Invalid { .. } => "Invalid",
            Self::NoPayload => "NoPayload",
            Self::TargetMissing { .. } => "TargetMissing",
            Self::EmptyPlan => "EmptyPlan",
            Self::Quarantined { .. } => "Quarantined",
            Self::RollbackIncomplete { .. } => "RollbackIncomplete",
            Self::Rollback { .. } => "Rollback",
            Self::RollbackFirst { .. } => "RollbackFirst",
            Self::Return { .. } => "Return",
            Self::MemberFailed { .. } => "MemberFailed",
            Self::Paused { .. } => "Paused",
            Self::HubSilent => "HubSilent",
            Self::DeadlinePassed { .. } => "DeadlinePassed",
            Self::WorkloadMissing { .. } => "WorkloadMissing",
            Self::Refused { .. } => "Refused",
            Self::MemberUnhealthy { .. } => "MemberUnhealthy",
            Self::MemberUnreachable { .. } => "MemberUnreachable",
            Self::Heartbeat { .. } => "Heartbeat",
            Self::Observation { .. } => "Observation",
            Self::MemberHealth { .. } => "MemberHealth",
            Self::Pause { .. } => "Pause",
            Self::Soak { .. } => "Soak",
            Self::GateUnconfigured => "GateUnconfigured",
            Self::Decision => "Decision",
        }
    }

    /// The same for people: names (bounded), numbers, what to do. At most 1024 characters.
    pub fn message(&self) -> String {
        let text = self.trouble_message().unwrap_or_else(|| self.plain_message());
        words::bounded(&text, words::MAX_MESSAGE_CHARS)
    }

    /// When the wait ends by itself, if it does.
    pub fn until(&self) -> Option<Millis> {
        match self {
            Self::Pause { until, .. } | Self::Soak { until, .. } => Some(*until),
            _ => None,
        }
    }

    /// Whether the run does not go on by itself: a person or a repair is needed.
    pub fn holds(&self) -> bool {
        match self {
            Self::Invalid { .. }
            | Self::TargetMissing { .. }
            | Self::Quarantined { .. }
            | Self::RollbackIncomplete { .. }
            | Self::MemberFailed { .. }
            | Self::HubSilent
            | Self::DeadlinePassed { .. }
            | Self::WorkloadMissing { .. }
            | Self::Refused { .. }
            | Self::MemberUnreachable { .. }
            | Self::GateUnconfigured => true,
            Self::Withdrawal { .. }
            | Self::NoPayload
            | Self::EmptyPlan
            | Self::Rollback { .. }
            | Self::RollbackFirst { .. }
            | Self::Return { .. }
            | Self::Paused { .. }
            | Self::MemberUnhealthy { .. }
            | Self::Heartbeat { .. }
            | Self::Observation { .. }
            | Self::MemberHealth { .. }
            | Self::Pause { .. }
            | Self::Soak { .. }
            | Self::Decision => false,
        }
    }

    /// Messages that repeat what agents say.
    fn trouble_message(&self) -> Option<String> {
        Some(match self {
            Self::DeadlinePassed { members, deadline_seconds } => format!(
                "{} not healthy within progressDeadlineSeconds ({}): {}; no further member is touched until then, or until the payload changes",
                words::members(members.len()),
                words::seconds(*deadline_seconds),
                troubles(members)
            ),
            Self::WorkloadMissing { members, workload } => format!(
                "{workload} or a container of it is missing on {}: {}; create it there, or take the member out of the selection",
                words::members(members.len()),
                troubles(members)
            ),
            Self::Refused { members } => format!(
                "the API server of {} refuses: {}; the agent goes on trying",
                words::members(members.len()),
                troubles(members)
            ),
            Self::MemberFailed { members } => format!(
                "{} unhealthy for 60 s without a break: {}; rollback.mode is Manual, so no further member is touched until then, or until the payload changes",
                words::members(members.len()),
                troubles(members)
            ),
            Self::RollbackIncomplete { members } => format!(
                "{} not back to what they ran before: {}; their agents go on trying; repair them, or set another payload",
                words::members(members.len()),
                troubles(members)
            ),
            Self::Rollback { members, returned, touched } if members.is_empty() => {
                format!("rolling back: {returned} of {} back", words::members(*touched))
            }
            Self::Rollback { members, returned, touched } => format!(
                "rolling back: {returned} of {} back, on the way: {}",
                words::members(*touched),
                troubles(members)
            ),
            Self::Return { members } => format!(
                "{} failed within maxFailures and going back to what they ran before: {}",
                words::members(members.len()),
                troubles(members)
            ),
            Self::MemberUnhealthy { members } => {
                format!("{} no longer healthy: {}", words::members(members.len()), troubles(members))
            }
            Self::MemberHealth { members } => {
                format!("{} becoming healthy: {}", words::members(members.len()), troubles(members))
            }
            _ => return None,
        })
    }

    fn plain_message(&self) -> String {
        match self {
            Self::Withdrawal { members } => format!(
                "withdrawn, not yet acknowledged by {}: {}; this delays nothing",
                words::members(members.len()),
                words::list(members)
            ),
            Self::Invalid { problems } => {
                let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
                format!("fix the specification: {}", words::list_bounded(&problems, words::MAX_TROUBLES))
            }
            Self::NoPayload => "there is nothing to roll out: set spec.workload".to_owned(),
            Self::TargetMissing { names } => format!(
                "no MemberCluster for {}: create it, or take the name out of targetClusters",
                words::list(names)
            ),
            Self::EmptyPlan => "no member is selected: check clusterSelector and the labels of the MemberClusters".to_owned(),
            Self::Paused { remaining_millis: None } => "paused: set spec.paused to false to go on".to_owned(),
            Self::Paused { remaining_millis: Some(left) } => format!(
                "paused, with {} of the step's pause left: set spec.paused to false to go on",
                words::seconds(left.div_euclid(1000))
            ),
            Self::Quarantined { revision } => format!(
                "revision {revision} was rolled back and is not rolled out again: set another payload"
            ),
            Self::RollbackFirst { returned, touched } => format!(
                "the new payload waits until the rollback is over: {returned} of {} back",
                words::members(*touched)
            ),
            Self::HubSilent => "the hub's watch is silent: nothing goes forward until it is heard again".to_owned(),
            Self::MemberUnreachable { members } => format!(
                "{} unreachable: {}; no further step until heard again",
                words::members(members.len()),
                words::list(members)
            ),
            Self::Heartbeat { members } => format!(
                "a new leader has not yet heard {}: {}",
                words::members(members.len()),
                words::list(members)
            ),
            Self::Observation { members } => format!(
                "{} to report what is running: {}",
                words::members(members.len()),
                words::list(members)
            ),
            Self::Pause { until, members } => {
                format!("{} healthy; the step's pause ends at {}", words::members(*members), words::time(*until))
            }
            Self::Soak { until, members } => {
                format!("{} healthy; the soak ends at {}", words::members(*members), words::time(*until))
            }
            Self::GateUnconfigured => "the pause is over, but no metric source is configured, so nothing is known: configure one, or set gates.whenUnconfigured: TimerOnly in the controller's configuration".to_owned(),
            _ => "the controller decides next".to_owned(),
        }
    }
}

/// "a (Progressing: 1 of 2 pods), b and 3 more".
fn troubles(members: &[MemberTrouble]) -> String {
    let worded: Vec<String> = members.iter().take(words::MAX_TROUBLES).map(MemberTrouble::worded).collect();
    match members.len() - worded.len() {
        0 => worded.join(", "),
        more => format!("{} and {more} more", worded.join(", ")),
    }
}

impl MemberTrouble {
    pub(crate) fn worded(&self) -> String {
        let said = words::bounded(&self.message, words::MAX_TROUBLE_CHARS);
        match self.outcome {
            None => format!("{} (no answer yet)", self.name),
            Some(outcome) if said.is_empty() => format!("{} ({})", self.name, outcome.as_str()),
            Some(outcome) => format!("{} ({}: {said})", self.name, outcome.as_str()),
        }
    }
}

/// What the rollout waits for; none when it is done.
pub fn waiting_on(
    state: &RolloutState,
    desired: Desired<'_>,
    observations: &Observations<'_>,
    now: Millis,
) -> Option<WaitingOn> {
    let rollout = match desired {
        Desired::Deleted { .. } => {
            return rollback(state, None, observations, now).or_else(|| withdrawal(state));
        }
        Desired::Invalid { problems, .. } => return Some(WaitingOn::Invalid { problems: problems.to_vec() }),
        Desired::Present(rollout) => rollout,
    };
    let wanted = rollout.payload.as_ref().map(|payload| &payload.revision);
    if let Some(rollback) = rollback(state, wanted, observations, now) {
        return Some(rollback);
    }
    let Some(payload) = &rollout.payload else { return Some(WaitingOn::NoPayload) };
    if state.header.quarantine.contains(&payload.revision) {
        return Some(quarantined(state, &payload.revision, observations, now));
    }
    let Some(run) = state.header.run.as_ref().filter(|run| run.revision == payload.revision) else {
        return Some(before_start(rollout, observations));
    };
    if run.is_over() {
        return None;
    }
    if rollout.paused {
        return Some(WaitingOn::Paused { remaining_millis: remaining(&run.stage, now) });
    }
    if state.plan.members.is_empty() {
        return Some(WaitingOn::EmptyPlan);
    }
    let tally = Tally::of(state, observations, now);
    let wait = stopped_by_members(run, &tally).or_else(|| on_the_way(run, tally, observations, now));
    Some(wait.unwrap_or(WaitingOn::Decision))
}

fn withdrawal(state: &RolloutState) -> Option<WaitingOn> {
    let members: Vec<String> = state.members.keys().cloned().collect();
    match (members.is_empty(), state.header.finalizer_released) {
        (true, true) => None,
        (true, false) => Some(WaitingOn::Decision),
        (false, _) => Some(WaitingOn::Withdrawal { members }),
    }
}

/// What a rollback under way waits for; none without one.
fn rollback(
    state: &RolloutState,
    wanted: Option<&Revision>,
    observations: &Observations<'_>,
    now: Millis,
) -> Option<WaitingOn> {
    let run = state.rolling_back()?;
    let returns = Returns::of(state, observations, now);
    let (returned, touched) = (returns.returned, returns.total());
    if wanted.is_some_and(|wanted| *wanted != run.revision) {
        return Some(WaitingOn::RollbackFirst { returned, touched });
    }
    let members = returns.returning.into_iter().chain(returns.overdue).collect();
    Some(WaitingOn::Rollback { members, returned, touched })
}

fn quarantined(state: &RolloutState, revision: &Revision, observations: &Observations<'_>, now: Millis) -> WaitingOn {
    let failed = state.header.run.as_ref().is_some_and(|run| run.stage == Stage::Failed && run.revision == *revision);
    let returns = Returns::of(state, observations, now);
    let members: Vec<MemberTrouble> = returns.returning.into_iter().chain(returns.overdue).collect();
    if failed && !members.is_empty() {
        return WaitingOn::RollbackIncomplete { members };
    }
    WaitingOn::Quarantined { revision: revision.clone() }
}

fn before_start(rollout: &Rollout, observations: &Observations<'_>) -> WaitingOn {
    let order = order(rollout, observations.members);
    if !order.missing.is_empty() {
        WaitingOn::TargetMissing { names: order.missing }
    } else if order.members.is_empty() {
        WaitingOn::EmptyPlan
    } else if observations.hub_fresh {
        WaitingOn::Decision
    } else {
        WaitingOn::HubSilent
    }
}

fn remaining(stage: &Stage, now: Millis) -> Option<i64> {
    match stage {
        Stage::Pausing(clock) | Stage::Soaking(clock) => Some(match clock {
            Clock::Running { ends_at } => (ends_at - now).max(0),
            Clock::Stopped { remaining_millis } => *remaining_millis,
        }),
        _ => None,
    }
}

/// What keeps every further member from being touched.
fn stopped_by_members(run: &Run, tally: &Tally) -> Option<WaitingOn> {
    let some = |members: &[MemberTrouble]| (!members.is_empty()).then(|| members.to_vec());
    let deadline_seconds = run.failure_rules.progress_deadline_seconds;
    let overdue = || some(&tally.overdue).map(|members| WaitingOn::DeadlinePassed { members, deadline_seconds });
    let sick = || some(&tally.sick).map(|members| WaitingOn::MemberFailed { members });
    let missing = || {
        let payload = &run.payload;
        let workload = format!("{} {}/{}", payload.kind, payload.namespace, payload.name);
        some(&tally.missing).map(|members| WaitingOn::WorkloadMissing { members, workload })
    };
    let refused = || some(&tally.refused).map(|members| WaitingOn::Refused { members });
    let unhealthy = || some(&tally.unhealthy).map(|members| WaitingOn::MemberUnhealthy { members });
    let silent = || {
        let members = tally.silent_assigned.clone();
        (!members.is_empty()).then_some(WaitingOn::MemberUnreachable { members })
    };
    overdue().or_else(sick).or_else(missing).or_else(refused).or_else(unhealthy).or_else(silent)
}

/// What a run without troubles waits for.
fn on_the_way(run: &Run, tally: Tally, observations: &Observations<'_>, now: Millis) -> Option<WaitingOn> {
    let members = tally.assigned;
    let clock = match run.stage {
        Stage::Pausing(Clock::Running { ends_at }) | Stage::Soaking(Clock::Running { ends_at }) => Some(ends_at),
        _ => None,
    };
    if let Some(until) = clock.filter(|until| *until > now) {
        let soaking = matches!(run.stage, Stage::Soaking(_));
        return Some(if soaking { WaitingOn::Soak { until, members } } else { WaitingOn::Pause { until, members } });
    }
    if !observations.hub_fresh {
        return Some(WaitingOn::HubSilent);
    }
    if !tally.applying.is_empty() {
        return Some(WaitingOn::MemberHealth { members: tally.applying });
    }
    if !tally.returning.is_empty() {
        return Some(WaitingOn::Return { members: tally.returning });
    }
    if !tally.unobserved.is_empty() {
        return Some(WaitingOn::Observation { members: tally.unobserved });
    }
    if !tally.silent_unassigned.is_empty() {
        return Some(WaitingOn::MemberUnreachable { members: tally.silent_unassigned });
    }
    if !tally.unheard.is_empty() {
        return Some(WaitingOn::Heartbeat { members: tally.unheard });
    }
    (clock.is_some() && observations.gates == GateMode::Hold).then_some(WaitingOn::GateUnconfigured)
}
