//! One look over the members whose waves have begun: who is where, and what is the matter with them.
//!
//! Decisions, reasons for waiting and the status are all read from the same tally, so they can't disagree.

use crds::{FailureTolerance, Intent, Outcome, RolloutAssignment, RolloutAssignmentStatus};

use crate::returns::return_answer;
use crate::{
    Late, MemberRecord, MemberStage, MemberTrouble, Millis, Observations, Reachability, RolloutState, Run, Silence,
    Stage,
};

/// A member that was healthy has failed after being unhealthy for so long without a break.
const UNHEALTHY_MILLIS: Millis = 60_000;

/// Its report arrives so long after its first sign of life: as long as it takes to be called silent.
const REPORT_MILLIS: Millis = 15_000;

/// Members of the waves begun, each in one of the lists or counted as healthy.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Told to run the revision.
    pub assigned: usize,
    /// Of these, not silent, and not or no longer healthy; after the end those are left out whose drift is not repaired, or
    /// that wait for their owner again.
    pub in_flux: usize,
    /// Silent, and not or no longer healthy when last heard.
    pub silent_in_flux: usize,
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
    /// Past their deadline, by the time here or by their own, or contended. These and the next have failed, if failures are
    /// acted upon.
    pub overdue: Vec<MemberTrouble>,
    /// No longer healthy for too long.
    pub sick: Vec<MemberTrouble>,
    /// Told to return after they failed, back or not.
    pub given_back: usize,
    /// Of these, on their way within their deadline.
    pub returning: Vec<MemberTrouble>,
    /// On their way back from an earlier run, within their deadline: this comes first.
    pub going_back: Vec<MemberTrouble>,
    /// Becoming healthy, within their deadline.
    pub applying: Vec<MemberTrouble>,
    /// Told to run the revision, and its owner has to delete old pods before they run it: no deadline counts.
    pub awaiting_owner: Vec<MemberTrouble>,
    /// Of these, were healthy in a run that is over: nothing is on its way there, and nobody waits for them.
    pub awaiting_owner_again: usize,
    /// Told to run the revision and silent.
    pub silent_assigned: Vec<String>,
    /// Not told to run the revision and silent.
    pub silent_unassigned: Vec<String>,
    /// Not told to run the revision and kept out of new waves by a person: in no budget, and waited for by nobody.
    pub cordoned: Vec<String>,
    /// Heard and not told to run the revision, which its agent is too old for.
    pub too_old: Vec<String>,
    /// Not heard by a new leader yet.
    pub unheard: Vec<String>,
    /// When the next deadline passes, if nothing is heard until then.
    pub next_deadline: Option<Millis>,
}

impl Tally {
    /// Looks at every member whose wave has begun, in the plan's order.
    pub fn of(state: &RolloutState, observations: &Observations<'_>, now: Millis) -> Self {
        let run = state.header.run.as_ref();
        run.map(|run| Self::over(state, (run, state.begun()), observations, now)).unwrap_or_default()
    }

    /// The same of those that catch up with the accepted run after a later one was given up.
    pub fn of_late(late: &Late, state: &RolloutState, observations: &Observations<'_>, now: Millis) -> Self {
        Self::over(state, (&late.run, late.begun()), observations, now)
    }

    fn over(
        state: &RolloutState,
        (run, begun): (&Run, &[String]),
        observations: &Observations<'_>,
        now: Millis,
    ) -> Self {
        let mut tally = Self::default();
        for name in begun {
            let unknown = MemberRecord::new(run.number);
            let record = state.members.get(name).unwrap_or(&unknown);
            tally.add(run, name, (state.stage_in(run, name), record), observations, now);
        }
        tally
    }

    /// Whether a member is in a state in which no further member is touched.
    pub fn blocks_forward(&self, run: &Run) -> bool {
        !(self.missing.is_empty()
            && self.refused.is_empty()
            && self.unhealthy.is_empty()
            && self.overdue.is_empty()
            && self.sick.is_empty()
            && self.silent_assigned.len() <= run.unreachable_limit)
    }

    /// Members of the waves begun that are silent: those that a step leaves behind if the budget bears them.
    pub fn silent(&self) -> usize {
        self.silent_assigned.len() + self.silent_unassigned.len()
    }

