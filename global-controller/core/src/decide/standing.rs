//! What stands in an order beside its payload: it follows the specification while the order is out, by the same order
//! under a new fence.

use crds::{Fence, Intent};

use super::{Command, change::Change};
use crate::{MemberStage, Reachability, Run, Standing};

/// Writes the orders anew in which something else stands than is wanted by now.
pub(super) fn follow(change: &mut Change<'_>) {
    let Some(run) = change.state.header.run.clone().filter(Run::judges) else { return };
    for name in change.state.begun().to_vec() {
        let Some(standing) = wanted(change, &run, &name) else { continue };
        let known = change.state.members.get(&name).is_some_and(|record| record.standing == standing);
        if !known && change.claim(&name) {
            write(change, &name, standing);
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

fn write(change: &mut Change<'_>, name: &str, standing: Standing) {
    let Some(assignment) = change.observations.assignments.get(name) else { return };
    if assignment.spec.intent != Intent::Apply {
        return;
    }
    let mut spec = assignment.spec.clone();
    spec.fence = Fence::default();
    change.record(name).standing = standing;
    standing.write_to(&mut spec);
    change.command(Command::Assign { member: name.to_owned(), spec: Box::new(spec) });
}
