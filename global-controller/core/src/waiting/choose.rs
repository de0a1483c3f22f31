//! Of all that a rollout could wait for, what it says: first what nothing gets past, then what comes next on its way.

use std::collections::BTreeSet;

use crds::{GateMode, Revision, Verdict};

use super::{MemberTrouble, WaitingOn};
use crate::claims::Footing;
use crate::gates::{Judgement, missing_source};
use crate::plan::order;
use crate::returns::Returns;
use crate::tally::{Tally, trouble};
use crate::{
    Clock, Desired, Hold, MemberStage, Millis, Observations, Reachability, Rollout, RolloutState, Run, Stage,
    went_back, words,
};

/// What the rollout waits for; none when it is done.
pub fn waiting_on(
    state: &RolloutState,
    desired: Desired<'_>,
    observations: &Observations<'_>,
    now: Millis,
) -> Option<WaitingOn> {
    // As in decisions, time never runs back behind the last one.
    let now = now.max(state.header.decided_at);
    let known = observations.hub.rewound.map(|rewound| rewound.told.to_owned());
    let found = || went_back(&state.header, desired, &observations.hub).filter(|_| observations.hub_fresh);
    if let Some(told) = known.or_else(found) {
        return Some(WaitingOn::HubRewound { told });
    }
    let rollout = match desired {
        Desired::Deleted { .. } => {
            return rollback(state, None, observations, now).or_else(|| withdrawal(state));
        }
        Desired::Invalid { problems, .. } => {
            let problems = problems.iter().map(|problem| problem.naming(observations.members)).collect();
            return Some(WaitingOn::Invalid { problems });
        }
        Desired::Present(rollout) => rollout,
    };
    match state.header.hold {
        Some(Hold::StoreRebuilt { .. }) => return Some(rebuilt(state, observations)),
        None => {}
    }
    let wanted = rollout.payload.as_ref().map(|payload| &payload.revision);
    if let Some(rollback) = rollback(state, wanted, observations, now) {
        return Some(rollback);
    }
    let Some(payload) = &rollout.payload else { return Some(WaitingOn::NoPayload) };
    let finishing_it = |run: &Run| run.stage == Stage::Finishing && run.revision == payload.revision;
    let finishes = state.header.run.as_ref().is_some_and(finishing_it);
    if state.header.quarantine.contains(&payload.revision) && !finishes {
        return Some(quarantined(state, &payload.revision, observations, now));
    }
    let meant = |run: &&Run| run.revision == payload.revision && !run.gives_way();
    let Some(run) = state.header.run.as_ref().filter(meant) else {
        return Some(before_start(state, rollout, observations));
    };
    let tally = Tally::of(state, observations, now);
    match run.stage {
        Stage::Succeeded => return catch_up(state, rollout, run, tally, observations),
        Stage::Finishing => return Some(finishing(run, tally)),
        _ if run.is_over() => return None,
        _ => {}
    }
    if rollout.paused {
        return Some(WaitingOn::Paused { remaining_millis: remaining(&run.stage, now) });
    }
    if state.plan.members.is_empty() {
        let nobody = nobody_has_it(state, run, observations).or_else(|| left_out(rollout, observations));
        return Some(nobody.unwrap_or(WaitingOn::EmptyPlan));
    }
    if let Some(source) = missing_source(rollout, observations.gates) {
        return Some(WaitingOn::SourceMissing { source });
    }
    let gate = Judgement::of(state, observations, now);
    let name = &state.header.name;
    let wait = stopped_by_members(run, &tally).or_else(|| on_the_way((name, run), tally, (observations, gate), now));
    Some(wait.unwrap_or(WaitingOn::Decision))
}