    /// How many more members may be told to apply. With `Strict` no more are in flux than may still fail, and the one
    /// that ends the run; a silent one keeps its place among these, because its report may say that it has failed.
    pub fn room(&self, run: &Run) -> usize {
        let room = run.flux_limit.saturating_sub(self.in_flux);
        match run.failure_rules.tolerance {
            FailureTolerance::Soft => room,
            FailureTolerance::Strict => {
                let perhaps_failed = run.failures + self.in_flux + self.silent_in_flux;
                room.min((run.failure_limit + 1).saturating_sub(perhaps_failed))
            }
        }
    }

    /// Whether nobody of the waves begun is on the way any more, there or back, as far as they are heard.
    pub fn is_settled(&self) -> bool {
        let under_way = [&self.applying, &self.overdue, &self.refused, &self.returning, &self.going_back];
        let untold = [&self.ready, &self.unobserved, &self.unheard];
        let settled = self.awaiting_owner.len() == self.awaiting_owner_again;
        settled && under_way.iter().all(|members| members.is_empty()) && untold.iter().all(|members| members.is_empty())
    }

    fn add(
        &mut self,
        run: &Run,
        name: &str,
        (stage, record): (MemberStage, &MemberRecord),
        observations: &Observations<'_>,
        now: Millis,
    ) {
        if stage.is_given_back() {
            return self.add_given_back(run, name, stage, observations, now);
        }
        if let Some(deadline) = return_comes_first(run, name, record, observations).filter(|deadline| *deadline > now) {
            return self.add_going_back(name, deadline, observations);
        }
        if observations.keeps_out(name, stage) {
            return self.cordoned.push(name.to_owned());
        }
        self.assigned += usize::from(stage.is_assigned());
        let silent = observations.reachability(name) == Reachability::Unreachable;
        self.in_flux += usize::from(stage.is_in_flux() && !silent && !is_left_alone(run, stage, record));
        self.silent_in_flux += usize::from(stage.is_in_flux() && silent);
        match observations.reachability(name) {
            // One that has not told what it was told may have been assigned, too.
            Reachability::Unreachable if stage.is_assigned() || !observations.is_known(name) => {
                return self.silent_assigned.push(name.to_owned());
            }
            Reachability::Unreachable => return self.silent_unassigned.push(name.to_owned()),
            Reachability::Unknown => return self.unheard.push(name.to_owned()),
            Reachability::Reachable if !stage.is_assigned() && observations.is_too_old(run, name) => {
                return self.too_old.push(name.to_owned());
            }
            Reachability::Reachable => {}
        }
        let answer = current_answer(run, name, stage, observations);
        let outcome = answer.map(|(_, report)| report.outcome);
        let trouble = || trouble(name, answer.map(|(_, report)| report));
        let fails_at = fails_at(run, stage, record, (outcome, observations.judging_since));
        // Without its workload a member has nothing that could fail or return.
        let fails_at = fails_at.filter(|_| outcome != Some(Outcome::WorkloadMissing));
        let failed = fails_at.is_some_and(|at| at <= now);
        let ready_at = record.ready_since.filter(|_| stage.is_in_flux());
        let ready_at = ready_at.map(|since| since + run.failure_rules.min_ready_millis()).filter(|at| *at > now);
        self.next_deadline = self.next_deadline.into_iter().chain(fails_at.filter(|_| !failed)).chain(ready_at).min();
        match (stage, outcome) {
            (MemberStage::Healthy { .. }, _) => self.evident += 1,
            (_, Some(Outcome::WorkloadMissing)) => self.missing.push(trouble()),
            (MemberStage::Applying { .. }, _) if failed => self.overdue.push(trouble()),
            (MemberStage::Unhealthy { .. }, _) if failed => self.sick.push(trouble()),
            (_, Some(Outcome::Refused)) => self.refused.push(trouble()),
            (MemberStage::Applying { .. } | MemberStage::Unhealthy { .. }, Some(Outcome::PodDeletionByOwner)) => {
                self.awaiting_owner.push(trouble());
                self.awaiting_owner_again += usize::from(is_left_alone(run, stage, record));
            }
            (MemberStage::Unhealthy { .. }, _) if record.ready_since.is_none() => self.unhealthy.push(trouble()),
            (MemberStage::Applying { .. } | MemberStage::Unhealthy { .. }, _) => self.applying.push(trouble()),
            (MemberStage::Observing, Some(Outcome::Observed)) => self.ready.push(name.to_owned()),
            _ => self.unobserved.push(name.to_owned()),
        }
    }

    fn add_going_back(&mut self, name: &str, deadline: Millis, observations: &Observations<'_>) {
        match observations.reachability(name) {
            Reachability::Unreachable => self.silent_unassigned.push(name.to_owned()),
            Reachability::Unknown => self.unheard.push(name.to_owned()),
            Reachability::Reachable => {
                self.going_back.push(trouble(name, return_answer(name, observations).map(|(_, report)| report)));
                self.next_deadline = self.next_deadline.into_iter().chain([deadline]).min();
            }
        }
    }

