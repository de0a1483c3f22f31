//! What is durable about a rollout.
//!
//! Stored as separate records, so that the work per change is proportional to the change: the header, the plan, the
//! history, each payload in it, and one record per member. A new run touches none of the member records: each carries the
//! number of the run that it speaks of, and one that speaks of another run counts as [`MemberStage::Planned`].

use std::collections::{BTreeMap, BTreeSet};

use crds::{IntOrPercent, OnDeadline, OnDrift, Previous, Revision, RolloutAssignmentSpec};
use serde::{Deserialize, Serialize};

use crate::actions::Handled;
use crate::alerts::Alerts;
use crate::gates::OpenGate;
use crate::{
    Basis, FailureRules, Gate, GateDefaults, History, Late, Millis, Observations, OnConflict, Payload, SeenSpec, Step,
    words,
};

/// Version of the records' format. A reader refuses a higher one.
pub const STATE_VERSION: u32 = 1;

/// Revisions that a rollout keeps in quarantine; the oldest gives way to a further one.
pub(crate) const MAX_QUARANTINED: usize = 64;

/// All that is durable about one rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutState {
    /// The run and what outlives runs.
    pub header: Header,
    /// Order of the members in the current run.
    pub plan: Plan,
    /// Members that an assignment was written for.
    pub members: BTreeMap<String, MemberRecord>,
    /// The runs that it has had, and their payloads.
    #[serde(default)]
    pub history: History,
}

/// The run and what outlives runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// Format of the records, see [`STATE_VERSION`].
    pub version: u32,
    /// metadata.name of the rollout.
    pub name: String,
    /// metadata.uid of the rollout.
    pub uid: String,
    /// The latest run, ended ones included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// Number of the latest run; 0 before the first.
    pub runs_started: i64,
    /// Number of the last run that succeeded or was rolled back; 0 before the first. Previous states recorded up to it
    /// are void, but for those that members have not returned to yet.
    #[serde(default)]
    pub settled_run: i64,
    /// Revision of the last run that succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_revision: Option<Revision>,
    /// Revisions that were rolled back, the latest last: never rolled out again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quarantine: Vec<Revision>,
    /// Decisions taken so far: those that changed something.
    pub decisions: u64,
    /// Time of the latest decision. Time in decisions never runs back behind it.
    #[serde(default)]
    pub decided_at: Millis,
    /// Whether the rollout's deletion was seen.
    #[serde(default)]
    pub deleting: bool,
    /// Whether everything that deletion needs is durable: the driver removes the finalizer whenever it sees
    /// this, so that a crash after the decision forgets nothing.
    #[serde(default)]
    pub finalizer_released: bool,
    /// Reason for which the run was last announced to hold, so that each hold is announced once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_for: Option<String>,
    /// What became of the last actions of people: none is applied twice.
    #[serde(default, skip_serializing_if = "Handled::is_empty")]
    pub handled: Handled,
    /// Rollouts that hold members which this one means, as last announced: its runs go on without these members.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub contested_with: BTreeSet<String>,
    /// Epoch of the store under which its runs started or were adopted; 0 in records of older versions. Under a later one
    /// they are adopted before anything else is decided.
    #[serde(default)]
    pub epoch: i64,
    /// Why nothing moves until a person decides, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// The specification that was last decided on: a hub that tells of an older one went back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<SeenSpec>,
    /// metadata.uid of the rollout that had its name before the hub was restored, and whose run it goes on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inherited_from: Option<String>,
    /// What people are alerted of, and what they were lately.
    #[serde(default, skip_serializing_if = "Alerts::is_empty")]
    pub alerts: Alerts,
}

/// Why nothing of a rollout moves until a person decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "name")]
pub enum Hold {
    /// The store was lost or went back in the middle of a run, which is known from the hub and the members only.
    StoreRebuilt {
        /// Since when.
        since: Millis,
    },
}

