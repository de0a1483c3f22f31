//! The way back: every touched member returns to its own previous state, and the run ends.

use super::{EventKind, change::Change, membership, order};
use crate::returns::Returns;
use crate::{MemberStage, Reachability, Stage, words};

/// Goes on with a rollback under way. Neither a pause nor a silent hub keeps it, and it needs no valid object.
pub(super) fn proceed(change: &mut Change<'_>) {
    if change.state.rolling_back().is_some() {
        membership::forget_gone(change);
        give_back(change);
        end(change);
    }
}

/// Tells so many to return that no more are on their way than may be. The silent are on no way: they are told at once.
fn give_back(change: &mut Change<'_>) {
    let Some(run) = change.state.rolling_back().cloned() else { return };
    let returns = change.returns();
    let limit = run.failure_rules.return_concurrency.of_rounded_up(returns.total()).max(1);
    let mut room = limit.saturating_sub(returns.returning.len() + returns.unheard.len());
    let since = change.now;
    for name in &returns.untold {
        let silent = change.observations.reachability(name) == Reachability::Unreachable;
        if (!silent && room == 0) || !change.claim(name) {
            continue;
        }
        let stage = if silent { MemberStage::Owed } else { MemberStage::Returning { since } };
        room -= usize::from(!silent);
        order::give_back(change, &run, name, stage);
    }
}

/// Ends the run when nobody is on the way any more.
fn end(change: &mut Change<'_>) {
    let Returns { untold, returning, overdue, owed, unheard, returned, .. } = change.returns();
    if change.more || !(untold.is_empty() && returning.is_empty() && unheard.is_empty()) {
        return;
    }
    let now = change.now;
    let Some(run) = change.state.header.run.as_mut() else { return };
    run.finished_at = Some(now);
    let number = run.number;
    let owed = owed_text(&owed);
    if overdue.is_empty() {
        run.stage = Stage::RolledBack;
        change.state.header.settled_run = number;
        let message = format!("run {number}: {} back to what they ran before{owed}", words::members(returned));
        change.announce(EventKind::Warning, "RolledBack", &message);
    } else {
        run.stage = Stage::Failed;
        let names: Vec<&str> = overdue.iter().map(|member| member.name.as_str()).collect();
        let message = format!(
            "run {number}: {} not back to what they ran before within their deadline: {}; {returned} are back{owed}",
            words::members(names.len()),
            words::list(&names)
        );
        change.announce(EventKind::Warning, "RollbackIncomplete", &message);
        change.state.header.held_for = Some("RollbackIncomplete".to_owned());
    }
    // What waited for the end of the rollback is looked at in a decision of its own.
    change.more = true;
}

fn owed_text(owed: &[String]) -> String {
    match owed.len() {
        0 => String::new(),
        count => format!("; {} unreachable and owed the return: {}", words::members(count), words::list(owed)),
    }
}
