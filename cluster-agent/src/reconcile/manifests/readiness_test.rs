//! What is said of objects of each kind, in tables.

#![allow(clippy::unwrap_used)]

use super::super::super::workload::fixtures::{DAEMON_SET, DEPLOYMENT, STATEFUL_SET};
use super::Readiness::{Failed, InProgress, Ready};
use super::*;

fn progress(message: &str) -> Readiness {
    InProgress(message.to_owned())
}

fn failed(message: &str) -> Readiness {
    Failed(message.to_owned())
}

/// Objects of one kind: what is in them beside that, as YAML on one line each.
fn check(api_version: &str, kind: &str, rows: &[(&str, Readiness)]) {
    for (text, expected) in rows {
        let mut object: Value = crds::yaml::from_str(text).unwrap();
        object["apiVersion"] = api_version.into();
        object["kind"] = kind.into();
        assert_eq!(readiness(&object), *expected, "{kind} {text}");
    }
}

/// A fixture, what is replaced in it, and what is said of that.
type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], Readiness);

/// One of the fixtures of workloads, with some texts in it replaced.
fn fixture(text: &str, replacements: &[(&str, &str)]) -> Value {
    let text = replacements.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "'{from}' is not in the fixture");
        text.replace(from, to)
    });
    crds::yaml::from_str(&text).unwrap()
}

#[test]
fn an_unknown_kind_is_ready_unless_it_says_otherwise() {
    let conditions = |conditions: &str| format!("{{status: {{conditions: [{conditions}]}}}}");
    let unseen = "waiting for the Widget's controller: it has seen generation 1 of 2";
    let old = "metadata: {generation: 2}, status: {observedGeneration: 1";
    let ready = |status: &str| conditions(&format!("{{type: Ready, status: '{status}', message: no door}}"));
    check(
        "example.com/v1",
        "Widget",
        &[
            ("{}", Ready),
            ("{status: {}}", Ready),
            ("{metadata: {generation: 2}}", Ready),
            ("{metadata: {generation: 2}, status: {phase: Odd}}", Ready),
            ("{status: {observedGeneration: 2}}", Ready),
            ("{metadata: {generation: 2}, status: {observedGeneration: 2}}", Ready),
            (&format!("{{{old}}}}}"), progress(unseen)),
            ("{metadata: {deletionTimestamp: '2026-01-01T00:00:00Z'}}", progress("it is being deleted")),
            (&ready("True"), Ready),
            (&ready("False"), progress("no door")),
            (&ready("Unknown"), progress("no door")),
            (&ready("Odd"), Ready),
            (&conditions("{type: Ready, status: 'False', reason: NoDoor}"), progress("NoDoor")),
            (&conditions("{type: Ready, status: 'False'}"), progress("its condition Ready is False")),
            (&conditions("{type: Available, status: 'False'}"), Ready),
            (&conditions("{type: Stalled, status: 'True', message: no wood}"), failed("no wood")),
            (&conditions("{type: Reconciling, status: 'True', message: saws}"), progress("saws")),
            (&conditions("{type: Stalled, status: 'False'}, {type: Reconciling, status: 'False'}"), Ready),
            (
                &conditions("{type: Ready, status: 'True'}, {type: Reconciling, status: 'True', message: saws}"),
                progress("saws"),
            ),
            (&format!("{{{old}, conditions: [{{type: Stalled, status: 'True'}}]}}}}"), progress(unseen)),
        ],
    );
}

#[test]
fn what_only_holds_data_is_ready_at_once() {
    for (api_version, kind) in [
        ("v1", "ConfigMap"),
        ("v1", "Secret"),
        ("v1", "ServiceAccount"),
        ("batch/v1", "CronJob"),
        ("rbac.authorization.k8s.io/v1", "Role"),
        ("policy/v1", "PodDisruptionBudget"),
    ] {
        check(api_version, kind, &[("{}", Ready), ("{metadata: {generation: 1}}", Ready)]);
    }
    let unseen = "{metadata: {generation: 2}, status: {observedGeneration: 1}}";
    let message = "waiting for the PodDisruptionBudget's controller: it has seen generation 1 of 2";
    check("policy/v1", "PodDisruptionBudget", &[(unseen, progress(message))]);
}

