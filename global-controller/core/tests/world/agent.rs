//! What runs in the members, and what their agents say about it.

use std::collections::BTreeMap;

use crds::{
    Fence, Intent, OnDeadline, OnDrift, Outcome, RolloutAssignment, RolloutAssignmentSpec, RolloutAssignmentStatus,
    WorkloadObservation, images_hash, short_sha256,
};

use super::World;

type Images = BTreeMap<String, String>;

/// One member: its workload, and what its agent remembers.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Images of all containers of the workload; none: there is no workload.
    pub runs: Option<Images>,
    /// Hash of the whole objects that are there; empty: none of them is.
    pub objects: String,
    /// What it keeps of the objects that were there, by the name of the snapshot.
    kept: BTreeMap<String, String>,
    /// uid of the workload.
    pub uid: String,
    /// Whether the workload is healthy by its own status.
    pub healthy: bool,
    /// Pods that the workload wants.
    pub desired: i32,
    /// Whether a partition keeps old pods of it.
    pub partial: bool,
    /// Whether nothing that is applied here ever becomes healthy.
    pub cursed: bool,
    /// Its local object: the order that it has, and what it said of it.
    pub order: Option<RolloutAssignment>,
    /// The order of which it has returned by itself, as it was not healthy in time.
    reverted: Option<RolloutAssignmentSpec>,
    /// Fence under which it has applied, and the hash of what.
    applied: Option<(Fence, String)>,
    /// Fence under which its order came first, perhaps with other words beside the payload.
    since: Fence,
    sequence: i64,
}

impl Default for Agent {
    fn default() -> Self {
        Self {
            runs: Some(images("v1")),
            objects: String::new(),
            kept: BTreeMap::new(),
            uid: "w1".to_owned(),
            healthy: true,
            desired: 2,
            partial: false,
            cursed: false,
            order: None,
            reverted: None,
            applied: None,
            since: Fence::default(),
            sequence: 0,
        }
    }
}

/// Container `app` with a tag of the image `shop`.
pub fn images(tag: &str) -> Images {
    BTreeMap::from([("app".to_owned(), format!("shop:{tag}"))])
}

/// The images that an agent sets, as `cluster-agent` has it.
fn wanted(spec: &RolloutAssignmentSpec) -> Images {
    let named = spec.images();
    match (spec.intent, &spec.previous) {
        (Intent::Return, Some(previous)) => {
            let back = previous.images.iter().filter(|(container, _)| named.contains_key(*container));
            back.map(|(container, image)| (container.clone(), image.clone())).collect()
        }
        _ => named.clone(),
    }
}

/// The images that it has set when it answers this.
fn set(spec: &RolloutAssignmentSpec, outcome: Outcome) -> Option<Images> {
    match outcome {
        Outcome::Progressing | Outcome::PodDeletionByOwner | Outcome::Healthy => Some(wanted(spec)),
        Outcome::Reverted => Some(wanted(&RolloutAssignmentSpec { intent: Intent::Return, ..spec.clone() })),
        _ => None,
    }
}

/// Name of what whole objects are.
fn snapshot(objects: &str) -> String {
    short_sha256(&format!("objects {objects}"))
}

/// Whether pods of one of the images never become ready.
fn is_bad(images: &Images) -> bool {
    images.values().any(|image| image.contains("bad"))
}

impl World {
    /// The agent gives this answer to its committed assignment, whatever it was told. Progressing, `PodDeletionByOwner` and
    /// Healthy set the assigned images.
    pub fn answer(&mut self, member: &str, outcome: Outcome) {
        self.answer_saying(member, outcome, "");
    }

    pub fn answer_saying(&mut self, member: &str, outcome: Outcome, message: &str) {
        let spec = self.assignments[member].spec.clone();
        let agent = self.agents.get_mut(member).expect("the member has an agent");
        agent.since = agent.since(&spec);
        if let Some(images) = set(&spec, outcome) {
            agent.make(&spec, images, outcome);
            agent.healthy = !matches!(outcome, Outcome::Progressing | Outcome::PodDeletionByOwner);
        }
        let report = agent.report(&spec, outcome, message);
        let mut local = RolloutAssignment::new("checkout", spec);
        local.status = Some(report.clone());
        agent.order = (outcome != Outcome::Withdrawn).then_some(local);
        if let Some(workload) = &report.workload {
            self.names.insert(images_hash(&workload.images), super::render::images_text(&workload.images));
        }
        self.reports.insert(member.to_owned(), report);
    }

