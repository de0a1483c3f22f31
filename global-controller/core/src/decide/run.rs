//! The run as a whole: its start, and what a changed specification means for it.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::{
    EventKind,
    advance::{begin_step, begin_step_with},
    change::Change,
    claims::{self, Claimed},
    gate,
    missing::{self, Meant},
};
use crate::gates::missing_source;
use crate::plan::{Joiners, Order, replan};
use crate::waves::{budget, current_weight, flux_limit};
use crate::{Clock, Gate, GateSettings, MemberStage, Millis, Payload, Plan, Rollout, Run, Stage, Step, words};

/// Starts a run if the payload is new and nothing is in the way; else fits the run to the specification. A rollback comes
/// first, and a payload that was rolled back never again. Answers the members that the rollout means and has claimed.
pub(super) fn follow(change: &mut Change<'_>, rollout: &Rollout, order: &Order) -> Claimed {
    let new = rollout.payload.as_ref().filter(|payload| is_new(change, payload));
    let Claimed { members, contested } = claims::take(change, rollout, order, new.is_some());
    if let Some(payload) = new {
        // With more claims to take, those that are missing would be left out.
        let claimed = !members.is_empty() && !change.more;
        let measurable = missing_source(rollout, change.observations.gates).is_none();
        if order.missing.is_empty() && claimed && measurable && change.observations.hub_fresh {
            start(change, rollout, payload, members.clone());
            return Claimed { members, contested };
        }
    }
    learn_payload(change, rollout);
    let planned = contested.iter().filter(|name| change.state.plan.members.contains(name));
    let kept: BTreeSet<&String> = members.iter().chain(planned).collect();
    let kept: Vec<String> = order.members.iter().filter(|name| kept.contains(name)).cloned().collect();
    follow_membership(change, rollout, &kept);
    follow_limits(change, rollout);
    gate::follow(change, rollout);
    follow_pause(change, rollout.paused);
    hold_clock(change, rollout.paused);
    follow_steps(change, rollout);
    Claimed { members, contested }
}

/// Of a run that was adopted perhaps nobody knew more of its payload than what one member got of it.
fn learn_payload(change: &mut Change<'_>, rollout: &Rollout) {
    let (Some(run), Some(payload)) = (change.state.header.run.as_mut(), &rollout.payload) else { return };
    if run.revision == payload.revision && !run.knows_payload() {
        run.payload.clone_from(&payload.content);
        change.state.history.learn(&payload.revision, &payload.content);
    }
}

fn is_new(change: &Change<'_>, payload: &Payload) -> bool {
    let header = &change.state.header;
    let other = |run: &Run| {
        let wanted_anew = run.revision != payload.revision || run.gives_way();
        wanted_anew && run.stage != Stage::RollingBack
    };
    header.run.as_ref().is_none_or(other) && !header.quarantine.contains(&payload.revision)
}

fn start(change: &mut Change<'_>, rollout: &Rollout, payload: &Payload, members: Vec<String>) {
    let number = change.state.header.runs_started + 1;
    if let Some(old) = change.active_run() {
        let message = format!(
            "run {} to revision {} is superseded by run {number} to revision {}",
            old.number, old.revision, payload.revision
        );
        change.announce(EventKind::Normal, "Superseded", &message);
    }
    let total = words::members(members.len());
    change.state.plan = Plan { members, ..Plan::default() };
    change.state.header.runs_started = number;
    change.state.header.epoch = change.observations.recovery.map_or(0, |recovery| recovery.epoch);
    let mut run = new_run(number, rollout, payload, change.observations.gates, change.now);
    run.begin_background(change.now);
    change.state.history.begin(&run, rollout.generation);
    change.state.header.run = Some(run);
    let message = format!("run {number} brings {total} to revision {}", payload.revision);
    change.announce(EventKind::Normal, "RunStarted", &message);
    begin_step(change);
}

