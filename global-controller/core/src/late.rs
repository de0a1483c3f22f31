//! The catch-up with what was accepted, after a later run was given up (SEMANTICS 35): whether there is one, and how far it
//! is. What comes of it is decided in `decide/late`.

use crds::{OnDrift, Revision};
use serde::{Deserialize, Serialize};

use crate::waves::raise_limits;
use crate::{MemberStage, Payload, Plan, RolloutState, Run, Stage};

/// A catch-up with the run that was accepted, after a later one was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Late {
    /// The run that was accepted, with limits and failures of the catch-up.
    pub run: Run,
    /// Names, in the order in which they are updated.
    pub members: Vec<String>,
    /// So many of them belong to the waves that have begun.
    pub wave_end: usize,
    /// Reason for which it was last announced to hold, so that each hold is announced once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_for: Option<String>,
}

/// What was given up, while the catch-up is decided on in its place.
pub(crate) struct GivenUp {
    run: Option<Run>,
    runs_started: i64,
    plan: Plan,
    held_for: Option<String>,
}

impl Late {
    /// The catch-up that goes on, or one that might begin, as long as the latest run was given up and what it would bring
    /// may be delivered.
    pub(crate) fn of(state: &RolloutState) -> Option<Self> {
        let header = &state.header;
        let given_up = |run: &&Run| matches!(run.stage, Stage::RolledBack | Stage::Failed | Stage::GivenUp);
        let latest = header.run.as_ref().filter(given_up)?;
        let revision = header.accepted_revision.as_ref().filter(|accepted| **accepted != latest.revision)?;
        if header.quarantine.contains(revision) {
            return None;
        }
        let known = state.plan.late.as_deref().filter(|late| late.run.revision == *revision).cloned();
        known.or_else(|| {
            let run = accepted_run(state, latest, revision)?;
            Some(Self { run, members: Vec::new(), wave_end: 0, held_for: None })
        })
    }

    /// Members whose waves have begun.
    pub(crate) fn begun(&self) -> &[String] {
        self.members.get(..self.wave_end).unwrap_or(&self.members)
    }

    /// Makes a member that was told something in it one of the waves begun.
    pub(crate) fn begin(&mut self, name: &str) {
        if self.begun().iter().any(|begun| begun == name) {
            return;
        }
        self.members.retain(|member| member != name);
        self.members.insert(self.wave_end, name.to_owned());
        self.wave_end += 1;
        raise_limits(&mut self.run, self.wave_end);
        self.run.caught_up += 1;
    }

    /// Members that have failed in it and were told to return.
    pub(crate) fn given_back<'a>(&'a self, state: &RolloutState) -> Vec<&'a str> {
        let names = self.members.iter().map(String::as_str);
        names.filter(|name| state.stage_in(&self.run, name).is_given_back()).collect()
    }

    /// Members that have still to get it, and were not told to run it yet.
    pub(crate) fn untold<'a>(&'a self, state: &RolloutState) -> Vec<&'a str> {
        let told = |stage: MemberStage| stage.is_assigned() || stage.is_given_back();
        let names = self.members.iter().map(String::as_str);
        names.filter(|name| !told(state.stage_in(&self.run, name))).collect()
    }
}

impl RolloutState {
    /// Makes the catch-up with the accepted run the run that is decided on, and answers the latest and its plan.
    pub(crate) fn enter_late(&mut self, late: Late) -> GivenUp {
        let Late { run, members, wave_end, held_for } = late;
        let runs_started = std::mem::replace(&mut self.header.runs_started, run.number);
        let plan = std::mem::replace(&mut self.plan, Plan { members, wave_end, late: None });
        GivenUp { run: self.header.run.replace(run), runs_started, plan, held_for }
    }

    /// Takes that back, and keeps what became of the catch-up.
    pub(crate) fn leave_late(&mut self, given_up: GivenUp) {
        let GivenUp { run: latest, runs_started, plan, held_for } = given_up;
        let Plan { members, wave_end, late: _ } = std::mem::replace(&mut self.plan, plan);
        self.header.runs_started = runs_started;
        let run = std::mem::replace(&mut self.header.run, latest);
        self.plan.late = run.map(|run| Box::new(Late { run, members, wave_end, held_for }));
    }
}

/// The run whose revision was accepted, to be caught up with. It bears what the later one did.
fn accepted_run(state: &RolloutState, latest: &Run, revision: &Revision) -> Option<Run> {
    let content = state.history.payloads.get(revision)?.clone();
    let succeeded = state.history.last_success(revision).filter(|past| past.number < latest.number)?;
    let payload = Payload { revision: revision.clone(), content };
    Some(Run {
        finished_at: succeeded.finished_at,
        step: latest.steps.len(),
        stage: Stage::Succeeded,
        steps: latest.steps.clone(),
        soak_seconds: latest.soak_seconds,
        max_concurrency: latest.max_concurrency,
        failure_rules: latest.failure_rules,
        paused: latest.paused,
        changed_members: true,
        // The rollout stands as its latest run has left it: drift is only reported, once a member has arrived (22).
        on_drift: OnDrift::Report,
        ..Run::new(succeeded.number, payload, succeeded.started_at)
    })
}
