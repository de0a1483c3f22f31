//! Retry: a person has what failed tried again. After a rollback that is another run, or, when the accepted revision is
//! meant, those that failed to catch up with that; in a run that holds, and after a success, it is the failed members alone.

use crds::RollbackMode;

use super::{Judged, Refusal, Verdict, by, check_present, check_revision, fitting_run, hold_to_end};
use crate::decide::{EventKind, change::Change, gate, late, order};
use crate::{ActionFacts, Desired, MemberRecord, MemberStage, Payload, Rollout, Run, Silence, Stage, words};

pub(super) fn judge(change: &mut Change<'_>, desired: Desired<'_>, action: &ActionFacts) -> Judged {
    check_present(desired)?;
    let Desired::Present(rollout) = desired else {
        return Err(Refusal("the specification is invalid: fix it first".to_owned()));
    };
    let Some(payload) = &rollout.payload else {
        return Err(Refusal("there is nothing to roll out: set spec.workload or spec.manifests".to_owned()));
    };
    let run = fitting_run(change, action)?.clone();
    if means_catch_up(change, &run, action, payload) {
        return catch_up(change, action);
    }
    check_revision(action, &payload.revision, "spec.workload")?;
    if hold_to_end(change, action)?.is_some() && run.goes_forward() && run.revision == payload.revision {
        return Ok(from_first_step(change, action, &run));
    }
    let follows = if change.state.header.quarantine.contains(&payload.revision) {
        check_over(&run, payload)?;
        lift(change, payload)
    } else {
        check_started(&run, payload)?;
        match run.stage {
            Stage::Succeeded => after_success(change, &run)?,
            _ if run.goes_forward() => in_run(change, &run)?,
            _ => return Err(Refusal(format!("run {} is not over: retry when it is", run.number))),
        }
    };
    change.state.header.hold = None;
    if let Some(run) = change.state.header.run.as_mut().filter(|run| run.revision == payload.revision) {
        run.retry = true;
    }
    change.announce(EventKind::Normal, "Retried", &format!("run {}: retried {}: {follows}", run.number, by(action)));
    Ok(Verdict::Applied(follows))
}

/// Whether the members are meant that catch up with what was accepted before the latest run, which was given up. What the
/// specification wants goes before that, and so does a hold.
fn means_catch_up(change: &Change<'_>, run: &Run, action: &ActionFacts, payload: &Payload) -> bool {
    let (header, meant) = (&change.state.header, &action.spec.revision);
    let given_up = run.is_over() && run.is_refused() && header.hold.is_none();
    given_up && header.accepted_revision.as_ref() == Some(meant) && payload.revision != *meant
}

fn catch_up(change: &mut Change<'_>, action: &ActionFacts) -> Judged {
    let follows = late::within(change, |change| {
        let Some(run) = change.state.header.run.clone() else { return nobody_catches_up() };
        let follows = after_success(change, &run)?;
        if let Some(run) = change.state.header.run.as_mut() {
            run.retry = true;
        }
        change.announce(
            EventKind::Normal,
            "Retried",
            &format!("run {}: retried {}: {follows}", run.number, by(action)),
        );
        Ok(follows)
    });
    follows.unwrap_or_else(nobody_catches_up).map(Verdict::Applied)
}

fn nobody_catches_up() -> Result<String, Refusal> {
    Err(Refusal("no member catches up with the accepted revision: nothing is to be retried".to_owned()))
}

/// A run whose records were lost: nobody knows what its steps have shown.
fn from_first_step(change: &mut Change<'_>, action: &ActionFacts, run: &Run) -> Verdict {
    change.state.header.hold = None;
    if let Some(run) = change.active_run() {
        run.step = 0;
        run.stage = Stage::Updating;
    }
    let follows = "the run goes on from its first step";
    change.announce(EventKind::Normal, "Retried", &format!("run {}: retried {}: {follows}", run.number, by(action)));
    Verdict::Applied(follows.to_owned())
}

fn check_over(run: &Run, payload: &Payload) -> Result<(), Refusal> {
    if run.revision != payload.revision || run.is_over() {
        return Ok(());
    }
    let what = if run.stage == Stage::RollingBack { "is rolling back" } else { "is about to end" };
    Err(Refusal(format!("run {} {what}: retry when that is over", run.number)))
}

fn check_started(run: &Run, payload: &Payload) -> Result<(), Refusal> {
    if run.revision == payload.revision && !run.gives_way() {
        return Ok(());
    }
    Err(Refusal(format!(
        "revision {} was not rolled back: its run starts by itself when nothing is in the way",
        payload.revision
    )))
}

