//! What people do to a run, through the kubectl plugin and the API server's own rules: approve, abort, retry.

use crate::common;
use std::path::Path;

use crate::common::story::decisions;
use crate::common::{
    PATIENCE, V1, V2, V3, apply, checkouts, meddle, members_with, rollout, until, until_described, until_image,
    until_phase, until_rolled_out, until_waiting, up,
};
use crds::{ActionOutcome, Phase, RolloutAction, RolloutHistory, RunOutcome};
use e2e::harness::{CHECKOUT, TestFolder, wait_for};
use e2e::kubectl::Output;
use e2e::playground::{Options, Playground};
use kube::Api;
use kube::api::ListParams;

const EAST: &str = "prod-us-east";
const WEST: &str = "prod-us-west";
const ROLLOUT: &str = "checkout";

/// Alice may approve, abort and retry the rollout; Bob may edit it and create actions, and holds none of the verbs.
const PEOPLE: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: rollout-editor}
rules:
- {apiGroups: [rollout.example.com], resources: [clusterscoperollouts], verbs: [get, list, watch, patch, update]}
- {apiGroups: [rollout.example.com], resources: [rolloutactions], verbs: [get, list, watch, create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: rollout-owner}
rules:
- apiGroups: [rollout.example.com]
  resources: [clusterscoperollouts]
  resourceNames: [checkout]
  verbs: [approve, abort, retry]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: rollout-editors}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: rollout-editor}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: alice}, {apiGroup: rbac.authorization.k8s.io, kind: User, name: bob}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: rollout-owners}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: rollout-owner}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: alice}]
";

/// The image over both members, the first alone until a person approves; all must stay healthy for so many seconds.
fn manifest(image: &str, soak: u32) -> String {
    let strategy = format!(
        "{{progressDeadlineSeconds: 20, canary: {{steps: [{{setWeight: 50, pause: 1, approval: Required}}], soakSeconds: {soak}}}}}"
    );
    rollout(ROLLOUT, &format!("targetClusters: [{EAST}, {WEST}]"), image, &strategy)
}

#[tokio::test(flavor = "multi_thread")]
async fn semantics_44_people_approve_abort_and_retry_a_run_as_far_as_they_may() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("actions").unwrap();
    let playground = up(Options::new(folder.path(), 2, 1).named(&[EAST, WEST])).await;
    playground.kubectl().apply_server_side(PEOPLE).await.unwrap();
    // What the first one runs is its own.
    meddle(&playground, EAST, V3).await;
    until_image(&playground, EAST, V3).await;
    until_rolled_out(&playground, Some(EAST), CHECKOUT).await;

    apply(&playground, &manifest(V2, 3600)).await;
    semantics_09_a_step_waits_for_a_person(&playground).await;
    who_may_not_is_refused(&playground).await;
    who_may_approves(&playground).await;
    an_abort_takes_each_member_back_to_its_own_image(&playground).await;
    a_retry_after_the_repair_succeeds(&playground).await;
    semantics_06_and_48_undo_goes_back_to_what_the_history_tells(&playground).await;
    common::down(playground).await;
}

async fn semantics_09_a_step_waits_for_a_person(playground: &Playground) {
    let status = until_waiting(playground, ROLLOUT, "Approval").await;
    assert_eq!((status.phase, status.approval), (Some(Phase::Holding), Some(crds::Approval::Required)));
    until_described(playground, ROLLOUT, &["kubectl clusterrollout approve checkout --step 1", "ApprovalRequired"])
        .await;
    assert_eq!(members_with(playground, V2).await, [EAST], "nobody else before a person says so");
    let explained = playground.plugin().ok(&["explain", ROLLOUT]).await.unwrap();
    assert!(explained.contains("kubectl clusterrollout approve checkout --step 1"), "{explained}");
    let table = playground.plugin().ok(&["get"]).await.unwrap();
    assert!(table.contains("Holding") && table.contains("Approval"), "{table}");
}

