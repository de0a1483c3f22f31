//! What stands in an order beside its payload: it follows the specification while the order is out, by the same order
//! under a new fence.

use super::{change::Change, order};
use crate::{MemberStage, Reachability, Run, Standing};

/// Writes the orders anew in which something else stands than is wanted by now.
pub(super) fn follow(change: &mut Change<'_>) {
    let Some(run) = change.state.header.run.clone().filter(Run::judges) else { return };
    for name in change.state.begun().to_vec() {
        let Some(standing) = wanted(change, &run, &name) else { continue };
        let known = change.state.members.get(&name).is_some_and(|record| record.standing == standing);
        if !known && change.claim(&name) {
            order::repeat(change, &name, standing);
        }
    }
}

/// None: there is no order in which it matters.
fn wanted(change: &Change<'_>, run: &Run, name: &str) -> Option<Standing> {
    let heard = change.observations.reachability(name) == Reachability::Reachable;
    match change.state.stage_of(name) {
        // Of one that is silent nobody knows which order it has; it is judged by its own report.
        MemberStage::Applying { .. } if heard => Some(Standing { returns_after: run.failure_rules.returns_after() }),
        _ => None,
    }
}
