//! One look over the members whose waves have begun: who is where, and what is the matter with them.
//!
//! Decisions, reasons for waiting and the status are all read from the same tally, so they can't disagree.

use crds::{Intent, Outcome, RolloutAssignment, RolloutAssignmentStatus, images_hash};

use crate::{Desired, MemberStage, MemberTrouble, Millis, Observations, Reachability, RolloutState, Run};

/// Members of the waves begun, each in one of the lists or counted as healthy.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Told to run the revision.
    pub assigned: usize,
    /// Of these, not or no longer healthy.
    pub in_flux: usize,
    /// Healthy and heard: the only evidence on which a step advances.
    pub evident: usize,
    /// Observed, heard, and not told to run the revision yet.
    pub ready: Vec<String>,
    /// Not yet observed.
    pub unobserved: Vec<String>,
    /// Without the workload or a container of it.
    pub missing: Vec<MemberTrouble>,
    /// Whose API server refuses.
    pub refused: Vec<MemberTrouble>,
    /// No longer healthy.
    pub unhealthy: Vec<MemberTrouble>,
    /// Past their deadline.
    pub overdue: Vec<MemberTrouble>,
    /// Becoming healthy, within their deadline.
    pub applying: Vec<MemberTrouble>,
    /// Told to run the revision and silent.
    pub silent_assigned: Vec<String>,
    /// Not told to run the revision and silent.
    pub silent_unassigned: Vec<String>,
    /// Not heard by a new leader yet.
    pub unheard: Vec<String>,
    /// The next deadline that can pass.
    pub next_deadline: Option<Millis>,
}

impl Tally {
    /// Looks at every member whose wave has begun, in the plan's order.
    pub fn of(state: &RolloutState, desired: Desired<'_>, observations: &Observations<'_>, now: Millis) -> Self {
        let mut tally = Self::default();
        let Some(run) = &state.header.run else { return tally };
        let deadline_millis = match desired {
            Desired::Present(rollout) => Some(rollout.progress_deadline_seconds * 1000),
            Desired::Invalid { .. } | Desired::Deleted { .. } => None,
        };
        for name in state.begun() {
            tally.add(run, name, state.stage_of(name), observations, deadline_millis, now);
        }
        tally
    }

    /// Whether a member is in a state in which no further member is touched.
    pub fn blocks_forward(&self) -> bool {
        // `maxUnreachable` defaults to 0, and budgets are not built yet: one silent assigned member is enough.
        !(self.missing.is_empty()
            && self.refused.is_empty()
            && self.unhealthy.is_empty()
            && self.overdue.is_empty()
            && self.silent_assigned.is_empty())
    }

    fn add(
        &mut self,
        run: &Run,
        name: &str,
        stage: MemberStage,
        observations: &Observations<'_>,
        deadline_millis: Option<i64>,
        now: Millis,
    ) {
        self.assigned += usize::from(stage.is_assigned());
        self.in_flux += usize::from(stage.is_in_flux());
        match observations.reachability(name) {
            Reachability::Unreachable if stage.is_assigned() => return self.silent_assigned.push(name.to_owned()),
            Reachability::Unreachable => return self.silent_unassigned.push(name.to_owned()),
            Reachability::Unknown => return self.unheard.push(name.to_owned()),
            Reachability::Reachable => {}
        }
        let answer = current_answer(run, name, stage, observations);
        let outcome = answer.map(|(_, report)| report.outcome);
        let trouble = || trouble(name, answer.map(|(_, report)| report));
        match (stage, outcome) {
            (MemberStage::Healthy { .. }, _) => self.evident += 1,
            (_, Some(Outcome::WorkloadMissing)) => self.missing.push(trouble()),
            (_, Some(Outcome::Refused)) => self.refused.push(trouble()),
            (MemberStage::Unhealthy { .. }, _) => self.unhealthy.push(trouble()),
            (MemberStage::Applying { since }, _) => {
                let deadline = deadline_millis.map(|millis| since + millis);
                if deadline.is_some_and(|deadline| deadline <= now) {
                    self.overdue.push(trouble());
                } else {
                    self.applying.push(trouble());
                    self.next_deadline = self.next_deadline.into_iter().chain(deadline).min();
                }
            }
            (MemberStage::Observing, Some(Outcome::Observed)) => self.ready.push(name.to_owned()),
            (MemberStage::Planned | MemberStage::Observing | MemberStage::Withdrawing, _) => {
                self.unobserved.push(name.to_owned());
            }
        }
    }
}

/// The member's answer to the assignment that its stage speaks of. One to an assignment of another run,
/// revision or intent is no answer.
pub(crate) fn current_answer<'a>(
    run: &Run,
    name: &str,
    stage: MemberStage,
    observations: &Observations<'a>,
) -> Option<(&'a RolloutAssignment, &'a RolloutAssignmentStatus)> {
    let (assignment, report) = observations.answer(name)?;
    let spec = &assignment.spec;
    let intent = if stage.is_assigned() { Intent::Apply } else { Intent::Observe };
    let meant = spec.intent == intent && spec.rollout.run == run.number && spec.revision == run.revision;
    let complete = report.outcome != Outcome::Observed || report.workload.is_some();
    (meant && complete).then_some((assignment, report))
}

/// Whether a report proves health at the revision: the agent says so, having seen the workload's own status
/// of the present generation, with the images assigned.
pub(crate) fn proves_health(assignment: &RolloutAssignment, report: &RolloutAssignmentStatus) -> bool {
    let images = &assignment.spec.workload.images;
    let applied = report.applied_hash.as_ref().is_none_or(|hash| *hash == images_hash(images));
    report.outcome == Outcome::Healthy
        && applied
        && report.workload.as_ref().is_some_and(|workload| {
            workload.observed_generation >= workload.generation
                && images.iter().all(|(container, image)| workload.images.get(container) == Some(image))
        })
}

fn trouble(name: &str, report: Option<&RolloutAssignmentStatus>) -> MemberTrouble {
    MemberTrouble {
        name: name.to_owned(),
        outcome: report.map(|report| report.outcome),
        message: report.map(|report| report.message.clone()).unwrap_or_default(),
    }
}
