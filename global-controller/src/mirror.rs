//! The store's content, in memory and taken apart, kept up to date by [`follow`].

mod claims;
mod follow;

use std::collections::BTreeMap;

use crds::{AgentInfo, Report, Revision, RolloutAssignment, RolloutAssignmentSpec, RolloutAssignmentStatus};
use federated_store::Change as StoreChange;
use kube::api::ObjectMeta;
use rollout_core::{HeardAlerts, Plan, RolloutState, STATE_VERSION, Samples};

pub(crate) use claims::ClaimIndex;
pub(crate) use follow::run as follow;

use crate::bus::Change;
use crate::keys::Key;
use crate::records::{HubRecord, Proof, ReachRecord, RecoveryRecord, read};

/// A rollout's records.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    /// What core decides on.
    pub state: RolloutState,
    /// Revision of the header: the condition under which the next decision may be written.
    pub header_revision: u64,
}

/// A report with the revision of its key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredReport {
    pub uid: String,
    pub status: RolloutAssignmentStatus,
    pub revision: u64,
}

/// What the store says of a member.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct StoredMember {
    pub info: Option<AgentInfo>,
    pub reach: Option<ReachRecord>,
    /// Epoch under which it has told all that it has.
    pub uploaded: Option<i64>,
}

/// The store's content.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Mirror {
    /// Everything up to and with this revision is in here.
    pub revision: u64,
    /// Revision from which on all is of one instant: it was read in pages, the later ones at later revisions.
    pub whole_from: u64,
    /// The store's epoch, once a leader has set it.
    pub epoch: Option<i64>,
    /// What the store has to learn anew, or had.
    pub recovery: Option<RecoveryRecord>,
    /// A proof that the store went back, which the leader has not acted upon yet.
    pub proof: Option<Proof>,
    /// What is known of the hub's own past.
    pub hub: HubRecord,
    /// Revision of that; none when nothing is stored.
    pub hub_revision: Option<u64>,
    /// Rollout's uid to member to the order that it has uploaded.
    uploads: BTreeMap<String, BTreeMap<String, RolloutAssignment>>,
    /// Rollouts by uid.
    rollouts: BTreeMap<String, Stored>,
    /// Member to rollout's name to assignment.
    assignments: BTreeMap<String, BTreeMap<String, RolloutAssignment>>,
    /// Rollout's uid to member to assignment: the same, as decisions need it.
    assigned: BTreeMap<String, BTreeMap<String, RolloutAssignment>>,
    /// Member to rollout's name to report.
    reports: BTreeMap<String, BTreeMap<String, StoredReport>>,
    /// Rollout's uid to member to report: the same, as decisions need it.
    reported: BTreeMap<String, BTreeMap<String, RolloutAssignmentStatus>>,
    members: BTreeMap<String, StoredMember>,
    claims: ClaimIndex,
    /// Rollout's uid to what was measured.
    samples: BTreeMap<String, Samples>,
    /// What Alertmanagers have told of.
    alerts: HeardAlerts,
}

impl Mirror {
    /// Whether all of it is of one instant.
    pub fn is_whole(&self) -> bool {
        self.revision >= self.whole_from
    }

    /// A rollout's records.
    pub fn rollout(&self, uid: &str) -> Option<&Stored> {
        self.rollouts.get(uid)
    }

    /// Number of a rollout's latest run; `None` without records.
    pub fn runs_started(&self, uid: &str) -> Option<i64> {
        self.rollout(uid).map(|stored| stored.state.header.runs_started)
    }

    /// Uids of all rollouts that have records.
    pub fn rollouts(&self) -> impl Iterator<Item = &String> {
        self.rollouts.keys()
    }

    /// Member to assignment of a rollout.
    pub fn assigned(&self, uid: &str) -> Option<&BTreeMap<String, RolloutAssignment>> {
        self.assigned.get(uid)
    }

    /// Member to report about a rollout.
    pub fn reported(&self, uid: &str) -> Option<&BTreeMap<String, RolloutAssignmentStatus>> {
        self.reported.get(uid)
    }

    /// Member to the order of a rollout that it has uploaded and that is not taken up yet.
    pub fn uploads(&self, uid: &str) -> Option<&BTreeMap<String, RolloutAssignment>> {
        self.uploads.get(uid)
    }

    /// Whether the store knows what a member was told before: always, but in one that was lost or went back.
    pub fn is_uploaded(&self, member: &str) -> bool {
        let uploaded = self.members.get(member).and_then(|member| member.uploaded);
        self.recovery.is_none_or(|recovery| uploaded == Some(recovery.epoch))
    }

    /// A member's assignments, by rollout.
    pub fn assignments_of(&self, member: &str) -> impl Iterator<Item = (&String, &RolloutAssignment)> {
        self.assignments.get(member).into_iter().flatten()
    }

    /// One assignment.
    pub fn assignment(&self, member: &str, rollout: &str) -> Option<&RolloutAssignment> {
        self.assignments.get(member)?.get(rollout)
    }

