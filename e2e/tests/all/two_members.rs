//! The source fragment on two members, with three controllers of which the leader dies, and one member behind NAT.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::common::{
    PATIENCE, V1, V2, V3, apply, checkouts, down, meddle, members_with, rollout, until_described, until_image,
    until_phase, until_waiting, up,
};
use crds::{Phase, millis_from_time};
use e2e::harness::{self, CHECKOUT, EDGE, LEDGER, TestFolder, Watched, wait_for};
use e2e::playground::{Options, Playground};

const EAST: &str = "prod-us-east";
const WEST: &str = "prod-us-west";
/// Of the fragment's first step.
const PAUSE_MILLIS: i64 = 20_000;

/// The fragment of DESIGN section 1 with a name and a workload; pause and soak are shortened, for a test has no 5
/// minutes.
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
        pause: 20
      - setWeight: 50    # then up to 50 %
      soakSeconds: 2
  workload:
    kind: Deployment
    namespace: shop
    name: checkout
    images: {app: "registry.example.com/checkout:v2"}
"#;

/// One playground for the whole story, as bringing one up costs more than all that happens in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_over_two_members_survives_its_leader_and_tells_its_story() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("two").unwrap();
    let options = Options::new(folder.path(), 2, 3).named(&[EAST, WEST]).without_webhook(&[WEST]);
    let playground = up(options).await;
    what_can_not_start_says_why(&playground).await;
    the_pause_ends_on_its_deadline_though_the_leader_is_killed(&playground).await;
    kubectl_tells_the_story(&playground).await;
    an_agent_without_any_controller_keeps_its_workload(&playground).await;
    a_new_image_in_mid_run_supersedes(&playground).await;
    deletion_changes_no_workload(&playground).await;
    other_kinds_roll_out_too(&playground).await;
    a_container_that_a_later_payload_does_not_name_keeps_its_image(&playground).await;
    down(playground).await;
}

async fn what_can_not_start_says_why(playground: &Playground) {
    let without = FRAGMENT.split("  workload:").next().unwrap().replace("name: fragment", "name: no-payload");
    apply(playground, &without).await;
    let status = until_waiting(playground, "no-payload", "NoPayload").await;
    assert_eq!(status.phase, Some(Phase::Pending));

    let missing =
        rollout("missing", "targetClusters: [prod-us-east, prod-mars]", V3, "{canary: {steps: [{setWeight: 50}]}}");
    apply(playground, &missing).await;
    let status = until_waiting(playground, "missing", "TargetMissing").await;
    assert!(status.waiting_on.unwrap().message.contains("prod-mars"));
    let condition = status.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    assert!(condition.message.contains("prod-mars") && condition.status == "False", "{condition:?}");
    assert_eq!(members_with(playground, V1).await, [EAST, WEST], "nothing that waits touches a member");
    for name in ["no-payload", "missing"] {
        playground.kubectl().ok(&["delete", "csro", name, "--timeout=60s"]).await.unwrap();
    }
}

async fn the_pause_ends_on_its_deadline_though_the_leader_is_killed(playground: &Playground) {
    let before = checkouts(playground).await;
    apply(playground, FRAGMENT).await;
    let pausing = until_waiting(playground, "fragment", "Pause").await;
    let deadline = millis_from_time(&pausing.waiting_on.unwrap().until.unwrap());
    // 10 % of two members is one, the first that is named.
    assert_eq!(members_with(playground, V2).await, [EAST]);
    assert_eq!(members_with(playground, V1).await, [WEST]);

    // In the middle: a successor that began the pause again would end it half a pause late.
    sleep_until(deadline - PAUSE_MILLIS / 2).await;
    let leader = playground.leader().await.unwrap();
    let id = leader.id.unwrap();
    playground.kill_part(&id).await.unwrap();
    let successor = wait_for("another leader", PATIENCE, || async {
        let now = playground.leader().await?;
        Ok(if now.term > leader.term && now.id.as_ref() != Some(&id) { Ok(now) } else { Err(format!("{now:?}")) })
    });
    successor.await.unwrap();
    assert!(now_millis() < deadline, "the takeover took longer than the pause: nothing can be said about it");
    assert_eq!(members_with(playground, V2).await, [EAST]);
    until_image(playground, WEST, V2).await;
    let late = now_millis() - deadline;
    // The status shows whole seconds, cut: the pause ends at most a second after what it says.
    assert!((0..PAUSE_MILLIS / 2).contains(&late), "WEST was updated {late} ms after the pause's first deadline");

    let done = until_phase(playground, "fragment", Phase::Succeeded).await;
    assert_eq!((done.counts.healthy, done.counts.total), (2, 2));
    assert!(done.gate.unwrap().message.contains("no metric was checked"));
    // Each Deployment's spec was changed exactly once: nothing was applied twice.
    let after = checkouts(playground).await;
    for ((member, _, old), (_, image, new)) in before.iter().zip(&after) {
        assert_eq!(image, V2, "{member}");
        assert_eq!(*new, old + 1, "{member}: generation");
    }
    playground.start_part(&id).await.unwrap();
    // One has a webhook and is told both ways; the other one's stream alone suffices.
    assert!(taken(playground, EAST, "webhook").await > 0.0);
    assert!(taken(playground, WEST, "webhook").await < 0.5);
    assert!(taken(playground, WEST, "stream").await > 0.0);
}

