//! The records of the store against each other: who refers to whom, and what must be there if another is.
//!
//! Keys are added one by one and only what the rules need is kept of them.

use std::collections::{BTreeMap, BTreeSet};

use crds::{Fence, Intent, Report, Revision, RolloutAssignment, RolloutAssignmentSpec};
use federated_store::KeyValue;
use rollout_core::{Claim, Header, HeardAlert, MemberRecord, MemberStage, PastRun, Plan, Sample, Target};
use serde::de::DeserializeOwned;

use super::Fault;
use crate::driver::{KEPT_DECISIONS, TRIMMED_AT_ONCE};
use crate::keys::{self, Key};
use crate::records::{DecisionRecord, HubRecord, Proof, ReachRecord, RecoveryRecord};

/// What the rules need of all keys.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Keys added.
    pub keys: usize,
    /// Keys of a newer release among them.
    pub unknown_keys: usize,
    /// Revision of the store when the last ones were read.
    pub revision: u64,
    epoch: Option<i64>,
    headers: BTreeMap<String, HeaderFacts>,
    plans: BTreeSet<String>,
    /// uid to the revisions of its past runs.
    past: BTreeMap<String, BTreeSet<Revision>>,
    /// (uid, name) to hash.
    payloads: BTreeMap<(String, Revision), Revision>,
    /// (uid, member).
    records: BTreeMap<(String, String), MemberStage>,
    /// (member, rollout's name).
    assignments: BTreeMap<(String, String), AssignmentFacts>,
    /// (member, rollout's name).
    reports: BTreeMap<(String, String), Fence>,
    claims: BTreeMap<(String, Target), Claim>,
    /// Uids of rollouts for which something was measured.
    sampled: BTreeSet<String>,
    /// uid to numbers.
    decisions: BTreeMap<String, BTreeSet<u64>>,
    unreadable: Vec<Fault>,
}

#[derive(Debug)]
struct HeaderFacts {
    name: String,
    accepted_revision: Option<Revision>,
    decisions: u64,
}

#[derive(Debug)]
struct AssignmentFacts {
    uid: String,
    /// Member and rollout's name, as the value has them.
    names: (String, String),
    intent: Intent,
    /// None: it is about whole objects, which it doesn't name.
    target: Option<Target>,
    epoch: i64,
}

impl Survey {
    /// Takes up one key.
    pub fn add(&mut self, item: &KeyValue) {
        self.keys += 1;
        let Some(key) = Key::parse(&item.key) else {
            self.unknown_keys += 1;
            return;
        };
        if let Err(error) = self.take(key, &item.value) {
            self.unreadable.push(Fault::new(&item.key, format!("its value can't be read: {error}")));
        }
    }

    fn take(&mut self, key: Key<'_>, value: &[u8]) -> Result<(), serde_json::Error> {
        match key {
            Key::Epoch => self.epoch = Some(read(value)?),
            Key::Recovery => drop(read::<RecoveryRecord>(value)?),
            Key::WentBack => drop(read::<Proof>(value)?),
            Key::Hub => drop(read::<HubRecord>(value)?),
            Key::Uploaded { .. } => drop(read::<i64>(value)?),
            Key::Upload { .. } => drop(read::<RolloutAssignment>(value)?),
            Key::Header { uid } => {
                let Header { name, decisions, accepted_revision, .. } = read(value)?;
                self.headers.insert(uid.to_owned(), HeaderFacts { name, accepted_revision, decisions });
            }
            Key::Plan { uid } => {
                read::<Plan>(value)?;
                self.plans.insert(uid.to_owned());
            }
            Key::History { uid } => {
                let runs: Vec<PastRun> = read(value)?;
                self.past.insert(uid.to_owned(), runs.into_iter().map(|past| past.revision).collect());
            }
            Key::Payload { uid, revision } => {
                let hash = Revision::of(&read(value)?);
                self.payloads.insert((uid.to_owned(), Revision(revision.to_owned())), hash);
            }
            Key::Member { uid, member } => {
                let MemberRecord { stage, .. } = read(value)?;
                self.records.insert((uid.to_owned(), member.to_owned()), stage);
            }
            Key::Assignment { member, rollout } => {
                self.assignments.insert((member.to_owned(), rollout.to_owned()), AssignmentFacts::of(read(value)?));
            }
            Key::Report { member, rollout } => {
                let Report { status, .. } = read(value)?;
                self.reports.insert((member.to_owned(), rollout.to_owned()), status.fence);
            }
            Key::Info { .. } => {
                read::<crds::AgentInfo>(value)?;
            }
            Key::Reach { .. } => {
                read::<ReachRecord>(value)?;
            }
            Key::Claim { member, target } => drop(self.claims.insert((member.to_owned(), target), read(value)?)),
            Key::Sample { uid, .. } => {
                read::<Sample>(value)?;
                self.sampled.insert(uid.to_owned());
            }
            Key::Alert { .. } => drop(read::<HeardAlert>(value)?),
            Key::Decision { uid, number } => {
                read::<DecisionRecord>(value)?;
                self.decisions.entry(uid.to_owned()).or_default().insert(number);
            }
        }
        Ok(())
    }