#[test]
fn a_pod_is_ready_when_it_says_so_or_has_ended() {
    let looping = "{name: app, state: {waiting: {reason: CrashLoopBackOff}}}, {name: proxy, state: {running: {}}}";
    let looping = format!("{{status: {{phase: Running, containerStatuses: [{looping}]}}}}");
    let unscheduled = "{type: PodScheduled, status: 'False', reason: Unschedulable, message: no node fits}";
    check(
        "v1",
        "Pod",
        &[
            ("{}", progress("nobody has looked at it yet")),
            ("{status: {phase: Running, conditions: [{type: Ready, status: 'True'}]}}", Ready),
            (
                "{status: {phase: Running, conditions: [{type: Ready, status: 'False'}]}}",
                progress("it runs, but is not ready"),
            ),
            (&looping, failed("containers that crash again and again: app")),
            ("{status: {phase: Pending}}", progress("it is pending")),
            (
                &format!("{{status: {{phase: Pending, conditions: [{unscheduled}]}}}}"),
                progress("it is on no node: no node fits"),
            ),
            ("{status: {phase: Succeeded}}", Ready),
            ("{status: {phase: Failed}}", Ready),
            ("{status: {phase: Unknown}}", progress("its phase is 'Unknown'")),
        ],
    );
}

#[test]
fn a_job_is_ready_once_it_has_started_unless_it_fails() {
    let condition = |kind: &str| format!("{{type: {kind}, status: 'True', reason: Because}}");
    let ended = |kind: &str| format!("{{status: {{startTime: x, conditions: [{}]}}}}", condition(kind));
    let suspended = |suspend: bool| {
        format!("{{spec: {{suspend: {suspend}}}, status: {{conditions: [{}]}}}}", condition("Suspended"))
    };
    check(
        "batch/v1",
        "Job",
        &[
            ("{}", progress("it has not started")),
            ("{status: {startTime: '2026-01-01T00:00:00Z'}}", Ready),
            (&ended("Complete"), Ready),
            (&ended("Failed"), failed("Because")),
            (&suspended(true), Ready),
            (&suspended(false), progress("it has not started")),
        ],
    );
}

#[test]
fn a_replica_set_is_ready_when_all_its_pods_are_and_no_more() {
    let status = |numbers: [i32; 4]| {
        let [total, labelled, available, ready] = numbers;
        let numbers = format!("replicas: {total}, fullyLabeledReplicas: {labelled}, availableReplicas: {available}");
        format!("{{spec: {{replicas: 2}}, status: {{{numbers}, readyReplicas: {ready}}}}}")
    };
    let failure = "{type: ReplicaFailure, status: 'True', message: no quota}";
    check(
        "apps/v1",
        "ReplicaSet",
        &[
            ("{}", progress("0 of 1 pods ready, 0 available, 0 there")),
            (&status([2, 2, 2, 2]), Ready),
            (&status([2, 2, 2, 1]), progress("1 of 2 pods ready, 2 available, 2 there")),
            (&status([2, 2, 1, 2]), progress("2 of 2 pods ready, 1 available, 2 there")),
            (&status([2, 1, 2, 2]), progress("2 of 2 pods ready, 2 available, 2 there")),
            (&status([3, 2, 2, 2]), progress("2 of 2 pods ready, 2 available, 3 there")),
            ("{spec: {replicas: 0}}", Ready),
            (&format!("{{spec: {{replicas: 0}}, status: {{conditions: [{failure}]}}}}"), progress("no quota")),
        ],
    );
}

#[test]
fn claims_services_and_namespaces_go_by_one_field_each() {
    check(
        "v1",
        "PersistentVolumeClaim",
        &[
            ("{}", progress("it is not bound: its phase is ''")),
            ("{status: {phase: Pending}}", progress("it is not bound: its phase is 'Pending'")),
            ("{status: {phase: Bound}}", Ready),
        ],
    );
    check(
        "v1",
        "Service",
        &[
            ("{}", Ready),
            ("{spec: {type: NodePort}}", Ready),
            ("{spec: {type: LoadBalancer}}", progress("it has no cluster IP")),
            ("{spec: {type: LoadBalancer, clusterIP: 10.0.0.1}}", Ready),
        ],
    );
    // A kind of that name in another API group is another kind.
    check("serving.knative.dev/v1", "Service", &[("{spec: {type: LoadBalancer}}", Ready)]);
    check(
        "v1",
        "Namespace",
        &[
            ("{}", Ready),
            ("{status: {phase: Active}}", Ready),
            ("{status: {phase: Terminating}}", progress("it is being deleted")),
        ],
    );
}