fn lift(change: &mut Change<'_>, payload: &Payload) -> String {
    change.state.header.quarantine.retain(|revision| *revision != payload.revision);
    let next = change.state.header.runs_started + 1;
    format!(
        "revision {} may be rolled out again, and run {next} brings it when nothing is in the way",
        payload.revision
    )
}

fn in_run(change: &Change<'_>, run: &Run) -> Result<String, Refusal> {
    let failed = failed_and_held(change, run);
    if failed.is_empty() && gate::has_failed(change) {
        return Ok("the pause begins anew, and so does measuring".to_owned());
    }
    if failed.is_empty() {
        return Err(Refusal(format!(
            "neither a member nor the gate has failed in run {}: nothing is to be retried",
            run.number
        )));
    }
    Ok(format!("{} given the whole deadline again: {}", words::members(failed.len()), words::list(&failed)))
}

fn after_success(change: &Change<'_>, run: &Run) -> Result<String, Refusal> {
    let back = returned(change);
    let given_back = change.state.given_back();
    if back.is_empty() && (run.catches_up() || !given_back.is_empty()) {
        let why = if given_back.is_empty() {
            format!("run {} has succeeded and no failed member is left: nothing is to be retried", run.number)
        } else {
            format!(
                "{} still going back: {}: retry when they are back",
                words::members(given_back.len()),
                words::list(&given_back)
            )
        };
        return Err(Refusal(why));
    }
    if back.is_empty() {
        return Ok("failures of members that are gone count no more".to_owned());
    }
    let (count, names) = (words::members(back.len()), words::list(&back));
    Ok(format!("revision {} goes again to {count} that failed: {names}", run.revision))
}

/// Does what a retry in a run, or after its success, has asked for.
pub(in crate::decide) fn proceed(change: &mut Change<'_>, rollout: &Rollout) {
    let wanted = rollout.payload.as_ref().map(|payload| &payload.revision);
    let held = change.more || rollout.paused || !change.observations.hub_fresh;
    let asked = change.state.header.run.as_ref().filter(|run| run.retry && !held && Some(&run.revision) == wanted);
    let Some(run) = asked.cloned() else { return };
    match run.stage {
        Stage::Succeeded => take_again(change, &run),
        _ if run.goes_forward() => start_again(change, &run),
        // The next run does it.
        _ => return,
    }
    if let Some(run) = change.state.header.run.as_mut().filter(|_| !change.more) {
        run.retry = false;
    }
}

/// Does what a retry of the catch-up with what was accepted before has asked for, in its place.
pub(in crate::decide) fn proceed_late(change: &mut Change<'_>, rollout: &Rollout) {
    let held = change.more || rollout.paused || !change.observations.hub_fresh;
    let Some(run) = change.state.header.run.clone().filter(|run| run.retry && !held) else { return };
    take_again(change, &run);
    if let Some(run) = change.state.header.run.as_mut().filter(|_| !change.more) {
        run.retry = false;
    }
}

/// Members that have failed and stay as they are, because nothing returns by itself.
fn failed_and_held(change: &Change<'_>, run: &Run) -> Vec<String> {
    if run.failure_rules.mode != RollbackMode::Manual {
        return Vec::new();
    }
    let tally = change.tally();
    tally.overdue.into_iter().chain(tally.sick).map(|member| member.name).collect()
}

/// Gives them the same order under a new fence, and all their time.
fn start_again(change: &mut Change<'_>, run: &Run) {
    if gate::has_failed(change) {
        gate::restart(change, "GateRestarted", "the pause begins anew, and so does measuring");
    }
    let since = change.now;
    for name in failed_and_held(change, run) {
        if !change.claim(&name) {
            return;
        }
        let record = change.record(&name);
        record.stage = record.stage.counted_from(since);
        record.silence = Silence::None;
        let standing = record.standing;
        order::repeat(change, &name, standing);
    }
}

/// Planned members that failed and are back.
fn returned(change: &Change<'_>) -> Vec<String> {
    let back = |name: &&String| matches!(change.state.stage_of(name), MemberStage::Returned { .. });
    change.state.plan.members.iter().filter(back).cloned().collect()
}

/// They are as if they had never been told: they stand at the end of the plan and catch up like those who join.
fn take_again(change: &mut Change<'_>, run: &Run) {
    for name in returned(change) {
        if !change.claim(&name) {
            return;
        }
        change.state.members.insert(name.clone(), MemberRecord::new(run.number));
        let plan = &mut change.state.plan;
        let begun = plan.members.iter().take(plan.wave_end).any(|member| *member == name);
        plan.wave_end -= usize::from(begun);
        plan.members.retain(|member| *member != name);
        plan.members.push(name);
    }
    let failures = change.state.given_back().len();
    if let Some(run) = change.state.header.run.as_mut() {
        run.failures = failures;
    }
}
