//! The rollout's status and conditions, worded for the hub.

mod clusters;
mod conditions;

use crds::{
    ClusterScopeRolloutStatus, Counts, GateMode, GateStatus, Phase, Verdict, micro_time_from_millis, time_from_millis,
};

use crate::gates::{Judgement, OpenGate};
use crate::plan::order;
use crate::returns::Returns;
use crate::tally::{Tally, trouble};
use crate::waiting::late_hold;
use crate::waves::current_weight;
use crate::{
    Basis, Desired, MemberStage, MemberTrouble, Millis, Observations, Reachability, RefusedBy, RolloutState, Run,
    Stage, WaitingOn, waiting_on, words,
};

/// Most members listed in a status, whatever the size of the fleet.
pub const MAX_CLUSTERS_IN_STATUS: usize = 50;

/// What the hub is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The status, `conditions` left empty: their transition times are the publisher's to keep.
    pub status: ClusterScopeRolloutStatus,
    /// Accepted, Ready, Reconciling, Stalled, Degraded and Complete, in this order.
    pub conditions: Vec<ConditionFact>,
}

/// A condition without its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionFact {
    /// Type of the condition.
    pub kind: &'static str,
    /// `None` is "Unknown".
    pub status: Option<bool>,
    /// A word for programs, never empty.
    pub reason: String,
    /// The same for people.
    pub message: String,
}

/// Words the state for the hub.
pub fn summarize(state: &RolloutState, desired: Desired<'_>, observations: &Observations<'_>, now: Millis) -> Summary {
    let now = now.max(state.header.decided_at);
    let waiting = waiting_on(state, desired, observations, now);
    let view = View {
        state,
        desired,
        observations,
        tally: Tally::of(state, observations, now),
        late: state.plan.late.as_deref().map(|late| Tally::of_late(late, state, observations, now)).unwrap_or_default(),
        drifted: drifted(state, observations),
        returns: Returns::of(state, observations, now),
        late_hold: late_hold(state, desired, waiting.as_ref(), observations, now),
        waiting,
        now,
    };
    Summary { status: view.status(), conditions: conditions::of(&view) }
}

/// All that the words are made from.
struct View<'a> {
    state: &'a RolloutState,
    desired: Desired<'a>,
    observations: &'a Observations<'a>,
    tally: Tally,
    /// Of those that catch up with what was accepted before the latest run.
    late: Tally,
    drifted: Vec<MemberTrouble>,
    returns: Returns,
    waiting: Option<WaitingOn>,
    /// What keeps those from it who catch up, beside that.
    late_hold: Option<WaitingOn>,
    now: Millis,
}

/// Members that are heard and say that somebody else has changed what they had set, wherever they stand. Those that are on
/// their way back are told of as such.
fn drifted(state: &RolloutState, observations: &Observations<'_>) -> Vec<MemberTrouble> {
    let settled = state.members.iter().filter(|(_, record)| !record.stage.owes_return());
    let heard = settled.filter(|(name, _)| observations.reachability(name) == Reachability::Reachable);
    let answers = heard.filter_map(|(name, _)| Some((name, observations.answer(name)?.1)));
    answers.filter(|(_, report)| report.outcome.is_drift()).map(|(name, report)| trouble(name, Some(report))).collect()
}