    /// Every assignment, as (member, rollout's name).
    pub fn all_assignments(&self) -> impl Iterator<Item = (&String, &String)> {
        self.assignments.iter().flat_map(|(member, all)| all.keys().map(move |rollout| (member, rollout)))
    }

    /// One report.
    pub fn report(&self, member: &str, rollout: &str) -> Option<&StoredReport> {
        self.reports.get(member)?.get(rollout)
    }

    /// What the store says of a member.
    pub fn member(&self, name: &str) -> Option<&StoredMember> {
        self.members.get(name)
    }

    /// Every member that the store says anything of.
    pub fn members(&self) -> impl Iterator<Item = &String> {
        self.members.keys()
    }

    /// Who may touch what.
    pub fn claims(&self) -> &ClaimIndex {
        &self.claims
    }

    /// What was measured of a rollout.
    pub fn samples(&self, uid: &str) -> Option<&Samples> {
        self.samples.get(uid)
    }

    /// What Alertmanagers have told of.
    pub fn alerts(&self) -> &HeardAlerts {
        &self.alerts
    }

    /// Uids of rollouts that alerts which are told can concern.
    pub fn heeding_alerts(&self) -> impl Iterator<Item = &String> {
        self.rollouts.iter().filter(|(_, stored)| stored.state.heeds_alerts()).map(|(uid, _)| uid)
    }

    /// Takes up a change of one key; answers who has to look.
    pub fn apply(&mut self, change: &StoreChange, revision: u64) -> Vec<Change> {
        let StoreChange { key, value } = change;
        let value = value.as_deref();
        match Key::parse(key) {
            Some(Key::Epoch) => {
                self.epoch = value.and_then(|value| read(key, value));
                vec![Change::Everything]
            }
            Some(Key::Recovery) => {
                self.recovery = value.and_then(|value| read(key, value));
                vec![Change::Everything]
            }
            Some(Key::WentBack) => {
                self.proof = value.and_then(|value| read(key, value));
                vec![Change::Everything]
            }
            Some(Key::Hub) => {
                self.hub_revision = value.map(|_| revision);
                self.hub = value.and_then(|value| read(key, value)).unwrap_or_default();
                vec![Change::Everything]
            }
            Some(Key::Header { uid }) => self.apply_header(key, uid, value, revision),
            Some(Key::Plan { uid }) => {
                if let Some(stored) = self.rollouts.get_mut(uid) {
                    stored.state.plan = value.and_then(|value| read(key, value)).unwrap_or_else(Plan::default);
                }
                rollout(uid)
            }
            Some(Key::History { uid }) => {
                if let Some(stored) = self.rollouts.get_mut(uid) {
                    stored.state.history.runs = value.and_then(|value| read(key, value)).unwrap_or_default();
                }
                rollout(uid)
            }
            Some(Key::Payload { uid, revision }) => {
                if let Some(stored) = self.rollouts.get_mut(uid) {
                    let (payloads, revision) = (&mut stored.state.history.payloads, Revision(revision.to_owned()));
                    match value.and_then(|value| read(key, value)) {
                        Some(payload) => drop(payloads.insert(revision, payload)),
                        None => drop(payloads.remove(&revision)),
                    }
                }
                rollout(uid)
            }
            Some(Key::Member { uid, member }) => {
                if let Some(stored) = self.rollouts.get_mut(uid) {
                    set(&mut stored.state.members, member, value.and_then(|value| read(key, value)));
                }
                rollout(uid)
            }
            Some(Key::Assignment { member, rollout }) => {
                let spec = value.and_then(|value| read(key, value));
                self.apply_assignment(member, rollout, spec, revision)
            }
            Some(Key::Report { member, rollout }) => {
                let report = value.and_then(|value| read(key, value));
                self.apply_report(member, rollout, report, revision)
            }
            Some(Key::Info { member }) => {
                let info = value.and_then(|value| read(key, value));
                self.apply_member(member, |stored| stored.info = info)
            }
            Some(Key::Reach { member }) => {
                let reach = value.and_then(|value| read(key, value));
                self.apply_member(member, |stored| stored.reach = reach)
            }
            Some(Key::Uploaded { member }) => {
                let uploaded = value.and_then(|value| read(key, value));
                self.apply_member(member, |stored| stored.uploaded = uploaded)
            }
            Some(Key::Upload { member, rollout }) => {
                let order = value.and_then(|value| read(key, value));
                self.apply_upload(member, rollout, order)
            }
            Some(Key::Claim { member, target }) => {
                let claim = value.and_then(|value| read(key, value));
                self.claims.set(member, &target, claim, revision);
                vec![Change::Claims { target }]
            }
            Some(Key::Sample { uid, key: series }) => {
                let sample = value.and_then(|value| read(key, value));
                let samples = self.samples.entry(uid.to_owned()).or_default();
                match sample {
                    Some(sample) => drop(samples.insert(series, sample)),
                    None => drop(samples.remove(&series)),
                }
                if samples.is_empty() {
                    self.samples.remove(uid);
                }
                rollout(uid)
            }
            Some(Key::Alert { fingerprint }) => {
                set(&mut self.alerts, fingerprint, value.and_then(|value| read(key, value)));
                vec![Change::Alerts]
            }
            // Decisions are read from the store when a person asks; keys of a newer release are not ours.
            Some(Key::Decision { .. }) | None => Vec::new(),
        }
    }

