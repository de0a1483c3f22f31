//! The way of a run through its steps: update, pause, next step, soak, success.

use std::collections::BTreeSet;

use crds::GateMode;

use super::{EventKind, actions, change::Change};
use crate::gates::{Judgement, missing_source};
use crate::plan::order;
use crate::waves::{current_weight, raise_limits, wave_end};
use crate::{Clock, Millis, Rollout, Stage, words};

/// Goes on as far as the evidence carries: each turn ends a stage, so the turns are bounded by the steps.
pub(super) fn proceed(change: &mut Change<'_>, rollout: &Rollout) {
    let ran = change.active_run().is_some();
    while may_proceed(change, rollout) && turn(change) {}
    if ran && change.active_run().is_none() && has_joiners(change, rollout) {
        // They catch up, which begins in a decision of its own.
        change.more = true;
    }
}

/// Whether members have joined that the plan doesn't have, because its last step had begun.
fn has_joiners(change: &Change<'_>, rollout: &Rollout) -> bool {
    let planned: BTreeSet<&String> = change.state.plan.members.iter().collect();
    order(rollout, change.observations.members).members.iter().any(|name| !planned.contains(name))
}

fn may_proceed(change: &mut Change<'_>, rollout: &Rollout) -> bool {
    let measurable = missing_source(rollout, change.observations.gates).is_none();
    let blocked = change.more || rollout.paused || !measurable || !change.observations.hub_fresh;
    let wanted = rollout.payload.as_ref().map(|payload| &payload.revision);
    !blocked && change.active_run().is_some_and(|run| Some(&run.revision) == wanted)
}

/// Ends the current stage if it may end: everybody is healthy but for failures within budget, which are no longer on
/// their way back, for silent ones within a budget of their own, and for those that a person keeps out.
fn turn(change: &mut Change<'_>) -> bool {
    let begun = change.state.plan.wave_end;
    let tally = change.tally();
    let (healthy, silent) = (tally.evident, tally.silent());
    if healthy == 0 || healthy + tally.given_back + silent + tally.cordoned.len() < begun || !tally.returning.is_empty()
    {
        return false;
    }
    if change.active_run().is_none_or(|run| silent > run.unreachable_limit) {
        return false;
    }
    let now = change.now;
    let cordoned = tally.cordoned.len();
    if let Some(run) = change.active_run() {
        run.passed_over = run.passed_over.max(cordoned);
    }
    let gate = Judgement::of(&change.state, change.observations, now);
    if gate.as_ref().is_some_and(|gate| gate.failure().is_some()) {
        return false;
    }
    let mode = change.observations.gates.when_unconfigured;
    let Some(run) = change.active_run() else { return false };
    let last = run.in_last_step();
    let (pause_seconds, stage) = (run.pause_seconds(), run.stage.clone());
    match stage {
        Stage::Updating if pause_seconds > 0 => start_clock(change, last, pause_seconds, healthy),
        Stage::Updating => end_pause(change, last, healthy),
        Stage::Pausing(clock) | Stage::Soaking(clock) if is_over(clock, now) => match gate {
            Some(gate) if gate.passes() => {
                change.announce(EventKind::Normal, "GatePassed", &gate.text);
                end_pause(change, last, healthy);
            }
            None if mode == GateMode::TimerOnly => end_pause(change, last, healthy),
            _ => return false,
        },
        Stage::AwaitingApproval if gate.is_none_or(|gate| gate.passes()) && is_approved(change) => {
            finish_step(change, last, healthy);
        }
        _ => return false,
    }
    true
}

/// A person may have to let the step go on; one that has done so already has not been too early.
fn end_pause(change: &mut Change<'_>, last: bool, healthy: usize) {
    if is_approved(change) {
        finish_step(change, last, healthy);
        return;
    }
    if let Some(run) = change.active_run()
        && let Stage::Pausing(Clock::Running { ends_at }) = run.stage
    {
        run.gate_ended_at = ends_at;
    }
    actions::ask(change);
}