impl View<'_> {
    fn status(&self) -> ClusterScopeRolloutStatus {
        let run = self.state.header.run.as_ref();
        let counts = self.counts();
        let steps = run.map_or(0, |run| run.steps.len() + 1);
        let step = run.map_or(0, |run| run.step + 1);
        ClusterScopeRolloutStatus {
            observed_generation: match self.desired {
                Desired::Present(rollout) => rollout.generation,
                Desired::Invalid { generation, .. } | Desired::Deleted { generation } => generation,
            },
            conditions: Vec::new(),
            phase: Some(self.phase()),
            run: run.map_or(0, |run| run.number),
            step: words::count(step),
            approval: run.and_then(|run| run.steps.get(run.step)?.approval),
            step_summary: run.map_or_else(String::new, |_| format!("{step}/{steps}")),
            weight: run.map_or(0, |run| i32::from(current_weight(run).percent())),
            counts,
            healthy_summary: words::healthy(counts),
            revision: run.map(|run| run.revision.clone()),
            accepted_revision: self.state.header.accepted_revision.clone(),
            quarantined_revisions: self.state.header.quarantine.clone(),
            settled_run: self.state.header.settled_run,
            waiting_on: self.waiting.as_ref().map(WaitingOn::status),
            gate: self.gate(),
            started_at: run.map(|run| time_from_millis(run.started_at)),
            finished_at: run.and_then(|run| run.finished_at).map(time_from_millis),
            clusters: clusters::needing_attention(self),
        }
    }

    fn phase(&self) -> Phase {
        if matches!(self.waiting, Some(WaitingOn::HubRewound { .. } | WaitingOn::StoreRebuilt { .. })) {
            return Phase::Holding;
        }
        if self.state.rolling_back().is_some() {
            return Phase::RollingBack;
        }
        let Some(waiting) = &self.waiting else {
            return if self.is_done() { Phase::Succeeded } else { Phase::Pending };
        };
        let stage = self.current_run().map(|run| &run.stage);
        match (waiting, stage) {
            (_, None) | (WaitingOn::NoPayload | WaitingOn::EmptyPlan, _) => Phase::Pending,
            (_, Some(Stage::RolledBack)) => Phase::RolledBack,
            (_, Some(Stage::Failed | Stage::GivenUp)) => Phase::Failed,
            // Over and still waiting: for members that catch up, or for a deletion that some have not acknowledged.
            (_, Some(Stage::Succeeded)) => Phase::Succeeded,
            (WaitingOn::Paused { .. }, _) => Phase::Paused,
            (waiting, _) if waiting.holds() || matches!(waiting, WaitingOn::Approval { .. }) => Phase::Holding,
            (_, Some(Stage::Pausing(_) | Stage::AwaitingApproval | Stage::Soaking(_))) => Phase::Verifying,
            (_, Some(Stage::Updating | Stage::Finishing | Stage::RollingBack)) => Phase::Progressing,
        }
    }

    /// The run, unless a person wants another revision than it has, or another run.
    fn current_run(&self) -> Option<&Run> {
        let run = self.state.header.run.as_ref().filter(|run| !run.gives_way())?;
        match self.desired {
            Desired::Present(rollout) => {
                rollout.payload.as_ref().filter(|payload| payload.revision == run.revision).map(|_| run)
            }
            Desired::Invalid { .. } | Desired::Deleted { .. } => Some(run),
        }
    }

    /// Whether the wanted revision has arrived.
    fn is_done(&self) -> bool {
        matches!(self.desired, Desired::Present(_))
            && self.current_run().is_some_and(|run| run.stage == Stage::Succeeded)
    }

    fn counts(&self) -> Counts {
        let planned = match (&self.state.header.run, self.desired) {
            (None, Desired::Present(rollout)) => order(rollout, self.observations.members).members,
            _ => self.state.plan.members.clone(),
        };
        let silent = |name: &&String| self.observations.reachability(name) == Reachability::Unreachable;
        // Also those beyond the waves begun, whom a superseded run touched: they return too.
        let stages: Vec<MemberStage> = planned.iter().map(|name| self.state.stage_of(name)).collect();
        let number = |is: fn(MemberStage) -> bool| stages.iter().filter(|stage| is(**stage)).count();
        let (assigned, in_flux) = (number(MemberStage::is_assigned), number(MemberStage::is_in_flux));
        let (given_back, returning) = (number(MemberStage::is_given_back), number(MemberStage::owes_return));
        let owed = self.owed();
        let told = owed.iter().filter(|name| self.state.stage_of(name).is_assigned()).count();
        let failures = self.state.header.run.as_ref().map_or(0, |run| run.failures);
        Counts {
            total: words::count(planned.len()),
            assigned: words::count(assigned),
            healthy: words::count(assigned - in_flux),
            partial: words::count(self.state.partial().len()),
            in_flux: words::count(in_flux - told),
            owed: words::count(owed.len()),
            returning: words::count(returning),
            returned: words::count(given_back - returning),
            failed: words::count(failures),
            not_started: words::count(planned.len() - assigned - given_back - (owed.len() - told)),
            unreachable: words::count(planned.iter().filter(silent).count()),
            skipped: words::count(self.state.skipped().len()),
        }
    }

    /// Silent members whose waves have begun, and that were not healthy at the revision when last heard, and those that a
    /// person keeps out.
    fn owed(&self) -> Vec<&String> {
        let owed = |name: &&String| {
            let stage = self.state.stage_of(name);
            let silent = self.observations.reachability(name) == Reachability::Unreachable;
            (silent || self.observations.keeps_out(name, stage))
                && !matches!(stage, MemberStage::Healthy { .. })
                && !stage.is_given_back()
        };
        let runs = self.state.header.run.as_ref().is_some_and(Run::judges);
        self.state.begun().iter().filter(|_| runs).filter(owed).collect()
    }

    /// Of those who catch up: who has failed at it, and from whom it is kept because of that.
    fn late_members(&self) -> (Vec<&str>, Vec<&str>) {
        let Some(late) = self.state.plan.late.as_deref() else { return Default::default() };
        let held = if late.run.catches_up() { Vec::new() } else { late.untold(self.state) };
        (late.given_back(self.state), held)
    }

    /// Says whether metrics are checked, wherever a pause or soak would check them.
    fn gate(&self) -> Option<GateStatus> {
        let Desired::Present(rollout) = self.desired else { return None };
        let background = self.state.header.run.as_ref().is_some_and(|run| OpenGate::in_background(run).is_some());
        let gated = background || rollout.soak_seconds > 0 || rollout.steps.iter().any(|step| step.pause_seconds > 0);
        if self.observations.gates.sources.is_empty()
            && self.state.header.run.as_ref().is_none_or(|run| run.gate.is_none())
        {
            return gated.then(|| self.unmeasured());
        }
        let judged = Judgement::of(self.state, self.observations, self.now);
        let when = if background {
            "metrics are measured in the background, and for the step in its pause"
        } else {
            "metrics are measured in the next pause"
        };
        let (verdict, message, basis) = match judged {
            Some(judged) => (judged.verdict, judged.text, judged.basis),
            None => self.failed_gate().unwrap_or_else(|| (None, when.to_owned(), Basis::default())),
        };
        gated.then(|| GateStatus {
            mode: None,
            verdict,
            message: words::bounded(&message, 512),
            queries: basis.queries,
            measured_at: (basis.at > 0).then(|| micro_time_from_millis(basis.at)),
        })
    }

    /// What the run was taken back by, if that was a gate.
    fn failed_gate(&self) -> Option<(Option<Verdict>, String, Basis)> {
        let run = self.state.header.run.as_ref().filter(|run| run.is_refused() && run.refused_by == RefusedBy::Gate)?;
        Some((Some(Verdict::Fail), run.refused_because.clone(), run.refused_on.clone().unwrap_or_default()))
    }

    fn unmeasured(&self) -> GateStatus {
        let mode = self.observations.gates.when_unconfigured;
        let message = match mode {
            GateMode::TimerOnly => {
                "no metric was checked: no metric source is configured, and gates.whenUnconfigured is TimerOnly, so a pause is a timer only"
            }
            GateMode::Hold => {
                "no metric was checked: no metric source is configured, and gates.whenUnconfigured is Hold, so the run holds at the end of a pause"
            }
        };
        GateStatus { mode: Some(mode), message: message.to_owned(), ..GateStatus::default() }
    }
}
