//! After a success: members that join later, and those that were silent, get the accepted revision too.

use super::{EventKind, change::Change};
use crate::waves::{flux_limit, raise_limits};
use crate::{Rollout, Run, words};

/// The run, when members may catch up in it now: it has succeeded, and neither a pause, a silent hub nor its failures hold
/// it. Its revision is the accepted one; another that is wanted by now, and can't start yet, changes nothing about that.
pub(super) fn open_run<'a>(change: &'a Change<'_>, rollout: &Rollout) -> Option<&'a Run> {
    let held = change.more || rollout.paused || !change.observations.hub_fresh;
    change.state.header.run.as_ref().filter(|run| !held && run.catches_up())
}

/// Lets the next wave begin when nobody is on the way any more, and the one after it when all of that are silent.
pub(super) fn proceed(change: &mut Change<'_>, rollout: &Rollout) {
    while begin_wave(change, rollout) {}
}

/// As many members as may be in flux at once; false when there is nobody left or somebody is on the way.
fn begin_wave(change: &mut Change<'_>, rollout: &Rollout) -> bool {
    let Some(run) = open_run(change, rollout) else { return false };
    let (begun, planned) = (change.state.plan.wave_end, change.state.plan.members.len());
    if begun >= planned || !change.tally().is_settled() {
        return false;
    }
    let limit = run.flux_limit.max(flux_limit(run.max_concurrency, planned));
    let end = planned.min(begun + limit);
    let names = words::list(change.state.plan.members.get(begun..end).unwrap_or_default());
    change.state.plan.wave_end = end;
    let Some(run) = change.state.header.run.as_mut() else { return false };
    raise_limits(run, end);
    run.caught_up += end - begun;
    let message = format!(
        "run {}: {} left to get the accepted revision {}: {names}",
        run.number,
        words::members(end - begun),
        run.revision
    );
    change.announce(EventKind::Normal, "CatchUpStarted", &message);
    true
}
