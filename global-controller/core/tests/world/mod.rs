//! A fake world around the crate: a hub with a rollout and members, a store that gives each assignment a
//! fence that rises, agents that answer, and a clock. Whatever a test does, every decision is checked for what
//! must hold for all of them (see `check`).

// Each test crate uses its own part of this.
#![allow(dead_code)]

mod actions;
mod agent;
mod check;
pub mod claims;
pub mod hub;
pub mod measures;
mod recovery;
mod render;
mod replay;
mod spec;

use std::collections::{BTreeMap, BTreeSet};

use crds::{ClusterScopeRolloutStatus, Fence, GateMode, RolloutAssignment, RolloutAssignmentStatus};
use rollout_core::{
    ActionFacts, Answer, Claims, Command, Decision, Desired, GateSettings, HeardAlerts, MemberFacts, Millis,
    Observations, Problem, Reachability, Rollout, RolloutState, SampleKey, Samples, Summary, WaitingOn, decide,
    summarize, waiting_on,
};

pub use agent::{Agent, images};
#[allow(unused_imports)] // Not each test crate restores one.
pub use recovery::Backup;
pub use spec::Spec;

/// 2026-01-01T00:00:00Z: when every world begins.
pub const START: Millis = 1_767_225_600_000;

/// Decisions after which a run that has not come to rest never will.
const MAX_DECISIONS_TO_REST: usize = 200;

// Each stands for something that happens by itself.
#[allow(clippy::struct_excessive_bools)]
#[derive(Clone)]
pub struct World {
    pub spec: Spec,
    pub deleted: bool,
    pub members: BTreeMap<String, MemberFacts>,
    pub agents: BTreeMap<String, Agent>,
    pub gates: GateSettings,
    /// What was measured.
    pub samples: Samples,
    /// What Alertmanagers have told of.
    pub heard: HeardAlerts,
    /// What Prometheus says of a series; of others that all is well.
    pub said: BTreeMap<SampleKey, Vec<Answer>>,
    /// Requests to members that have any, from when on.
    pub traffic: BTreeMap<String, Vec<measures::Traffic>>,
    pub hub_fresh: bool,
    pub judging_since: Millis,
    pub now: Millis,
    pub state: RolloutState,
    pub assignments: BTreeMap<String, RolloutAssignment>,
    pub reports: BTreeMap<String, RolloutAssignmentStatus>,
    /// What people did, as far as the hub has no outcome of it; by creation.
    pub actions: Vec<ActionFacts>,
    pub actions_created: usize,
    /// Whether somebody approves at once what waits for it, while the world comes to rest.
    pub approves: bool,
    /// Also those of other rollouts.
    pub claims: Claims,
    /// Epoch of the store: above 1 when it was lost or went back.
    pub epoch: i64,
    /// Orders that members have uploaded and that were not taken up yet.
    pub uploads: BTreeMap<String, RolloutAssignment>,
    /// What the hub tells of its own past.
    pub hub: hub::Hub,
    /// What the hub was told last.
    pub status: ClusterScopeRolloutStatus,
    pub wake_at: Option<Millis>,
    /// Whether the last decision had more to change than one may.
    pub more: bool,
    validated: Result<Rollout, Vec<Problem>>,
    generation: i64,
    replays: replay::Replays,
    names: BTreeMap<String, String>,
}

impl World {
    /// A world with these members, all of the environment `prod`, reachable and healthy at v1.
    pub fn new(spec: Spec, members: &[&str]) -> Self {
        let validated = spec.validate();
        let mut world = Self {
            deleted: false,
            members: BTreeMap::new(),
            agents: BTreeMap::new(),
            gates: measures::unconfigured(GateMode::TimerOnly),
            samples: Samples::new(),
            heard: HeardAlerts::new(),
            said: BTreeMap::new(),
            traffic: BTreeMap::new(),
            hub_fresh: true,
            judging_since: 0,
            now: START,
            state: RolloutState::new("checkout", "11e8-b0a7"),
            assignments: BTreeMap::new(),
            reports: BTreeMap::new(),
            actions: Vec::new(),
            actions_created: 0,
            approves: false,
            claims: Claims::default(),
            epoch: 1,
            uploads: BTreeMap::new(),
            hub: hub::Hub::default(),
            status: ClusterScopeRolloutStatus::default(),
            wake_at: None,
            more: false,
            validated,
            generation: 0,
            replays: replay::Replays::default(),
            names: BTreeMap::new(),
            spec,
        };
        world.edit(|spec| spec.generation -= 1);
        for member in members {
            world.join(member, "prod");
        }
        world
    }

