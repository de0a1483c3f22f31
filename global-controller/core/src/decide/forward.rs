//! New assignments of the waves that have begun: first `Observe`, then `Apply`.

use crds::Intent;

use super::{catch_up, change::Change, domains::Domains, gate, order};
use crate::adoption::is_of;
use crate::tally::{Tally, current_answer, return_comes_first};
use crate::{MemberStage, Reachability, Rollout, Run, Touched};

/// Tells members of the waves begun what to do, as far as limits and troubles allow.
///
/// Members in flux of a superseded run don't count against the limit until their wave in the new run: a fix
/// could otherwise never go out while the bad revision hangs in a member of a later wave.
pub(super) fn assign(change: &mut Change<'_>, rollout: &Rollout) {
    let wanted = rollout.payload.as_ref().map(|payload| &payload.revision);
    let fresh = change.observations.hub_fresh && !change.more;
    let late = catch_up::open_run(change, rollout).cloned();
    let active = change.active_run().filter(|run| fresh && Some(&run.revision) == wanted).cloned();
    let Some(run) = active.or(late) else { return };
    let tally = change.tally();
    observe(change, rollout, &run, &tally);
    let blocked = run.goes_forward() && (tally.blocks_forward(&run) || gate::has_failed(change));
    if !rollout.paused && !blocked {
        apply(change, rollout, &run, &tally);
    }
}

/// Observes the whole wave at once: it touches nothing, and everybody without the workload is named early.
/// While paused only a run that has touched nobody observes, and only members that no run has touched: an
/// `Observe` would end the repair of drift on the others.
fn observe(change: &mut Change<'_>, rollout: &Rollout, run: &Run, tally: &Tally) {
    let nothing_touched = run.step == 0 && tally.assigned == 0;
    for name in change.state.begun().to_vec() {
        let stage = change.state.stage_of(&name);
        let untold = matches!(stage, MemberStage::Planned | MemberStage::Withdrawing);
        let untouched = change.state.members.get(&name).is_none_or(|record| record.touched == Touched::No);
        let allowed = (!rollout.paused || (nothing_touched && untouched)) && !change.observations.is_cordoned(&name);
        // What an unknown one was told before would be overwritten.
        let known = change.observations.is_known(&name) && !change.observations.is_too_old(run, &name);
        if untold && allowed && known && !returns_first(change, run, &name) && change.claim(&name) {
            tell(change, run, &name);
        }
    }
}

/// Whether a return of an earlier run is still under way: what it would be told now would replace that order.
fn returns_first(change: &Change<'_>, run: &Run, name: &str) -> bool {
    let record = change.state.members.get(name);
    let until = record.and_then(|record| return_comes_first(run, name, record, change.observations));
    until.is_some_and(|until| until > change.now)
}

/// One that has failed in this run, left and came back goes, or stays, where it was before; the others are observed.
fn tell(change: &mut Change<'_>, run: &Run, name: &str) {
    let failed = change.state.members.get(name).is_some_and(|record| record.failed_in == run.number);
    if !failed && is_asked(change, run, name) {
        // One that was left out as it lacked the workload, and has it by now: its answer is there.
        change.record(name).stage = MemberStage::Observing;
        change.more = true;
        return;
    }
    if !failed {
        return order::observe(change, run, name);
    }
    let silent = change.observations.reachability(name) == Reachability::Unreachable;
    let stage = if silent { MemberStage::Owed } else { MemberStage::Returning { since: change.now } };
    order::give_back(change, run, name, stage);
}

/// Whether it is told to report what it runs already.
fn is_asked(change: &Change<'_>, run: &Run, name: &str) -> bool {
    let order = change.observations.assignments.get(name);
    order.is_some_and(|order| order.spec.intent == Intent::Observe && is_of(order, run))
}

fn apply(change: &mut Change<'_>, rollout: &Rollout, run: &Run, tally: &Tally) {
    let mut domains = Domains::of(change, rollout);
    let mut room = tally.room(run);
    for name in &tally.ready {
        if room == 0 {
            return;
        }
        if domains.as_ref().is_some_and(|domains| !domains.have_room(change, name)) {
            continue;
        }
        let answer = current_answer(run, name, MemberStage::Observing, change.observations);
        let Some(observed) = answer.and_then(|(_, report)| report.workload.as_ref()) else { continue };
        if !change.claim(name) {
            return;
        }
        order::apply(change, run, name, observed);
        room -= 1;
        if let Some(domains) = &mut domains {
            domains.take(change, name);
        }
        if !change.observations.runs_it(run, name, &observed.images)
            && let Some(run) = change.state.header.run.as_mut()
        {
            run.changed_members = true;
        }
    }
}