/// Assignments that a member's agent took in this way.
async fn taken(playground: &Playground, member: &str, source: &str) -> f64 {
    let text = playground.metrics(&format!("{member}/agent")).await.unwrap();
    let wanted = format!("source=\"{source}\"");
    let line = text.lines().find(|line| line.contains("assignments_accepted_total") && line.contains(&wanted));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
}

fn now_millis() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

async fn sleep_until(millis: i64) {
    let left = u64::try_from(millis - now_millis()).unwrap_or(0);
    tokio::time::sleep(Duration::from_millis(left)).await;
}

async fn kubectl_tells_the_story(playground: &Playground) {
    let table = playground.kubectl().ok(&["get", "csro", "fragment"]).await.unwrap();
    let row = table.lines().nth(1).unwrap();
    for word in ["fragment", "Succeeded", "3/3", "100", "2/2"] {
        assert!(row.contains(word), "no {word} in:\n{table}");
    }
    let words = ["RunStarted", "StepStarted", "PauseStarted", "SoakStarted", "Succeeded", "2 members healthy"];
    let text = until_described(playground, "fragment", &words).await;
    assert!(text.contains("step 2 of 3"), "each step has its own event:\n{text}");
    let members = playground.kubectl().ok(&["get", "mc"]).await.unwrap();
    assert_eq!(members.matches("True").count(), 2, "{members}");
    let label = format!("rollout.example.com/member={EAST}");
    assert!(playground.kubectl().ok(&["get", "mc", "-l", &label, "-o", "name"]).await.unwrap().contains(EAST));
}

async fn an_agent_without_any_controller_keeps_its_workload(playground: &Playground) {
    let controllers: Vec<String> = playground.controllers().into_iter().map(|(id, _)| id).collect();
    for id in &controllers {
        playground.stop_part(id).await.unwrap();
    }
    let agent = format!("{EAST}/agent");
    playground.stop_part(&agent).await.unwrap();
    meddle(playground, EAST, V1).await;
    // It gets ready by its own cluster alone.
    playground.start_part(&agent).await.unwrap();
    until_image(playground, EAST, V2).await;
    for id in &controllers {
        playground.launch_part(id).await.unwrap();
    }
    for id in &controllers {
        playground.start_part(id).await.unwrap();
    }
    // What the store kept is what a controller says that knows nothing else.
    let (_, url) = playground.controllers().remove(0);
    wait_for("the rollout from the store", PATIENCE, || async {
        let rollouts: serde_json::Value = reqwest::get(format!("{url}/api/v1/rollouts")).await?.json().await?;
        let found = rollouts[0]["name"] == "fragment" && rollouts[0]["phase"] == "Succeeded";
        Ok(if found && rollouts[0]["counts"]["healthy"] == 2 { Ok(()) } else { Err(rollouts.to_string()) })
    })
    .await
    .unwrap();
}

async fn a_new_image_in_mid_run_supersedes(playground: &Playground) {
    apply(playground, &FRAGMENT.replace("checkout:v2", "checkout:v4").replace("pause: 20", "pause: 600")).await;
    assert!(until_waiting(playground, "fragment", "Pause").await.waiting_on.unwrap().until.is_some());
    apply(playground, &FRAGMENT.replace("checkout:v2", "checkout:never-ready-3").replace("pause: 20", "pause: 1"))
        .await;
    let health = until_waiting(playground, "fragment", "MemberHealth").await.waiting_on.unwrap();
    assert_eq!(health.until, None, "nothing of the old reason is left in the status");
    assert_eq!(members_with(playground, V2).await, [WEST], "a member that does not get ready stops the wave");
    apply(playground, &FRAGMENT.replace("checkout:v2", "checkout:v3").replace("pause: 20", "pause: 1")).await;
    let done = until_phase(playground, "fragment", Phase::Succeeded).await;
    assert_eq!(done.run, 4);
    assert_eq!(members_with(playground, V3).await, [EAST, WEST]);
}

