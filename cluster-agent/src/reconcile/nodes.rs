//! A `DaemonSet` on nodes that are down or kept out of use: its status counts these too, and would never be complete. They
//! are left out, so that its health is that of ready, schedulable nodes (SEMANTICS 19). Pure, but for [`usable`].

use std::collections::{BTreeMap, BTreeSet};

use crds::WorkloadKind;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, Client};

use super::health::health;
use super::pods;
use super::workload::{Strategy, Workload};
use crate::cluster::{Error, call};

/// Nodes asked for in one look. Where more than these lag behind, the member is in no state to be judged leniently.
const MOST_NODES: i32 = 32;

/// A pod of a `DaemonSet`, reduced to what matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct DaemonPod {
    /// Where it runs, or is meant to.
    node: String,
    /// Since when it is ready, in milliseconds since the Unix epoch; none while it isn't.
    ready_since: Option<i64>,
    /// Whether it is being deleted.
    terminating: bool,
    /// Images of all its containers, init containers included.
    images: BTreeMap<String, String>,
}

impl DaemonPod {
    /// The view of a pod that the workload of this uid owns.
    fn of(pod: &Pod, owner: &str) -> Option<Self> {
        let spec = pod.spec.as_ref().filter(|_| pods::is_owned(pod, owner))?;
        let since = |time: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Time| time.0.as_millisecond();
        Some(Self {
            node: spec.node_name.clone().or_else(|| meant_for(pod))?,
            // One that doesn't say since when has been so for ever.
            ready_since: pods::ready(pod).map(|one| one.last_transition_time.as_ref().map_or(0, since)),
            terminating: pods::is_terminating(pod),
            images: pods::images(pod),
        })
    }

    /// Whether it is of the present template and has been ready for long enough.
    fn is_done(&self, live: &Workload, now_millis: i64) -> bool {
        self.is_updated(live) && self.is_available(live, now_millis)
    }

    /// Whether it has been ready for long enough, of whichever template.
    fn is_available(&self, live: &Workload, now_millis: i64) -> bool {
        let ripe = |since: i64| since + i64::from(live.min_ready_seconds) * 1000 <= now_millis;
        !self.terminating && self.ready_since.is_some_and(ripe)
    }

    fn is_updated(&self, live: &Workload) -> bool {
        let runs = |(name, image): (&String, &String)| self.images.get(name) == Some(image);
        !self.terminating && live.images().iter().all(runs)
    }
}

/// The node that the `DaemonSet`'s controller made a pod for that is not scheduled yet.
fn meant_for(pod: &Pod) -> Option<String> {
    let affinity = pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
    let terms = &affinity.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
    let fields = terms.iter().flat_map(|term| term.match_fields.iter().flatten());
    fields.into_iter().find(|one| one.key == "metadata.name").and_then(|one| one.values.as_ref()?.first().cloned())
}

/// Whether pods are expected to run and to be replaced on a node.
fn is_usable(node: &Node) -> bool {
    let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false);
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    !cordoned && conditions.into_iter().any(|one| one.type_ == "Ready" && one.status == "True")
}

/// Nodes on which the present template isn't up. With `OnDelete` old pods are a matter of their owner: where these are many,
/// only nodes without any pod that is available.
fn behind(live: &Workload, pods: &[DaemonPod], now_millis: i64) -> BTreeSet<String> {
    let not = |up: BTreeSet<&str>| -> BTreeSet<String> {
        nodes(pods, |_| true).difference(&up).map(|node| (*node).to_owned()).collect()
    };
    let behind = not(nodes(pods, |pod| pod.is_done(live, now_millis)));
    if live.strategy == Strategy::OnDelete && !are_few(&behind) {
        return not(nodes(pods, |pod| pod.is_available(live, now_millis)));
    }
    behind
}

fn are_few(nodes: &BTreeSet<String>) -> bool {
    i32::try_from(nodes.len()).is_ok_and(|count| count <= MOST_NODES)
}

fn nodes(pods: &[DaemonPod], is: impl Fn(&DaemonPod) -> bool) -> BTreeSet<&str> {
    pods.iter().filter(|pod| is(pod)).map(|pod| pod.node.as_str()).collect()
}