fn is_approved(change: &mut Change<'_>) -> bool {
    let needed = change.active_run().is_some_and(|run| run.needs_approval());
    !needed || actions::approve_step(change)
}

fn is_over(clock: Clock, now: Millis) -> bool {
    matches!(clock, Clock::Running { ends_at } if ends_at <= now)
}

pub(super) fn start_clock(change: &mut Change<'_>, last: bool, pause_seconds: u32, healthy: usize) {
    let ends_at = change.now + i64::from(pause_seconds) * 1000;
    let clock = Clock::Running { ends_at };
    let stage = if last { Stage::Soaking(clock) } else { Stage::Pausing(clock) };
    let now = change.now;
    if let Some(run) = change.active_run() {
        run.stage = stage;
        run.gate_began_at = now;
    }
    let (reason, word) = if last { ("SoakStarted", "soak") } else { ("PauseStarted", "pause") };
    let message = format!(
        "{} healthy: {word} of {} until {}",
        words::members(healthy),
        words::seconds(i64::from(pause_seconds)),
        words::time(ends_at)
    );
    change.announce(EventKind::Normal, reason, &message);
}

fn finish_step(change: &mut Change<'_>, last: bool, healthy: usize) {
    if last {
        return succeed(change, healthy);
    }
    if let Some(run) = change.active_run() {
        run.step += 1;
        run.stage = Stage::Updating;
    }
    begin_step(change);
}

/// Begins the run's current step: resolves its weight and its limits against the members planned now.
pub(super) fn begin_step(change: &mut Change<'_>) {
    begin_step_with(change, 1);
}

/// The same, with at least so many members in the waves begun, if there are as many.
pub(super) fn begin_step_with(change: &mut Change<'_>, at_least: usize) {
    let plan = &mut change.state.plan;
    let Some(run) = change.state.header.run.as_mut() else { return };
    let weight = current_weight(run);
    let before = plan.wave_end;
    plan.wave_end = wave_end(weight, plan.members.len(), before).max(at_least.min(plan.members.len()));
    raise_limits(run, plan.wave_end);
    let may = |limit: usize, what: &str| if limit == 0 { String::new() } else { format!(", {limit} may {what}") };
    let (fail, silent) = (may(run.failure_limit, "fail"), may(run.unreachable_limit, "be unreachable"));
    let approval = if run.needs_approval() { "; it waits for approval in the end" } else { "" };
    let message = format!(
        "step {} of {}: {}% are {} of {}, {} new, at most {} in flux{fail}{silent}{approval}",
        run.step + 1,
        run.steps.len() + 1,
        weight.percent(),
        plan.wave_end,
        words::members(plan.members.len()),
        plan.wave_end - before,
        run.flux_limit
    );
    change.announce(EventKind::Normal, "StepStarted", &message);
}

fn succeed(change: &mut Change<'_>, healthy: usize) {
    let now = change.now;
    let total = words::members(healthy);
    let tolerated = words::tolerated(&change.state.given_back());
    let (silent, cordoned) = change.state.owed(change.observations);
    let owed = words::owed((&silent, &cordoned));
    let skipped = words::skipped(&change.state.skipped());
    let partial = words::partial(&change.state.partial());
    let Some(run) = change.active_run() else { return };
    run.stage = Stage::Succeeded;
    run.finished_at = Some(now);
    let (number, revision, changed) = (run.number, run.revision.clone(), run.changed_members || run.failures > 0);
    change.state.header.settled_run = number;
    let (reason, message) = if changed {
        (
            "Succeeded",
            format!("run {number}: {total} healthy at revision {revision}{partial}{tolerated}{owed}{skipped}"),
        )
    } else {
        (
            "NothingToDo",
            format!("run {number}: {total} ran the images of revision {revision} already{partial}{owed}{skipped}"),
        )
    };
    change.state.header.accepted_revision = Some(revision);
    change.announce(EventKind::Normal, reason, &message);
}