async fn who_may_not_is_refused(playground: &Playground) {
    let bob = playground.plugin().run(&["--as", "bob", "approve", ROLLOUT]).await.unwrap();
    assert_said(&bob, &["bob", "may not approve rollout", "verb approve on clusterscoperollouts"]);
    let output = playground.plugin().run(&["--as", "bob", "abort", ROLLOUT, "--why", "no"]).await.unwrap();
    assert_said(&output, &["bob", "may not abort rollout"]);
    // Alice's name doesn't help him, and neither does his own under her rights.
    let forged = action(playground, "alice").await;
    let output = playground.kubectl().run_with_input(&["--as", "bob", "create", "-f", "-"], &forged).await.unwrap();
    assert_said(&output, &["spec.who is \"alice\", but you are \"bob\""]);
    let output = playground
        .kubectl()
        .run_with_input(&["--as", "alice", "create", "-f", "-"], &action(playground, "bob").await)
        .await
        .unwrap();
    assert_said(&output, &["spec.who is \"bob\", but you are \"alice\""]);
    // Nor can he take the approval away, or move it to where nobody waits.
    for steps in ["[{setWeight: 50, pause: 1}]", "[{setWeight: 90, pause: 1, approval: Required}]"] {
        let patch = format!("spec: {{rolloutStrategy: {{canary: {{steps: {steps}}}}}}}");
        let arguments = ["--as", "bob", "patch", "csro", ROLLOUT, "--type", "merge", "--patch", &patch];
        let output = playground.kubectl().run(&arguments).await.unwrap();
        assert_said(&output, &["bob", "may not take approval from a step"]);
    }
    let patch = "spec: {rolloutStrategy: {maxConcurrency: 2}}";
    playground
        .kubectl()
        .ok(&["--as", "bob", "patch", "csro", ROLLOUT, "--type", "merge", "--patch", patch])
        .await
        .unwrap();
    until_waiting(playground, ROLLOUT, "Approval").await;
    assert!(actions(playground).await.is_empty(), "nothing of it was stored");
}

/// An approval of the step, in somebody's name.
async fn action(playground: &Playground, who: &str) -> String {
    let kubectl = playground.kubectl();
    let found = kubectl.ok(&["get", "csro", ROLLOUT, "-o", "jsonpath={.metadata.uid} {.status.revision}"]);
    let found = found.await.unwrap();
    let (uid, revision) = found.split_once(' ').unwrap();
    format!(
        "apiVersion: rollout.example.com/v1alpha1
kind: RolloutAction
metadata: {{generateName: by-hand-}}
spec: {{rollout: {{name: {ROLLOUT}, uid: {uid}}}, run: 1, step: 1, revision: '{revision}', action: Approve, who: {who}}}
"
    )
}

async fn who_may_approves(playground: &Playground) {
    let other = playground.plugin().run(&["--as", "alice", "approve", ROLLOUT, "--step", "2"]).await.unwrap();
    assert_said(&other, &["step 2 was meant, but run 1 is at step 1"]);
    let said = playground.plugin().ok(&["--as", "alice", "approve", ROLLOUT, "--step", "1"]).await.unwrap();
    assert_eq!(said, "approve of checkout, run 1, step 1: done: step 1 goes on\n");
    until_waiting(playground, ROLLOUT, "Soak").await;
    assert_eq!(members_with(playground, V2).await, [EAST, WEST]);
    let late = playground.plugin().run(&["--as", "alice", "approve", ROLLOUT]).await.unwrap();
    assert_said(&late, &["refused", "step 2 of run 1 has no approval: Required"]);
    until_described(playground, ROLLOUT, &["Approved", "run 1: step 1 approved by alice"]).await;
}