/// The workload without the nodes of `unusable`: its numbers are those of the others.
fn without(mut live: Workload, pods: &[DaemonPod], unusable: &BTreeSet<String>, now_millis: i64) -> Workload {
    let pods: Vec<DaemonPod> = pods.iter().filter(|pod| !unusable.contains(&pod.node)).cloned().collect();
    let count = |is: &dyn Fn(&DaemonPod) -> bool| i32::try_from(nodes(&pods, is).len()).unwrap_or(i32::MAX);
    live.left_out = i32::try_from(unusable.len()).unwrap_or(i32::MAX);
    live.desired = (live.desired - live.left_out).max(0);
    live.total = count(&|_| true);
    live.updated = count(&|pod| pod.is_updated(&live));
    live.ready = count(&|pod| pod.ready_since.is_some());
    live.available = match live.strategy {
        // One that its owner leaves as it is serves all the same.
        Strategy::OnDelete => count(&|pod| pod.is_available(&live, now_millis)),
        Strategy::Rolling | Strategy::Partition(_) => count(&|pod| pod.is_done(&live, now_millis)),
    };
    live
}

/// Whether a `DaemonSet` lacks so few pods that unusable nodes may be all that is wrong. In the middle of an update of a
/// large one its thousands of pods are not listed at each change.
fn is_worth_a_look(live: &Workload) -> bool {
    let seen = live.observed_generation >= live.generation;
    let down = live.desired - live.available;
    let lacking = down.max(live.desired - live.updated);
    let few = match live.strategy {
        Strategy::OnDelete => lacking <= MOST_NODES || (1..=MOST_NODES).contains(&down),
        Strategy::Rolling | Strategy::Partition(_) => lacking <= MOST_NODES,
    };
    live.kind == WorkloadKind::DaemonSet && seen && few && !health(live).is_healthy()
}

/// Leaves nodes out that are not ready or not schedulable, where a `DaemonSet` isn't complete with them. Client required.
pub async fn usable(client: &Client, namespace: &str, mut live: Workload, now_millis: i64) -> Result<Workload, Error> {
    if !is_worth_a_look(&live) {
        return Ok(live);
    }
    match look(client, namespace, &live, now_millis).await {
        Ok((_, unusable)) if unusable.is_empty() => Ok(live),
        Ok((pods, unusable)) => Ok(without(live, &pods, &unusable, now_millis)),
        Err(error) if error.refusal().is_some() && !error.is_missing() => {
            live.complaint = Some(format!(
                "nodes that are down or unschedulable are counted, as the agent may not list pods in '{namespace}' ({error})"
            ));
            Ok(live)
        }
        Err(error) => Err(error),
    }
}

