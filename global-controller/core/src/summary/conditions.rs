//! The conditions, in the meaning of kstatus: `Reconciling`, `Stalled` and `Degraded` are true while something is not
//! as it should be, `Ready` when all is done.

use super::{ConditionFact, View};
use crate::{Desired, MemberTrouble, Run, Stage, WaitingOn, words};

pub(super) fn of(view: &View<'_>) -> Vec<ConditionFact> {
    vec![accepted(view), ready(view), reconciling(view), stalled(view), degraded(view), complete(view)]
}

fn accepted(view: &View<'_>) -> ConditionFact {
    match (view.desired, &view.waiting) {
        (Desired::Invalid { .. }, Some(waiting)) => fact("Accepted", Some(false), waiting.reason(), &waiting.message()),
        (Desired::Present(_), Some(waiting @ WaitingOn::NoPayload)) => {
            fact("Accepted", Some(true), waiting.reason(), &waiting.message())
        }
        _ => fact("Accepted", Some(true), "Valid", "the specification is valid"),
    }
}

fn ready(view: &View<'_>) -> ConditionFact {
    if let Some(waiting) = &view.waiting {
        return fact("Ready", Some(false), waiting.reason(), &waiting.message());
    }
    if !view.is_done() {
        return fact("Ready", Some(false), "Deleted", "every member has forgotten its assignment");
    }
    let tally = &view.tally;
    let failed = view.state.given_back();
    let healthy = view.state.plan.members.len() - failed.len();
    let sick: Vec<&str> = [&tally.sick, &tally.unhealthy, &tally.missing, &tally.refused]
        .into_iter()
        .flatten()
        .map(|member| member.name.as_str())
        .collect();
    if !sick.is_empty() {
        let text = format!("{} no longer healthy at the revision: {}", words::members(sick.len()), words::list(&sick));
        return fact("Ready", Some(false), "MemberUnhealthy", &text);
    }
    let silent: Vec<&String> = tally.silent_assigned.iter().chain(&tally.unheard).collect();
    if !silent.is_empty() {
        let text = format!("{} not heard, so nothing is known: {}", words::members(silent.len()), words::list(&silent));
        return fact("Ready", None, "MemberUnreachable", &text);
    }
    if !tally.awaiting_owner.is_empty() {
        let waiting = WaitingOn::PodDeletionByOwner { members: tally.awaiting_owner.clone() };
        return fact("Ready", Some(false), waiting.reason(), &waiting.message());
    }
    let partial = words::partial(&view.state.partial());
    let text = format!("{} healthy at the revision{partial}{}", words::members(healthy), words::tolerated(&failed));
    fact("Ready", Some(true), "Succeeded", &text)
}

fn reconciling(view: &View<'_>) -> ConditionFact {
    match &view.waiting {
        None => fact("Reconciling", Some(false), "Done", "nothing is left to do"),
        Some(waiting) => {
            let idle = matches!(
                waiting,
                WaitingOn::NoPayload
                    | WaitingOn::EmptyPlan
                    | WaitingOn::Paused { .. }
                    | WaitingOn::Approval { .. }
                    | WaitingOn::Owed { .. }
            );
            fact("Reconciling", Some(!idle && !waiting.holds()), waiting.reason(), &waiting.message())
        }
    }
}

fn stalled(view: &View<'_>) -> ConditionFact {
    match view.waiting.as_ref().filter(|waiting| waiting.holds()) {
        Some(waiting) => fact("Stalled", Some(true), waiting.reason(), &waiting.message()),
        None => fact("Stalled", Some(false), "NotStalled", "nothing needs repair"),
    }
}

/// Of the run, and of the catch-up with what was accepted before it, if that holds.
fn degraded(view: &View<'_>) -> ConditionFact {
    let fact = degraded_run(view);
    match &view.late_hold {
        Some(hold) => {
            self::fact(fact.kind, fact.status, &fact.reason, &format!("{}; {}", fact.message, hold.message()))
        }
        None => fact,
    }
}

