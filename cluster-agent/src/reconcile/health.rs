//! Whether a workload is healthy, by its own status; that of a `DaemonSet` without the nodes that [`super::nodes`] leaves
//! out. Pure.

use crds::WorkloadObservation;

use super::workload::{Strategy, Workload};

/// What the agent says about a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The workload in numbers.
    pub observation: WorkloadObservation,
    /// The same for people.
    pub message: String,
    /// Whether it is complete but for old pods that its owner has to delete: its strategy is `OnDelete`, and as many pods as
    /// are wanted are available.
    pub awaits_owner: bool,
}

impl Health {
    /// Whether the workload is healthy.
    pub fn is_healthy(&self) -> bool {
        self.observation.healthy
    }
}

/// Judges a workload.
pub fn health(workload: &Workload) -> Health {
    let seen = workload.observed_generation >= workload.generation;
    let healthy = seen && is_complete(workload);
    let observation = WorkloadObservation {
        uid: workload.uid.clone(),
        generation: workload.generation,
        observed_generation: workload.observed_generation,
        images: workload.images(),
        desired: workload.desired,
        updated: workload.updated,
        ready: workload.ready,
        available: workload.available,
        healthy,
        partial: healthy && has_old_pods(workload),
        snapshot: None,
    };
    let message = if seen { message(workload, healthy) } else { unseen(workload) };
    Health { observation, message, awaits_owner: seen && awaits_owner(workload) }
}

/// Pods that have to be of the current template.
fn wanted(workload: &Workload) -> i32 {
    match workload.strategy {
        Strategy::Partition(partition) => (workload.desired - partition).max(0),
        Strategy::Rolling | Strategy::OnDelete => workload.desired,
    }
}

/// Whether pods are of an older template because the partition keeps them.
fn has_old_pods(workload: &Workload) -> bool {
    matches!(workload.strategy, Strategy::Partition(_)) && workload.updated < workload.desired
}

/// Old pods are all that is missing, and nothing is broken: a pod that is starting, or never becomes ready, is not
/// available, and is no matter for the owner.
fn awaits_owner(workload: &Workload) -> bool {
    let Workload { desired, total, updated, available, .. } = workload;
    let all_up = available == desired && (workload.kind == crds::WorkloadKind::DaemonSet || total == desired);
    workload.strategy == Strategy::OnDelete && updated < desired && all_up
}

fn is_complete(workload: &Workload) -> bool {
    let Workload { desired, total, updated, ready, available, .. } = workload;
    match (workload.kind, workload.strategy) {
        // An old pod that is still there is counted in the total.
        (crds::WorkloadKind::Deployment, _) => updated == desired && total == desired && available == desired,
        (_, Strategy::Partition(_)) => *updated >= wanted(workload) && ready == desired && total == desired,
        (crds::WorkloadKind::StatefulSet, _) => updated == desired && available == desired && total == desired,
        (crds::WorkloadKind::DaemonSet, _) => updated == desired && available == desired,
    }
}

fn unseen(workload: &Workload) -> String {
    let Workload { kind, generation, observed_generation, .. } = workload;
    format!("waiting for the {kind}'s controller: it has seen generation {observed_generation} of {generation}")
}

fn message(workload: &Workload, healthy: bool) -> String {
    let Workload { desired, total, updated, ready, available, .. } = workload;
    let left_out = match workload.left_out {
        0 => String::new(),
        1 => "; 1 node left out that is not ready or not schedulable".to_owned(),
        count => format!("; {count} nodes left out that are not ready or not schedulable"),
    };
    if healthy && *desired == 0 {
        return format!("no pods are wanted{left_out}");
    }
    let wanted = wanted(workload);
    let counts = match workload.strategy {
        Strategy::Partition(partition) => {
            let (partial, wanted) = if has_old_pods(workload) { ("partial, ", wanted) } else { ("", *desired) };
            format!("{partial}partition {partition}: {updated} of {wanted} pods updated, {ready} of {desired} ready")
        }
        Strategy::OnDelete if updated < desired => format!(
            "{updated} of {desired} pods updated, {available} available; OnDelete: the others stay until their owner deletes them"
        ),
        Strategy::Rolling | Strategy::OnDelete => format!("{updated} of {desired} pods updated, {available} available"),
    };
    let old = total - desired.max(updated);
    let old = if old > 0 { format!(", {old} to be removed") } else { String::new() };
    let complaint = workload.complaint.as_ref().filter(|_| !healthy);
    let complaint = complaint.map_or_else(String::new, |complaint| format!("; {complaint}"));
    format!("{counts}{old}{left_out}{complaint}")
}