/// Its pods, and of the nodes where it isn't up those that can't be used.
async fn look(
    client: &Client,
    namespace: &str,
    live: &Workload,
    now_millis: i64,
) -> Result<(Vec<DaemonPod>, BTreeSet<String>), Error> {
    let pods = pods::views(client, namespace, live, |pod| DaemonPod::of(pod, &live.uid)).await?;
    let behind = behind(live, &pods, now_millis);
    let mut unusable = BTreeSet::new();
    if are_few(&behind) {
        let api: Api<Node> = Api::all(client.clone());
        for node in behind {
            let found = call("read a node", api.get_opt(&node)).await?;
            if !found.as_ref().is_some_and(is_usable) {
                unusable.insert(node);
            }
        }
    }
    Ok((pods, unusable))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::workload::fixtures::{DAEMON_SET, workload};
    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    /// A pod of the present template, ready for a second, unless the image is another.
    fn pod(live: &Workload, node: &str, is_new: bool) -> DaemonPod {
        let mut images = live.images();
        if !is_new {
            for image in images.values_mut() {
                "old".clone_into(image);
            }
        }
        DaemonPod { node: node.to_owned(), ready_since: Some(NOW - 1_000), terminating: false, images }
    }

    fn half_updated() -> Workload {
        workload(DAEMON_SET, &[("updatedNumberScheduled: 2", "updatedNumberScheduled: 1")])
    }

    fn on_delete(from: &str, to: &str) -> Workload {
        workload(DAEMON_SET, &[("type: RollingUpdate", "type: OnDelete"), (from, to)])
    }

    fn judged(live: Workload, pods: &[DaemonPod], unusable: &[&str]) -> (bool, String) {
        let unusable = unusable.iter().map(|node| (*node).to_owned()).collect();
        let health = health(&without(live, pods, &unusable, NOW));
        (health.is_healthy(), health.message)
    }

    #[test]
    fn semantics_19_a_daemon_set_is_healthy_when_it_is_up_on_all_ready_schedulable_nodes() {
        let live = half_updated();
        let pods = [pod(&live, "n1", true), pod(&live, "n2", false)];
        assert_eq!(behind(&live, &pods, NOW), ["n2".to_owned()].into());
        let (healthy, message) = judged(live.clone(), &pods, &["n2"]);
        assert_eq!(
            (healthy, message.as_str()),
            (true, "1 of 1 pods updated, 1 available; 1 node left out that is not ready or not schedulable")
        );
        assert!(!judged(live, &pods, &[]).0);
    }

    #[test]
    fn semantics_19_without_any_usable_node_no_pods_are_wanted() {
        let live = half_updated();
        let pods = [pod(&live, "n1", false), pod(&live, "n2", false)];
        let (healthy, message) = judged(live, &pods, &["n1", "n2"]);
        assert!(healthy && message.starts_with("no pods are wanted"), "{message}");
    }

    #[test]
    fn semantics_18_with_on_delete_an_old_pod_that_serves_is_no_reason_to_call_it_broken() {
        let live = on_delete("updatedNumberScheduled: 2", "updatedNumberScheduled: 0");
        let down = DaemonPod { ready_since: None, ..pod(&live, "n2", false) };
        let pods = [pod(&live, "n1", false), down];
        let unusable = ["n2".to_owned()].into();
        let health = health(&without(live.clone(), &pods, &unusable, NOW));
        assert!(health.awaits_owner, "{}", health.message);
        // Of many nodes with old pods only those matter on which nothing serves.
        let many: Vec<DaemonPod> = (0..=MOST_NODES).map(|number| pod(&live, &format!("m{number}"), false)).collect();
        let pods = [many.as_slice(), &pods].concat();
        assert_eq!(behind(&live, &pods, NOW), unusable);
        let mut large = live;
        (large.desired, large.available) = (1_000, 999);
        assert!(is_worth_a_look(&large), "one is down");
        large.available = 1_000;
        assert!(!is_worth_a_look(&large), "all wait for their owner");
    }

    #[test]
    fn pods_are_listed_only_where_few_are_missing() {
        assert!(is_worth_a_look(&half_updated()));
        assert!(!is_worth_a_look(&workload(DAEMON_SET, &[])), "it is complete");
        let mut far = half_updated();
        far.desired = 1_000;
        assert!(!is_worth_a_look(&far), "it is in the middle of an update");
        let mut unseen = half_updated();
        unseen.observed_generation = 0;
        assert!(!is_worth_a_look(&unseen), "its numbers are of before");
    }

    #[test]
    fn a_node_with_an_old_pod_that_serves_and_a_new_one_that_does_not_is_behind() {
        let live = half_updated();
        let surge = DaemonPod { ready_since: None, ..pod(&live, "n2", true) };
        let pods = [pod(&live, "n1", true), pod(&live, "n2", false), surge];
        assert_eq!(behind(&live, &pods, NOW), ["n2".to_owned()].into());
        assert!(!judged(live, &pods, &[]).0);
    }

    #[test]
    fn a_pod_counts_when_it_has_been_ready_for_min_ready_seconds() {
        let mut live = half_updated();
        let pods = [pod(&live, "n1", true)];
        live.min_ready_seconds = 2;
        assert_eq!(behind(&live, &pods, NOW), ["n1".to_owned()].into());
        assert!(behind(&live, &pods, NOW + 1_000).is_empty());
    }

    #[test]
    fn a_pod_that_is_not_scheduled_yet_belongs_to_the_node_it_is_meant_for() {
        let text = "
metadata:
  name: agent-x
  ownerReferences: [{apiVersion: apps/v1, kind: DaemonSet, name: agent, uid: w3, controller: true}]
spec:
  containers: [{name: app, image: 'agent:v2'}]
  affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: In, values: [n7]}]}]
";
        let pod: Pod = crds::yaml::from_str(text).unwrap();
        let view = DaemonPod::of(&pod, "w3").unwrap();
        assert_eq!((view.node.as_str(), view.ready_since), ("n7", None));
        assert_eq!(DaemonPod::of(&pod, "w4"), None);
    }

    #[test]
    fn a_node_is_usable_when_it_is_ready_and_not_cordoned() {
        for (spec, ready, usable) in
            [("{}", "True", true), ("{unschedulable: true}", "True", false), ("{}", "Unknown", false)]
        {
            let text = format!("{{spec: {spec}, status: {{conditions: [{{type: Ready, status: '{ready}'}}]}}}}");
            assert_eq!(is_usable(&crds::yaml::from_str(&text).unwrap()), usable, "{text}");
        }
    }
}