    /// Every rule that is broken.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = self.unreadable.clone();
        self.check_rollouts(&mut faults);
        self.check_history(&mut faults);
        self.check_records(&mut faults);
        self.check_assignments(&mut faults);
        self.check_reports(&mut faults);
        self.check_claims(&mut faults);
        self.check_decisions(&mut faults);
        faults
    }

    /// The header is the condition of every decision: nothing of a rollout is there without it.
    fn check_rollouts(&self, faults: &mut Vec<Fault>) {
        for uid in self.headers.keys().filter(|uid| !self.plans.contains(*uid)) {
            faults.push(Fault::new(keys::header(uid), "the rollout has no plan"));
        }
        for uid in self.plans.iter().filter(|uid| !self.headers.contains_key(*uid)) {
            faults.push(Fault::new(keys::plan(uid), "an orphan: the rollout has no header"));
        }
        for uid in self.sampled.iter().filter(|uid| !self.headers.contains_key(*uid)) {
            faults.push(Fault::new(keys::samples_of(uid), "orphans: the rollout has no header"));
        }
    }

    /// A payload is named by its hash, and goes with the last that refers to it.
    fn check_history(&self, faults: &mut Vec<Fault>) {
        for uid in self.past.keys().filter(|uid| !self.headers.contains_key(*uid)) {
            faults.push(Fault::new(keys::history(uid), "an orphan: the rollout has no header"));
        }
        for ((uid, revision), hash) in &self.payloads {
            let subject = || keys::payload(uid, revision);
            let accepted = self.headers.get(uid).and_then(|header| header.accepted_revision.as_ref());
            let referred = self.past.get(uid).is_some_and(|past| past.contains(revision)) || accepted == Some(revision);
            if hash != revision {
                faults.push(Fault::new(subject(), format!("the hash of the payload is {hash}")));
            }
            if !referred {
                faults.push(Fault::new(subject(), "an orphan: neither a past run nor the header refers to it"));
            }
        }
    }

    fn check_records(&self, faults: &mut Vec<Fault>) {
        for ((uid, member), stage) in &self.records {
            let subject = || keys::member(uid, member);
            let Some(header) = self.headers.get(uid) else {
                faults.push(Fault::new(subject(), "an orphan: the rollout has no header"));
                continue;
            };
            // A recreated rollout of the same name may have taken the assignment over, and removed it.
            let ordered = !matches!(stage, MemberStage::Planned | MemberStage::Withdrawing);
            if ordered && !self.assignments.contains_key(&(member.clone(), header.name.clone())) {
                faults.push(Fault::new(subject(), format!("the member is {stage:?} without an assignment")));
            }
        }
    }

    fn check_assignments(&self, faults: &mut Vec<Fault>) {
        for ((member, rollout), assignment) in &self.assignments {
            let AssignmentFacts { uid, names, intent, target, epoch } = assignment;
            let mut require = |holds: bool, broken: &dyn Fn() -> String| {
                if !holds {
                    faults.push(Fault::new(keys::assignment(member, rollout), broken()));
                }
            };
            require((&names.0, &names.1) == (member, rollout), &|| {
                format!("it is for member '{}' and rollout '{}'", names.0, names.1)
            });
            let header = self.headers.get(uid);
            require(header.is_some_and(|header| header.name == *rollout), &|| {
                format!("there is no rollout '{rollout}' of uid {uid}")
            });
            require(self.records.contains_key(&(uid.clone(), member.clone())), &|| {
                format!("rollout {uid} has no record of the member")
            });
            let forward = matches!(intent, Intent::Observe | Intent::Apply);
            if let Some(target) = target.as_ref().filter(|_| forward) {
                let claim = self.claims.get(&(member.clone(), target.clone()));
                require(claim.is_some_and(|claim| claim.uid == *uid), &|| {
                    let holder = claim.map_or("nobody", |claim| claim.rollout.as_str());
                    format!("it says {} and the claim on {target} is held by {holder}", intent.as_str())
                });
            }
            require(self.epoch.is_some_and(|known| *epoch <= known), &|| {
                format!("its epoch {epoch} is above the store's, {:?}", self.epoch)
            });
        }
    }

    /// A report whose fence is above what the store has given out proves that the store went back.
    fn check_reports(&self, faults: &mut Vec<Fault>) {
        for ((member, rollout), fence) in &self.reports {
            let subject = || keys::report(member, rollout);
            if !self.assignments.contains_key(&(member.clone(), rollout.clone())) {
                faults.push(Fault::new(subject(), "an orphan: there is no assignment that it could answer"));
            }
            let highest = self.epoch.map(|epoch| Fence { epoch, generation: generation(self.revision) });
            if highest.is_none_or(|highest| *fence > highest) {
                let highest = highest.map_or_else(|| "none".to_owned(), |highest| highest.to_string());
                faults
                    .push(Fault::new(subject(), format!("its fence {fence} is above the store's highest, {highest}")));
            }
        }
    }

    fn check_claims(&self, faults: &mut Vec<Fault>) {
        for ((member, target), claim) in &self.claims {
            let holder = self.headers.get(&claim.uid);
            if holder.is_none_or(|header| header.name != claim.rollout) {
                let (name, uid) = (&claim.rollout, &claim.uid);
                let broken = format!("an orphan: there is no rollout '{name}' of uid {uid}");
                faults.push(Fault::new(keys::claim(member, target), broken));
            }
        }
    }

    fn check_decisions(&self, faults: &mut Vec<Fault>) {
        for (uid, numbers) in &self.decisions {
            let subject = |number: u64| keys::decision(uid, number);
            let Some(header) = self.headers.get(uid) else {
                let orphans = numbers.first().map(|first| Fault::new(subject(*first), "an orphan: there is no header"));
                faults.extend(orphans);
                continue;
            };
            for number in numbers.range(header.decisions + 1..) {
                let broken = format!("the header counts {} decisions", header.decisions);
                faults.push(Fault::new(subject(*number), broken));
            }
            // A crash between a commit and its trimming leaves a few, which the next ones take along.
            let oldest = header.decisions.saturating_sub(KEPT_DECISIONS + TRIMMED_AT_ONCE);
            for number in numbers.range(..oldest) {
                let broken = format!("older than the {KEPT_DECISIONS} that are kept, and nothing will remove it");
                faults.push(Fault::new(subject(*number), broken));
            }
        }
        for (uid, HeaderFacts { decisions, .. }) in &self.headers {
            let newest = self.decisions.get(uid).and_then(|numbers| numbers.last().copied()).unwrap_or(0);
            if newest < *decisions {
                let broken = format!("{decisions} decisions were taken, and the record of the last is not there");
                faults.push(Fault::new(keys::header(uid), broken));
            }
        }
    }
}

impl AssignmentFacts {
    fn of(spec: RolloutAssignmentSpec) -> Self {
        let target = spec.workload.as_ref().map(Target::of_assigned);
        let RolloutAssignmentSpec { member, rollout, intent, fence, .. } = spec;
        Self { uid: rollout.uid, names: (member, rollout.name), intent, target, epoch: fence.epoch }
    }
}

fn generation(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

fn read<T: DeserializeOwned>(value: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(value)
}

#[cfg(test)]
#[path = "survey_test.rs"]
mod tests;