    pub fn all_answer(&mut self, members: &[&str], outcome: Outcome) {
        for member in members {
            self.answer(member, outcome);
        }
    }

    /// The agent does as it is told and says so; true if that is news.
    pub fn obey(&mut self, member: &str) -> bool {
        let reachable = self.observations().reachability(member) == rollout_core::Reachability::Reachable;
        let Some(assignment) = self.assignments.get(member).filter(|_| reachable) else { return false };
        let spec = assignment.spec.clone();
        let outcome = self.agents[member].outcome(&spec);
        let known = self.reports.get(member).is_some_and(|report| {
            let agent = &self.agents[member];
            report.fence == spec.fence
                && report.outcome == outcome
                && report.workload.as_ref().map(|workload| &workload.images) == agent.images(&spec).as_ref()
                && report.workload.as_ref().is_none_or(|workload| workload.desired == agent.desired)
        });
        if !known {
            self.answer(member, outcome);
        }
        !known
    }

    /// The deadline passes by the agent's own clock, heard or not: unless it was healthy, or is to hold, it goes back.
    pub fn pass_own_deadline(&mut self, member: &str) {
        let Some(assignment) = self.assignments.get(member) else { return };
        let spec = assignment.spec.clone();
        let agent = self.agents.get_mut(member).expect("the member has an agent");
        let applied = agent.applied.as_ref().is_some_and(|(fence, _)| *fence == spec.fence);
        let healthy = agent.outcome(&spec) == Outcome::Healthy;
        if spec.intent == Intent::Apply && spec.on_deadline == OnDeadline::Return && applied && !healthy {
            let images = set(&spec, Outcome::Reverted).expect("there is a way back");
            agent.make(&spec, images, Outcome::Reverted);
            agent.reverted = Some(spec.clone());
            let report = agent.report(&spec, Outcome::Reverted, "");
            if let Some(local) = agent.order.as_mut() {
                local.status = Some(report);
            }
            agent.healthy = true;
        }
    }

    /// All agents that are reachable do as they are told.
    pub fn obey_all(&mut self) -> bool {
        let members: Vec<String> = self.assignments.keys().cloned().collect();
        let news = members.iter().filter(|member| self.obey(member)).count();
        news > 0
    }
}

impl Agent {
    /// Whether it has ever applied anything.
    pub fn has_applied(&self) -> bool {
        self.applied.is_some()
    }

    /// An honest answer: what comes of doing as `spec` says.
    fn outcome(&self, spec: &RolloutAssignmentSpec) -> Outcome {
        let wanted = wanted(spec);
        let (there, begun, expected) = if spec.manifests.is_some() {
            self.objects_seen(spec)
        } else {
            let Some(runs) = &self.runs else {
                return if spec.intent == Intent::Withdraw { Outcome::Withdrawn } else { Outcome::WorkloadMissing };
            };
            let there = wanted.iter().all(|(container, image)| runs.get(container) == Some(image));
            (there, self.has_set(spec, &wanted), spec.expected_hash.as_ref() == Some(&images_hash(runs)))
        };
        match spec.intent {
            Intent::Observe => Outcome::Observed,
            Intent::Withdraw => Outcome::Withdrawn,
            Intent::Apply | Intent::Return if spec.on_drift == OnDrift::Report && !there => Outcome::Drifted,
            Intent::Apply if self.has_given_up(spec) => Outcome::Reverted,
            Intent::Apply if !(begun || there || expected) => Outcome::PreviousChanged,
            Intent::Apply if self.cursed => Outcome::Progressing,
            Intent::Apply | Intent::Return if is_bad(&wanted) => Outcome::Progressing,
            Intent::Apply | Intent::Return => Outcome::Healthy,
        }
    }

