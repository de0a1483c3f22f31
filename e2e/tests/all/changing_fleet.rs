//! The fleet and what is wanted of it change in mid-run, and the hub goes away: nothing aborts, and all is said.

use std::time::{Duration, Instant};

use crate::common::story::{Story, decisions, told};
use crate::common::{
    PATIENCE, V1, V2, V3, apply, checkouts, down, members_with, rollout, status, until, until_described, until_image,
    until_phase, until_waiting, up,
};
use crds::{ClusterScopeRolloutStatus, Phase};
use e2e::harness::{TestFolder, wait_for};
use e2e::playground::{Options, Playground};

const ROLLOUT: &str = "fleet";
const V4: &str = "registry.example.com/checkout:v4";
const BAD: &str = "registry.example.com/checkout:never-ready-1";
const WORSE: &str = "registry.example.com/checkout:never-ready-2";
const WORST: &str = "registry.example.com/checkout:never-ready-3";
/// How long the hub's API server is away: twice what makes it silent.
const OUTAGE: Duration = Duration::from_mins(1);

fn manifest(image: &str, strategy: &str) -> String {
    rollout(ROLLOUT, "clusterSelector: {matchLabels: {env: prod}}", image, strategy)
}

#[tokio::test(flavor = "multi_thread")]
async fn semantics_30_to_36_and_40_a_run_goes_on_while_members_the_payload_and_the_hub_come_and_go() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("changing").unwrap();
    let playground = up(Options::new(folder.path(), 6, 1)).await;
    members_join_and_leave_and_percentages_follow(&playground).await;
    a_payload_that_comes_in_mid_rollback_waits_for_its_end(&playground).await;
    nothing_goes_forward_while_the_hub_is_away(&playground).await;
    semantics_35_after_a_rollback_one_that_joins_gets_what_was_accepted_before(&playground).await;
    a_deletion_in_mid_rollback_waits_for_its_end(&playground).await;
    semantics_21_a_member_without_the_workload_is_left_out_until_it_has_it(&playground).await;
    down(playground).await;
}

/// Four of six at first. While the first pauses, one is created, one is relabelled to belong, and one no longer belongs.
async fn members_join_and_leave_and_percentages_follow(playground: &Playground) {
    playground.kubectl().ok(&["delete", "mc", "member-5"]).await.unwrap();
    label(playground, "member-6", "env=staging").await;
    let before = checkouts(playground).await;
    let strategy = |first: u32, second: u32| {
        format!(
            "{{maxConcurrency: 3, canary: {{steps: [{{setWeight: 25, pause: {first}}}, {{setWeight: 50, pause: {second}}}], soakSeconds: 0}}}}"
        )
    };
    apply(playground, &manifest(V2, &strategy(600, 600))).await;
    let pausing = until_waiting(playground, ROLLOUT, "Pause").await;
    assert_eq!((pausing.counts.total, pausing.counts.healthy), (4, 1));

    let created = "apiVersion: rollout.example.com/v1alpha1
kind: MemberCluster
metadata: {name: member-5, labels: {env: prod}}
spec: {}
";
    apply(playground, created).await;
    label(playground, "member-6", "env=prod").await;
    label(playground, "member-4", "env=retired").await;
    let follows = |status: &ClusterScopeRolloutStatus| status.counts.total == 5;
    let pausing = until(playground, ROLLOUT, "to plan five members", follows).await;
    assert_eq!((pausing.phase, pausing.step, pausing.counts.healthy), (Some(Phase::Verifying), 1, 1));

    // The second step's half of five, rounded up; of the four at the start it would be two.
    apply(playground, &manifest(V2, &strategy(0, 600))).await;
    let second = |status: &ClusterScopeRolloutStatus| status.step == 2 && status.phase == Some(Phase::Verifying);
    let pausing = until(playground, ROLLOUT, "to pause in the second step", second).await;
    assert_eq!((pausing.counts.healthy, pausing.counts.not_started), (3, 2));
    assert_eq!(members_with(playground, V2).await, ["member-1", "member-2", "member-3"]);

    // One that was updated leaves, too: it keeps the image, and the others are all there is.
    label(playground, "member-3", "env=retired").await;
    let follows = |status: &ClusterScopeRolloutStatus| (status.counts.total, status.counts.healthy) == (4, 2);
    until(playground, ROLLOUT, "to plan four members", follows).await;
    apply(playground, &manifest(V2, &strategy(0, 0))).await;
    let done = until_phase(playground, ROLLOUT, Phase::Succeeded).await;
    assert_eq!((done.run, done.counts.healthy, done.counts.total, done.counts.failed), (1, 4, 4, 0));
    assert_eq!(members_with(playground, V1).await, ["member-4"]);
    for ((member, _, old), (_, _, new)) in before.iter().zip(checkouts(playground).await) {
        assert_eq!(new, old + i64::from(member != "member-4"), "{member}: generation");
    }
    label(playground, "member-3", "env=prod").await;
}

