//! Pods that a `StatefulSet` leaves behind: its controller doesn't replace a pod that never became ready when the template
//! goes back, so after a return such pods are deleted, one at a time. Which one is decided purely; [`pods_of`] and
//! [`delete`] need a client.
//!
//! Only pods of the failed revision that are not ready, by uid: a pod that serves is never deleted here. With `OnDelete` those
//! that serve wait for their owner, and one that serves nobody is made anew from the template that is back.

use std::collections::BTreeMap;

use crds::{AssignedWorkload, Intent, WorkloadKind};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Client, ResourceExt as _};

use super::ladder::going;
use super::pods;
use super::workload::{Strategy, Workload};
use crate::assignment::Order;
use crate::cluster::{Error, call};

/// Where the `StatefulSet`'s controller writes the revision that a pod was made from.
const REVISION: &str = "controller-revision-hash";

/// A pod, reduced to what matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodView {
    /// Name.
    pub name: String,
    /// metadata.uid.
    pub uid: String,
    /// The number at the end of its name.
    pub ordinal: i32,
    /// Revision that it was made from.
    pub revision: String,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Whether it is ready.
    pub ready: bool,
    /// Images of all its containers, init containers included.
    pub images: BTreeMap<String, String>,
}

impl PodView {
    /// The view of a pod that the workload of this uid owns.
    fn of(pod: &Pod, owner: &str) -> Option<Self> {
        let (name, owned) = (pod.name_any(), pods::is_owned(pod, owner));
        let ordinal = name.rsplit_once('-').and_then(|(_, number)| number.parse().ok()).filter(|_| owned)?;
        Some(Self {
            uid: pod.uid().unwrap_or_default(),
            ordinal,
            revision: pod.labels().get(REVISION).cloned().unwrap_or_default(),
            terminating: pods::is_terminating(pod),
            ready: pods::ready(pod).is_some(),
            images: pods::images(pod),
            name,
        })
    }
}

/// Whether pods may be stuck at all: what was there before is back, and the `StatefulSet` doesn't become healthy. Until
/// its controller has seen that, the revision that it names as wanted may be the failed one.
pub fn possible(order: &Order, live: &Workload) -> bool {
    going(order) == Intent::Return
        && live.kind == WorkloadKind::StatefulSet
        && live.update_revision.is_some()
        && live.observed_generation >= live.generation
        && (live.strategy != Strategy::OnDelete || began_with_one_template(order))
}

/// Whether all pods were of the previous template before it was touched, so that another image means the failed revision.
/// With `OnDelete` a pod may else be an older one, which its owner has kept.
fn began_with_one_template(order: &Order) -> bool {
    order.spec.previous.as_ref().is_some_and(|previous| previous.healthy)
}

/// The pod to delete next: of those that are not ready and run other images than those to return to, in a revision that
/// is no longer wanted, the one with the highest ordinal, as the controller itself goes. `None` while another pod is on its way, so
/// that there is never more than one. Without images it is the revision alone that tells: all of a template goes back
/// then, and the failed one may have had the same images.
pub fn next<'a>(images: &BTreeMap<String, String>, live: &Workload, pods: &'a [PodView]) -> Option<&'a PodView> {
    let wanted = live.update_revision.as_deref()?;
    let first = match live.strategy {
        Strategy::Partition(partition) => partition,
        Strategy::Rolling | Strategy::OnDelete => 0,
    };
    let on_its_way = |pod: &PodView| pod.terminating || (pod.revision == wanted && !pod.ready);
    if pods.iter().any(on_its_way) {
        return None;
    }
    let failed = |pod: &&PodView| {
        !pod.ready
            && pod.revision != wanted
            && pod.ordinal >= first
            && (images.is_empty() || images.iter().any(|(name, image)| pod.images.get(name) != Some(image)))
    };
    pods.iter().filter(failed).max_by_key(|pod| pod.ordinal)
}

/// The pods of a workload. Client required.
pub async fn pods_of(client: &Client, target: &AssignedWorkload, live: &Workload) -> Result<Vec<PodView>, Error> {
    pods::views(client, &target.namespace, live, |pod| PodView::of(pod, &live.uid)).await
}

