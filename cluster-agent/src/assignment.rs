//! The local `RolloutAssignment`: how it is written when the hub speaks, and how it is read when the agent acts.
//!
//! Two annotations beside the spec hold what a later reader can't know otherwise; they are written in the same
//! request as the spec, so they are never out of step with it.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;

use crds::{
    AssignedWorkload, Deadline, DeadlineState, Fence, GROUP, Intent, OnDeadline, Outcome, Previous, RolloutAssignment,
    RolloutAssignmentSpec, RolloutAssignmentStatus, VERSION, WorkloadKind,
};
use kube::ResourceExt;
use sha2::{Digest, Sha256};

/// Hash of the spec as the hub sent it. Another one means that the API server pruned a field that its CRD does
/// not know, or that a person edited the spec.
const SPEC_HASH: &str = "rollout.example.com/spec-hash";
/// Fence at which rollout uid and revision came to be what they are: what was applied under a lower one was
/// another revision.
const REVISION_SINCE: &str = "rollout.example.com/revision-since";

/// The workload that an assignment is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadTarget {
    /// Kind, of apiVersion apps/v1.
    pub kind: WorkloadKind,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl From<&AssignedWorkload> for WorkloadTarget {
    fn from(workload: &AssignedWorkload) -> Self {
        Self { kind: workload.kind, namespace: workload.namespace.clone(), name: workload.name.clone() }
    }
}

impl fmt::Display for WorkloadTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

/// What an assignment is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// One workload.
    Workload(WorkloadTarget),
    /// All objects of one rollout, by its name: which they are changes from revision to revision.
    Manifests(String),
}

impl From<&RolloutAssignmentSpec> for Target {
    fn from(spec: &RolloutAssignmentSpec) -> Self {
        match &spec.workload {
            Some(workload) => Self::Workload(workload.into()),
            None => Self::Manifests(spec.rollout.name.clone()),
        }
    }
}

/// "Deployment/shop/checkout", or "Manifests/checkout".
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workload(workload) => workload.fmt(f),
            Self::Manifests(rollout) => write!(f, "Manifests/{rollout}"),
        }
    }
}

/// The assignment as the agent works on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// What the hub wants.
    pub spec: RolloutAssignmentSpec,
    /// What was answered last, perhaps to an earlier assignment.
    pub status: Option<RolloutAssignmentStatus>,
    /// Whether the spec is what the hub sent.
    pub intact: bool,
    /// Whether the deadline has passed by the monotonic clock of this agent, which whoever looks at the order says.
    pub overdue: bool,
    /// Whether drift was repaired so often lately that the next change is not, which whoever looks at the order says.
    pub contested: bool,
    revision_since: Fence,
}

impl Order {
    /// Reads the object.
    pub fn of(assignment: &RolloutAssignment) -> Self {
        let annotations = assignment.annotations();
        let spec = assignment.spec.clone();
        Self {
            intact: annotations.get(SPEC_HASH) == Some(&spec_hash(&spec)),
            // Unknown: nothing that was applied before counts.
            revision_since: since(annotations).unwrap_or(spec.fence),
            status: assignment.status.clone(),
            overdue: false,
            contested: false,
            spec,
        }
    }

    /// Hash of the images that this agent applied under this rollout uid and revision, if it did.
    pub fn applied_hash(&self) -> Option<&str> {
        let status = self.status.as_ref().filter(|status| status.fence >= self.revision_since)?;
        status.applied_hash.as_deref()
    }

    /// The answer to this very assignment, if there is one.
    pub fn answered(&self) -> Option<Outcome> {
        self.status.as_ref().filter(|status| status.fence == self.spec.fence).map(|status| status.outcome)
    }

    /// Name of what the objects were before.
    pub fn snapshot(&self) -> Option<&str> {
        self.spec.previous.as_ref()?.snapshot.as_deref()
    }

    /// Whether the agent returns by itself when the workload is not healthy in time: it may, and knows where to.
    pub fn returns_by_itself(&self) -> bool {
        let spec = &self.spec;
        let known = |previous: &Previous| match &spec.workload {
            Some(workload) => workload.images.keys().any(|name| previous.images.contains_key(name)),
            None => previous.snapshot.is_some(),
        };
        spec.intent == Intent::Apply
            && spec.on_deadline == OnDeadline::Return
            && spec.previous.as_ref().is_some_and(known)
    }

    /// How far the deadline of this very assignment is. The same order under another epoch is no new attempt: the hub's
    /// store was lost or restored, and gives it again.
    pub fn deadline(&self) -> Option<&Deadline> {
        let fence = self.spec.fence;
        let of_this = |status: &&RolloutAssignmentStatus| {
            let repeated = status.fence.epoch < fence.epoch && status.fence >= self.revision_since;
            status.fence == fence || repeated
        };
        self.status.as_ref().filter(of_this)?.deadline.as_ref()
    }

