//! Resume: a person lets a run go on that holds because its records were lost.

use super::{Judged, Refusal, Verdict, by, check_present, check_revision, fitting_run, hold_to_end};
use crate::decide::{EventKind, change::Change};
use crate::{ActionFacts, Desired};

pub(super) fn judge(change: &mut Change<'_>, desired: Desired<'_>, action: &ActionFacts) -> Judged {
    check_present(desired)?;
    let number = change.state.header.runs_started;
    // Of a run whose object nobody knows, only the number is left.
    if change.state.header.run.is_some() || number != action.spec.run {
        let run = fitting_run(change, action)?;
        check_revision(action, &run.revision, "the run")?;
    }
    if hold_to_end(change, action)?.is_none() {
        return Err(Refusal(format!(
            "run {number} does not hold for a person's decision: nothing is to be resumed; a pause by hand is ended by spec.paused: false"
        )));
    }
    change.state.header.hold = None;
    let follows = "it goes on where it was: the step that it was in is taken again, a rollback is finished";
    change.announce(EventKind::Normal, "Resumed", &format!("run {number}: resumed {}: {follows}", by(action)));
    Ok(Verdict::Applied(follows.to_owned()))
}