    /// A world whose targets are its members.
    pub fn of(members: &[&str], steps: &str) -> Self {
        Self::new(Spec::new(members, steps), members)
    }

    /// A world of `count` members m01, m02, … that the rollout selects.
    pub fn fleet(count: usize, spec: Spec) -> Self {
        let names: Vec<String> = (1..=count).map(|number| format!("m{number:02}")).collect();
        Self::new(spec, &names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    // The hub.

    pub fn edit(&mut self, edit: impl FnOnce(&mut Spec)) {
        edit(&mut self.spec);
        self.spec.generation += 1;
        self.validated = self.spec.validate();
        self.hub.spec.hash = self.spec.hash();
        if let (Ok(Rollout { payload: Some(payload), .. }), Some(image)) = (&self.validated, &self.spec.image) {
            self.names.insert(payload.revision.to_string(), image.clone());
        }
    }

    pub fn join(&mut self, member: &str, env: &str) {
        let labels = BTreeMap::from([("env".to_owned(), env.to_owned())]);
        let facts = MemberFacts {
            labels,
            reachable: Reachability::Reachable,
            cordoned: false,
            uploaded: true,
            api_level: crds::AGENT_API_LEVEL,
        };
        self.members.insert(member.to_owned(), facts);
        self.agents.entry(member.to_owned()).or_default();
    }

    pub fn delete_member(&mut self, member: &str) {
        self.members.remove(member);
    }

    pub fn set_reachability(&mut self, member: &str, reachable: Reachability) {
        if let Some(facts) = self.members.get_mut(member) {
            facts.reachable = reachable;
        }
    }

    pub fn cordon(&mut self, member: &str, cordoned: bool) {
        if let Some(facts) = self.members.get_mut(member) {
            facts.cordoned = cordoned;
        }
    }

    pub fn silence(&mut self, member: &str) {
        self.set_reachability(member, Reachability::Unreachable);
    }

    pub fn rollout(&self) -> Result<&Rollout, &Vec<Problem>> {
        self.validated.as_ref()
    }

    pub fn desired(&self) -> Desired<'_> {
        let generation = self.spec.generation;
        match &self.validated {
            _ if self.deleted => Desired::Deleted { generation },
            Ok(rollout) => Desired::Present(rollout),
            Err(problems) => Desired::Invalid { problems, generation },
        }
    }

    /// Another leader begins to decide, which was away or not there until now.
    pub fn begin_term(&mut self) {
        self.judging_since = self.now;
    }

    pub fn observations(&self) -> Observations<'_> {
        Observations {
            members: &self.members,
            assignments: &self.assignments,
            reports: &self.reports,
            claims: &self.claims,
            actions: &self.actions,
            samples: &self.samples,
            alerts: &self.heard,
            gates: &self.gates,
            hub_fresh: self.hub_fresh,
            judging_since: self.judging_since,
            hub: self.hub.facts(),
            recovery: self.recovery(),
        }
    }

    // Time.

    pub fn advance(&mut self, seconds: i64) {
        self.now += seconds * 1000;
    }

    // Decisions.

    /// Decides once, checks the decision, commits it, and returns its commands as text, those about claims left out.
    /// Decisions that only take claims come first and don't count.
    pub fn decide(&mut self) -> Vec<String> {
        let mut decision = self.propose();
        while decision.more && !decision.commands.is_empty() && decision.commands.iter().all(claims::is_about) {
            self.commit(decision);
            decision = self.propose();
        }
        let lines = self.render(&decision.commands);
        self.commit(decision);
        lines
    }

    /// As `decide`, without the events.
    pub fn orders(&mut self) -> Vec<String> {
        let event = |line: &String| line.starts_with("Normal ") || line.starts_with("Warning ");
        self.decide().into_iter().filter(|line| !event(line)).collect()
    }