/// A run at its very beginning: no step of it has begun.
pub(crate) fn new_run(number: i64, rollout: &Rollout, payload: &Payload, gates: &GateSettings, now: Millis) -> Run {
    let gate_defaults = gates.defaults(rollout.analysis.as_ref());
    let gate = Gate::of(rollout.analysis.as_ref(), gate_defaults.as_ref());
    Run {
        steps: rollout.steps.clone(),
        soak_seconds: rollout.soak_seconds,
        max_concurrency: rollout.max_concurrency,
        failure_rules: rollout.failures,
        paused: rollout.paused,
        on_drift: rollout.on_drift,
        on_conflict: rollout.on_conflict,
        gate_defaults,
        gate,
        ..Run::new(number, payload.clone(), now)
    }
}

/// Members joined or left. When all those updated so far have left, the step is taken again with the next in
/// order, since what was learnt from them says nothing about the others.
fn follow_membership(change: &mut Change<'_>, rollout: &Rollout, wanted: &[String]) {
    let Some(run) = &change.state.header.run else { return };
    let forward = run.goes_forward();
    // Its revision is the accepted one, whatever is wanted by now and can't start yet.
    let welcome = (forward && !run.in_last_step()) || run.stage == Stage::Succeeded;
    let joiners = if welcome { Joiners::Welcome } else { Joiners::TooLate };
    let end_before = change.state.plan.wave_end;
    let all_wanted = wanted;
    let Meant { members: wanted, skipped } = missing::leave_out(change, rollout, wanted, joiners);
    let wanted = &with_late_leavers(change, &wanted);
    let plan = replan(&change.state.plan, wanted, joiners);
    // Those that failed and were given back are no evidence either.
    let left = plan.wave_end < change.state.plan.wave_end;
    let begun = plan.members.get(..plan.wave_end).unwrap_or(&plan.members);
    let evidence_left = left && begun.iter().all(|name| change.state.stage_of(name).is_given_back());
    if !forward || (plan.wave_end > 0 && !evidence_left) {
        change.state.plan = plan;
        return missing::refill(change, end_before, &skipped);
    }
    let at_least = plan.wave_end + 1;
    change.state.plan = replan(&plan, wanted, Joiners::Welcome);
    if let Some(run) = change.active_run() {
        run.stage = Stage::Updating;
        run.step = if run.in_last_step() { 0 } else { run.step };
    }
    missing::refill(change, 0, &skipped);
    if !change.state.plan.members.is_empty() {
        begin_step_with(change, at_least);
    }
    // The step may have become one that they can join.
    change.more |= missing::has_joiner(change, all_wanted);
}

/// The wanted members and, after them, those that left but whose withdrawal must wait for a later decision. They
/// keep their place until then: one that came back in between would else stand beyond its wave, and still be
/// under the assignment of an earlier one.
fn with_late_leavers(change: &mut Change<'_>, wanted: &[String]) -> Vec<String> {
    let still: BTreeSet<&str> = wanted.iter().map(String::as_str).collect();
    let told = |name: &String| !matches!(change.state.stage_of(name), MemberStage::Planned | MemberStage::Withdrawing);
    let leaves = |name: &&String| !still.contains(name.as_str()) && told(name);
    let leavers: Vec<String> = change.state.begun().iter().filter(leaves).cloned().collect();
    let late = leavers.into_iter().filter(|name| !change.claim(name));
    wanted.iter().cloned().chain(late).collect()
}

/// A person paused or resumed it.
fn follow_pause(change: &mut Change<'_>, paused: bool) {
    let Some(run) = change.active_run().filter(|run| run.paused != paused) else { return };
    run.paused = paused;
    let (reason, message) =
        if paused { ("Paused", "paused: no further member is touched") } else { ("Resumed", "resumed") };
    change.announce(EventKind::Normal, reason, message);
}