    /// Whether its objects are as assigned, whether it has begun to make them so, and whether they are what was expected.
    fn objects_seen(&self, spec: &RolloutAssignmentSpec) -> (bool, bool, bool) {
        let wanted = spec.content_hash().expect("there are objects");
        let there =
            if spec.intent == Intent::Return { snapshot(&self.objects) == wanted } else { self.objects == wanted };
        let begun = self.applied.as_ref().is_some_and(|(fence, hash)| *fence >= self.since(spec) && *hash == wanted);
        (there, begun, spec.expected_hash.as_ref() == Some(&snapshot(&self.objects)))
    }

    /// What it says of images in answer to this.
    fn images(&self, spec: &RolloutAssignmentSpec) -> Option<Images> {
        if spec.manifests.is_some() { Some(Images::new()) } else { self.runs.clone() }
    }

    /// Sets the images, or makes the objects what they are to be.
    fn make(&mut self, spec: &RolloutAssignmentSpec, images: Images, outcome: Outcome) {
        let Some(hash) = spec.content_hash().filter(|_| spec.manifests.is_some()) else {
            return self.apply(spec.fence, images);
        };
        let back = match outcome {
            Outcome::Reverted => spec.previous.as_ref().and_then(|previous| previous.snapshot.clone()),
            _ => (spec.intent == Intent::Return).then(|| hash.clone()),
        };
        if let Some(back) = back {
            self.objects = self.kept.get(&back).expect("it has kept what was there").clone();
            self.applied = Some((spec.fence, back));
            return;
        }
        if self.objects != hash {
            self.kept.insert(snapshot(&self.objects), self.objects.clone());
        }
        self.objects.clone_from(&hash);
        self.applied = Some((spec.fence, hash));
    }

    /// Whether it has set these images for this very order, or for one that said the same beside its fence.
    fn has_set(&self, spec: &RolloutAssignmentSpec, wanted: &Images) -> bool {
        let since = self.since(spec);
        self.applied
            .as_ref()
            .is_some_and(|(fence, hash)| *fence == spec.fence || (*fence >= since && *hash == images_hash(wanted)))
    }

    /// Since which fence it has had this order.
    fn since(&self, spec: &RolloutAssignmentSpec) -> Fence {
        let same = |known: &RolloutAssignment| {
            let known = &known.spec;
            known.intent == spec.intent && known.rollout == spec.rollout && known.revision == spec.revision
        };
        if self.order.as_ref().is_some_and(same) { self.since } else { spec.fence }
    }

    /// The same order under another epoch is no new attempt.
    fn has_given_up(&self, spec: &RolloutAssignmentSpec) -> bool {
        self.reverted.as_ref().is_some_and(|given_up| {
            let same = given_up.rollout == spec.rollout && given_up.revision == spec.revision;
            given_up.fence == spec.fence || (same && given_up.fence.epoch < spec.fence.epoch)
        })
    }

    fn apply(&mut self, fence: Fence, images: Images) {
        self.applied = Some((fence, images_hash(&images)));
        self.runs.get_or_insert_default().extend(images);
    }

    fn report(&mut self, spec: &RolloutAssignmentSpec, outcome: Outcome, message: &str) -> RolloutAssignmentStatus {
        self.sequence += 1;
        let observation = |images: &Images| WorkloadObservation {
            uid: self.uid.clone(),
            generation: 7,
            observed_generation: 7,
            images: images.clone(),
            desired: self.desired,
            updated: self.desired,
            ready: self.desired,
            available: self.desired,
            healthy: self.healthy,
            partial: self.healthy && self.partial,
            snapshot: spec.manifests.is_some().then(|| snapshot(&self.objects)),
        };
        RolloutAssignmentStatus {
            fence: spec.fence,
            sequence: self.sequence,
            outcome,
            applied_hash: self.applied.as_ref().filter(|(fence, _)| *fence == spec.fence).map(|(_, hash)| hash.clone()),
            workload: self.images(spec).as_ref().filter(|_| outcome != Outcome::WorkloadMissing).map(observation),
            message: message.to_owned(),
            changed_at: None,
            deadline: None,
        }
    }
}
