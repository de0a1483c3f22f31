//! The conditions, in the meaning of kstatus: `Reconciling` and `Stalled` are true while something is not
//! as it should be, `Ready` when all is done.

use super::{ConditionFact, View};
use crate::{Desired, WaitingOn, words};

pub(super) fn of(view: &View<'_>) -> Vec<ConditionFact> {
    vec![accepted(view), ready(view), reconciling(view), stalled(view), complete(view)]
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
    let total = view.state.plan.members.len();
    let sick: Vec<&str> = [&tally.unhealthy, &tally.missing, &tally.refused]
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
    fact("Ready", Some(true), "Succeeded", &format!("{} healthy at the revision", words::members(total)))
}

fn reconciling(view: &View<'_>) -> ConditionFact {
    match &view.waiting {
        None => fact("Reconciling", Some(false), "Done", "nothing is left to do"),
        Some(waiting) => {
            let idle = matches!(waiting, WaitingOn::NoPayload | WaitingOn::EmptyPlan | WaitingOn::Paused { .. });
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

fn complete(view: &View<'_>) -> ConditionFact {
    let Some(run) = view.current_run() else {
        return fact("Complete", Some(false), "NotStarted", "no run to the wanted revision has started");
    };
    if !run.is_over() {
        return fact("Complete", Some(false), "Running", &format!("run {} is not over", run.number));
    }
    let total = words::members(view.state.plan.members.len());
    if run.changed_members {
        let text = format!("run {} brought {total} to revision {}", run.number, run.revision);
        return fact("Complete", Some(true), "Succeeded", &text);
    }
    let text =
        format!("run {} changed nothing: {total} ran the images of revision {} already", run.number, run.revision);
    fact("Complete", Some(true), "NothingToDo", &text)
}

fn fact(kind: &'static str, status: Option<bool>, reason: &str, message: &str) -> ConditionFact {
    ConditionFact {
        kind,
        status,
        reason: reason.to_owned(),
        message: words::bounded(message, words::MAX_MESSAGE_CHARS),
    }
}