/// While the rollout is paused, or its object is invalid, the clock stands still and keeps what is left; else it runs on.
pub(super) fn hold_clock(change: &mut Change<'_>, hold: bool) {
    let now = change.now;
    let Some(run) = change.active_run() else { return };
    if let Stage::Pausing(clock) | Stage::Soaking(clock) = &mut run.stage {
        *clock = match *clock {
            Clock::Running { ends_at } if hold => Clock::Stopped { remaining_millis: (ends_at - now).max(0) },
            Clock::Stopped { remaining_millis } if !hold => Clock::Running { ends_at: now + remaining_millis },
            unchanged => unchanged,
        };
    }
}

/// A limit, what counts as failure, or what is done about it or about drift, changed. It applies at once, also to a rollback
/// and to a catch-up.
pub(super) fn follow_limits(change: &mut Change<'_>, rollout: &Rollout) {
    let wave_end = change.state.plan.wave_end;
    let follows = |run: &&mut Run| !run.is_over() || run.stage == Stage::Succeeded;
    let Some(run) = change.state.header.run.as_mut().filter(follows) else { return };
    if run.failure_rules.max_failures != rollout.failures.max_failures {
        run.failure_limit = budget(rollout.failures.max_failures, wave_end);
    }
    if run.failure_rules.max_unreachable != rollout.failures.max_unreachable {
        run.unreachable_limit = budget(rollout.failures.max_unreachable, wave_end);
        run.unreachable_most = run.unreachable_most.max(run.unreachable_limit);
    }
    if run.max_concurrency != rollout.max_concurrency {
        run.max_concurrency = rollout.max_concurrency;
        run.flux_limit = flux_limit(rollout.max_concurrency, wave_end);
    }
    run.failure_rules = rollout.failures;
    run.on_drift = rollout.on_drift;
    run.on_conflict = rollout.on_conflict;
}

/// Steps or soak changed. They apply to the running run; waves that are done stay done.
fn follow_steps(change: &mut Change<'_>, rollout: &Rollout) {
    let Some(run) = change.active_run() else { return };
    if run.soak_seconds != rollout.soak_seconds {
        if let Stage::Soaking(clock) = &mut run.stage {
            shift(clock, i64::from(rollout.soak_seconds) - i64::from(run.soak_seconds));
        }
        run.soak_seconds = rollout.soak_seconds;
    }
    if run.steps != rollout.steps && move_to_steps(run, &rollout.steps).is_break() {
        begin_step(change);
    }
}

/// Finds the run's place among changed steps: the step of the same weight, else the next higher, else the
/// last explicit one, which then adds nobody and still runs its pause. Breaks when that step is to begin.
fn move_to_steps(run: &mut Run, steps: &[Step]) -> ControlFlow<()> {
    let weight = current_weight(run);
    let last_before = run.in_last_step();
    let pause_before = run.steps.get(run.step).map_or(0, |step| step.pause_seconds);
    run.steps = steps.to_vec();
    if last_before {
        run.step = steps.len();
        return ControlFlow::Continue(());
    }
    let same_place = steps.get(run.step).is_some_and(|step| step.weight == weight);
    if !same_place {
        let next = steps.iter().position(|step| step.weight >= weight);
        run.step = next.unwrap_or(steps.len().saturating_sub(1));
    }
    match steps.get(run.step) {
        Some(step) if step.weight == weight => {
            if let Stage::Pausing(clock) = &mut run.stage {
                shift(clock, i64::from(step.pause_seconds) - i64::from(pause_before));
            }
            ControlFlow::Continue(())
        }
        _ => {
            run.stage = Stage::Updating;
            ControlFlow::Break(())
        }
    }
}

fn shift(clock: &mut Clock, seconds: i64) {
    match clock {
        Clock::Running { ends_at } => *ends_at += seconds * 1000,
        Clock::Stopped { remaining_millis } => *remaining_millis = (*remaining_millis + seconds * 1000).max(0),
    }
}
