#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bytes::Bytes;
use crds::{
    AssignedRollout, AssignedWorkload, Fence, IfMissing, Intent, OnDeadline, OnDrift, Outcome, Payload, Revision,
    WorkloadKind, WorkloadPayload,
};
use rollout_core::{MemberRecord, MemberStage, PastRun};

use super::*;
use crate::keys;

fn put<T: serde::Serialize>(key: String, value: &T) -> StoreChange {
    StoreChange { key, value: Some(Bytes::from(serde_json::to_vec(value).unwrap())) }
}

fn delete(key: String) -> StoreChange {
    StoreChange { key, value: None }
}

fn spec(uid: &str) -> RolloutAssignmentSpec {
    RolloutAssignmentSpec {
        member: "m".to_owned(),
        rollout: AssignedRollout { name: "r".to_owned(), uid: uid.to_owned(), run: 1 },
        revision: Revision("0".to_owned()),
        intent: Intent::Observe,
        fence: Fence { epoch: 5, generation: 0 },
        workload: Some(AssignedWorkload {
            kind: WorkloadKind::Deployment,
            namespace: "shop".to_owned(),
            name: "checkout".to_owned(),
            images: BTreeMap::new(),
        }),
        manifests: None,
        expected_hash: None,
        previous: None,
        deadline_seconds: 600,
        on_deadline: OnDeadline::Hold,
        on_drift: OnDrift::Repair,
    }
}

#[test]
fn an_assignments_generation_is_the_revision_of_its_key() {
    let mut mirror = Mirror::default();
    mirror.apply(&put(keys::assignment("m", "r"), &spec("u")), 17);
    assert_eq!(mirror.assignment("m", "r").unwrap().spec.fence, Fence { epoch: 5, generation: 17 });
    assert_eq!(mirror.assigned("u").unwrap().len(), 1);
}

#[test]
fn a_recreated_rollout_of_the_same_name_takes_the_assignment_from_the_old_one() {
    let mut mirror = Mirror::default();
    mirror.apply(&put(keys::assignment("m", "r"), &spec("old")), 1);
    let changes = mirror.apply(&put(keys::assignment("m", "r"), &spec("new")), 2);
    assert!(mirror.assigned("old").is_none());
    assert_eq!(mirror.assigned("new").unwrap().len(), 1);
    for uid in ["old", "new"] {
        assert!(changes.contains(&Change::Rollout { uid: uid.to_owned() }), "{uid} is not told");
    }
}

#[test]
fn what_is_deleted_leaves_no_trace() {
    let mut mirror = Mirror::default();
    let report = Report {
        member: "m".to_owned(),
        rollout: "r".to_owned(),
        rollout_uid: "u".to_owned(),
        status: RolloutAssignmentStatus { outcome: Outcome::Healthy, ..RolloutAssignmentStatus::default() },
    };
    let state = RolloutState::new("r", "u");
    mirror.apply(&put(keys::header("u"), &state.header), 1);
    mirror.apply(&put(keys::plan("u"), &state.plan), 1);
    let revision = Revision("7a".to_owned());
    let workload = WorkloadPayload {
        kind: WorkloadKind::Deployment,
        namespace: "shop".to_owned(),
        name: "checkout".to_owned(),
        images: BTreeMap::new(),
        if_missing: IfMissing::Hold,
    };
    let payload = Payload::from(workload);
    let past = PastRun {
        number: 1,
        revision: revision.clone(),
        generation: 1,
        started_at: 1,
        finished_at: None,
        outcome: None,
        reason: String::new(),
    };
    mirror.apply(&put(keys::history("u"), &[&past]), 1);
    mirror.apply(&put(keys::payload("u", &revision), &payload), 1);
    let history = mirror.rollout("u").unwrap().state.history.clone();
    assert_eq!((history.runs, history.payloads), (vec![past], [(revision.clone(), payload)].into()));
    mirror.apply(&delete(keys::payload("u", &revision)), 2);
    mirror.apply(&delete(keys::history("u")), 2);
    assert_eq!(mirror.rollout("u").unwrap().state.history, rollout_core::History::default());
    mirror.apply(&put(keys::member("u", "m"), &MemberRecord::new(1)), 1);
    mirror.apply(&put(keys::assignment("m", "r"), &spec("u")), 1);
    mirror.apply(&put(keys::report("m", "r"), &report), 2);
    mirror.apply(&put(keys::info("m"), &AgentInfo::default()), 3);
    assert_eq!(mirror.rollout("u").unwrap().state.members.len(), 1);
    assert_eq!(mirror.rollout("u").unwrap().state.members["m"].stage, MemberStage::Planned);
    for key in [
        keys::header("u"),
        keys::plan("u"),
        keys::member("u", "m"),
        keys::assignment("m", "r"),
        keys::report("m", "r"),
        keys::info("m"),
    ] {
        mirror.apply(&delete(key), 4);
    }
    assert_eq!(mirror, Mirror::default());
}

#[test]
fn records_of_a_newer_release_are_left_alone() {
    let mut mirror = Mirror::default();
    let mut header = RolloutState::new("r", "u").header;
    header.version = STATE_VERSION + 1;
    assert!(mirror.apply(&put(keys::header("u"), &header), 1).is_empty());
    assert!(mirror.rollout("u").is_none());
}