    /// Whether the agent goes back by itself, or is back, until another assignment comes.
    pub fn has_given_up(&self) -> bool {
        let passed = self.deadline().is_some_and(|deadline| deadline.state == DeadlineState::Passed);
        passed && self.returns_by_itself()
    }

    /// Sequence of the next status: above the last one, and above the time, in Unix milliseconds. Something may have
    /// been reported under this fence that the object does not tell of: before it was deleted and made again, or
    /// directly, with the time then as sequence.
    pub fn next_sequence(&self, now_millis: i64) -> i64 {
        self.status.as_ref().map_or(0, |status| status.sequence).max(now_millis).saturating_add(1)
    }
}

/// The body that writes an assignment over what is there, by server-side apply. With `current`, the write fails
/// when the object has changed since it was read.
pub fn manifest(spec: &RolloutAssignmentSpec, current: Option<&RolloutAssignment>) -> serde_json::Value {
    let same_revision = |current: &&RolloutAssignment| {
        current.spec.rollout.uid == spec.rollout.uid && current.spec.revision == spec.revision
    };
    let since = current.filter(same_revision).and_then(|current| since(current.annotations())).unwrap_or(spec.fence);
    let annotations = BTreeMap::from([(SPEC_HASH, spec_hash(spec)), (REVISION_SINCE, since.to_string())]);
    let mut metadata = serde_json::json!({"name": spec.rollout.name, "annotations": annotations});
    if let Some(current) = current {
        metadata["uid"] = serde_json::json!(current.metadata.uid);
        metadata["resourceVersion"] = serde_json::json!(current.metadata.resource_version);
    }
    serde_json::json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "RolloutAssignment",
        "metadata": metadata,
        "spec": spec,
    })
}

/// An order as it is to be written over `current`. The hub sends one without its objects when it doesn't know them any
/// more, as its store was lost; then those that are here go on, if they are the same.
pub fn completed(spec: &RolloutAssignmentSpec, current: Option<&RolloutAssignment>) -> RolloutAssignmentSpec {
    let mut completed = spec.clone();
    let known = current.filter(|current| Order::of(current).intact).and_then(|current| current.spec.manifests.as_ref());
    if let (Intent::Observe | Intent::Apply, Some(manifests), Some(known)) =
        (spec.intent, &mut completed.manifests, known)
        && manifests.objects.is_empty()
        && manifests.hash == known.hash
    {
        manifests.objects.clone_from(&known.objects);
    }
    completed
}

fn since(annotations: &BTreeMap<String, String>) -> Option<Fence> {
    let (epoch, generation) = annotations.get(REVISION_SINCE)?.split_once('/')?;
    Some(Fence { epoch: epoch.parse().ok()?, generation: generation.parse().ok()? })
}