/// One attempt to bring the fleet to a revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// From 1, rising.
    pub number: i64,
    /// Hash of the payload.
    pub revision: Revision,
    /// The payload.
    pub payload: crds::Payload,
    /// When it started.
    pub started_at: Millis,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Millis>,
    /// Current step, from 0; `steps.len()` is the implicit last one.
    pub step: usize,
    /// Where it stands within the step.
    pub stage: Stage,
    /// Explicit steps as last seen, so that a change of them is noticed.
    pub steps: Vec<Step>,
    /// Seconds of soak as last seen.
    pub soak_seconds: u32,
    /// `maxConcurrency` as last seen.
    pub max_concurrency: IntOrPercent,
    /// `maxConcurrency` as a number of members: rises with the waves, never falls unless the field changes.
    pub flux_limit: usize,
    /// What counts as failure and what is done about it, as last seen.
    #[serde(default)]
    pub failure_rules: FailureRules,
    /// `maxFailures` as a number of members: rises with the waves, never falls unless the field changes.
    #[serde(default)]
    pub failure_limit: usize,
    /// Failures so far, those of members that have left since included, and those of a catch-up.
    #[serde(default)]
    pub failures: usize,
    /// `maxUnreachable` as a number of members: rises with the waves, never falls unless the field changes.
    #[serde(default)]
    pub unreachable_limit: usize,
    /// The highest that `unreachable_limit` has been: so many members a step may have left behind.
    #[serde(default)]
    pub unreachable_most: usize,
    /// Members that were taken into the plan after the run had succeeded, and whose turn to catch up has come.
    #[serde(default)]
    pub caught_up: usize,
    /// Whether any member ran something else before this run; if none did, it ends with `NothingToDo`.
    pub changed_members: bool,
    /// Whether a person has paused it, as last seen.
    #[serde(default)]
    pub paused: bool,
    /// What agents do about drift after its success, as last seen.
    #[serde(default, skip_serializing_if = "OnDrift::is_repair")]
    pub on_drift: OnDrift,
    /// What agents do about fields of whole objects that belong to somebody else, as last seen.
    #[serde(default, skip_serializing_if = "OnConflict::is_refuse")]
    pub on_conflict: OnConflict,
    /// The person who has aborted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aborted_by: Option<String>,
    /// Whether a person has asked to try again what failed, and that is not done yet. If the run is over and was refused,
    /// the next one may have the same revision.
    #[serde(default)]
    pub retry: bool,
    /// What it has taken from the configuration for its gates, and keeps; none while no metric source is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate_defaults: Option<GateDefaults>,
    /// What is measured during pauses and soak, as last seen; none while no metric source is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,
    /// When the present pause or soak began, or began anew because the gate changed.
    #[serde(default)]
    pub gate_began_at: Millis,
    /// When the clock of the pause ended whose step waits for approval.
    #[serde(default)]
    pub gate_ended_at: Millis,
    /// Most members that were cordoned when a step passed them over.
    #[serde(default)]
    pub passed_over: usize,
    /// When trouble ended that updated members and the control group had at a time: nothing is measured of before.
    #[serde(default)]
    pub troubled_until: Millis,
    /// Since when what is measured in the background counts; 0: nothing is.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub background_since: Millis,
    /// Why it was refused, for people; empty while it is not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub refused_because: String,
    /// What it was refused by, if it was.
    #[serde(default)]
    pub refused_by: RefusedBy,
    /// What the gate was asked that it was refused by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_on: Option<Basis>,
}

/// What a run was refused by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefusedBy {
    /// Members that failed, or a person.
    #[default]
    Members,
    /// A gate that failed.
    Gate,
}

/// Where a run stands within its step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "name", content = "clock")]
pub enum Stage {
    /// Members of the step are being updated.
    Updating,
    /// All members updated so far were healthy when the pause of the step began.
    Pausing(Clock),
    /// The pause of the step is over, and a person has to approve that it goes on.
    AwaitingApproval,
    /// All members of the plan were healthy when the soak began.
    Soaking(Clock),
    /// The run is over: every planned member was healthy at the revision after the soak, had failed within budget, or was
    /// silent within budget and is owed it. Those, and members that join later, catch up.
    Succeeded,
    /// Too many have failed, and only those that fail return: the members in flux are waited for.
    Finishing,
    /// The run is over: too many have failed. Those that were healthy keep the revision.
    GivenUp,
    /// Too many have failed: every touched member returns.
    RollingBack,
    /// The run is over: every touched member that is heard has returned.
    RolledBack,
    /// The run is over: it was rolled back, and a member that is heard has not returned within its deadline.
    Failed,
}

