//! Abort: a person ends a run, and the whole fleet goes back, whatever the rollback's mode and scope.

use super::{Judged, Refusal, Verdict, by, check_present, check_revision, fitting_run, hold_to_end};
use crate::decide::{EventKind, change::Change, failure};
use crate::{ActionFacts, Desired, Stage};

pub(super) fn judge(change: &mut Change<'_>, desired: Desired<'_>, action: &ActionFacts) -> Judged {
    check_present(desired)?;
    let run = fitting_run(change, action)?.clone();
    check_revision(action, &run.revision, "the run")?;
    let held = hold_to_end(change, action)?.is_some();
    let (number, revision) = (run.number, &run.revision);
    let instead = match run.stage {
        Stage::Updating | Stage::Pausing(_) | Stage::AwaitingApproval | Stage::Soaking(_) | Stage::Finishing => None,
        Stage::RollingBack if held => return Ok(go_on(change, action, number)),
        Stage::RollingBack => Some("is rolling back already: wait for its end"),
        Stage::Succeeded => Some("has succeeded: to take it back, set the payload that ran before"),
        Stage::GivenUp => Some("is over, and healthy members keep the revision: to take it back, set another payload"),
        Stage::RolledBack | Stage::Failed => Some("was rolled back: nothing is under way any more"),
    };
    if let Some(instead) = instead {
        return Err(Refusal(format!("run {number} {instead}")));
    }
    change.state.header.hold = None;
    failure::give_up(change, Stage::RollingBack);
    if let Some(run) = change.state.header.run.as_mut() {
        run.aborted_by = Some(action.spec.who.clone());
    }
    let follows = format!(
        "every touched member returns to what it ran before, and revision {revision} is not rolled out again unless it is retried"
    );
    change.announce(EventKind::Warning, "Aborted", &format!("run {number}: aborted {}: {follows}", by(action)));
    Ok(Verdict::Applied(follows))
}

/// A rollback that holds because its records were lost is what an abort asks for.
fn go_on(change: &mut Change<'_>, action: &ActionFacts, number: i64) -> Verdict {
    change.state.header.hold = None;
    let follows = "the rollback goes on";
    change.announce(EventKind::Warning, "Aborted", &format!("run {number}: aborted {}: {follows}", by(action)));
    Verdict::Applied(follows.to_owned())
}