async fn an_abort_takes_each_member_back_to_its_own_image(playground: &Playground) {
    let arguments = ["--as", "alice", "abort", ROLLOUT, "--why", "orders are lost", "-o", "json"];
    let said = playground.plugin().ok(&arguments).await.unwrap();
    let object: RolloutAction = serde_json::from_str(&said).unwrap();
    assert_eq!((object.spec.who.as_str(), object.status.unwrap().outcome), ("alice", ActionOutcome::Applied));
    let status = until_phase(playground, ROLLOUT, Phase::RolledBack).await;
    assert_eq!((status.counts.returned, status.quarantined_revisions.len()), (2, 1));
    let images: Vec<_> = checkouts(playground).await.into_iter().map(|(_, image, _)| image).collect();
    assert_eq!(images, [V3, V1]);
    until_described(playground, ROLLOUT, &["aborted by alice (orders are lost)", "kubectl clusterrollout retry"]).await;
    let again = playground.plugin().run(&["--as", "alice", "abort", ROLLOUT, "--why", "again"]).await.unwrap();
    assert_said(&again, &["refused", "was rolled back"]);
}

/// On the first member no pod finds a node, so the retry fails; with the node back the next one succeeds.
async fn a_retry_after_the_repair_succeeds(playground: &Playground) {
    apply(playground, &manifest(V2, 1)).await;
    let member = playground.member(EAST).unwrap().kubectl();
    let nodes = member.ok(&["get", "nodes", "-o", "name"]).await.unwrap();
    let nodes: Vec<&str> = nodes.lines().collect();
    member.ok(&[&["cordon"], nodes.as_slice()].concat()).await.unwrap();
    retry(playground, "the database is larger").await;
    until(playground, ROLLOUT, "to go back again", |status| status.run == 2 && status.phase == Some(Phase::RolledBack))
        .await;
    member.ok(&[&["uncordon"], nodes.as_slice()].concat()).await.unwrap();
    retry(playground, "the nodes are back").await;
    until_waiting(playground, ROLLOUT, "Approval").await;
    playground.plugin().ok(&["--as", "alice", "approve", ROLLOUT]).await.unwrap();
    let done = until_phase(playground, ROLLOUT, Phase::Succeeded).await;
    assert_eq!((done.run, done.counts.healthy), (3, 2));
    assert_eq!(done.quarantined_revisions, []);
    assert_eq!(members_with(playground, V2).await, [EAST, WEST]);
}

/// While another payload waits for approval, the accepted one is asked for again: by default, then by name.
async fn semantics_06_and_48_undo_goes_back_to_what_the_history_tells(playground: &Playground) {
    apply(playground, &manifest(V3, 1)).await;
    until(playground, ROLLOUT, "to wait in run 4", |status| status.run == 4 && status.phase == Some(Phase::Holding))
        .await;
    let (_, url) = playground.controllers().into_iter().next().unwrap();
    let plugin = |arguments: &[&str]| -> Vec<String> {
        let mut all = vec!["--as", "alice"];
        all.extend(arguments);
        all.extend(["--controller", url.as_str()]);
        all.into_iter().map(str::to_owned).collect()
    };
    let nowhere = playground.plugin().run(&plugin(&["undo", ROLLOUT, "--to-revision", "zzzz"])).await.unwrap();
    assert_said(&nowhere, &["no revision \"zzzz\" is known of checkout"]);
    let said = playground.plugin().ok(&plugin(&["undo", ROLLOUT])).await.unwrap();
    assert!(said.starts_with("checkout: its specification has the payload of revision "), "{said}");
    let again = playground.plugin().run(&plugin(&["undo", ROLLOUT])).await.unwrap();
    assert_said(&again, &["there is nothing to undo to"]);
    until(playground, ROLLOUT, "to wait in run 5", |status| status.run == 5 && status.phase == Some(Phase::Holding))
        .await;
    let told = playground.plugin().ok(&plugin(&["history", ROLLOUT, "-o", "json"])).await.unwrap();
    let history: RolloutHistory = serde_json::from_str(&told).unwrap();
    let outcomes: Vec<_> = history.runs.iter().map(|past| past.outcome).collect();
    let ended = [RunOutcome::Aborted, RunOutcome::RolledBack, RunOutcome::Succeeded, RunOutcome::Superseded];
    assert_eq!(outcomes, ended.map(Some).into_iter().chain([None]).collect::<Vec<_>>());
    assert_eq!(history.accepted_revision.as_ref(), Some(&history.runs[4].revision));
    assert_eq!(history.payloads[&history.runs[3].revision].workload().unwrap().images["app"], V3);
    let table = playground.plugin().ok(&plugin(&["history", ROLLOUT])).await.unwrap();
    assert!(table.contains("aborted by alice") && table.contains("under way"), "{table}");
    let superseded = history.runs[3].revision.to_string();
    playground.plugin().ok(&plugin(&["undo", ROLLOUT, "--to-revision", &superseded[..8]])).await.unwrap();
    until(playground, ROLLOUT, "to wait in run 6", |status| status.run == 6 && status.phase == Some(Phase::Holding))
        .await;
}