/// A durable timer: a crash keeps its end, a person's pause its remaining time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "state")]
pub enum Clock {
    /// It runs.
    Running {
        /// When it ends.
        ends_at: Millis,
    },
    /// A person has paused the rollout.
    Stopped {
        /// What is left, at least 0.
        remaining_millis: i64,
    },
}

/// Order of the members in the current run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Names, in the order in which they are updated.
    pub members: Vec<String>,
    /// So many of them belong to the waves that have begun. Those beyond get nothing.
    pub wave_end: usize,
    /// Members that get what was accepted before this run, which was given up; none while nobody needs it, or has failed at
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<Box<Late>>,
}

/// What is durable about one member of a rollout.
// Each is a fact of its own, as it was last seen.
#[allow(clippy::struct_excessive_bools)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberRecord {
    /// Number of the run that `stage` speaks of.
    pub run: i64,
    /// Where the member stands in that run.
    pub stage: MemberStage,
    /// What the member ran when first touched since this rollout last succeeded or was rolled back. Superseding never
    /// overwrites it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
    /// Whether anything was applied since `previous` was observed.
    pub touched: Touched,
    /// Containers whose images were to be set since `previous` was observed: those that a return sets back.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub containers: BTreeSet<String>,
    /// Whether it was silent while in flux.
    #[serde(default)]
    pub silence: Silence,
    /// Since when it is healthy while that does not count yet (`minReadySeconds`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_since: Option<Millis>,
    /// Number of the run in which it last failed; 0 if in none. It gets the revision of that run no more, also when it
    /// leaves and comes back.
    #[serde(default)]
    pub failed_in: i64,
    /// What stands in its order beside the payload.
    #[serde(default)]
    pub standing: Standing,
    /// When it was first told to apply in the run that it was told in last; 0: never. What was the matter with it before is
    /// not the revision's doing.
    #[serde(default)]
    pub told_at: Millis,
    /// Whether its workload was last seen healthy with no pods wanted: that is healthy, and no evidence (SEMANTICS 19).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub idle: bool,
    /// The revision that it was healthy at last and has not returned from, whatever it runs by now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrived_at: Option<Revision>,
    /// The one before: that counts again once it has returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrived_before: Option<Revision>,
    /// Whether its agent said last that somebody else has changed what it had set, and leaves that as it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drifted: bool,
    /// Whether its workload was last seen healthy with pods of an older template, which a partition keeps (SEMANTICS 18).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// Whether its workload's owner was last seen to have to delete old pods: until then no time counts against it, and then
    /// all of it does again (SEMANTICS 18).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub awaits_owner: bool,
}

/// What stands in the order of a member beside the payload, and follows the specification while the order is out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// Seconds until which the member must be healthy, or the agent returns by itself; none: it never does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returns_after: Option<i64>,
    /// What the agent does when somebody else changes what it has set.
    #[serde(default, skip_serializing_if = "OnDrift::is_repair")]
    pub on_drift: OnDrift,
    /// What agents do about fields of whole objects that belong to somebody else.
    #[serde(default, skip_serializing_if = "OnConflict::is_refuse")]
    pub on_conflict: OnConflict,
}

impl Standing {
    /// That of an order to apply, until the member has arrived.
    pub(crate) fn on_the_way(run: &Run) -> Self {
        let returns_after = run.failure_rules.returns_after();
        Self { returns_after, on_drift: OnDrift::Repair, on_conflict: run.on_conflict }
    }

    /// Makes it part of an order.
    pub(crate) fn write_to(self, spec: &mut RolloutAssignmentSpec) {
        let Self { returns_after, on_drift, on_conflict } = self;
        if let Some(manifests) = &mut spec.manifests {
            manifests.force_conflicts = on_conflict == OnConflict::Force;
        }
        spec.on_drift = on_drift;
        match returns_after {
            Some(seconds) => (spec.on_deadline, spec.deadline_seconds) = (OnDeadline::Return, seconds),
            None => spec.on_deadline = OnDeadline::Hold,
        }
    }
}

