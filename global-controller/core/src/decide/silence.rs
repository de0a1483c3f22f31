//! Members that fall silent, and what is known of them when they are heard again.

use super::change::Change;
use crate::{MemberRecord, MemberStage, Millis, Reachability, Run, Silence, Stage};

/// Notes who is silent: a member in flux is judged by its own report, which comes a little after its first sign of life;
/// one on its way back is owed its return, and has its whole deadline when it is heard again.
pub(super) fn heed(change: &mut Change<'_>) {
    let judged = change.state.header.run.as_ref().filter(|run| run.judges());
    let judged = judged.map(|run: &Run| (run.number, run.stage == Stage::Succeeded));
    let observations = change.observations;
    let (now, members) = (change.now, &change.state.members);
    let heard = members.iter().filter_map(|(name, record)| {
        // After a success only those are judged who were not healthy in it yet.
        let in_flux = judged.is_some_and(|(number, over)| {
            let unproven = matches!(record.stage, MemberStage::Applying { .. });
            record.run == number && record.stage.is_in_flux() && (unproven || !over)
        });
        let answered = observations.answer(name).is_some();
        let next = next_record(record, (in_flux, answered), observations.reachability(name), now);
        (next != *record).then(|| (name.clone(), next))
    });
    for (name, next) in heard.collect::<Vec<_>>() {
        if change.claim(&name) {
            change.state.members.insert(name, next);
        }
    }
}

fn next_record(
    record: &MemberRecord,
    (in_flux, answered): (bool, bool),
    reachability: Reachability,
    now: Millis,
) -> MemberRecord {
    let mut next = record.clone();
    if in_flux && reachability == Reachability::Unreachable {
        // Nobody knows whether it has been healthy without a break.
        next.ready_since = None;
    }
    match (record.stage, reachability) {
        (MemberStage::Returning { .. }, Reachability::Unreachable) => next.stage = MemberStage::Owed,
        (MemberStage::Owed, Reachability::Reachable) => {
            next.stage = MemberStage::Returning { since: now };
            next.silence = Silence::None;
        }
        (MemberStage::Returning { .. }, Reachability::Unknown) => next.silence = Silence::Lasting,
        (MemberStage::Returning { .. }, Reachability::Reachable) if record.silence == Silence::Lasting => {
            next.stage = MemberStage::Returning { since: now };
            next.silence = Silence::None;
        }
        // Perhaps it never got its order: the deadline counts from now on.
        (MemberStage::Applying { .. }, Reachability::Reachable)
            if in_flux && record.silence == Silence::Lasting && !answered =>
        {
            next.stage = MemberStage::Applying { since: now };
            next.silence = Silence::None;
        }
        (_, Reachability::Reachable) if in_flux && record.silence == Silence::Lasting => {
            next.silence = Silence::Ended { at: now };
        }
        (_, Reachability::Unreachable | Reachability::Unknown) if in_flux => next.silence = Silence::Lasting,
        _ => {}
    }
    next
}
