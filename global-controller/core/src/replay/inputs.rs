//! What one decision was taken on beside the state, as a value, and how it differs from another's.

use std::collections::{BTreeMap, BTreeSet};

use crds::{Fence, RolloutAssignment, RolloutAssignmentStatus};
use serde::{Deserialize, Serialize};

use super::MapDiff;
use super::surroundings::Surroundings;
use crate::plan::order;
use crate::{
    ActionFacts, Claim, Claims, Command, Desired, GateSettings, HeardAlert, HeardAlerts, MemberFacts, Millis,
    Observations, Problem, Rollout, RolloutState, Sample, SampleKey, Samples, Target,
};

/// [`Desired`] as a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum Asked {
    /// It is there and valid.
    Present {
        /// What a person asked for.
        rollout: Box<Rollout>,
    },
    /// It is there and invalid.
    Invalid {
        /// All that is wrong with it.
        problems: Vec<Problem>,
        /// metadata.generation.
        generation: i64,
    },
    /// Its deletion was asked for.
    Deleted {
        /// metadata.generation.
        generation: i64,
    },
}

impl Asked {
    /// A copy.
    pub fn of(desired: Desired<'_>) -> Self {
        match desired {
            Desired::Present(rollout) => Self::Present { rollout: Box::new(rollout.clone()) },
            Desired::Invalid { problems, generation } => Self::Invalid { problems: problems.to_vec(), generation },
            Desired::Deleted { generation } => Self::Deleted { generation },
        }
    }

    /// As decisions take it.
    pub fn desired(&self) -> Desired<'_> {
        match self {
            Self::Present { rollout } => Desired::Present(rollout),
            Self::Invalid { problems, generation } => Desired::Invalid { problems, generation: *generation },
            Self::Deleted { generation } => Desired::Deleted { generation: *generation },
        }
    }

    fn is(&self, desired: Desired<'_>) -> bool {
        match (self, desired) {
            (Self::Present { rollout }, Desired::Present(other)) => **rollout == *other,
            (Self::Invalid { problems, generation }, Desired::Invalid { problems: others, generation: other }) => {
                problems.as_slice() == others && *generation == other
            }
            (Self::Deleted { generation }, Desired::Deleted { generation: other }) => *generation == other,
            _ => false,
        }
    }
}

/// What one decision was taken on beside the state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inputs {
    /// What the hub said about the rollout.
    pub asked: Asked,
    /// The members that matter to it: those that it means, and those that it has records of. No decision looks at others.
    pub members: BTreeMap<String, MemberFacts>,
    /// See [`Observations::assignments`].
    pub assignments: BTreeMap<String, RolloutAssignment>,
    /// See [`Observations::reports`].
    pub reports: BTreeMap<String, RolloutAssignmentStatus>,
    /// See [`Observations::claims`].
    pub claims: Claims,
    /// See [`Observations::actions`].
    pub actions: Vec<ActionFacts>,
    /// See [`Observations::samples`].
    pub samples: Samples,
    /// See [`Observations::alerts`].
    #[serde(default)]
    pub alerts: HeardAlerts,
    /// See [`Observations::gates`].
    pub gates: GateSettings,
    /// See [`Observations::hub_fresh`].
    pub hub_fresh: bool,
    /// See [`Observations::judging_since`].
    pub judging_since: Millis,
    /// See [`Observations::hub`] and [`Observations::recovery`].
    #[serde(default)]
    pub surroundings: Surroundings,
    /// The time.
    pub now: Millis,
}