/// Whether a member in flux was silent, so that its report may be old.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "name")]
pub enum Silence {
    /// It was heard all the time.
    #[default]
    None,
    /// It is silent, or a new leader has not heard it yet.
    Lasting,
    /// It is heard again.
    Ended {
        /// Since when.
        at: Millis,
    },
}

/// Whether this rollout has changed a member since it last succeeded or was rolled back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Touched {
    /// Certainly not: a newer observation replaces `previous`.
    No,
    /// The first `Apply` is out, and the agent may still answer that it applied nothing.
    Perhaps,
    /// It has, or an unanswered `Apply` was superseded.
    Yes,
}

/// Where a member stands in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "name")]
pub enum MemberStage {
    /// Not told anything in this run.
    Planned,
    /// Told to report what it runs.
    Observing,
    /// Told to run the revision; not healthy yet.
    Applying {
        /// When it was told.
        since: Millis,
    },
    /// Healthy at the revision.
    Healthy {
        /// When its report was seen.
        since: Millis,
    },
    /// No longer healthy after having been so at the revision.
    Unhealthy {
        /// When its report was seen.
        since: Millis,
    },
    /// Told to go back to its previous state.
    Returning {
        /// When it was told, or was heard again.
        since: Millis,
    },
    /// The same, and its agent is silent. The order is in the store and finds it when it is heard again.
    Owed,
    /// Back in its previous state, and at least as healthy.
    Returned {
        /// When its report was seen.
        since: Millis,
    },
    /// Told to forget the assignment.
    Withdrawing,
    /// Observed to lack the workload, and left out of the plan until it has it (`ifMissing: Skip`).
    Skipped,
}

impl RolloutState {
    /// The state of a rollout that nothing was decided about.
    pub fn new(name: &str, uid: &str) -> Self {
        let header = Header {
            version: STATE_VERSION,
            name: name.to_owned(),
            uid: uid.to_owned(),
            run: None,
            runs_started: 0,
            settled_run: 0,
            accepted_revision: None,
            quarantine: Vec::new(),
            decisions: 0,
            decided_at: 0,
            deleting: false,
            finalizer_released: false,
            held_for: None,
            handled: Handled::default(),
            contested_with: BTreeSet::new(),
            epoch: 0,
            hold: None,
            seen: None,
            inherited_from: None,
            alerts: Alerts::default(),
        };
        Self { header, plan: Plan::default(), members: BTreeMap::new(), history: History::default() }
    }

    /// Where a member stands in the current run.
    pub fn stage_of(&self, member: &str) -> MemberStage {
        self.header.run.as_ref().map_or(MemberStage::Planned, |run| self.stage_in(run, member))
    }

    /// Where a member stands in a run, which need not be the current one.
    pub(crate) fn stage_in(&self, run: &Run, member: &str) -> MemberStage {
        match self.members.get(member) {
            Some(record) if record.run == run.number || record.stage == MemberStage::Withdrawing => record.stage,
            _ => MemberStage::Planned,
        }
    }

    /// Whether the rollout is deleted and every member has forgotten it: its records can be removed.
    pub fn is_spent(&self) -> bool {
        self.header.finalizer_released && self.members.is_empty()
    }

    /// Whether alerts that are told can change what is decided.
    pub fn heeds_alerts(&self) -> bool {
        let heeds = |run: &Run| run.goes_forward() && run.gate.as_ref().is_some_and(|gate| gate.alerts.is_some());
        !self.header.deleting && self.header.run.as_ref().is_some_and(heeds)
    }

    /// Whether metrics are measured at present: a pause or the soak is on, and it has a gate.
    pub fn is_measured(&self) -> bool {
        !self.header.deleting && self.header.run.as_ref().is_some_and(OpenGate::is_any)
    }

