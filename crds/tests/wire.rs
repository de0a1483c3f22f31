//! What people write and what programs send each other is read as it was meant.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;

use crds::{
    AgentInfo, AssignmentEvent, ClusterScopeRollout, Fence, Finding, IntOrPercent, OnDrift, Outcome, Phase, Report,
    Reports, RolloutAssignment, RolloutAssignmentStatus, WorkloadKind, images_hash, millis_from_time, time_from_millis,
};

const FRAGMENT: &str = r#"
apiVersion: rollout.example.com/v1alpha1
kind: ClusterScopeRollout
metadata: {name: fragment}
spec:
  targetClusters: ["prod-us-east", "prod-us-west"]   # the canary batches, in order
  rolloutStrategy:
    canary:
      steps:
      - setWeight: 10    # first 10 % of the clusters
        pause: 300       # 5 minutes, in which metrics are verified
      - setWeight: 50    # then up to 50 %
"#;

const ASSIGNMENT: &str = r#"{"type":"assign","assignment":{"apiVersion":"rollout.example.com/v1alpha1","kind":"RolloutAssignment","metadata":{"name":"checkout"},"spec":{"member":"m1","rollout":{"name":"checkout","uid":"u1","run":2},"revision":"2821cde69523ab29","intent":"Apply","fence":{"epoch":1,"generation":7},"workload":{"kind":"Deployment","namespace":"shop","name":"checkout","images":{"app":"shop:v2"}},"expectedHash":"00","previous":{"uid":"w1","images":{"app":"shop:v1"},"healthy":true},"deadlineSeconds":600}}}"#;

#[test]
fn the_fragment_is_read_to_the_letter_with_its_defaults() {
    let spec = crds::yaml::from_str::<ClusterScopeRollout>(FRAGMENT).unwrap().spec;
    assert_eq!(spec.target_clusters, ["prod-us-east", "prod-us-west"]);
    assert_eq!((spec.workload, spec.cluster_selector, spec.paused), (None, None, false));
    let steps: Vec<(i32, Option<i64>)> =
        spec.rollout_strategy.canary.steps.iter().map(|step| (step.set_weight, step.pause)).collect();
    assert_eq!(steps, [(10, Some(300)), (50, None)]);
    assert_eq!(spec.rollout_strategy.max_concurrency, IntOrPercent::Percent(10));
    assert_eq!(spec.rollout_strategy.progress_deadline_seconds, 600);
}