/// How inputs differ from those of the decision before, after what that one's commit changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InputsDiff {
    /// The time.
    pub now: Millis,
    /// Fence that the orders of the decision before have got.
    pub fence: Fence,
    /// What the hub said, if that is other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    /// Members whose facts are other.
    #[serde(default, skip_serializing_if = "MapDiff::is_empty")]
    pub members: MapDiff<MemberFacts>,
    /// Assignments that are other than was ordered.
    #[serde(default, skip_serializing_if = "MapDiff::is_empty")]
    pub assignments: MapDiff<RolloutAssignment>,
    /// Reports that came.
    #[serde(default, skip_serializing_if = "MapDiff::is_empty")]
    pub reports: MapDiff<RolloutAssignmentStatus>,
    /// Members on which claims are held by others than before.
    #[serde(default, skip_serializing_if = "MapDiff::is_empty")]
    pub held: MapDiff<BTreeMap<Target, Claim>>,
    /// Members that older rollouts are about to claim, or no longer.
    #[serde(default, skip_serializing_if = "MapDiff::is_empty")]
    pub wanted: MapDiff<BTreeMap<Target, Claim>>,
    /// All of them, if any is other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actions: Option<Vec<ActionFacts>>,
    /// Series that were measured since, or are measured no more.
    #[serde(default, skip_serializing_if = "MapDiff::is_empty")]
    pub samples: MapDiff<Sample, SampleKey>,
    /// Alerts that were told since, or are kept no more.
    #[serde(default, skip_serializing_if = "MapDiff::is_empty")]
    pub alerts: MapDiff<HeardAlert>,
    /// If they are other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gates: Option<GateSettings>,
    /// If it is other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub_fresh: Option<bool>,
    /// If it is other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judging_since: Option<Millis>,
    /// If they are other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surroundings: Option<Surroundings>,
}

impl Inputs {
    /// A copy of what matters to a decision about this state.
    pub fn of(state: &RolloutState, desired: Desired<'_>, observations: &Observations<'_>, now: Millis) -> Self {
        let relevant = relevant(state, desired, observations);
        let Observations {
            members,
            assignments,
            reports,
            claims,
            actions,
            samples,
            alerts,
            gates,
            hub_fresh,
            judging_since,
            hub: _,
            recovery: _,
        } = *observations;
        Self {
            asked: Asked::of(desired),
            members: facts_of(&relevant, members).map(|(name, facts)| (name.clone(), facts.clone())).collect(),
            assignments: assignments.clone(),
            reports: reports.clone(),
            claims: claims.clone(),
            actions: actions.to_vec(),
            samples: samples.clone(),
            alerts: alerts.clone(),
            gates: gates.clone(),
            hub_fresh,
            judging_since,
            surroundings: Surroundings::of(observations),
            now,
        }
    }