    /// Decides without committing, and checks the decision.
    pub fn propose(&self) -> Decision {
        let decision = decide(&self.state, self.desired(), &self.observations(), self.now);
        self.check(&decision);
        decision
    }

    /// One transaction of the store, in which each assignment gets its fence.
    pub fn commit(&mut self, decision: Decision) {
        self.generation += 1;
        let fence = Fence { epoch: self.epoch, generation: self.generation };
        self.check_replay(&decision, fence);
        self.wake_at = decision.wake_at;
        self.more = decision.more;
        let stored = serde_json::to_string(&decision.state).expect("a state is JSON");
        self.state = serde_json::from_str(&stored).expect("a stored state can be read");
        assert_eq!(self.state, decision.state, "the store changed the state");
        self.claims = self.claims_after(&decision);
        for command in decision.commands {
            match command {
                Command::Assign { member, mut spec } => {
                    spec.fence = fence;
                    self.assignments.insert(member, RolloutAssignment::new("checkout", *spec));
                }
                Command::Forget { member } => {
                    self.assignments.remove(&member);
                    self.reports.remove(&member);
                }
                Command::TakeUp { member } => drop(self.uploads.remove(&member)),
                Command::AcceptHub => self.hub.accept(),
                Command::Claim { .. }
                | Command::Release { .. }
                | Command::Announce { .. }
                | Command::ReleaseFinalizer => {}
            }
        }
        self.status = self.summary().status;
    }

    /// Lets every agent do as it is told and decides, until nothing happens any more at this time.
    pub fn rest(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        for _ in 0..MAX_DECISIONS_TO_REST {
            let decision = self.propose();
            let quiet = decision.state == self.state;
            lines.extend(self.render(&decision.commands));
            self.commit(decision);
            let told = self.obey_all() || (quiet && self.approves && self.approve_if_asked());
            if quiet && !told {
                return lines;
            }
        }
        panic!("no rest after {MAX_DECISIONS_TO_REST} decisions, waiting for {:?}", self.waiting_on());
    }

    /// As `rest`, and lets time pass whenever there is nothing else to do, until nothing is left to wait for.
    pub fn finish(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        for _ in 0..MAX_DECISIONS_TO_REST {
            lines.extend(self.rest());
            let next = self.wake_at.into_iter().chain(self.due().next_at).min();
            let Some(at) = next else { return lines };
            self.now = self.now.max(at);
            self.measure();
        }
        panic!("no end after {MAX_DECISIONS_TO_REST} waits, waiting for {:?}", self.waiting_on());
    }

    // Outcomes.

    pub fn waiting_on(&self) -> Option<WaitingOn> {
        waiting_on(&self.state, self.desired(), &self.observations(), self.now)
    }

    /// The reason of what is waited for; "done" when there is none.
    pub fn reason(&self) -> &'static str {
        self.waiting_on().map_or("done", |waiting| waiting.reason())
    }

    pub fn message(&self) -> String {
        self.waiting_on().map(|waiting| waiting.message()).unwrap_or_default()
    }

    pub fn summary(&self) -> Summary {
        summarize(&self.state, self.desired(), &self.observations(), self.now)
    }

    pub fn phase(&self) -> crds::Phase {
        self.summary().status.phase.unwrap()
    }

    /// State and message of a member among the clusters that need attention; empty when it is not among them.
    pub fn state_of(&self, member: &str) -> String {
        let clusters = self.summary().status.clusters;
        let found = clusters.into_iter().find(|cluster| cluster.name == member);
        found.map(|cluster| format!("{}: {}", cluster.state, cluster.message)).unwrap_or_default()
    }

    /// Members that are told to run the payload of the spec, by the committed assignments.
    pub fn applied(&self) -> BTreeSet<String> {
        let wanted = self.rollout().ok().and_then(|rollout| rollout.payload.as_ref()).map(|payload| &payload.revision);
        self.assignments
            .iter()
            .filter(|(_, assignment)| {
                assignment.spec.intent == crds::Intent::Apply && Some(&assignment.spec.revision) == wanted
            })
            .map(|(member, _)| member.clone())
            .collect()
    }
}