    fn add_given_back(
        &mut self,
        run: &Run,
        name: &str,
        stage: MemberStage,
        observations: &Observations<'_>,
        now: Millis,
    ) {
        self.given_back += 1;
        let MemberStage::Returning { since } = stage else { return };
        let deadline = since.max(observations.judging_since) + run.failure_rules.deadline_millis();
        if deadline > now && observations.reachability(name) != Reachability::Unreachable {
            self.returning.push(trouble(name, return_answer(name, observations).map(|(_, report)| report)));
            self.next_deadline = self.next_deadline.into_iter().chain([deadline]).min();
        }
    }
}

/// Whether it was healthy in a run that is over, and has drifted since and stays so, or its owner has to delete pods again:
/// nothing is on its way there.
fn is_left_alone(run: &Run, stage: MemberStage, record: &MemberRecord) -> bool {
    run.is_over() && (record.drifted || record.awaits_owner) && matches!(stage, MemberStage::Unhealthy { .. })
}

/// Until when the return of an earlier run keeps a member from being told anything new; without end while it is not heard.
/// What comes after would else replace the order, and the member stay on what it was to leave.
pub(crate) fn return_comes_first(
    run: &Run,
    name: &str,
    record: &MemberRecord,
    observations: &Observations<'_>,
) -> Option<Millis> {
    let heard = observations.reachability(name) == Reachability::Reachable;
    match record.stage {
        _ if record.run == run.number || !record.stage.owes_return() => None,
        MemberStage::Returning { since } if heard => {
            Some(since.max(observations.judging_since) + run.failure_rules.deadline_millis())
        }
        _ => Some(Millis::MAX),
    }
}

/// When a member fails, unless it becomes healthy before. One that was silent, or that an earlier leader may not have
/// been able to hear, gets the time for its report to arrive; one that has not answered at all its whole deadline. One
/// that has returned by itself, or is contended, has failed, whatever the time is here; one whose owner has to delete pods
/// doesn't fail by time.
fn fails_at(
    run: &Run,
    stage: MemberStage,
    record: &MemberRecord,
    (outcome, judging_since): (Option<Outcome>, Millis),
) -> Option<Millis> {
    let at = match stage {
        // After the end only those fail who were not healthy in it yet.
        MemberStage::Unhealthy { .. } if run.is_over() || record.ready_since.is_some() => return None,
        MemberStage::Applying { .. } if run.is_over() && run.stage != Stage::Succeeded => return None,
        MemberStage::Applying { since } if outcome.is_some_and(fails_at_once) => return Some(since),
        _ if outcome == Some(Outcome::PodDeletionByOwner) => return None,
        // The answer that ends the owner's turn is not noted yet.
        _ if record.awaits_owner && outcome.is_some() => return None,
        MemberStage::Applying { since } => {
            let began = if outcome.is_some() { since } else { since.max(judging_since) };
            began + run.failure_rules.deadline_millis()
        }
        MemberStage::Unhealthy { since } => since + UNHEALTHY_MILLIS,
        _ => return None,
    };
    match record.silence {
        Silence::None => Some(at.max(judging_since + REPORT_MILLIS)),
        Silence::Lasting => None,
        Silence::Ended { at: heard_at } => Some(at.max(heard_at.max(judging_since) + REPORT_MILLIS)),
    }
}

/// Whether the agent does nothing any more that could make a member healthy which never was.
fn fails_at_once(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Reverted | Outcome::Contended)
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
    report.outcome == Outcome::Healthy && says_applied(assignment, report)
}

/// Whether a report says that what is assigned is there: by its hash, which older agents leave out, and by what was seen.
pub(crate) fn says_applied(assignment: &RolloutAssignment, report: &RolloutAssignmentStatus) -> bool {
    let spec = &assignment.spec;
    let applied = report.applied_hash.as_ref().is_none_or(|hash| Some(hash) == spec.content_hash().as_ref());
    applied && report.workload.as_ref().is_some_and(|workload| spec.may_be(workload))
}

pub(crate) fn trouble(name: &str, report: Option<&RolloutAssignmentStatus>) -> MemberTrouble {
    MemberTrouble {
        name: name.to_owned(),
        outcome: report.map(|report| report.outcome),
        message: report.map(|report| report.message.clone()).unwrap_or_default(),
    }
}
