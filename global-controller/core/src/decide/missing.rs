//! Members without the workload while `workload.ifMissing` is `Skip`: they are left out of the plan, and so of its
//! percentages, before anything was touched there (SEMANTICS 21).

use std::collections::BTreeSet;

use crds::{IfMissing, Outcome};

use super::{EventKind, change::Change};
use crate::plan::Joiners;
use crate::tally::{current_answer, trouble};
use crate::waves::{current_weight, wave_end};
use crate::{MemberStage, MemberTrouble, Rollout, Run, Stage, Touched, words};

/// Whom the rollout means, and what is new about it.
pub(super) struct Meant {
    /// Those that are not left out, in their order.
    pub members: Vec<String>,
    /// Those that are left out from now on, and what their agents say.
    pub skipped: Vec<MemberTrouble>,
}

/// Leaves out who was observed to lack the workload, and takes those in again who have it by now, or whom the rollout
/// would rather wait for: like all that join, where `joiners` lets them.
pub(super) fn leave_out(change: &mut Change<'_>, rollout: &Rollout, wanted: &[String], joiners: Joiners) -> Meant {
    let everybody = || Meant { members: wanted.to_vec(), skipped: Vec::new() };
    let Some(run) = change.state.header.run.clone() else { return everybody() };
    let skips = rollout.payload.as_ref().is_some_and(|payload| payload.content.if_missing() == IfMissing::Skip);
    let skipped = if skips { skip(change, &run) } else { Vec::new() };
    for name in wanted.iter().filter(|_| joiners == Joiners::Welcome) {
        let left_out = change.state.stage_of(name) == MemberStage::Skipped;
        if left_out && (!skips || has_it(change, &run, name)) && change.claim(name) {
            change.record(name).stage = MemberStage::Planned;
        }
    }
    let left_out: BTreeSet<&str> = change.state.skipped().into_iter().collect();
    Meant { members: wanted.iter().filter(|name| !left_out.contains(name.as_str())).cloned().collect(), skipped }
}

/// Whether anybody of these is left out who has the workload by now.
pub(super) fn has_joiner(change: &Change<'_>, wanted: &[String]) -> bool {
    let Some(run) = &change.state.header.run else { return false };
    let left_out = |name: &String| change.state.stage_of(name) == MemberStage::Skipped;
    wanted.iter().any(|name| left_out(name) && has_it(change, run, name))
}

/// A wave that has lost members, before any of them was touched, reaches as far as its step does without them, and no
/// further than it did with them: who joined since is for the next one.
pub(super) fn refill(change: &mut Change<'_>, end_before: usize, skipped: &[MemberTrouble]) {
    if skipped.is_empty() {
        return;
    }
    let plan = &mut change.state.plan;
    if let Some(run) = change.state.header.run.as_ref().filter(|run| run.stage == Stage::Updating) {
        let end = wave_end(current_weight(run), plan.members.len(), plan.wave_end);
        plan.wave_end = end.min(end_before).max(plan.wave_end);
    }
    let (begun, left) = (plan.wave_end, plan.members.len());
    let named: Vec<String> = skipped.iter().map(MemberTrouble::worded).collect();
    let message = format!(
        "{} left out, since the workload is missing there and ifMissing is Skip: {}; {} left, {begun} of them in the waves begun",
        words::members(skipped.len()),
        words::list_bounded(&named, words::MAX_TROUBLES),
        words::members(left)
    );
    change.announce(EventKind::Normal, "MemberSkipped", &message);
}

/// Those of the waves begun that were observed to lack it. One that was touched before belongs to the rollback, and is
/// waited for.
fn skip(change: &mut Change<'_>, run: &Run) -> Vec<MemberTrouble> {
    let mut skipped = Vec::new();
    if !run.goes_forward() && run.stage != Stage::Succeeded {
        return skipped;
    }
    for name in change.state.begun().to_vec() {
        if change.state.stage_of(&name) != MemberStage::Observing {
            continue;
        }
        let untouched = change.state.members.get(&name).is_some_and(|record| record.touched == Touched::No);
        let answer = current_answer(run, &name, MemberStage::Observing, change.observations).map(|(_, report)| report);
        let missing = answer.is_some_and(|report| report.outcome == Outcome::WorkloadMissing);
        if missing && untouched && change.claim(&name) {
            change.record(&name).stage = MemberStage::Skipped;
            skipped.push(trouble(&name, answer));
        }
    }
    skipped
}

fn has_it(change: &Change<'_>, run: &Run, name: &str) -> bool {
    let answer = current_answer(run, name, MemberStage::Skipped, change.observations);
    answer.is_some_and(|(_, report)| report.outcome == Outcome::Observed)
}
