//! Metric gates: what is measured follows the specification, and a gate that fails ends the run.

use super::{EventKind, advance, change::Change, failure};
use crate::gates::Judgement;
use crate::tally::trouble;
use crate::{Gate, RefusedBy, Rollout, Stage};
use crds::{RollbackMode, RollbackScope};

/// What is to be measured changed: the present pause or soak begins anew, in full. The configuration's part is kept from
/// the start of the run, or from when there first was one (SEMANTICS 1, 26).
pub(super) fn follow(change: &mut Change<'_>, rollout: &Rollout) {
    let (settings, analysis) = (change.observations.gates, rollout.analysis.as_ref());
    let Some(run) = change.active_run() else { return };
    run.gate_defaults = settings.defaults_after(run.gate_defaults.take(), analysis);
    let wanted = Gate::of(analysis, run.gate_defaults.as_ref());
    if run.gate == wanted {
        return leave_trouble(change);
    }
    run.gate = wanted;
    restart(change, "GateChanged", "what is measured has changed: the pause begins anew");
}

/// Trouble that updated members and the control group had at a time is over. What was measured says nothing about the
/// revision, and nothing from before will be measured again.
fn leave_trouble(change: &mut Change<'_>) {
    if !Judgement::has_left_trouble(&change.state, change.observations) {
        return;
    }
    let now = change.now;
    if let Some(run) = change.active_run() {
        run.troubled_until = now;
    }
    restart(change, "TroubleOver", "the control group is well again: the pause begins anew");
}

/// Begins the present pause or soak anew, in full, and the background, with no measurement taken.
pub(super) fn restart(change: &mut Change<'_>, reason: &'static str, message: &str) {
    let healthy = change.tally().evident;
    let now = change.now;
    let Some(run) = change.active_run() else { return };
    run.begin_background(now);
    let (last, pause_seconds) = (run.in_last_step(), run.pause_seconds());
    let waits = matches!(run.stage, Stage::Pausing(_) | Stage::AwaitingApproval | Stage::Soaking(_));
    if waits && pause_seconds > 0 {
        change.announce(EventKind::Normal, reason, message);
        advance::start_clock(change, last, pause_seconds, healthy);
    }
}

/// Whether the gate has failed.
pub(super) fn has_failed(change: &Change<'_>) -> bool {
    let judged = Judgement::of(&change.state, change.observations, change.now);
    judged.is_some_and(|judged| judged.failure().is_some())
}

/// Ends the run when its gate has failed. With scope `Member` those whose own measurements failed return (SEMANTICS 29).
pub(super) fn judge(change: &mut Change<'_>) {
    let Some(run) = change.active_run().cloned() else { return };
    // Those who return would no longer be judged when the run is, in a decision that comes after.
    if change.more || run.failure_rules.mode == RollbackMode::Manual {
        return;
    }
    let judged = Judgement::of(&change.state, change.observations, change.now);
    let Some((judged, cause)) = judged.as_ref().and_then(|judged| Some((judged, judged.failure()?))) else { return };
    if run.failure_rules.scope == RollbackScope::Member {
        for name in &judged.failed_members {
            let report = change.observations.answer(name).map(|(_, report)| report);
            let member = trouble(name, report);
            failure::fail(change, &run, &member, "failed its metric gate");
        }
    }
    if !change.more {
        failure::refuse(change, "GateFailed", cause);
        if let Some(run) = change.state.header.run.as_mut() {
            (run.refused_by, run.refused_on) = (RefusedBy::Gate, Some(judged.basis.clone()));
        }
    }
}