fn rebuilt(state: &RolloutState, observations: &Observations<'_>) -> WaitingOn {
    let run = state.header.run.as_ref().map(|run| (run.number, run.revision.clone()));
    let unknown = state.plan.members.iter().filter(|name| !observations.is_known(name)).cloned().collect();
    WaitingOn::StoreRebuilt { run, unknown }
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

/// What members wait for that join after a success or were silent at it; none when every planned member has got it.
fn catch_up(
    state: &RolloutState,
    rollout: &Rollout,
    run: &Run,
    tally: Tally,
    observations: &Observations<'_>,
) -> Option<WaitingOn> {
    let pending = state.pending();
    if !run.catches_up() {
        let members = state.given_back().into_iter().map(str::to_owned).collect();
        let (failures, allowed) = (run.failures, run.failure_limit);
        return Some(WaitingOn::CatchUpHeld { failures, allowed, members, pending: pending.len() });
    }
    if pending.is_empty() {
        return left_out(rollout, observations);
    }
    let begun: BTreeSet<&str> = state.begun().iter().map(String::as_str).collect();
    let silent = |name: &str| observations.reachability(name) == Reachability::Unreachable;
    let (late, cordoned) = state.owed(observations);
    if pending.iter().all(|name| begun.contains(name)) && late.iter().all(|name| silent(name)) {
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        let (cordoned, members) = (owned(cordoned), owned(late));
        return Some(WaitingOn::Owed { members, cordoned, revision: run.revision.clone() });
    }
    if rollout.paused {
        return Some(WaitingOn::Paused { remaining_millis: None });
    }
    // Neither silent members nor those that are healthy no longer hold it, also where it is their owner's turn.
    let mut tally = tally;
    tally.awaiting_owner.retain(|member| matches!(state.stage_of(&member.name), MemberStage::Applying { .. }));
    let (overdue, missing, refused) = (tally.overdue.clone(), tally.missing.clone(), tally.refused.clone());
    let own = Tally { missing, refused, overdue, ..Tally::default() };
    let wait = stopped_by_members(run, &own);
    Some(wait.or_else(|| under_way(run, tally, observations)).unwrap_or(WaitingOn::Decision))
}

/// What keeps members from catching up with what was accepted before the latest run, which was given up; none when nothing
/// does. It is beside what the rollout is `waiting` for, which the latest run says. While nothing at all moves it says
/// nothing.
pub(crate) fn late_hold(
    state: &RolloutState,
    desired: Desired<'_>,
    waiting: Option<&WaitingOn>,
    observations: &Observations<'_>,
    now: Millis,
) -> Option<WaitingOn> {
    let still = matches!(waiting, Some(WaitingOn::HubRewound { .. } | WaitingOn::StoreRebuilt { .. }));
    let ends = still || matches!(desired, Desired::Deleted { .. });
    let late = state.plan.late.as_deref().filter(|_| !ends)?;
    if !late.run.catches_up() {
        let members = late.given_back(state).into_iter().map(str::to_owned).collect();
        let (failures, allowed, pending) = (late.run.failures, late.run.failure_limit, late.untold(state).len());
        return Some(WaitingOn::LateCatchUpHeld { failures, allowed, members, pending });
    }
    let Tally { overdue, refused, awaiting_owner, applying, too_old, .. } =
        Tally::of_late(late, state, observations, now.max(state.header.decided_at));
    let stopped = stopped_by_members(&late.run, &Tally { refused, overdue, ..Tally::default() });
    let owners_turn = applying.is_empty() && !awaiting_owner.is_empty();
    let owners = owners_turn.then_some(WaitingOn::PodDeletionByOwner { members: awaiting_owner });
    let needs = late.run.payload.api_level();
    let outdated = (!too_old.is_empty()).then_some(WaitingOn::AgentTooOld { members: too_old, needs });
    stopped.or(owners).or(outdated)
}

/// What a run waits for in which too many have failed and only those that fail return.
fn finishing(run: &Run, tally: Tally) -> WaitingOn {
    let Tally { applying, awaiting_owner, unhealthy, refused, missing, overdue, sick, returning, .. } = tally;
    let members = [overdue, sick, refused, missing, unhealthy, awaiting_owner, applying, returning];
    let members = members.into_iter().flatten().collect();
    WaitingOn::Finishing { members, because: run.refusal() }
}

fn quarantined(state: &RolloutState, revision: &Revision, observations: &Observations<'_>, now: Millis) -> WaitingOn {
    let failed = state.header.run.as_ref().is_some_and(|run| run.stage == Stage::Failed && run.revision == *revision);
    let returns = Returns::of(state, observations, now);
    let members: Vec<MemberTrouble> = returns.returning.into_iter().chain(returns.overdue).collect();
    if failed && !members.is_empty() {
        return WaitingOn::RollbackIncomplete { members };
    }
    let given_up = state.header.run.as_ref().filter(|run| run.stage == Stage::GivenUp && run.revision == *revision);
    if let Some(run) = given_up {
        let kept = state.plan.members.iter().filter(|name| state.stage_of(name).is_assigned()).count();
        return WaitingOn::TooManyFailed { because: run.refusal(), kept, revision: revision.clone() };
    }
    let refused = state.header.run.as_ref().filter(|run| run.revision == *revision);
    let because = refused.map(Run::refusal).unwrap_or_default();
    WaitingOn::Quarantined { revision: revision.clone(), because }
}

fn before_start(state: &RolloutState, rollout: &Rollout, observations: &Observations<'_>) -> WaitingOn {
    let order = order(rollout, observations.members);
    let holders = Footing::of(rollout, &order.members, observations.claims).contested;
    let held: usize = holders.values().map(Vec::len).sum();
    // What has started once goes on without those that others hold, as long as anybody is left.
    let conflicted = held > 0 && (state.header.runs_started == 0 || held == order.members.len());
    if !order.missing.is_empty() {
        WaitingOn::TargetMissing { names: order.missing }
    } else if order.members.is_empty() {
        WaitingOn::EmptyPlan
    } else if conflicted {
        WaitingOn::Conflicted { holders }
    } else if let Some(source) = missing_source(rollout, observations.gates) {
        WaitingOn::SourceMissing { source }
    } else if observations.hub_fresh {
        WaitingOn::Decision
    } else {
        WaitingOn::HubSilent
    }
}

/// All that are meant lack the workload, and are left out.
fn nobody_has_it(state: &RolloutState, run: &Run, observations: &Observations<'_>) -> Option<WaitingOn> {
    let said = |name: &str| trouble(name, observations.answer(name).map(|(_, report)| report));
    let members: Vec<MemberTrouble> = state.skipped().into_iter().map(said).collect();
    (!members.is_empty()).then(|| WaitingOn::NobodyHasIt { members, workload: words::workload(&run.payload) })
}

/// Members that are left out although they are meant.
fn left_out(rollout: &Rollout, observations: &Observations<'_>) -> Option<WaitingOn> {
    let members = order(rollout, observations.members).members;
    let holders = Footing::of(rollout, &members, observations.claims).contested;
    (!holders.is_empty()).then_some(WaitingOn::Conflicted { holders })
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
        let workload = words::workload(&run.payload);
        some(&tally.missing).map(|members| WaitingOn::WorkloadMissing { members, workload })
    };
    let refused = || some(&tally.refused).map(|members| WaitingOn::Refused { members });
    let unhealthy = || some(&tally.unhealthy).map(|members| WaitingOn::MemberUnhealthy { members });
    let silent = || {
        let (members, allowed) = (tally.silent_assigned.clone(), run.unreachable_limit);
        (members.len() > allowed).then_some(WaitingOn::MemberUnreachable { members, allowed })
    };
    overdue().or_else(sick).or_else(missing).or_else(refused).or_else(unhealthy).or_else(silent)
}

