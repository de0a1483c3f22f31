//! Members whose cluster is away, agent and API server: what they get when they are back, and what never.

use crate::common::story::{Story, lose};
use crate::common::{
    PATIENCE, V1, V2, V3, apply, checkouts, down, members_with, rollout, until, until_described, until_image,
    until_phase, up,
};
use crds::{ClusterScopeRolloutStatus, Phase};
use e2e::harness::{CHECKOUT, TestFolder, wait_for};
use e2e::image_watch::ImageWatch;
use e2e::playground::{Options, Playground};

const FIRST: &str = "prod-us-east";
const SECOND: &str = "prod-us-west";
const THIRD: &str = "prod-mars";
const ROLLOUT: &str = "checkout";

fn manifest(image: &str, steps: &str) -> String {
    let targets = format!("targetClusters: [{FIRST}, {SECOND}, {THIRD}]");
    let strategy = format!(
        "{{maxConcurrency: 1, maxUnreachable: 1, progressDeadlineSeconds: 20, canary: {{steps: [{steps}], soakSeconds: 0}}}}"
    );
    rollout(ROLLOUT, &targets, image, &strategy)
}

#[tokio::test(flavor = "multi_thread")]
async fn semantics_29_33_37_a_member_that_was_away_gets_what_is_accepted_and_never_what_was_rolled_back() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("unreachable").unwrap();
    let playground = up(Options::new(folder.path(), 3, 1).named(&[FIRST, SECOND, THIRD])).await;
    an_order_that_was_rolled_back_never_reaches_a_member_that_was_away(&playground).await;
    what_is_accepted_is_owed_to_a_member_that_was_away(&playground).await;
    a_member_that_is_away_delays_no_deletion(&playground).await;
    down(playground).await;
}

/// The second member is told while it is away, then the third fails and all go back. Pods that nobody starts are late,
/// and that decides who is told when.
async fn an_order_that_was_rolled_back_never_reaches_a_member_that_was_away(playground: &Playground) {
    let before = checkouts(playground).await;
    for member in [FIRST, THIRD] {
        playground.stop_part(&format!("{member}/kwok")).await.unwrap();
    }
    // Within a wave those are told first who have said first what they run, so all are to have said it.
    apply(playground, &format!("{}  paused: true\n", manifest(V2, "{setWeight: 100}"))).await;
    let observed = |status: &ClusterScopeRolloutStatus| {
        status.phase == Some(Phase::Paused) && status.counts.total == 3 && status.clusters.is_empty()
    };
    until(playground, ROLLOUT, "to have observed everybody", observed).await;
    apply(playground, &manifest(V2, "{setWeight: 100}")).await;
    until_image(playground, FIRST, V2).await;
    until(playground, ROLLOUT, "to have told the first member", |status| status.counts.assigned == 1).await;
    playground.kill_part(&format!("{SECOND}/agent")).await.unwrap();
    playground.start_part(&format!("{FIRST}/kwok")).await.unwrap();
    wait_for("the second member to be told", PATIENCE, || async {
        let orders = Story::of(playground, ROLLOUT, 1).await?.orders;
        Ok(if orders[SECOND] == ["Observe", "Apply"] { Ok(()) } else { Err(format!("{orders:?}")) })
    })
    .await
    .unwrap();
    playground.member(SECOND).unwrap().stop().await;

    // Silent, it leaves its place to the third one, which fails.
    let failed = |status: &ClusterScopeRolloutStatus| {
        matches!(status.phase, Some(Phase::RollingBack | Phase::RolledBack)) && status.counts.failed == 1
    };
    until(playground, ROLLOUT, "to roll back", failed).await;
    playground.start_part(&format!("{THIRD}/kwok")).await.unwrap();
    let status = until_phase(playground, ROLLOUT, Phase::RolledBack).await;
    let owed = status.clusters.iter().find(|cluster| cluster.name == SECOND).unwrap();
    assert!(owed.message.contains("owed the return"), "{owed:?}");

    let cluster = playground.member(SECOND).unwrap();
    cluster.start().await.unwrap();
    // Before there is an agent again, so nothing is missed.
    let watch = ImageWatch::start(cluster.client().await.unwrap(), CHECKOUT).await.unwrap();
    playground.start_part(&format!("{SECOND}/agent")).await.unwrap();
    until(playground, ROLLOUT, "to have everybody back", |status| status.counts.returned == 3).await;
    let images = watch.stop().unwrap();
    assert_eq!(images.into_iter().collect::<Vec<_>>(), [V1], "what the second member ran since it was back");
    for ((member, _, old), (_, image, new)) in before.iter().zip(checkouts(playground).await) {
        assert_eq!(image, V1, "{member}");
        assert_eq!(new, old + if member == SECOND { 0 } else { 2 }, "{member}: generation");
    }
}

async fn what_is_accepted_is_owed_to_a_member_that_was_away(playground: &Playground) {
    apply(playground, &manifest(V3, "{setWeight: 33, pause: 600}")).await;
    until(playground, ROLLOUT, "to pause", |status| status.phase == Some(Phase::Verifying)).await;
    lose(playground, THIRD).await;
    until(playground, ROLLOUT, "to miss the third member", |status| status.counts.unreachable == 1).await;
    apply(playground, &manifest(V3, "{setWeight: 33, pause: 0}")).await;
    let status = until_phase(playground, ROLLOUT, Phase::Succeeded).await;
    assert_eq!((status.counts.healthy, status.counts.owed, status.counts.failed), (2, 1, 0));
    assert_eq!(state(&status, THIRD), Some("Owed"));
    let waiting = status.waiting_on.unwrap();
    assert_eq!(waiting.reason, "Owed");
    assert!(waiting.message.contains(THIRD), "{}", waiting.message);
    until_described(playground, ROLLOUT, &["1 unreachable and owed it: prod-mars"]).await;

    playground.member(THIRD).unwrap().start().await.unwrap();
    playground.start_part(&format!("{THIRD}/agent")).await.unwrap();
    until_image(playground, THIRD, V3).await;
    let settled = |status: &ClusterScopeRolloutStatus| status.counts.healthy == 3 && status.waiting_on.is_none();
    let status = until(playground, ROLLOUT, "to be through", settled).await;
    assert_eq!((status.phase, status.counts.owed, status.clusters), (Some(Phase::Succeeded), 0, Vec::new()));
}

async fn a_member_that_is_away_delays_no_deletion(playground: &Playground) {
    lose(playground, SECOND).await;
    until(playground, ROLLOUT, "to miss the second member", |status| status.counts.unreachable == 1).await;
    playground.kubectl().ok(&["delete", "csro", ROLLOUT, "--timeout=30s"]).await.unwrap();
    playground.member(SECOND).unwrap().start().await.unwrap();
    let assignments = || async { playground.member(SECOND)?.kubectl().ok(&["get", "roas", "-o", "name"]).await };
    assert!(!assignments().await.unwrap().is_empty(), "its order is still there");
    playground.start_part(&format!("{SECOND}/agent")).await.unwrap();
    wait_for("the late withdrawal", PATIENCE, || async {
        let left = assignments().await?;
        Ok(if left.trim().is_empty() { Ok(()) } else { Err(left) })
    })
    .await
    .unwrap();
    assert_eq!(members_with(playground, V3).await.len(), 3, "a deletion changes no workload");
}

/// What the status says of a member that needs attention.
fn state<'a>(status: &'a ClusterScopeRolloutStatus, member: &str) -> Option<&'a str> {
    status.clusters.iter().find(|cluster| cluster.name == member).map(|cluster| cluster.state.as_str())
}
