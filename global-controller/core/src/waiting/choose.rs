//! Of all that a rollout could wait for, what it says: first what nothing gets past, then what comes next on its way.

use crds::{GateMode, Revision};

use super::{MemberTrouble, WaitingOn};
use crate::plan::order;
use crate::returns::Returns;
use crate::tally::Tally;
use crate::{Clock, Desired, Millis, Observations, Rollout, RolloutState, Run, Stage};

/// What the rollout waits for; none when it is done.
pub fn waiting_on(
    state: &RolloutState,
    desired: Desired<'_>,
    observations: &Observations<'_>,
    now: Millis,
) -> Option<WaitingOn> {
    // As in decisions, time never runs back behind the last one.
    let now = now.max(state.header.decided_at);
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