/// What a run without troubles waits for.
fn on_the_way(
    (name, run): (&str, &Run),
    tally: Tally,
    (observations, gate): (&Observations<'_>, Option<Judgement>),
    now: Millis,
) -> Option<WaitingOn> {
    if let Some(failed) = gate.as_ref().filter(|gate| gate.failure().is_some()) {
        return Some(gate_wait(failed, now));
    }
    if let Some(troubled) = gate.as_ref().filter(|gate| gate.is_global) {
        return Some(WaitingOn::GlobalTrouble { text: troubled.text.clone() });
    }
    let members = tally.assigned;
    let clock = match run.stage {
        Stage::Pausing(Clock::Running { ends_at }) | Stage::Soaking(Clock::Running { ends_at }) => Some(ends_at),
        _ => None,
    };
    // Of those that its owner keeps from the revision it is said at once, not only when the pause is over.
    if let Some(until) = clock.filter(|until| *until > now && tally.awaiting_owner.is_empty()) {
        let soaking = matches!(run.stage, Stage::Soaking(_));
        return Some(if soaking { WaitingOn::Soak { until, members } } else { WaitingOn::Pause { until, members } });
    }
    let silent: Vec<String> = tally.silent_assigned.iter().chain(&tally.silent_unassigned).cloned().collect();
    let allowed = run.unreachable_limit;
    let nobody_left = tally.evident == 0 || silent.len() > allowed;
    let unreachable =
        (nobody_left && !silent.is_empty()).then_some(WaitingOn::MemberUnreachable { members: silent, allowed });
    let unconfigured = gate.is_none() && observations.gates.when_unconfigured == GateMode::Hold;
    let unmeasured = (clock.is_some() && unconfigured).then_some(WaitingOn::GateUnconfigured);
    let awaits = run.stage == Stage::AwaitingApproval;
    let measured = gate.filter(|gate| !(awaits && gate.passes())).map(|gate| gate_wait(&gate, now));
    let approval = awaits.then(|| WaitingOn::approval(name, run, members));
    let nobody = tally.evident == 0 && !tally.cordoned.is_empty();
    let cordoned = nobody.then(|| WaitingOn::Cordoned { members: tally.cordoned.clone() });
    under_way(run, tally, observations).or(unreachable).or(cordoned).or(measured).or(unmeasured).or(approval)
}

/// What an open gate waits for whose clock has ended, or that has failed.
fn gate_wait(gate: &Judgement, now: Millis) -> WaitingOn {
    let unsettled = matches!(gate.verdict, Some(Verdict::Inconclusive | Verdict::NoData));
    let failed = gate.failure().is_some();
    let holds = failed || (unsettled && now >= gate.patience_ends_at);
    WaitingOn::Gate { verdict: gate.verdict, text: gate.text.clone(), holds }
}

/// Whom a run, or a catch-up after it, waits for.
fn under_way(run: &Run, tally: Tally, observations: &Observations<'_>) -> Option<WaitingOn> {
    if !observations.hub_fresh {
        return Some(WaitingOn::HubSilent);
    }
    if !tally.applying.is_empty() {
        return Some(WaitingOn::MemberHealth { members: tally.applying });
    }
    if !tally.returning.is_empty() {
        return Some(WaitingOn::Return { members: tally.returning });
    }
    if !tally.going_back.is_empty() {
        return Some(WaitingOn::ReturnFirst { members: tally.going_back });
    }
    if !tally.awaiting_owner.is_empty() {
        return Some(WaitingOn::PodDeletionByOwner { members: tally.awaiting_owner });
    }
    if !tally.ready.is_empty() && tally.room(run) == 0 {
        if !tally.unhealthy.is_empty() {
            return Some(WaitingOn::MemberUnhealthy { members: tally.unhealthy });
        }
        if tally.silent_in_flux > 0 {
            return Some(WaitingOn::StrictTolerance { members: tally.silent_assigned });
        }
    }
    if !tally.unobserved.is_empty() {
        return Some(WaitingOn::Observation { members: tally.unobserved });
    }
    if !tally.unheard.is_empty() {
        return Some(WaitingOn::Heartbeat { members: tally.unheard });
    }
    let needs = run.payload.api_level();
    (!tally.too_old.is_empty()).then_some(WaitingOn::AgentTooOld { members: tally.too_old, needs })
}