    /// What the hub said about the rollout.
    pub fn desired(&self) -> Desired<'_> {
        self.asked.desired()
    }

    /// All else, but for the time.
    pub fn observations(&self) -> Observations<'_> {
        let Self {
            asked: _,
            members,
            assignments,
            reports,
            claims,
            actions,
            samples,
            alerts,
            gates,
            hub_fresh,
            judging_since,
            surroundings,
            now: _,
        } = self;
        Observations {
            members,
            assignments,
            reports,
            claims,
            actions,
            samples,
            alerts,
            gates,
            hub_fresh: *hub_fresh,
            judging_since: *judging_since,
            hub: surroundings.hub(),
            recovery: surroundings.recovery(),
        }
    }

    /// What the commit of these commands, under this fence, changes of the inputs.
    pub fn follow(&mut self, rollout: &str, commands: &[Command], fence: Fence) {
        for command in commands {
            match command {
                Command::Assign { member, spec } => {
                    let mut assignment = RolloutAssignment::new(rollout, (**spec).clone());
                    assignment.spec.fence = fence;
                    self.assignments.insert(member.clone(), assignment);
                }
                Command::Forget { member } => {
                    self.assignments.remove(member);
                    self.reports.remove(member);
                }
                Command::Claim { member, target, claim } => {
                    self.claims.held.entry(member.clone()).or_default().insert(target.clone(), claim.clone());
                }
                Command::Release { member, target } => {
                    if let Some(held) = self.claims.held.get_mut(member) {
                        held.remove(target);
                    }
                    self.claims.held.retain(|_, held| !held.is_empty());
                }
                Command::TakeUp { member } => self.surroundings.take_up(member),
                Command::Announce { .. } | Command::AcceptHub | Command::ReleaseFinalizer => {}
            }
        }
    }

    /// What makes the present inputs of these. `fence` is what the orders of the decision before have got.
    pub fn until(
        &self,
        fence: Fence,
        state: &RolloutState,
        desired: Desired<'_>,
        observations: &Observations<'_>,
        now: Millis,
    ) -> InputsDiff {
        let relevant = relevant(state, desired, observations);
        let Observations {
            members,
            assignments,
            reports,
            claims,
            actions,
            samples,
            alerts,
            gates,
            hub_fresh,
            judging_since,
            hub: _,
            recovery: _,
        } = *observations;
        let surroundings = Surroundings::of(observations);
        InputsDiff {
            now,
            fence,
            asked: (!self.asked.is(desired)).then(|| Asked::of(desired)),
            members: MapDiff::between(&self.members, facts_of(&relevant, members)),
            assignments: MapDiff::between(&self.assignments, assignments.iter()),
            reports: MapDiff::between(&self.reports, reports.iter()),
            held: MapDiff::between(&self.claims.held, claims.held.iter()),
            wanted: MapDiff::between(&self.claims.wanted, claims.wanted.iter()),
            actions: (actions != self.actions.as_slice()).then(|| actions.to_vec()),
            samples: MapDiff::between(&self.samples, samples.iter()),
            alerts: MapDiff::between(&self.alerts, alerts.iter()),
            gates: (*gates != self.gates).then(|| gates.clone()),
            hub_fresh: (hub_fresh != self.hub_fresh).then_some(hub_fresh),
            judging_since: (judging_since != self.judging_since).then_some(judging_since),
            surroundings: (surroundings != self.surroundings).then_some(surroundings),
        }
    }

    /// Makes the same changes.
    pub fn apply(&mut self, diff: &InputsDiff) {
        let InputsDiff {
            now,
            fence: _,
            asked,
            members,
            assignments,
            reports,
            held,
            wanted,
            actions,
            samples,
            alerts,
            gates,
            hub_fresh,
            judging_since,
            surroundings,
        } = diff;
        self.now = *now;
        if let Some(asked) = asked {
            self.asked = asked.clone();
        }
        members.apply(&mut self.members);
        assignments.apply(&mut self.assignments);
        reports.apply(&mut self.reports);
        held.apply(&mut self.claims.held);
        wanted.apply(&mut self.claims.wanted);
        if let Some(actions) = actions {
            self.actions.clone_from(actions);
        }
        samples.apply(&mut self.samples);
        alerts.apply(&mut self.alerts);
        if let Some(gates) = gates {
            self.gates.clone_from(gates);
        }
        self.hub_fresh = hub_fresh.unwrap_or(self.hub_fresh);
        self.judging_since = judging_since.unwrap_or(self.judging_since);
        if let Some(surroundings) = surroundings {
            self.surroundings.clone_from(surroundings);
        }
    }

    /// Entries of its maps: what its size is about proportional to.
    pub fn entries(state: &RolloutState, observations: &Observations<'_>) -> usize {
        state.members.len()
            + observations.assignments.len()
            + observations.reports.len()
            + observations.claims.held.len()
            + observations.samples.len()
            + Surroundings::entries(observations)
    }
}

/// Members that a decision may look at. In the order of their names.
fn relevant<'a>(state: &'a RolloutState, desired: Desired<'_>, observations: &Observations<'a>) -> BTreeSet<&'a str> {
    let members = observations.members;
    let known = state.plan.members.iter().chain(state.members.keys()).chain(observations.assignments.keys());
    let mut relevant: BTreeSet<&str> = known.map(String::as_str).collect();
    let told = observations.recovery.into_iter().flat_map(|recovery| recovery.orders.keys());
    let inherited = observations.hub.predecessor.into_iter().flat_map(|past| {
        past.state.plan.members.iter().chain(past.state.members.keys()).chain(past.assignments.keys())
    });
    relevant.extend(told.chain(inherited).map(String::as_str));
    match desired {
        Desired::Present(rollout) => {
            let meant = order(rollout, members).members;
            relevant.extend(meant.iter().filter_map(|name| members.get_key_value(name)).map(|(name, _)| name.as_str()));
        }
        Desired::Invalid { problems, .. } => {
            let named = |name: &str, facts: &MemberFacts| problems.iter().any(|problem| problem.is_about(name, facts));
            relevant.extend(members.iter().filter(|(name, facts)| named(name, facts)).map(|(name, _)| name.as_str()));
        }
        Desired::Deleted { .. } => {}
    }
    relevant
}

fn facts_of<'a>(
    relevant: &BTreeSet<&'a str>,
    members: &'a BTreeMap<String, MemberFacts>,
) -> impl Iterator<Item = (&'a String, &'a MemberFacts)> {
    relevant.iter().filter_map(|name| members.get_key_value(*name))
}