#[cfg(test)]
mod tests {
    use super::super::workload::fixtures::{DAEMON_SET, DEPLOYMENT, STATEFUL_SET, workload};
    use super::*;

    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], bool, &'a str);

    fn check(manifest: &str, rows: &[Row<'_>]) {
        for (case, replacements, healthy, message) in rows {
            let health = health(&workload(manifest, replacements));
            assert_eq!((health.is_healthy(), health.message.as_str()), (*healthy, *message), "{case}");
        }
    }

    #[test]
    fn a_deployment_is_healthy_when_all_its_pods_are_new_and_available() {
        check(
            DEPLOYMENT,
            &[
                ("all up", &[], true, "3 of 3 pods updated, 3 available"),
                (
                    "generation not seen",
                    &[("observedGeneration: 3", "observedGeneration: 2")],
                    false,
                    "waiting for the Deployment's controller: it has seen generation 2 of 3",
                ),
                (
                    "half way",
                    &[("updatedReplicas: 3", "updatedReplicas: 2"), ("availableReplicas: 3", "availableReplicas: 1")],
                    false,
                    "2 of 3 pods updated, 1 available",
                ),
                (
                    "an old pod is left",
                    &[("  replicas: 3\n  updated", "  replicas: 4\n  updated")],
                    false,
                    "3 of 3 pods updated, 3 available, 1 to be removed",
                ),
                (
                    "stuck",
                    &[
                        ("updatedReplicas: 3", "updatedReplicas: 1"),
                        ("status: \"True\", reason: NewReplicaSetAvailable", "status: \"False\", message: it hangs"),
                    ],
                    false,
                    "1 of 3 pods updated, 3 available; it hangs",
                ),
                (
                    "paused",
                    &[("updatedReplicas: 3", "updatedReplicas: 0"), ("  selector:", "  paused: true\n  selector:")],
                    false,
                    "0 of 3 pods updated, 3 available; the Deployment is paused",
                ),
                ("scaled to nothing", &[("eplicas: 3", "eplicas: 0")], true, "no pods are wanted"),
            ],
        );
    }

    #[test]
    fn semantics_18_a_stateful_set_goes_by_its_partition_and_strategy() {
        let on_delete = ("type: RollingUpdate\n    rollingUpdate: {partition: 0}", "type: OnDelete");
        check(
            STATEFUL_SET,
            &[
                ("all up", &[], true, "3 of 3 pods updated, 3 available"),
                (
                    "not available",
                    &[("availableReplicas: 3", "availableReplicas: 2")],
                    false,
                    "3 of 3 pods updated, 2 available",
                ),
                (
                    "partition reached",
                    &[("partition: 0", "partition: 2"), ("updatedReplicas: 3", "updatedReplicas: 1")],
                    true,
                    "partial, partition 2: 1 of 1 pods updated, 3 of 3 ready",
                ),
                (
                    "partition not reached",
                    &[("partition: 0", "partition: 1"), ("updatedReplicas: 3", "updatedReplicas: 1")],
                    false,
                    "partial, partition 1: 1 of 2 pods updated, 3 of 3 ready",
                ),
                (
                    "partition reached, an old pod is not ready",
                    &[
                        ("partition: 0", "partition: 2"),
                        ("updatedReplicas: 3", "updatedReplicas: 1"),
                        ("readyReplicas: 3", "readyReplicas: 2"),
                    ],
                    false,
                    "partial, partition 2: 1 of 1 pods updated, 2 of 3 ready",
                ),
                (
                    "partition past the last pod",
                    &[("partition: 0", "partition: 9"), ("updatedReplicas: 3", "updatedReplicas: 0")],
                    true,
                    "partial, partition 9: 0 of 0 pods updated, 3 of 3 ready",
                ),
                (
                    "partition, and no pod is of an older template",
                    &[("partition: 0", "partition: 2")],
                    true,
                    "partition 2: 3 of 3 pods updated, 3 of 3 ready",
                ),
                (
                    "pods wait for their owner",
                    &[on_delete, ("updatedReplicas: 3", "updatedReplicas: 0")],
                    false,
                    "0 of 3 pods updated, 3 available; OnDelete: the others stay until their owner deletes them",
                ),
                ("the owner has deleted all", &[on_delete], true, "3 of 3 pods updated, 3 available"),
            ],
        );
    }

    #[test]
    fn semantics_18_it_waits_for_its_owner_when_old_pods_are_all_that_is_missing() {
        let on_delete = ("type: RollingUpdate\n    rollingUpdate: {partition: 0}", "type: OnDelete");
        let some_old = ("updatedReplicas: 3", "updatedReplicas: 1");
        let awaits = |replacements: &[(&str, &str)]| health(&workload(STATEFUL_SET, replacements)).awaits_owner;
        assert!(awaits(&[on_delete, some_old]));
        for (case, difference) in [
            ("a pod is starting or broken", ("availableReplicas: 3", "availableReplicas: 2")),
            ("a pod is not there", ("  replicas: 3\n  current", "  replicas: 2\n  current")),
            ("the new template is not seen yet", ("observedGeneration: 2", "observedGeneration: 1")),
        ] {
            assert!(!awaits(&[on_delete, some_old, difference]), "{case}");
        }
        assert!(!awaits(&[on_delete]), "nothing is missing");
        assert!(!awaits(&[some_old]), "its controller deletes them");
        assert!(!awaits(&[("partition: 0", "partition: 2"), some_old]), "its partition keeps them");
        let on_delete = ("type: RollingUpdate", "type: OnDelete");
        let none_new = ("updatedNumberScheduled: 2", "updatedNumberScheduled: 0");
        assert!(health(&workload(DAEMON_SET, &[on_delete, none_new])).awaits_owner);
        let one_down = ("numberAvailable: 2", "numberAvailable: 1");
        assert!(!health(&workload(DAEMON_SET, &[on_delete, none_new, one_down])).awaits_owner);
    }

    #[test]
    fn semantics_18_it_is_partial_when_it_is_healthy_with_pods_that_the_partition_keeps() {
        let some_old = ("updatedReplicas: 3", "updatedReplicas: 1");
        let rows: [(&[(&str, &str)], bool); 4] = [
            (&[("partition: 0", "partition: 2"), some_old], true),
            (&[("partition: 0", "partition: 1"), some_old], false),
            (&[("partition: 0", "partition: 2")], false),
            (&[], false),
        ];
        for (replacements, expected) in rows {
            let observation = health(&workload(STATEFUL_SET, replacements)).observation;
            assert_eq!(observation.partial, expected, "{replacements:?}");
        }
    }

    #[test]
    fn semantics_19_a_daemon_set_counts_nodes_and_none_is_healthy() {
        check(
            DAEMON_SET,
            &[
                ("all up", &[], true, "2 of 2 pods updated, 2 available"),
                (
                    "half way",
                    &[("updatedNumberScheduled: 2", "updatedNumberScheduled: 1")],
                    false,
                    "1 of 2 pods updated, 2 available",
                ),
                ("not available", &[("  numberAvailable: 2\n", "")], false, "2 of 2 pods updated, 0 available"),
                (
                    "no node fits",
                    &[
                        ("Scheduled: 2", "Scheduled: 0"),
                        ("numberReady: 2", "numberReady: 0"),
                        ("  numberAvailable: 2\n", ""),
                    ],
                    true,
                    "no pods are wanted",
                ),
            ],
        );
    }

    #[test]
    fn the_numbers_are_those_of_the_status() {
        let observation =
            health(&workload(DEPLOYMENT, &[("availableReplicas: 3", "availableReplicas: 2")])).observation;
        assert_eq!((observation.uid.as_str(), observation.generation, observation.observed_generation), ("w1", 3, 3));
        assert_eq!((observation.desired, observation.updated, observation.ready, observation.available), (3, 3, 3, 2));
        assert!(!observation.healthy);
    }
}