/// A rollback that takes until it is let go: nobody looks at the first member's Deployment, so it is not seen to be back.
async fn stuck_rollback(playground: &Playground, image: &str, deadline_seconds: u32) {
    let strategy = format!(
        "{{progressDeadlineSeconds: {deadline_seconds}, canary: {{steps: [{{setWeight: 10}}], soakSeconds: 0}}}}"
    );
    apply(playground, &manifest(image, &strategy)).await;
    until_image(playground, "member-1", image).await;
    playground.stop_part("member-1/controller-manager").await.unwrap();
    until_phase(playground, ROLLOUT, Phase::RollingBack).await;
}

async fn a_payload_that_comes_in_mid_rollback_waits_for_its_end(playground: &Playground) {
    let before = checkouts(playground).await;
    stuck_rollback(playground, BAD, 8).await;
    let strategy = "{progressDeadlineSeconds: 120, maxConcurrency: 6, canary: {steps: [{setWeight: 100}]}}";
    apply(playground, &manifest(V3, strategy)).await;
    let waiting = until_waiting(playground, ROLLOUT, "RollbackFirst").await;
    assert_eq!((waiting.phase, waiting.run), (Some(Phase::RollingBack), 2));
    until_described(playground, ROLLOUT, &["RollbackFirst", "the new payload waits until the rollback is over"]).await;
    assert!(members_with(playground, V3).await.is_empty());
    playground.start_part("member-1/controller-manager").await.unwrap();
    let done = until_phase(playground, ROLLOUT, Phase::Succeeded).await;
    assert_eq!((done.run, done.counts.healthy, done.counts.total), (3, 5, 5));
    let reasons = Story::of(playground, ROLLOUT, 2).await.unwrap().reasons;
    assert!(reasons.ends_with(&["RollbackStarted".to_owned(), "RolledBack".to_owned()]), "{reasons:?}");
    for ((member, _, old), (_, image, new)) in before.iter().zip(checkouts(playground).await) {
        let changes = match member.as_str() {
            "member-1" => 3,
            "member-4" => 0,
            _ => 1,
        };
        assert_eq!((new, image == V3), (old + changes, changes > 0), "{member}: generation");
    }
}

/// Its object has no other home than the hub, so the members are asked, and the controllers.
async fn nothing_goes_forward_while_the_hub_is_away(playground: &Playground) {
    let strategy = "{maxConcurrency: 6, canary: {steps: [{setWeight: 10, pause: 35}], soakSeconds: 0}}";
    apply(playground, &manifest(V4, strategy)).await;
    until_waiting(playground, ROLLOUT, "Pause").await;
    let stopped = Instant::now();
    playground.stop_part("hub/apiserver").await.unwrap();
    let deadline = OUTAGE + PATIENCE;
    wait_for("the controllers to say that the hub is silent", deadline, || async {
        let said = told(playground, ROLLOUT).await?;
        let over = said["waitingOn"]["reason"] == "HubSilent" && stopped.elapsed() > OUTAGE;
        Ok(if over { Ok(()) } else { Err(said["waitingOn"].to_string()) })
    })
    .await
    .unwrap();
    assert_eq!(members_with(playground, V4).await, ["member-1"], "the pause was over long ago");
    let before = decisions(playground, ROLLOUT).await.unwrap().len();
    playground.start_part("hub/apiserver").await.unwrap();
    let done = until_phase(playground, ROLLOUT, Phase::Succeeded).await;
    assert_eq!((done.run, done.counts.healthy, done.counts.failed), (4, 5, 0));
    assert_eq!(members_with(playground, V4).await.len(), 5);
    assert!(decisions(playground, ROLLOUT).await.unwrap().len() > before);
    until_described(playground, ROLLOUT, &["HubSilent", "run 4: 5 members healthy"]).await;
}

