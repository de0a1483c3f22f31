//! After a run that was given up: members that join later, and those that were silent, get what was accepted before it
//! (SEMANTICS 35). It is a catch-up of the run that was accepted, beside the latest one, which says how the rollout stands.

use std::collections::BTreeSet;

use crds::{OnDrift, Previous, Revision, RunOutcome};

use super::{catch_up, change::Change, failure, forward, reports, run, silence, standing};
use crate::plan::{Joiners, replan};
use crate::{Late, MemberStage, Payload, Plan, Rollout, RolloutState, Run, Stage};

/// Goes on with the catch-up, or begins it when somebody needs it. `ours` are the members that the rollout means and has
/// the claim on.
pub(super) fn proceed(change: &mut Change<'_>, rollout: &Rollout, ours: &[String]) {
    let Some(mut late) = catch_up_of(&change.state) else { return };
    change.state.plan.late = None;
    let wanted: Vec<String> = {
        let known: BTreeSet<&String> = late.members.iter().collect();
        let belongs = |name: &&String| known.contains(name) || lacks(change, &late.run, name);
        ours.iter().filter(belongs).cloned().collect()
    };
    let plan = Plan { members: late.members, wave_end: late.wave_end, ..Plan::default() };
    Plan { members: late.members, wave_end: late.wave_end, late: _ } = replan(&plan, &wanted, Joiners::Welcome);
    if late.members.is_empty() {
        return;
    }
    let given_up = change.state.enter_late(late);
    run::follow_limits(change, rollout);
    leave_drift(change);
    reports::absorb(change);
    silence::heed(change);
    failure::judge(change);
    catch_up::proceed(change, rollout);
    standing::follow(change);
    forward::assign(change, rollout);
    change.state.leave_late(given_up);
}

/// One that was withdrawn and has been forgotten since may be needed again: the next decision takes it up.
pub(super) fn see_newcomers(change: &mut Change<'_>, ours: &[String]) {
    let Some(late) = catch_up_of(&change.state) else { return };
    let known: BTreeSet<&String> = late.members.iter().collect();
    change.more |= ours.iter().any(|name| !known.contains(name) && lacks(change, &late.run, name));
}

/// The catch-up that goes on, or one that might begin.
fn catch_up_of(state: &RolloutState) -> Option<Late> {
    let accepted = accepted_run(state)?;
    let known = state.plan.late.as_deref().filter(|late| late.run.revision == accepted.revision);
    Some(known.cloned().unwrap_or(Late { run: accepted, members: Vec::new(), wave_end: 0 }))
}

/// The rollout stands as its latest run has left it: drift is only reported, once a member has arrived (SEMANTICS 22).
fn leave_drift(change: &mut Change<'_>) {
    if let Some(run) = change.state.header.run.as_mut() {
        run.on_drift = OnDrift::Report;
    }
}

/// The run whose revision was accepted, to be caught up with, as long as a later one was given up and nothing else is asked
/// for. It bears what the later one did.
fn accepted_run(state: &RolloutState) -> Option<Run> {
    let header = &state.header;
    let given_up = |run: &&Run| matches!(run.stage, Stage::RolledBack | Stage::Failed | Stage::GivenUp);
    let latest = header.run.as_ref().filter(given_up).filter(|run| !run.gives_way())?;
    let revision: &Revision = header.accepted_revision.as_ref().filter(|accepted| **accepted != latest.revision)?;
    let content = state.history.payloads.get(revision)?.clone();
    let succeeded = state.history.runs.iter().rev().find(|past| {
        past.outcome == Some(RunOutcome::Succeeded) && past.revision == *revision && past.number < latest.number
    })?;
    if header.quarantine.contains(revision) {
        return None;
    }
    let payload = Payload { revision: revision.clone(), content };
    Some(Run {
        finished_at: succeeded.finished_at,
        step: latest.steps.len(),
        stage: Stage::Succeeded,
        steps: latest.steps.clone(),
        soak_seconds: latest.soak_seconds,
        max_concurrency: latest.max_concurrency,
        failure_rules: latest.failure_rules,
        paused: latest.paused,
        changed_members: true,
        ..Run::new(succeeded.number, payload, succeeded.started_at)
    })
}

/// Whether a member has not got the accepted revision, as far as anybody knows. One that had it once keeps what was made of
/// it since: a return may have gone where somebody else had put it. One that is still to go back does that first, one that
/// has failed at it gets it by a retry only, and one that kept what was given up keeps it.
fn lacks(change: &Change<'_>, accepted: &Run, name: &str) -> bool {
    let state = &change.state;
    let (Some(record), Some(latest)) = (state.members.get(name), &state.header.run) else { return true };
    let had_it = record.arrived_at.as_ref() == Some(&accepted.revision);
    if had_it && !matches!(record.stage, MemberStage::Applying { .. }) {
        return false;
    }
    if record.failed_in == accepted.number || record.stage.owes_return() {
        return false;
    }
    match record.stage {
        MemberStage::Withdrawing | MemberStage::Skipped => false,
        // Of a run before the accepted one: it was passed over since.
        MemberStage::Healthy { .. } | MemberStage::Unhealthy { .. } => record.run < accepted.number,
        MemberStage::Applying { .. } => record.run < latest.number,
        // Whether it ran that when it was observed last.
        _ => {
            let runs_it = |previous: &Previous| change.observations.runs_it(accepted, name, &previous.images);
            !record.previous.as_ref().is_some_and(runs_it)
        }
    }
}