fn degraded_run(view: &View<'_>) -> ConditionFact {
    let Some(run) = &view.state.header.run else {
        return fact("Degraded", Some(false), "NotDegraded", "no run has started");
    };
    let (failed, drifted) = (view.state.given_back(), &view.drifted);
    let (number, revision) = (run.number, &run.revision);
    match run.stage {
        Stage::RollingBack => {
            let text = format!("run {number} to revision {revision} is rolling back: {}", run.refusal());
            fact("Degraded", Some(true), "RollingBack", &text)
        }
        Stage::RolledBack => {
            let text = format!("run {number} to revision {revision} was rolled back: {}", run.refusal());
            fact("Degraded", Some(true), rolled_back(run), &text)
        }
        Stage::Failed => {
            let text = format!(
                "run {number} to revision {revision} was rolled back, and not every member is back: {}",
                run.refusal()
            );
            fact("Degraded", Some(true), "RollbackIncomplete", &text)
        }
        Stage::Finishing | Stage::GivenUp => {
            let text = format!("run {number} to revision {revision}: {}", run.refusal());
            fact("Degraded", Some(true), "TooManyFailed", &text)
        }
        _ if run.failures > 0 => {
            let text = format!("{} of {} allowed failures: {}", run.failures, run.failure_limit, words::list(&failed));
            fact("Degraded", Some(true), "MembersFailed", &text)
        }
        _ if !drifted.is_empty() => {
            let worded: Vec<String> = drifted.iter().map(MemberTrouble::worded).collect();
            let text = format!(
                "{} changed by somebody else: {}",
                words::members(drifted.len()),
                words::list_bounded(&worded, words::MAX_TROUBLES)
            );
            fact("Degraded", Some(true), "MembersDrifted", &text)
        }
        _ => fact("Degraded", Some(false), "NotDegraded", &format!("no member has failed in run {number}")),
    }
}

fn complete(view: &View<'_>) -> ConditionFact {
    let Some(run) = view.current_run() else {
        return fact("Complete", Some(false), "NotStarted", "no run to the wanted revision has started");
    };
    if !run.is_over() {
        return fact("Complete", Some(false), "Running", &format!("run {} is not over", run.number));
    }
    if run.stage == Stage::GivenUp {
        return fact(
            "Complete",
            Some(false),
            "TooManyFailed",
            &format!("run {} ended with too many failures", run.number),
        );
    }
    if run.is_rolled_back() {
        let reason = if run.stage == Stage::Failed { "RollbackIncomplete" } else { rolled_back(run) };
        return fact("Complete", Some(false), reason, &format!("run {} was rolled back{}", run.number, aborted(run)));
    }
    let failed = view.state.given_back();
    let pending = view.state.pending();
    let partial = words::partial(&view.state.partial());
    let total = words::members(view.state.plan.members.len() - failed.len() - pending.len());
    if !pending.is_empty() {
        let text = format!(
            "run {} brought {total} to revision {}{partial}; {} to get it yet: {}{}",
            run.number,
            run.revision,
            words::members(pending.len()),
            words::list(&pending),
            words::tolerated(&failed)
        );
        return fact("Complete", Some(false), "MembersOwed", &text);
    }
    if !failed.is_empty() {
        let tolerated = words::tolerated(&failed);
        let text = format!("run {} brought {total} to revision {}{partial}{tolerated}", run.number, run.revision);
        return fact("Complete", Some(false), "MembersFailed", &text);
    }
    let skipped = words::skipped(&view.state.skipped());
    if run.changed_members {
        let text = format!("run {} brought {total} to revision {}{partial}{skipped}", run.number, run.revision);
        return fact("Complete", Some(true), "Succeeded", &text);
    }
    let text = format!(
        "run {} changed nothing: {total} ran the images of revision {} already{partial}{skipped}",
        run.number, run.revision
    );
    fact("Complete", Some(true), "NothingToDo", &text)
}

/// How the run ended.
fn rolled_back(run: &Run) -> &'static str {
    if run.aborted_by.is_some() { "Aborted" } else { "RolledBack" }
}

/// ", aborted by alice", or nothing.
fn aborted(run: &Run) -> String {
    run.aborted_by.as_ref().map(|who| format!(", aborted by {who}")).unwrap_or_default()
}

fn fact(kind: &'static str, status: Option<bool>, reason: &str, message: &str) -> ConditionFact {
    ConditionFact {
        kind,
        status,
        reason: reason.to_owned(),
        message: words::bounded(message, words::MAX_MESSAGE_CHARS),
    }
}
