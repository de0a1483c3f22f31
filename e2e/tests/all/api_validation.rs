//! What the API server accepts and refuses, through plain kubectl, as people meet it.

use std::time::Duration;

use e2e::control_plane::{ControlPlane, Role};
use e2e::harness::{self, TestFolder, wait_for};
use e2e::kubectl::Output;
use e2e::repository;

/// The fragment of DESIGN section 1, to the letter, with a name.
const FRAGMENT: &str = r#"
apiVersion: rollout.example.com/v1alpha1
kind: ClusterScopeRollout
metadata:
  name: fragment
spec:
  targetClusters: ["prod-us-east", "prod-us-west"]   # the canary batches, in order
  rolloutStrategy:
    canary:
      steps:
      - setWeight: 10    # first 10 % of the clusters
        pause: 300       # 5 minutes, in which metrics are verified
      - setWeight: 50    # then up to 50 %
"#;

const WORKLOAD: &str = r#"
  workload:
    kind: Deployment
    namespace: shop
    name: checkout
    images: {app: "registry.example.com/checkout:v2"}
"#;

/// A good rollout in which each test spoils one thing.
const GOOD: &str = r#"
apiVersion: rollout.example.com/v1alpha1
kind: ClusterScopeRollout
metadata: {name: good}
spec:
  targetClusters: [east, west]
  workload: {kind: Deployment, namespace: shop, name: checkout, images: {app: "registry.example.com/checkout:v2"}}
  rolloutStrategy: {canary: {steps: [{setWeight: 10, pause: 5}, {setWeight: 50}]}}
"#;

