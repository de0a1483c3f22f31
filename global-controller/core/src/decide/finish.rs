//! The end of a run in which too many have failed while only those that fail return (`rollback.scope: Member`).

use std::collections::BTreeSet;

use super::{EventKind, change::Change, order};
use crate::{MemberStage, Reachability, Stage, words};

/// Waits for the members in flux, and ends the run when nobody is on the way any more.
pub(super) fn proceed(change: &mut Change<'_>) {
    if change.state.header.run.as_ref().is_some_and(|run| run.stage == Stage::Finishing) {
        take_back_undelivered(change);
        end(change);
    }
}

/// Members in flux that are silent, or without the workload, may not have got the revision yet. It is in quarantine, so
/// their order is replaced by a return before it finds them.
fn take_back_undelivered(change: &mut Change<'_>) {
    let Some(run) = change.state.header.run.clone() else { return };
    let missing: BTreeSet<String> = change.tally().missing.into_iter().map(|member| member.name).collect();
    let since = change.now;
    for name in change.state.begun().to_vec() {
        let in_flux = change.state.stage_of(&name).is_in_flux();
        let silent = change.observations.reachability(&name) == Reachability::Unreachable;
        if !in_flux || !(silent || missing.contains(&name)) || !change.claim(&name) {
            continue;
        }
        let stage = if silent { MemberStage::Owed } else { MemberStage::Returning { since } };
        order::give_back(change, &run, &name, stage);
    }
}

fn end(change: &mut Change<'_>) {
    let tally = change.tally();
    if change.more || tally.in_flux > 0 || !tally.returning.is_empty() {
        return;
    }
    let (now, healthy) = (change.now, tally.assigned);
    let Some(run) = change.state.header.run.as_mut() else { return };
    run.stage = Stage::GivenUp;
    run.finished_at = Some(now);
    let message = format!(
        "run {}: {} failed, {} allowed; {} healthy and keep revision {}, which is not rolled out again",
        run.number,
        words::members(run.failures),
        run.failure_limit,
        words::members(healthy),
        run.revision
    );
    change.announce(EventKind::Warning, "Failed", &message);
}
