//! One look over the touched members of a rollout: who has gone back to its previous state, and who not yet.

use std::collections::BTreeSet;

use crds::{
    AssignedManifests, Intent, Outcome, Previous, RolloutAssignment, RolloutAssignmentSpec, RolloutAssignmentStatus,
};

use crate::tally::{says_applied, trouble};
use crate::{MemberRecord, MemberStage, MemberTrouble, Millis, Observations, Reachability, RolloutState};

/// Touched members, each in one of the lists or counted as returned. Those whose `MemberCluster` is gone are left out:
/// there is nobody to tell.
#[derive(Debug, Default)]
pub(crate) struct Returns {
    /// Touched and not told to return, in the plan's order, those outside of the plan after it.
    pub untold: Vec<String>,
    /// Going back, within their deadline.
    pub returning: Vec<MemberTrouble>,
    /// Not back within their deadline.
    pub overdue: Vec<MemberTrouble>,
    /// Silent, and therefore owed their return.
    pub owed: Vec<String>,
    /// Told to return, and not heard by a new leader yet.
    pub unheard: Vec<String>,
    /// Back.
    pub returned: usize,
    /// The next deadline of a return.
    pub next_deadline: Option<Millis>,
}

impl Returns {
    /// Looks at every touched member.
    pub fn of(state: &RolloutState, observations: &Observations<'_>, now: Millis) -> Self {
        let mut returns = Self::default();
        let deadline_millis = state.header.run.as_ref().map_or(0, |run| run.failure_rules.deadline_millis());
        let planned: BTreeSet<&String> = state.plan.members.iter().collect();
        let others = state.members.keys().filter(|name| !planned.contains(name));
        for name in state.plan.members.iter().chain(others) {
            let record = state.members.get(name).filter(|record| state.is_touched(record));
            if let Some(record) = record.filter(|_| observations.members.contains_key(name)) {
                returns.add(name, record.stage, observations, deadline_millis, now);
            }
        }
        returns
    }

    /// All that are touched.
    pub fn total(&self) -> usize {
        let Self { untold, returning, overdue, owed, unheard, returned, next_deadline: _ } = self;
        untold.len() + returning.len() + overdue.len() + owed.len() + unheard.len() + returned
    }

    fn add(
        &mut self,
        name: &str,
        stage: MemberStage,
        observations: &Observations<'_>,
        deadline_millis: i64,
        now: Millis,
    ) {
        let since = match stage {
            MemberStage::Returned { .. } => return self.returned += 1,
            MemberStage::Owed => return self.owed.push(name.to_owned()),
            // A leader that was not there could not hear of it.
            MemberStage::Returning { since } => since.max(observations.judging_since),
            _ => return self.untold.push(name.to_owned()),
        };
        let trouble = trouble(name, return_answer(name, observations).map(|(_, report)| report));
        match observations.reachability(name) {
            Reachability::Unreachable => self.owed.push(name.to_owned()),
            Reachability::Unknown => self.unheard.push(name.to_owned()),
            Reachability::Reachable if since + deadline_millis <= now => self.overdue.push(trouble),
            Reachability::Reachable => {
                self.returning.push(trouble);
                self.next_deadline = self.next_deadline.into_iter().chain([since + deadline_millis]).min();
            }
        }
    }
}

/// The member's answer to its return, of whichever run that is.
pub(crate) fn return_answer<'a>(
    name: &str,
    observations: &Observations<'a>,
) -> Option<(&'a RolloutAssignment, &'a RolloutAssignmentStatus)> {
    observations.answer(name).filter(|(assignment, _)| assignment.spec.intent == Intent::Return)
}

/// Makes an order one that goes back: to the images before, of the containers that this rollout has set, or to what the
/// objects were before, which the agent keeps.
pub(crate) fn turn_back(spec: &mut RolloutAssignmentSpec, record: &MemberRecord, previous: &Previous) {
    if let Some(workload) = &mut spec.workload {
        workload.images.clone_from(&previous.images);
        workload.images.retain(|container, _| record.containers.contains(container));
    }
    if let Some(manifests) = &mut spec.manifests {
        let hash = previous.snapshot.clone().unwrap_or_default();
        *manifests = AssignedManifests { hash, overrides: Vec::new(), force_conflicts: false, objects: Vec::new() };
    }
}

/// Whether a report proves that the member runs what it ran before and is at least as healthy: the agent says so, having
/// seen the workload's own status of the present generation.
pub(crate) fn proves_return(
    record: &MemberRecord,
    assignment: &RolloutAssignment,
    report: &RolloutAssignmentStatus,
) -> bool {
    let Some(previous) = &record.previous else { return false };
    let as_healthy = match report.outcome {
        Outcome::Healthy => true,
        Outcome::Progressing | Outcome::PodDeletionByOwner => !previous.healthy,
        _ => false,
    };
    as_healthy && says_applied(assignment, report)
}