/// What is spoilt, what it becomes, and the words that the refusal must have.
const REFUSALS: &[(&str, &str, &str, &[&str])] = &[
    ("weight 0", "setWeight: 10", "setWeight: 0", &["steps[0].setWeight", "greater than or equal to 1"]),
    ("weight 101", "setWeight: 50", "setWeight: 101", &["steps[1].setWeight", "less than or equal to 100"]),
    ("a fractional weight", "setWeight: 50", "setWeight: 50.5", &["steps[1].setWeight", "integer"]),
    ("decreasing weights", "setWeight: 50", "setWeight: 5", &["canary.steps", "must not decrease"]),
    ("a negative pause", "pause: 5", "pause: -1", &["steps[0].pause", "greater than or equal to 0"]),
    ("no steps", "[{setWeight: 10, pause: 5}, {setWeight: 50}]", "[]", &["canary.steps", "at least 1 item"]),
    ("steps left out", "steps: [{setWeight: 10, pause: 5}, {setWeight: 50}]", "", &["canary.steps", "Required"]),
    ("an empty image", "\"registry.example.com/checkout:v2\"", "\"\"", &["workload.images.app", "at least 1 char"]),
    ("an approval by chance", "setWeight: 50", "setWeight: 50, approval: Perhaps", &["steps[1].approval", "supported"]),
    ("no images", "{app: \"registry.example.com/checkout:v2\"}", "{}", &["workload.images", "at least 1"]),
    ("neither targets nor selector", "targetClusters: [east, west]", "", &["spec.targetClusters", "clusterSelector"]),
    ("an empty list of targets", "[east, west]", "[]", &["spec.targetClusters", "at least one member"]),
    ("a target twice", "[east, west]", "[east, east]", &["spec.targetClusters", "Duplicate value"]),
    ("an unknown kind", "kind: Deployment,", "kind: Job,", &["workload.kind", "supported values"]),
    (
        "an empty selector",
        "targetClusters: [east, west]",
        "clusterSelector: {}",
        &["clusterSelector", "matchExpressions"],
    ),
    ("concurrency of 0", "rolloutStrategy: {", "rolloutStrategy: {maxConcurrency: 0, ", &["maxConcurrency"]),
    ("concurrency of 0 %", "rolloutStrategy: {", "rolloutStrategy: {maxConcurrency: \"0%\", ", &["maxConcurrency"]),
    ("failures below 0", "rolloutStrategy: {", "rolloutStrategy: {maxFailures: -1, ", &["maxFailures"]),
    ("failures over 100 %", "rolloutStrategy: {", "rolloutStrategy: {maxFailures: \"101%\", ", &["maxFailures"]),
    ("an unknown mode", "rolloutStrategy: {", "rollback: {mode: Perhaps}\n  rolloutStrategy: {", &["rollback.mode"]),
    ("a deadline of 0", "rolloutStrategy: {", "rolloutStrategy: {progressDeadlineSeconds: 0, ", &["progressDeadline"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_refuses_bad_rollouts_and_names_the_field() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("refusals").unwrap();
    let hub = hub(&folder).await;
    assert_accepted(&hub.kubectl().apply(GOOD).await.unwrap());
    for (what, good, bad, words) in REFUSALS {
        assert!(GOOD.contains(good), "the good rollout has no \"{good}\"");
        let spoilt = GOOD.replace(good, bad).replace("name: good", "name: bad");
        let output = hub.kubectl().apply(&spoilt).await.unwrap();
        assert_refused(what, &output, words);
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn semantics_01_the_workload_that_a_rollout_is_about_is_immutable() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("immutable").unwrap();
    let hub = hub(&folder).await;
    assert_accepted(&hub.kubectl().apply(GOOD).await.unwrap());
    let changes = [
        ("kind: Deployment,", "kind: StatefulSet,", "workload.kind"),
        ("namespace: shop", "namespace: other", "workload.namespace"),
        ("name: checkout,", "name: other,", "workload.name"),
    ];
    for (good, changed, field) in changes {
        let output = hub.kubectl().apply(&GOOD.replace(good, changed)).await.unwrap();
        assert_refused(changed, &output, &[field, "immutable"]);
    }
    let workload = GOOD.lines().find(|line| line.contains("workload:")).unwrap();
    let output = hub.kubectl().apply(&GOOD.replace(workload, "")).await.unwrap();
    assert_refused("workload taken away", &output, &["spec.workload"]);
    assert_accepted(&hub.kubectl().apply(&GOOD.replace("checkout:v2", "checkout:v3")).await.unwrap());
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn semantics_44_an_action_is_immutable_and_an_abort_says_why() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("immutable-action").unwrap();
    let hub = hub(&folder).await;
    let action = |kind: &str, why: &str| {
        format!(
            "apiVersion: rollout.example.com/v1alpha1
kind: RolloutAction
metadata: {{name: one}}
spec: {{rollout: {{name: good, uid: u}}, run: 1, step: 1, revision: r, action: {kind}, who: alice{why}}}
"
        )
    };
    assert_refused("no reason", &hub.kubectl().apply(&action("Abort", "")).await.unwrap(), &["spec.why", "say why"]);
    assert_refused("an unknown action", &hub.kubectl().apply(&action("Go", "")).await.unwrap(), &["spec.action"]);
    assert_accepted(&hub.kubectl().apply(&action("Approve", "")).await.unwrap());
    let output = hub.kubectl().apply(&action("Abort", ", why: orders fail")).await.unwrap();
    assert_refused("another action", &output, &["spec", "immutable"]);
    let table = hub.kubectl().ok(&["get", "ra"]).await.unwrap();
    for column in ["NAME", "ROLLOUT", "ACTION", "RUN", "STEP", "WHO", "OUTCOME", "AGE"] {
        assert!(table.lines().next().unwrap().contains(column), "no column {column}:\n{table}");
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn semantics_03_the_source_fragment_is_accepted_with_and_without_a_workload() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("fragment").unwrap();
    let hub = hub(&folder).await;
    let kubectl = hub.kubectl();
    assert_accepted(&kubectl.apply(FRAGMENT).await.unwrap());
    let with_workload = FRAGMENT.replace("name: fragment", "name: with-workload") + WORKLOAD;
    assert_accepted(&kubectl.apply(&with_workload).await.unwrap());
    // A workload can be given later.
    assert_accepted(&kubectl.apply(&(FRAGMENT.to_owned() + WORKLOAD)).await.unwrap());
    let table = kubectl.ok(&["get", "csro"]).await.unwrap();
    for column in ["NAME", "PHASE", "STEP", "WEIGHT", "HEALTHY", "WAITING", "AGE"] {
        assert!(table.lines().next().unwrap().contains(column), "no column {column}:\n{table}");
    }
    let defaults = kubectl.ok(&["get", "csro", "fragment", "-o", "jsonpath={.spec.rolloutStrategy}"]).await.unwrap();
    assert!(defaults.contains(r#""maxConcurrency":"10%""#), "{defaults}");
    assert!(defaults.contains(r#""progressDeadlineSeconds":600"#), "{defaults}");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_explain_tells_what_each_field_means() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("explain").unwrap();
    let hub = hub(&folder).await;
    let steps = explain(&hub, "csro.spec.rolloutStrategy.canary.steps").await;
    for words in ["setWeight", "Percent of the members", "pause", "Whole seconds", "-required-"] {
        assert!(steps.contains(words), "no \"{words}\" in:\n{steps}");
    }
    // Every field is documented, not only every type.
    for resource in ["csro", "mc", "ra"] {
        for part in ["spec", "status"] {
            let path = format!("{resource}.{part}");
            let text = explain(&hub, &path).await;
            assert!(!text.contains("<no description>"), "{path}:\n{text}");
        }
    }
    hub.stop().await;
}

async fn hub(folder: &TestFolder) -> ControlPlane {
    let hub = harness::start_cluster(folder.path(), "hub", Role::Hub).await.unwrap();
    let crds = repository().join("deploy/crds").display().to_string();
    let output = hub.kubectl().run(&["apply", "--server-side", "-f", &crds]).await.unwrap();
    assert!(output.success, "the CRDs were refused: {}", output.stderr);
    assert!(!output.stderr.to_lowercase().contains("warning"), "the API server warns: {}", output.stderr);
    hub.kubectl().await_resources(&["csro", "mc", "ra", "roas"]).await.unwrap();
    hub
}

/// The API server publishes the documentation of a CRD some time after it serves the resource.
async fn explain(hub: &ControlPlane, path: &str) -> String {
    let kubectl = hub.kubectl();
    wait_for(&format!("kubectl explain {path}"), Duration::from_mins(1), || async {
        let output = kubectl.run(&["explain", path]).await?;
        Ok(if output.success { Ok(output.stdout) } else { Err(output.stderr) })
    })
    .await
    .unwrap()
}

fn assert_accepted(output: &Output) {
    assert!(output.success, "refused: {}", output.stderr);
    assert!(!output.stderr.contains("Warning"), "accepted with a warning: {}", output.stderr);
}

fn assert_refused(what: &str, output: &Output, words: &[&str]) {
    assert!(!output.success, "{what} was accepted");
    // kubectl prints a 422 as "… is invalid: …"; a refusal of its own would come before any request.
    assert!(output.stderr.contains("is invalid"), "{what}: not refused by validation: {}", output.stderr);
    for word in words {
        assert!(output.stderr.contains(word), "{what}: no \"{word}\" in: {}", output.stderr);
    }
}