    /// Whether a member runs, or may run, something else than it did before this rollout.
    pub(crate) fn is_touched(&self, record: &MemberRecord) -> bool {
        let unsettled = record.run > self.header.settled_run || record.stage.owes_return() || record.is_unproven();
        record.touched != Touched::No && unsettled
    }

    /// Planned members that failed in the current run and were told to return.
    pub(crate) fn given_back(&self) -> Vec<&str> {
        self.plan.members.iter().map(String::as_str).filter(|name| self.stage_of(name).is_given_back()).collect()
    }

    /// Planned members that neither run the revision nor have failed at it: after a success those that it is owed to.
    pub(crate) fn pending(&self) -> Vec<&str> {
        let arrived = |stage: MemberStage| {
            matches!(stage, MemberStage::Healthy { .. } | MemberStage::Unhealthy { .. }) || stage.is_given_back()
        };
        self.plan.members.iter().map(String::as_str).filter(|name| !arrived(self.stage_of(name))).collect()
    }

    /// The same: first those that are silent or on their way, then those that a person keeps out.
    pub(crate) fn owed(&self, observations: &Observations<'_>) -> (Vec<&str>, Vec<&str>) {
        self.pending().into_iter().partition(|name| !observations.keeps_out(name, self.stage_of(name)))
    }

    /// The run, while its members are going back.
    pub(crate) fn rolling_back(&self) -> Option<&Run> {
        self.header.run.as_ref().filter(|run| run.stage == Stage::RollingBack)
    }

    /// Members that are left out of the plan because they lack the workload.
    pub(crate) fn skipped(&self) -> Vec<&str> {
        let skipped = |name: &&str| self.stage_of(name) == MemberStage::Skipped;
        self.members.keys().map(String::as_str).filter(skipped).collect()
    }

    /// Planned members that are healthy at the revision, and also run pods of an older template.
    pub(crate) fn partial(&self) -> Vec<&str> {
        let healthy = |name: &&str| matches!(self.stage_of(name), MemberStage::Healthy { .. });
        let partial = |name: &&str| self.members.get(*name).is_some_and(|record| record.partial);
        self.plan.members.iter().map(String::as_str).filter(healthy).filter(partial).collect()
    }

    /// Members whose waves have begun.
    pub fn begun(&self) -> &[String] {
        self.plan.members.get(..self.plan.wave_end).unwrap_or(&self.plan.members)
    }
}

impl MemberRecord {
    /// A member that was never told anything.
    pub fn new(run: i64) -> Self {
        Self {
            run,
            stage: MemberStage::Planned,
            previous: None,
            touched: Touched::No,
            containers: BTreeSet::new(),
            silence: Silence::None,
            ready_since: None,
            failed_in: 0,
            standing: Standing::default(),
            told_at: 0,
            idle: false,
            arrived_at: None,
            arrived_before: None,
            drifted: false,
            partial: false,
            awaits_owner: false,
        }
    }

    /// Whether it was told to apply in some run, and no report has said that it was ever healthy there.
    pub(crate) fn is_unproven(&self) -> bool {
        self.touched != Touched::No && matches!(self.stage, MemberStage::Applying { .. })
    }
}

impl MemberStage {
    /// Told to run the revision, whether healthy or not.
    pub fn is_assigned(self) -> bool {
        matches!(self, Self::Applying { .. } | Self::Healthy { .. } | Self::Unhealthy { .. })
    }

    /// Told to run the revision and not, or no longer, healthy.
    pub fn is_in_flux(self) -> bool {
        matches!(self, Self::Applying { .. } | Self::Unhealthy { .. })
    }

    /// The same, with the time of one in flux counting from `since`.
    pub(crate) fn counted_from(self, since: Millis) -> Self {
        match self {
            Self::Applying { .. } => Self::Applying { since },
            Self::Unhealthy { .. } => Self::Unhealthy { since },
            other => other,
        }
    }

    /// Told to return, and not back yet.
    pub fn owes_return(self) -> bool {
        matches!(self, Self::Returning { .. } | Self::Owed)
    }

    /// Told to return, back or not.
    pub fn is_given_back(self) -> bool {
        self.owes_return() || matches!(self, Self::Returned { .. })
    }
}