/// The wanted payload is in quarantine, and what is accepted is the one before.
async fn semantics_35_after_a_rollback_one_that_joins_gets_what_was_accepted_before(playground: &Playground) {
    let before = checkouts(playground).await;
    let strategy = "{progressDeadlineSeconds: 8, canary: {steps: [{setWeight: 10}], soakSeconds: 0}}";
    apply(playground, &manifest(WORST, strategy)).await;
    until_phase(playground, ROLLOUT, Phase::RolledBack).await;
    label(playground, "member-4", "env=prod").await;
    until_image(playground, "member-4", V4).await;
    until_described(playground, ROLLOUT, &["run 4: 1 member left to get the accepted revision", "member-4"]).await;
    let status = status(playground, ROLLOUT).await.unwrap();
    assert_eq!((status.phase, status.run, status.counts.failed), (Some(Phase::RolledBack), 5, 1));
    label(playground, "member-4", "env=retired").await;
    for ((member, _, old), (_, image, new)) in before.iter().zip(checkouts(playground).await) {
        let changes = match member.as_str() {
            "member-1" => 2,
            "member-4" => 1,
            _ => 0,
        };
        assert_eq!((image.as_str(), new), (V4, old + changes), "{member}: generation");
    }
}

async fn a_deletion_in_mid_rollback_waits_for_its_end(playground: &Playground) {
    let before = checkouts(playground).await;
    stuck_rollback(playground, WORSE, 15).await;
    playground.kubectl().ok(&["delete", "csro", ROLLOUT, "--wait=false"]).await.unwrap();
    until_described(playground, ROLLOUT, &["Deletion Timestamp", "while run 6 is rolling back"]).await;
    until_phase(playground, ROLLOUT, Phase::RollingBack).await;
    playground.start_part("member-1/controller-manager").await.unwrap();
    wait_for("the object to go", PATIENCE, || async {
        let left = playground.kubectl().ok(&["get", "csro", "-o", "name"]).await?;
        Ok(if left.trim().is_empty() { Ok(()) } else { Err(left) })
    })
    .await
    .unwrap();
    for ((member, old_image, old), (_, image, new)) in before.iter().zip(checkouts(playground).await) {
        let changes = if member == "member-1" { 2 } else { 0 };
        assert_eq!((&image, new), (old_image, old + changes), "{member}");
    }
}

async fn semantics_21_a_member_without_the_workload_is_left_out_until_it_has_it(playground: &Playground) {
    let create = ["-n", "shop", "create", "deployment", "extra", "--image=registry.example.com/extra:v1"];
    playground.member("member-2").unwrap().kubectl().ok(&create).await.unwrap();
    let manifest = "apiVersion: rollout.example.com/v1alpha1
kind: ClusterScopeRollout
metadata: {name: extra}
spec:
  targetClusters: [member-1, member-2]
  workload:
    kind: Deployment
    namespace: shop
    name: extra
    images: {extra: registry.example.com/extra:v2}
    ifMissing: Skip
  rolloutStrategy: {canary: {steps: [{setWeight: 50}], soakSeconds: 0}}
";
    apply(playground, manifest).await;
    let done = until_phase(playground, "extra", Phase::Succeeded).await;
    assert_eq!((done.counts.total, done.counts.healthy, done.counts.skipped), (1, 1, 1));
    let skipped: Vec<_> = done.clusters.iter().map(|one| (one.name.as_str(), one.state.as_str())).collect();
    assert_eq!(skipped, [("member-1", "Skipped")]);
    until_described(playground, "extra", &["MemberSkipped", "Deployment/shop/extra does not exist"]).await;
    playground.member("member-1").unwrap().kubectl().ok(&create).await.unwrap();
    let joined = |status: &ClusterScopeRolloutStatus| (status.counts.healthy, status.counts.skipped) == (2, 0);
    until(playground, "extra", "to take the first member along", joined).await;
}

async fn label(playground: &Playground, member: &str, label: &str) {
    playground.kubectl().ok(&["label", "mc", member, label, "--overwrite"]).await.unwrap();
}