async fn retry(playground: &Playground, why: &str) {
    let said = playground.plugin().ok(&["--as", "alice", "retry", ROLLOUT, "--why", why]).await.unwrap();
    assert!(said.contains("done: revision "), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn semantics_44_a_leader_that_dies_over_an_action_leaves_it_to_the_next_and_it_is_applied_once() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("actions-leader").unwrap();
    let fault = folder.path().join("fault");
    let options = Options::new(folder.path().join("playground"), 2, 3)
        .named(&[EAST, WEST])
        .with_controller_variable("CLUSTERROLLOUT_FAULT_FILE", fault.to_str().unwrap());
    let playground = up(options).await;
    apply(&playground, &manifest(V2, 3600)).await;
    until_waiting(&playground, ROLLOUT, "Approval").await;
    // It is decided and not committed.
    the_leader_dies(&playground, &fault, "decide", &["approve", ROLLOUT]).await;
    until_waiting(&playground, ROLLOUT, "Soak").await;
    assert_eq!(told(&playground, "Approved").await, 1);
    assert_eq!(told(&playground, "ApprovalRequired").await, 1);
    // It is committed, and the hub was not told.
    the_leader_dies(&playground, &fault, "publish", &["abort", ROLLOUT, "--why", "a test"]).await;
    until_phase(&playground, ROLLOUT, Phase::RolledBack).await;
    assert_eq!(told(&playground, "Aborted").await, 1);
    let settled = wait_for("both actions to have an outcome", PATIENCE, || async {
        let all = actions(&playground).await;
        let outcomes: Vec<_> = all.iter().map(|action| action.status.clone().unwrap_or_default().outcome).collect();
        Ok(if outcomes == [ActionOutcome::Applied; 2] { Ok(()) } else { Err(format!("{outcomes:?}")) })
    });
    settled.await.unwrap();
    let images: Vec<_> = checkouts(&playground).await.into_iter().map(|(_, image, _)| image).collect();
    assert_eq!(images, [V1, V1]);
    common::down(playground).await;
}

/// The leader dies at that stage of taking the action up, which is the next thing that happens.
async fn the_leader_dies(playground: &Playground, fault: &Path, stage: &str, action: &[&str]) {
    let leader = playground.leader().await.unwrap().id.unwrap();
    let unfinished = fault.with_extension("unfinished");
    std::fs::write(&unfinished, stage).unwrap();
    std::fs::rename(unfinished, fault).unwrap();
    let said = playground.plugin().ok(&[action, &["--wait", "120"]].concat()).await.unwrap();
    assert!(said.contains("done"), "{said}");
    assert!(!fault.exists(), "nobody died at {stage}");
    assert_eq!(playground.pid(&leader).unwrap(), None, "{leader} died");
    playground.start_part(&leader).await.unwrap();
}

/// How often this was decided.
async fn told(playground: &Playground, reason: &str) -> usize {
    let records = decisions(playground, ROLLOUT).await.unwrap();
    let events = records.iter().flat_map(|record| record["events"].as_array().into_iter().flatten());
    events.filter(|event| event["reason"] == reason).count()
}

async fn actions(playground: &Playground) -> Vec<RolloutAction> {
    let api: Api<RolloutAction> = Api::all(playground.hub().client().await.unwrap());
    api.list(&ListParams::default()).await.unwrap().items
}

fn assert_said(output: &Output, words: &[&str]) {
    assert!(!output.success, "it was done: {}", output.stdout);
    for word in words {
        assert!(output.stderr.contains(word), "no \"{word}\" in: {}", output.stderr);
    }
}