    /// The header comes first, in the store's order and in each transaction: the others have a place to go then.
    fn apply_header(&mut self, key: &str, uid: &str, value: Option<&[u8]>, revision: u64) -> Vec<Change> {
        let Some(value) = value else {
            self.rollouts.remove(uid);
            return rollout(uid);
        };
        let Some(header) = read::<rollout_core::Header>(key, value) else { return Vec::new() };
        if header.version > STATE_VERSION {
            let (found, known) = (header.version, STATE_VERSION);
            tracing::error!(key, found, known, "a newer release wrote this rollout's records; it is not decided on");
            return Vec::new();
        }
        let stored = self.rollouts.entry(uid.to_owned()).or_insert_with(|| Stored {
            state: RolloutState::new(&header.name, &header.uid),
            header_revision: revision,
        });
        stored.state.header = header;
        stored.header_revision = revision;
        rollout(uid)
    }

    fn apply_assignment(
        &mut self,
        member: &str,
        name: &str,
        spec: Option<RolloutAssignmentSpec>,
        revision: u64,
    ) -> Vec<Change> {
        let before = remove(&mut self.assignments, member, name);
        let mut changes = vec![Change::Assignment { member: member.to_owned(), rollout: name.to_owned() }];
        if let Some(before) = before {
            remove(&mut self.assigned, &before.spec.rollout.uid, member);
            changes.push(Change::Rollout { uid: before.spec.rollout.uid });
        }
        if let Some(mut spec) = spec {
            spec.fence.generation = i64::try_from(revision).unwrap_or(i64::MAX);
            let assignment = assignment(name, spec);
            let uid = assignment.spec.rollout.uid.clone();
            insert(&mut self.assigned, &uid, member, assignment.clone());
            insert(&mut self.assignments, member, name, assignment);
            changes.push(Change::Rollout { uid });
        }
        changes
    }

    fn apply_report(&mut self, member: &str, name: &str, report: Option<Report>, revision: u64) -> Vec<Change> {
        let before = remove(&mut self.reports, member, name);
        let mut changes = Vec::new();
        if let Some(before) = before {
            remove(&mut self.reported, &before.uid, member);
            changes.push(Change::Rollout { uid: before.uid });
        }
        if let Some(Report { rollout_uid: uid, status, .. }) = report {
            insert(&mut self.reported, &uid, member, status.clone());
            insert(&mut self.reports, member, name, StoredReport { uid: uid.clone(), status, revision });
            changes.push(Change::Rollout { uid });
        }
        changes.push(Change::Workloads { member: member.to_owned() });
        changes
    }

    fn apply_upload(&mut self, member: &str, name: &str, order: Option<RolloutAssignment>) -> Vec<Change> {
        let of_name = |orders: &BTreeMap<String, RolloutAssignment>| {
            orders.get(member).is_some_and(|order| order.spec.rollout.name == name)
        };
        let before: Vec<String> =
            self.uploads.iter().filter(|(_, orders)| of_name(orders)).map(|(uid, _)| uid.clone()).collect();
        let mut changes = Vec::new();
        for uid in before {
            remove(&mut self.uploads, &uid, member);
            changes.push(Change::Rollout { uid });
        }
        if let Some(order) = order {
            let uid = order.spec.rollout.uid.clone();
            insert(&mut self.uploads, &uid, member, order);
            changes.push(Change::Rollout { uid });
        }
        changes
    }

    fn apply_member(&mut self, name: &str, set: impl FnOnce(&mut StoredMember)) -> Vec<Change> {
        let stored = self.members.entry(name.to_owned()).or_default();
        set(stored);
        if *stored == StoredMember::default() {
            self.members.remove(name);
        }
        vec![Change::Member { name: name.to_owned() }]
    }
}

/// An assignment as the object that members keep.
pub(crate) fn assignment(name: &str, spec: RolloutAssignmentSpec) -> RolloutAssignment {
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    RolloutAssignment { metadata, spec, status: None }
}

fn rollout(uid: &str) -> Vec<Change> {
    vec![Change::Rollout { uid: uid.to_owned() }]
}

fn set<V>(map: &mut BTreeMap<String, V>, key: &str, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key.to_owned(), value)),
        None => drop(map.remove(key)),
    }
}

fn insert<V>(map: &mut BTreeMap<String, BTreeMap<String, V>>, outer: &str, inner: &str, value: V) {
    map.entry(outer.to_owned()).or_default().insert(inner.to_owned(), value);
}

fn remove<V>(map: &mut BTreeMap<String, BTreeMap<String, V>>, outer: &str, inner: &str) -> Option<V> {
    let within = map.get_mut(outer)?;
    let removed = within.remove(inner);
    if within.is_empty() {
        map.remove(outer);
    }
    removed
}

#[cfg(test)]
#[path = "mirror/mirror_test.rs"]
mod tests;
