//! Members whose agents say that somebody else has changed what they had set, and leave that as it is (SEMANTICS 22).
//!
//! Wherever they stand, of the latest run or of an earlier one: it is told to people, and changes no stage by itself.

use crds::{Outcome, RolloutAssignmentStatus};

use super::{EventKind, change::Change};
use crate::words;

/// Notes who has drifted and who has not, and tells of it when it begins.
pub(super) fn note(change: &mut Change<'_>) {
    let observations = change.observations;
    let news = change.state.members.iter().filter_map(|(name, record)| {
        let (_, report) = observations.answer(name)?;
        // `Accepted` says only that an agent has started.
        let is_news = report.outcome != Outcome::Accepted && report.outcome.is_drift() != record.drifted;
        is_news.then(|| (name.clone(), report))
    });
    for (name, report) in news.collect::<Vec<_>>() {
        if !change.claim(&name) {
            return;
        }
        if let Some(record) = change.state.members.get_mut(&name) {
            record.drifted = report.outcome.is_drift();
        }
        announce(change, &name, report);
    }
}

fn announce(change: &mut Change<'_>, name: &str, report: &RolloutAssignmentStatus) {
    let said = words::bounded(&report.message, words::MAX_MESSAGE_CHARS / 2);
    match report.outcome {
        Outcome::Drifted => {
            let message = format!("{name} no longer runs what it was told to, which is not repaired: {said}");
            change.announce(EventKind::Warning, "MemberDrifted", &message);
        }
        Outcome::Contended => {
            let message = format!("{name} is contended, and not repaired any more: {said}");
            change.announce(EventKind::Warning, "MemberContended", &message);
        }
        _ => {}
    }
}