async fn deletion_changes_no_workload(playground: &Playground) {
    let before = checkouts(playground).await;
    // An agent that is away delays nothing.
    playground.stop_part(&format!("{WEST}/agent")).await.unwrap();
    playground.kubectl().ok(&["delete", "csro", "fragment", "--timeout=60s"]).await.unwrap();
    let gone = || async {
        let left = playground.member(EAST)?.kubectl().ok(&["get", "roas", "-o", "name"]).await?;
        Ok(if left.trim().is_empty() { Ok(()) } else { Err(left) })
    };
    wait_for("the assignment to be withdrawn", PATIENCE, gone).await.unwrap();
    assert_eq!(checkouts(playground).await, before);
    playground.start_part(&format!("{WEST}/agent")).await.unwrap();
    let gone = || async {
        let left = playground.member(WEST)?.kubectl().ok(&["get", "roas", "-o", "name"]).await?;
        Ok(if left.trim().is_empty() { Ok(()) } else { Err(left) })
    };
    wait_for("the late withdrawal", PATIENCE, gone).await.unwrap();
    assert_eq!(checkouts(playground).await, before);
}

async fn other_kinds_roll_out_too(playground: &Playground) {
    for (kind, watched) in [("StatefulSet", LEDGER), ("DaemonSet", EDGE)] {
        let name = watched.name;
        let image = format!("registry.example.com/{name}:v2");
        let manifest = format!(
            "apiVersion: rollout.example.com/v1alpha1
kind: ClusterScopeRollout
metadata: {{name: {name}}}
spec:
  clusterSelector: {{matchLabels: {{env: prod}}}}
  workload: {{kind: {kind}, namespace: shop, name: {name}, images: {{app: \"{image}\"}}}}
  rolloutStrategy: {{canary: {{steps: [{{setWeight: 50}}]}}}}
"
        );
        apply(playground, &manifest).await;
        until_phase(playground, name, Phase::Succeeded).await;
        let views = harness::views(&playground.member_clients().await.unwrap(), watched).await.unwrap();
        assert!(views.values().all(|view| view.image == image && view.is_rolled_out()), "{kind}: {views:?}");
    }
}

async fn a_container_that_a_later_payload_does_not_name_keeps_its_image(playground: &Playground) {
    let pair = "apiVersion: apps/v1
kind: Deployment
metadata: {name: pair, namespace: shop}
spec:
  selector: {matchLabels: {app: pair}}
  template:
    metadata: {labels: {app: pair}}
    spec:
      containers: [{name: left, image: 'left:v1'}, {name: right, image: 'right:v1'}]
";
    for member in [EAST, WEST] {
        let output = playground.member(member).unwrap().kubectl().apply(pair).await.unwrap();
        assert!(output.success, "{}", output.stderr);
    }
    let rollout = |images: &str| {
        format!(
            "apiVersion: rollout.example.com/v1alpha1
kind: ClusterScopeRollout
metadata: {{name: pair}}
spec:
  targetClusters: [{EAST}, {WEST}]
  workload: {{kind: Deployment, namespace: shop, name: pair, images: {images}}}
  rolloutStrategy: {{canary: {{steps: [{{setWeight: 50}}]}}}}
"
        )
    };
    apply(playground, &rollout("{left: 'left:v2', right: 'right:v2'}")).await;
    until_phase(playground, "pair", Phase::Succeeded).await;
    apply(playground, &rollout("{left: 'left:v3'}")).await;
    until_phase(playground, "pair", Phase::Succeeded).await;
    let clients = playground.member_clients().await.unwrap();
    for (container, image) in [("left", "left:v3"), ("right", "right:v2")] {
        let watched = Watched { name: "pair", container, ..CHECKOUT };
        let views = harness::views(&clients, watched).await.unwrap();
        assert!(views.values().all(|view| view.image == image), "{container}: {views:?}");
    }
}
