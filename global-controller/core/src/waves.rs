//! How far each step reaches, and how many members may be in flux in it.

use crds::IntOrPercent;

use crate::{Run, Weight};

/// Weight of a run's current step; that of the implicit last one is everybody.
pub(crate) fn current_weight(run: &Run) -> Weight {
    run.steps.get(run.step).map_or(Weight::FULL, |step| step.weight)
}

/// Members that may be in flux at once while the waves up to `wave_end` are updated: percentages count from
/// the members planned up to there, round up, and give at least one, or nothing would ever move.
pub(crate) fn flux_limit(limit: IntOrPercent, wave_end: usize) -> usize {
    limit.of_rounded_up(wave_end).max(1)
}

/// Members that may fail, or be silent, while the waves up to `wave_end` are updated: a share that is no whole member is
/// none.
pub(crate) fn budget(limit: IntOrPercent, wave_end: usize) -> usize {
    limit.of_rounded_down(wave_end)
}

/// End of the waves begun when a step of `weight` begins: never less than before, because members that
/// joined or left since must not take a member's turn back.
pub(crate) fn wave_end(weight: Weight, members: usize, before: usize) -> usize {
    weight.of(members).max(before).min(members)
}

/// Resolves the limits against the members planned up to `wave_end`. They never fall.
pub(crate) fn raise_limits(run: &mut Run, wave_end: usize) {
    run.flux_limit = run.flux_limit.max(flux_limit(run.max_concurrency, wave_end));
    run.failure_limit = run.failure_limit.max(budget(run.failure_rules.max_failures, wave_end));
    run.unreachable_limit = run.unreachable_limit.max(budget(run.failure_rules.max_unreachable, wave_end));
    run.unreachable_most = run.unreachable_most.max(run.unreachable_limit);
}
