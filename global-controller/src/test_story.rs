//! For tests: a small rollout, decided and recorded as the driver does it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use crds::{Fence, GateMode, Outcome, RolloutAssignment, RolloutAssignmentStatus, WorkloadObservation};
use rollout_core::replay::{Recorded, digest};
use rollout_core::{
    Claims, Command, Decision, Desired, GateSettings, HeardAlerts, HubFacts, MemberFacts, Observations, Reachability,
    Rollout, RolloutState, Samples, decide, validate,
};
use serde_json::json;

use crate::decisions_command::Taken;
use crate::driver::Recorder;
use crate::records::{DecisionRecord, Replayable, commands_of, events_of};

/// A rollout over so many members, which do as they are told; each decision is committed at once.
pub(crate) struct Story {
    rollout: Rollout,
    state: RolloutState,
    members: BTreeMap<String, MemberFacts>,
    assignments: BTreeMap<String, RolloutAssignment>,
    reports: BTreeMap<String, RolloutAssignmentStatus>,
    claims: Claims,
    now: i64,
    revision: i64,
    pub recorder: Recorder,
}

impl Story {
    pub fn new(members: usize) -> Self {
        let names: Vec<String> = (0..members).map(|number| format!("m{number:05}")).collect();
        let object = json!({
            "apiVersion": "rollout.example.com/v1alpha1",
            "kind": "ClusterScopeRollout",
            "metadata": {"name": "checkout", "uid": "u", "generation": 1},
            "spec": {
                "clusterSelector": {"matchLabels": {"env": "prod"}},
                "workload": {"kind": "Deployment", "namespace": "shop", "name": "checkout", "images": {"app": "v2"}},
                "rolloutStrategy": {"maxConcurrency": "100%", "canary": {"steps": [{"setWeight": 50}]}},
            },
        });
        let labels = BTreeMap::from([("env".to_owned(), "prod".to_owned())]);
        let facts = MemberFacts {
            labels,
            reachable: Reachability::Reachable,
            cordoned: false,
            uploaded: true,
            api_level: crds::AGENT_API_LEVEL,
        };
        Self {
            rollout: validate(&serde_json::from_value(object).unwrap()).unwrap(),
            state: RolloutState::new("checkout", "u"),
            members: names.into_iter().map(|name| (name, facts.clone())).collect(),
            assignments: BTreeMap::new(),
            reports: BTreeMap::new(),
            claims: Claims::default(),
            now: 1_767_225_600_000,
            revision: 0,
            recorder: Recorder::default(),
        }
    }

    /// The next decision, as it is recorded; none if there is nothing to decide.
    pub fn decide(&mut self) -> Option<Taken> {
        self.now += 1000;
        let gates = GateSettings { when_unconfigured: GateMode::TimerOnly, ..GateSettings::default() };
        let observations = Observations {
            members: &self.members,
            assignments: &self.assignments,
            reports: &self.reports,
            claims: &self.claims,
            actions: &[],
            samples: &Samples::new(),
            alerts: &HeardAlerts::new(),
            gates: &gates,
            hub_fresh: true,
            judging_since: 0,
            hub: HubFacts::default(),
            recovery: None,
        };
        let desired = Desired::Present(&self.rollout);
        let decision = decide(&self.state, desired, &observations, self.now);
        let recorded = self.recorder.record(&self.state, &decision, desired, &observations, self.now)?;
        self.revision += 1;
        let fence = Fence { epoch: 1, generation: self.revision };
        let taken = Taken { uid: "u".to_owned(), record: self.record(&decision, &recorded) };
        self.recorder.committed(recorded, &decision, fence);
        self.commit(decision, fence);
        Some(taken)
    }

    /// All that are told do it and say so.
    pub fn obey(&mut self) {
        for (name, assignment) in &self.assignments {
            let spec = &assignment.spec;
            let applies = spec.intent == crds::Intent::Apply;
            let images = if applies { spec.images().clone() } else { [("app".into(), "v1".into())].into() };
            let outcome = if applies { Outcome::Healthy } else { Outcome::Observed };
            let workload = WorkloadObservation { images, healthy: true, ..WorkloadObservation::default() };
            let status = RolloutAssignmentStatus {
                fence: spec.fence,
                outcome,
                workload: Some(workload),
                ..RolloutAssignmentStatus::default()
            };
            self.reports.insert(name.clone(), status);
        }
    }

    /// One member turns silent, or is heard again; each of the two is a decision of its own while it is in flux.
    pub fn reach(&mut self, member: &str, reachable: Reachability) {
        self.members.get_mut(member).unwrap().reachable = reachable;
    }

    /// Decides until there is nothing to decide, while all do as they are told.
    pub fn run(&mut self) -> Vec<Taken> {
        let mut taken = Vec::new();
        while let Some(one) = self.decide() {
            taken.push(one);
            self.obey();
        }
        taken
    }

    fn record(&self, decision: &Decision, recorded: &Recorded) -> Replayable {
        let header = &decision.state.header;
        let decision_record = DecisionRecord {
            number: header.decisions,
            at: self.now,
            by: "controller-1".to_owned(),
            term: 1,
            rollout: header.name.clone(),
            run: header.runs_started,
            commands: commands_of(decision),
            events: events_of(decision),
        };
        Replayable {
            decision: decision_record,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            digest: digest(&self.state, decision),
            replay: Some(recorded.clone()),
        }
    }

    fn commit(&mut self, decision: Decision, fence: Fence) {
        self.state = decision.state;
        for command in decision.commands {
            match command {
                Command::Assign { member, mut spec } => {
                    spec.fence = fence;
                    self.assignments.insert(member, RolloutAssignment::new("checkout", *spec));
                }
                Command::Claim { member, target, claim } => {
                    self.claims.held.entry(member).or_default().insert(target, claim);
                }
                Command::Forget { .. }
                | Command::Release { .. }
                | Command::Announce { .. }
                | Command::TakeUp { .. }
                | Command::AcceptHub
                | Command::ReleaseFinalizer => {}
            }
        }
    }
}