impl Run {
    /// One at its very beginning, of a specification that says nothing.
    pub(crate) fn new(number: i64, payload: Payload, started_at: Millis) -> Self {
        let Payload { revision, content } = payload;
        Self {
            number,
            revision,
            payload: content,
            started_at,
            finished_at: None,
            step: 0,
            stage: Stage::Updating,
            steps: Vec::new(),
            soak_seconds: 0,
            max_concurrency: IntOrPercent::Count(1),
            flux_limit: 0,
            failure_rules: FailureRules::default(),
            failure_limit: 0,
            failures: 0,
            unreachable_limit: 0,
            unreachable_most: 0,
            caught_up: 0,
            changed_members: false,
            paused: false,
            on_drift: OnDrift::Repair,
            on_conflict: OnConflict::Refuse,
            aborted_by: None,
            retry: false,
            gate_defaults: None,
            gate: None,
            gate_began_at: 0,
            gate_ended_at: 0,
            passed_over: 0,
            troubled_until: 0,
            background_since: 0,
            refused_because: String::new(),
            refused_by: RefusedBy::default(),
            refused_on: None,
        }
    }

    /// Seconds of the current step's pause; in the last step those of the soak.
    pub(crate) fn pause_seconds(&self) -> u32 {
        self.steps.get(self.step).map_or(self.soak_seconds, |step| step.pause_seconds)
    }

    /// Whether the current step is the implicit last one.
    pub fn in_last_step(&self) -> bool {
        self.step >= self.steps.len()
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Succeeded | Stage::GivenUp | Stage::RolledBack | Stage::Failed)
    }

    /// Whether it is on its way through the steps.
    pub fn goes_forward(&self) -> bool {
        matches!(self.stage, Stage::Updating | Stage::Pausing(_) | Stage::AwaitingApproval | Stage::Soaking(_))
    }

    /// Whether the current step waits for a person's approval in the end.
    pub fn needs_approval(&self) -> bool {
        self.steps.get(self.step).is_some_and(|step| step.approval.is_some())
    }

    /// Number of the current step for people, from 1; the implicit last one is counted.
    pub fn step_number(&self) -> usize {
        self.step + 1
    }

    /// Whether it is over and gave the revision up, and a person has asked for another run to it.
    pub(crate) fn gives_way(&self) -> bool {
        self.retry && self.is_over() && self.is_refused()
    }

    /// Whether too many have failed in it or a person aborted it, so that its revision is in quarantine.
    pub fn is_refused(&self) -> bool {
        self.is_rolled_back() || matches!(self.stage, Stage::Finishing | Stage::GivenUp)
    }

    /// Why it was refused, for people; empty while it is not.
    pub(crate) fn refusal(&self) -> String {
        if let Some(who) = &self.aborted_by {
            return format!("aborted by {who}");
        }
        if self.is_refused() && self.failures > self.failure_limit {
            return format!("{} failed, {} allowed", words::members(self.failures), self.failure_limit);
        }
        match self.refused_because.as_str() {
            // As an older release left it.
            "" if self.is_refused() => "too many members failed".to_owned(),
            because => because.to_owned(),
        }
    }

    /// Whether members that were told to apply, or are told yet, can still fail.
    pub(crate) fn judges(&self) -> bool {
        self.goes_forward() || matches!(self.stage, Stage::Finishing | Stage::Succeeded)
    }

    /// Whether it has succeeded and takes those along who came later or were silent.
    pub(crate) fn catches_up(&self) -> bool {
        self.stage == Stage::Succeeded && self.failures <= self.failure_limit && self.knows_payload()
    }

    /// Whether its payload is the whole of it. Of one that was adopted perhaps nobody knows the images, or only what one
    /// member got of them.
    pub(crate) fn knows_payload(&self) -> bool {
        Revision::of(&self.payload) == self.revision
    }

    /// Whether it was rolled back, completely or not, or is being.
    pub fn is_rolled_back(&self) -> bool {
        matches!(self.stage, Stage::RollingBack | Stage::RolledBack | Stage::Failed)
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As serde hands it over.
fn is_zero(millis: &Millis) -> bool {
    *millis == 0
}