#[test]
fn a_definition_is_ready_when_its_kind_is_served() {
    let conditions = |conditions: &str| format!("{{status: {{conditions: [{conditions}]}}}}");
    let accepted = "{type: NamesAccepted, status: 'True'}";
    let established = conditions(&format!("{accepted}, {{type: Established, status: 'True'}}"));
    let installing = conditions(&format!("{accepted}, {{type: Established, status: 'False', reason: Installing}}"));
    let waiting = "the API server does not serve its kind yet";
    check(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        &[
            ("{}", progress(waiting)),
            (&conditions(accepted), progress(waiting)),
            (&installing, progress(waiting)),
            (&established, Ready),
            (&conditions("{type: Established, status: 'False', reason: NotAccepted}"), failed("NotAccepted")),
            (
                &conditions("{type: NamesAccepted, status: 'False', message: the name is taken}"),
                failed("the name is taken"),
            ),
        ],
    );
    for (text, expected) in [("{}", false), (installing.as_str(), false), (established.as_str(), true)] {
        assert_eq!(is_established(&crds::yaml::from_str(text).unwrap()), expected, "{text}");
    }
}

#[test]
fn semantics_18_workloads_are_judged_by_the_rules_for_images() {
    let seen_by = "waiting for the Deployment's controller: it has seen generation 2 of 3";
    let half = ("updatedReplicas: 3", "updatedReplicas: 1");
    let partition = ("partition: 0", "partition: 2");
    let on_delete = ("type: RollingUpdate\n    rollingUpdate: {partition: 0}", "type: OnDelete");
    let owner = "1 of 3 pods updated, 3 available; OnDelete: the others stay until their owner deletes them";
    let exceeded = (
        "status: \"True\", reason: NewReplicaSetAvailable",
        "status: \"False\", reason: ProgressDeadlineExceeded, message: it hangs",
    );
    let unseen = ("observedGeneration: 3", "observedGeneration: 2");
    let deleted = ("  generation: 3", "  deletionTimestamp: '2026-01-01T00:00:00Z'");
    let rows: [Row<'_>; 11] = [
        (DEPLOYMENT, &[], Ready),
        (DEPLOYMENT, &[half], progress("1 of 3 pods updated, 3 available")),
        (DEPLOYMENT, &[half, exceeded], failed("1 of 3 pods updated, 3 available; it hangs")),
        (DEPLOYMENT, &[unseen, exceeded], progress(seen_by)),
        (DEPLOYMENT, &[deleted], progress("it is being deleted")),
        (STATEFUL_SET, &[], Ready),
        (STATEFUL_SET, &[partition, half], Ready),
        (STATEFUL_SET, &[on_delete, half], progress(owner)),
        (DAEMON_SET, &[], Ready),
        (DAEMON_SET, &[("numberAvailable: 2", "numberAvailable: 1")], progress("2 of 2 pods updated, 1 available")),
        (
            DEPLOYMENT,
            &[("containers:\n", "containers: 7\n      others:\n")],
            progress("it can't be read as a Deployment of apps/v1"),
        ),
    ];
    for (text, replacements, expected) in rows {
        assert_eq!(readiness(&fixture(text, replacements)), expected, "{replacements:?}");
    }
    let judge = |replacements: &[(&str, &str)]| health(&workload(&fixture(STATEFUL_SET, replacements)).unwrap());
    assert!(judge(&[on_delete, half]).awaits_owner && judge(&[partition, half]).observation.partial);
    assert_eq!(workload(&fixture(DEPLOYMENT, &[("apps/v1", "apps/v1beta1")])), None);
    assert_eq!(workload(&fixture(DEPLOYMENT, &[("kind: Deployment", "kind: ReplicaSet")])), None);
}

#[test]
fn semantics_19_nodes_that_are_left_out_are_not_waited_for() {
    let object = fixture(DAEMON_SET, &[("numberAvailable: 2", "numberAvailable: 1")]);
    let mut usable = workload(&object).unwrap();
    (usable.desired, usable.updated, usable.left_out) = (1, 1, 1);
    assert_eq!(readiness_of(&object, Some(&health(&usable))), Ready);
    assert_eq!(readiness(&object).message(), Some("2 of 2 pods updated, 1 available"));
    assert_eq!(Ready.message(), None);
}