/// Deletes exactly this pod. Client required.
pub async fn delete(client: &Client, target: &AssignedWorkload, pod: &PodView) -> Result<(), Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &target.namespace);
    let only_this = Preconditions { uid: Some(pod.uid.clone()), resource_version: None };
    let parameters = DeleteParams::default().preconditions(only_this);
    call("delete the pod", api.delete(&pod.name, &parameters)).await.map(drop)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::workload::fixtures::{DAEMON_SET, STATEFUL_SET, workload};
    use super::*;
    use crate::assignment::fixtures::{assignment, order};

    const OLD: &str = "ledger-old";
    const BAD: &str = "ledger-bad";

    fn pod(ordinal: i32, revision: &str, image: &str, ready: bool) -> PodView {
        PodView {
            name: format!("ledger-{ordinal}"),
            uid: format!("u{ordinal}"),
            ordinal,
            revision: revision.to_owned(),
            terminating: false,
            ready,
            images: [("app".to_owned(), image.to_owned()), ("sidecar".to_owned(), "s:v1".to_owned())].into(),
        }
    }

    fn next_of(replacements: &[(&str, &str)], pods: &[PodView]) -> Option<String> {
        let images = [("app".to_owned(), "ledger:v1".to_owned())].into();
        let live = workload(STATEFUL_SET, replacements);
        next(&images, &live, pods).map(|pod| pod.name.clone())
    }

    #[test]
    fn semantics_18_stuck_pods_of_the_failed_revision_go_one_at_a_time() {
        let (good, bad) = ("ledger:v1", "ledger:v2");
        let stuck = |ordinal| pod(ordinal, BAD, bad, false);
        let fine = |ordinal| pod(ordinal, OLD, good, true);
        assert_eq!(next_of(&[], &[fine(0), stuck(1), stuck(2)]).as_deref(), Some("ledger-2"));
        assert_eq!(next_of(&[], &[fine(0), stuck(1), fine(2)]).as_deref(), Some("ledger-1"));
        assert_eq!(next_of(&[], &[fine(0), fine(1), fine(2)]), None);
        // One is being deleted, or its successor isn't ready yet.
        let terminating = PodView { terminating: true, ..stuck(2) };
        assert_eq!(next_of(&[], &[fine(0), stuck(1), terminating]), None);
        assert_eq!(next_of(&[], &[fine(0), stuck(1), pod(2, OLD, good, false)]), None);
    }

    #[test]
    fn semantics_18_a_pod_that_is_ready_or_of_another_make_is_never_deleted() {
        let (good, bad) = ("ledger:v1", "ledger:v2");
        assert_eq!(next_of(&[], &[pod(2, BAD, bad, true)]), None);
        assert_eq!(next_of(&[], &[pod(2, "ledger-other", good, false)]), None);
        // Ordinals below the partition keep what they are.
        let partition = [("partition: 0", "partition: 2")];
        assert_eq!(next_of(&partition, &[pod(1, BAD, bad, false)]), None);
        assert_eq!(next_of(&partition, &[pod(2, BAD, bad, false)]).as_deref(), Some("ledger-2"));
        // Without a revision to go to nothing is known to be old.
        assert_eq!(next_of(&[("  updateRevision: ledger-old\n", "")], &[pod(2, BAD, bad, false)]), None);
    }

    #[test]
    fn semantics_18_pods_of_whole_objects_are_told_by_their_revision_as_the_images_may_be_the_same() {
        let good = "ledger:v1";
        let next_of = |replacements: &[(&str, &str)], pods: &[PodView]| {
            let live = workload(STATEFUL_SET, replacements);
            next(&BTreeMap::new(), &live, pods).map(|pod| pod.name.clone())
        };
        let stuck = |ordinal| pod(ordinal, BAD, good, false);
        assert_eq!(next_of(&[], &[pod(0, OLD, good, true), stuck(1), stuck(2)]).as_deref(), Some("ledger-2"));
        // It serves, is of the revision that is wanted, or below the partition.
        assert_eq!(next_of(&[], &[pod(2, BAD, good, true)]), None);
        assert_eq!(next_of(&[], &[pod(2, OLD, good, false)]), None);
        assert_eq!(next_of(&[("partition: 0", "partition: 2")], &[stuck(1)]), None);
        assert_eq!(next_of(&[("  updateRevision: ledger-old\n", "")], &[stuck(2)]), None);
    }

    #[test]
    fn semantics_18_with_on_delete_only_pods_that_are_not_ready_are_made_anew() {
        let on_delete = [("type: RollingUpdate\n    rollingUpdate: {partition: 0}", "type: OnDelete")];
        let (good, bad) = ("ledger:v1", "ledger:v2");
        let left = [pod(0, OLD, good, true), pod(1, BAD, bad, false), pod(2, BAD, bad, true)];
        assert_eq!(next_of(&on_delete, &left).as_deref(), Some("ledger-1"));
        assert_eq!(next_of(&on_delete, &[pod(1, BAD, bad, true), pod(2, BAD, bad, true)]), None);
        // One that somebody broke before is none of ours.
        assert_eq!(next_of(&on_delete, &[pod(1, "ledger-older", good, false)]), None);
        let mut back = assignment(6);
        back.spec.intent = Intent::Return;
        let (back, apply) = (order(&back), order(&assignment(5)));
        let live = workload(STATEFUL_SET, &on_delete);
        assert_eq!((possible(&back, &live), possible(&apply, &live)), (true, false));
        assert!(!possible(&back, &workload(DAEMON_SET, &[])));
        // Pods that were of an older template before may be what is not ready.
        let mut mixed = back.clone();
        mixed.spec.previous.as_mut().unwrap().healthy = false;
        assert!(!possible(&mixed, &live));
        assert!(possible(&mixed, &workload(STATEFUL_SET, &[])), "its controller replaces them anyway");
        let mut unseen = workload(STATEFUL_SET, &[]);
        unseen.generation = unseen.observed_generation + 1;
        assert!(!possible(&back, &unseen), "it names the failed revision");
    }

    #[test]
    fn only_pods_that_the_workload_owns_are_seen() {
        let text = "
metadata:
  name: ledger-2
  uid: u2
  labels: {controller-revision-hash: ledger-bad}
  ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: ledger, uid: w2, controller: true}]
spec: {containers: [{name: app, image: 'ledger:v2'}]}
status: {conditions: [{type: Ready, status: 'False'}]}
";
        let pod: Pod = crds::yaml::from_str(text).unwrap();
        let view = PodView::of(&pod, "w2").unwrap();
        assert_eq!((view.ordinal, view.revision.as_str(), view.ready), (2, BAD, false));
        assert_eq!(PodView::of(&pod, "w3"), None);
    }
}