/// Fields are written in the order of the type and maps in that of their keys, so equal specs have equal texts.
fn spec_hash(spec: &RolloutAssignmentSpec) -> String {
    // A spec is strings, numbers and maps of strings: writing it to memory can't fail.
    let text = serde_json::to_vec(spec).unwrap_or_default();
    // 64 bits tell damage from no damage.
    Sha256::digest(text).iter().take(8).fold(String::with_capacity(16), |mut hex, byte| {
        // Writing to a String can't fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
pub(crate) mod fixtures {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// An assignment as the hub sends it: `Apply` of `shop:v2` over `shop:v1`.
    pub(crate) fn assignment(generation: i64) -> RolloutAssignment {
        let text = format!(
            "
apiVersion: rollout.example.com/v1alpha1
kind: RolloutAssignment
metadata: {{name: checkout}}
spec:
  member: east
  rollout: {{name: checkout, uid: uid-1, run: 1}}
  revision: aaaa
  intent: Apply
  fence: {{epoch: 1, generation: {generation}}}
  workload: {{kind: Deployment, namespace: shop, name: checkout, images: {{app: 'shop:v2'}}}}
  previous: {{uid: w1, images: {{app: 'shop:v1', init: 'init:v1'}}, healthy: true}}
  deadlineSeconds: 600
"
        );
        crds::yaml::from_str(&text).unwrap()
    }

    /// The object that is there after `spec` was accepted over `current`.
    pub(crate) fn accepted(spec: &RolloutAssignmentSpec, current: Option<&RolloutAssignment>) -> RolloutAssignment {
        let mut object: RolloutAssignment = serde_json::from_value(manifest(spec, current)).unwrap();
        object.status = current.and_then(|current| current.status.clone());
        object
    }

    /// What the agent works on after `assignment` arrived first.
    pub(crate) fn order(assignment: &RolloutAssignment) -> Order {
        Order::of(&accepted(&assignment.spec, None))
    }
}

#[cfg(test)]
mod tests {
    use super::fixtures::{accepted, assignment, order};
    use super::*;

    #[test]
    fn semantics_42_objects_that_the_hub_has_lost_go_on_where_they_are() {
        let with = |generation: i64, hash: &str, objects: &[&str]| {
            let mut spec = assignment(generation).spec;
            spec.workload = None;
            let objects = objects.iter().map(|name| crds::Manifest(serde_json::json!({"kind": name}))).collect();
            let hash = hash.to_owned();
            spec.manifests =
                Some(crds::AssignedManifests { hash, overrides: Vec::new(), force_conflicts: false, objects });
            spec
        };
        let current = accepted(&with(5, "a", &["X"]), None);
        assert_eq!(completed(&with(6, "a", &[]), Some(&current)), with(6, "a", &["X"]));
        // Others are others, and what is sent counts.
        assert_eq!(completed(&with(6, "b", &[]), Some(&current)), with(6, "b", &[]));
        assert_eq!(completed(&with(6, "a", &["Y"]), Some(&current)), with(6, "a", &["Y"]));
        assert_eq!(completed(&with(6, "a", &[]), None), with(6, "a", &[]));
        let mut edited = current.clone();
        edited.spec.deadline_seconds = 1;
        assert_eq!(completed(&with(6, "a", &[]), Some(&edited)), with(6, "a", &[]));
        let mut back = with(6, "a", &[]);
        back.intent = Intent::Return;
        assert_eq!(completed(&back, Some(&current)), back);
    }

    fn with_status(mut object: RolloutAssignment) -> RolloutAssignment {
        object.status = Some(RolloutAssignmentStatus {
            fence: object.spec.fence,
            sequence: 4,
            outcome: Outcome::Healthy,
            applied_hash: Some("hash".to_owned()),
            ..RolloutAssignmentStatus::default()
        });
        object
    }

    #[test]
    fn what_was_applied_counts_under_later_fences_of_the_same_revision() {
        let first = with_status(accepted(&assignment(5).spec, None));
        assert_eq!(Order::of(&first).applied_hash(), Some("hash"));
        let second = Order::of(&accepted(&assignment(6).spec, Some(&first)));
        assert_eq!(second.applied_hash(), Some("hash"));
        assert_eq!(second.answered(), None);
        assert_eq!(second.next_sequence(0), 5);
    }

    #[test]
    fn what_was_applied_never_counts_for_another_revision_or_rollout() {
        let first = with_status(accepted(&assignment(5).spec, None));
        let mut revision = assignment(6).spec;
        revision.revision.0 = "bbbb".to_owned();
        let mut rollout = assignment(6).spec;
        rollout.rollout.uid = "uid-2".to_owned();
        for spec in [revision, rollout] {
            let second = accepted(&spec, Some(&first));
            assert_eq!(Order::of(&second).applied_hash(), None);
            // Nor when the old revision comes back.
            let third = accepted(&assignment(7).spec, Some(&second));
            assert_eq!(Order::of(&third).applied_hash(), None);
        }
    }

    #[test]
    fn a_pruned_or_edited_spec_is_not_intact() {
        let mut object = accepted(&assignment(5).spec, None);
        assert!(Order::of(&object).intact);
        object.spec.previous = None;
        assert!(!Order::of(&object).intact);
        object.metadata.annotations = None;
        assert!(!Order::of(&object).intact);
    }

    #[test]
    fn an_object_made_again_starts_above_what_was_reported() {
        let order = order(&assignment(5));
        assert_eq!(order.next_sequence(1_000), 1_001);
    }

    #[test]
    fn a_sequence_rises_also_when_the_clock_goes_back() {
        let mut order = order(&assignment(5));
        order.status = Some(RolloutAssignmentStatus { sequence: 2_000, ..RolloutAssignmentStatus::default() });
        assert_eq!(order.next_sequence(1_000), 2_001);
        assert_eq!(order.next_sequence(2_000), 2_001);
    }

    #[test]
    fn the_write_fails_when_the_object_has_changed() {
        let mut current = accepted(&assignment(5).spec, None);
        current.metadata.uid = Some("u".to_owned());
        current.metadata.resource_version = Some("17".to_owned());
        let body = manifest(&assignment(6).spec, Some(&current));
        assert_eq!(body["metadata"]["resourceVersion"], "17");
        assert_eq!(body["metadata"]["uid"], "u");
        assert!(manifest(&assignment(6).spec, None)["metadata"].get("resourceVersion").is_none());
    }
}