#[test]
fn an_assignment_keeps_its_form_on_the_wire() {
    let event: AssignmentEvent = serde_json::from_str(ASSIGNMENT).unwrap();
    assert_eq!(serde_json::to_string(&event).unwrap(), ASSIGNMENT);
    assert_eq!(serde_json::to_string(&AssignmentEvent::Synced).unwrap(), r#"{"type":"synced"}"#);
}

#[test]
fn semantics_22_an_order_says_what_is_done_about_drift_only_where_that_is_not_to_repair_it() {
    let event: AssignmentEvent = serde_json::from_str(ASSIGNMENT).unwrap();
    let AssignmentEvent::Assign(assignment) = event else { panic!() };
    assert_eq!(assignment.spec.on_drift, OnDrift::Repair);
    let reported = ASSIGNMENT.replace(r#""deadlineSeconds":600"#, r#""deadlineSeconds":600,"onDrift":"Report""#);
    let event: AssignmentEvent = serde_json::from_str(&reported).unwrap();
    assert_eq!(serde_json::to_string(&event).unwrap(), reported);
}

#[test]
fn semantics_22_drift_is_repaired_unless_a_rollout_says_otherwise() {
    let spec = crds::yaml::from_str::<ClusterScopeRollout>(FRAGMENT).unwrap().spec;
    assert!(spec.enforce);
    // What says nothing about it has the hash that it had before there was such a field.
    assert!(serde_json::to_value(&spec).unwrap().get("enforce").is_none());
    let text = FRAGMENT.replace("spec:\n", "spec:\n  enforce: false\n");
    let spec = crds::yaml::from_str::<ClusterScopeRollout>(&text).unwrap().spec;
    assert!(!spec.enforce);
    assert_eq!(serde_json::to_value(&spec).unwrap()["enforce"], false);
}

#[test]
fn an_inquiry_and_what_was_found_keep_their_form_on_the_wire() {
    let asked = r#"{"type":"ask","assignment":{"id":"c1-1-0","atMillis":7,"withinMillis":15000,"queries":["up"]}}"#;
    let event: AssignmentEvent = serde_json::from_str(asked).unwrap();
    assert_eq!(serde_json::to_string(&event).unwrap(), asked);
    let found = r#"{"member":"m1","id":"c1-1-0","answers":[{"kind":"values","is":["0.5","NaN"]},{"kind":"failed","is":"no answer in time"}]}"#;
    let finding: Finding = serde_json::from_str(found).unwrap();
    assert_eq!(serde_json::to_string(&finding).unwrap(), found);
    // An agent that is older than the question doesn't say whether it can be asked.
    let info = r#"{"agentVersion":"0.1.0","kubernetesVersion":"v1.37.2","nodes":1,"readyNodes":1}"#;
    let info: AgentInfo = serde_json::from_str(info).unwrap();
    assert_eq!(info.asks_prometheus, None);
}

#[test]
fn a_report_with_nothing_but_its_fence_is_accepted_and_says_nothing_yet() {
    let text = r#"{"reports":[{"member":"m1","rollout":"checkout","rolloutUid":"u1","status":{"fence":{"epoch":1,"generation":7}}}]}"#;
    let Reports { reports } = serde_json::from_str(text).unwrap();
    let [Report { status, .. }] = <[Report; 1]>::try_from(reports).unwrap();
    let fence = Fence { epoch: 1, generation: 7 };
    assert_eq!(
        status,
        RolloutAssignmentStatus { fence, outcome: Outcome::Accepted, ..RolloutAssignmentStatus::default() }
    );
}

#[test]
fn a_field_that_a_newer_release_has_added_does_not_keep_an_older_one_from_reading() {
    let newer = ASSIGNMENT.replace(r#""deadlineSeconds":600"#, r#""deadlineSeconds":600,"enforce":true"#);
    let read = |text: &str| serde_json::from_str::<AssignmentEvent>(text).unwrap();
    assert_eq!(read(&newer), read(ASSIGNMENT));
}

#[test]
fn fences_are_ordered_by_epoch_and_then_by_generation() {
    let fence = |epoch, generation| Fence { epoch, generation };
    assert!(fence(2, 1) > fence(1, 9) && fence(1, 9) > fence(1, 8));
    assert_eq!(fence(1, 9).to_string(), "1/9");
}

#[test]
fn words_in_code_are_those_in_the_objects() {
    let word = |value: serde_json::Value| value.as_str().unwrap().to_owned();
    let outcomes = [
        Outcome::Accepted,
        Outcome::Observed,
        Outcome::Progressing,
        Outcome::PodDeletionByOwner,
        Outcome::Healthy,
        Outcome::PreviousChanged,
        Outcome::WorkloadMissing,
        Outcome::Refused,
        Outcome::Withdrawn,
        Outcome::Reverted,
        Outcome::Drifted,
        Outcome::Contended,
    ];
    for outcome in outcomes {
        assert_eq!(word(serde_json::to_value(outcome).unwrap()), outcome.as_str());
    }
    let phases =
        [Phase::Pending, Phase::Progressing, Phase::Verifying, Phase::Paused, Phase::Holding, Phase::Succeeded];
    for phase in phases {
        assert_eq!(word(serde_json::to_value(phase).unwrap()), phase.as_str());
    }
    for kind in [WorkloadKind::Deployment, WorkloadKind::StatefulSet, WorkloadKind::DaemonSet] {
        assert_eq!(word(serde_json::to_value(kind).unwrap()), kind.as_str());
    }
}

#[test]
fn equal_sets_of_images_and_only_they_have_equal_hashes() {
    let images = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(container, image)| ((*container).to_owned(), (*image).to_owned())).collect()
    };
    let one = images_hash(&images(&[("app", "shop:v1"), ("proxy", "proxy:v7")]));
    assert_eq!(one, images_hash(&images(&[("proxy", "proxy:v7"), ("app", "shop:v1")])));
    assert_eq!(one.len(), 16);
    for other in [images(&[]), images(&[("app", "shop:v1")]), images(&[("app", "proxy:v7"), ("proxy", "shop:v1")])] {
        assert_ne!(one, images_hash(&other));
    }
}

#[test]
fn times_are_cut_to_whole_seconds_as_the_api_server_does() {
    for (millis, back) in [(1_767_225_600_999, 1_767_225_600_000), (0, 0), (-1, -1000), (i64::MAX, 0)] {
        assert_eq!(millis_from_time(&time_from_millis(millis)), back, "{millis}");
    }
}

#[test]
fn yaml_streams_are_read_document_by_document_and_errors_name_the_place() {
    let text = format!("---\n{FRAGMENT}\n---\n# nothing\n---\n{FRAGMENT}");
    assert_eq!(crds::yaml::documents::<ClusterScopeRollout>(&text).unwrap().len(), 2);
    let broken = FRAGMENT.replace("setWeight: 50", "setWeight: many");
    let error = crds::yaml::from_str::<ClusterScopeRollout>(&broken).unwrap_err().to_string();
    assert!(error.contains("steps[1].setWeight") && error.contains("line 12"), "{error}");
}

#[test]
fn an_object_survives_being_printed() {
    let AssignmentEvent::Assign(assignment) = serde_json::from_str(ASSIGNMENT).unwrap() else { panic!("no Assign") };
    let text = crds::yaml::to_string(&assignment).unwrap();
    assert_eq!(crds::yaml::from_str::<RolloutAssignment>(&text).unwrap(), assignment);
}
