//! Two rollouts on one workload: the second waits for the first, says so, and starts when the first is gone.

use crate::common::{
    PATIENCE, V1, V2, V3, apply, checkouts, down, members_with, rollout, until, until_phase, until_waiting, up,
};
use crds::Phase;
use e2e::harness::{TestFolder, wait_for};
use e2e::playground::Options;

const EAST: &str = "prod-us-east";
const WEST: &str = "prod-us-west";

#[tokio::test(flavor = "multi_thread")]
async fn semantics_07_a_second_rollout_on_the_same_workload_waits_names_the_first_and_follows_it() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("conflicts").unwrap();
    let playground = up(Options::new(folder.path(), 2, 1).named(&[EAST, WEST])).await;
    let strategy = "{canary: {steps: [{setWeight: 50}]}}";
    apply(&playground, &rollout("first", &format!("targetClusters: [{EAST}]"), V2, strategy)).await;
    until_phase(&playground, "first", Phase::Succeeded).await;
    let before = checkouts(&playground).await;

    apply(&playground, &rollout("second", &format!("targetClusters: [{WEST}, {EAST}]"), V3, strategy)).await;
    let waiting = until_waiting(&playground, "second", "Conflicted").await;
    assert_eq!((waiting.phase, waiting.run), (Some(Phase::Pending), 0));
    let message = waiting.waiting_on.unwrap().message;
    assert!(message.contains("first") && message.contains(EAST), "{message}");
    assert!(!message.contains(WEST), "WEST is free: {message}");
    wait_for("describe to say so", PATIENCE, || async {
        let text = playground.kubectl().ok(&["describe", "csro", "second"]).await?;
        let event = text.lines().any(|line| line.contains("Warning") && line.contains("Conflicted"));
        Ok(if event && text.contains("first") { Ok(()) } else { Err(text) })
    })
    .await
    .unwrap();
    // What holds a member goes on with it.
    apply(&playground, &rollout("first", &format!("targetClusters: [{EAST}]"), V1, strategy)).await;
    until(&playground, "first", "to run again", |status| status.run == 2 && status.phase == Some(Phase::Succeeded))
        .await;
    let after = checkouts(&playground).await;
    assert_eq!(after[1], before[1], "WEST was touched by a rollout that has not started");
    assert_eq!(after[0], (EAST.to_owned(), V1.to_owned(), before[0].2 + 1));

    playground.kubectl().ok(&["delete", "csro", "first", "--wait=true"]).await.unwrap();
    let done = until_phase(&playground, "second", Phase::Succeeded).await;
    assert_eq!((done.run, done.counts.healthy), (1, 2));
    assert_eq!(members_with(&playground, V3).await, [EAST, WEST]);
    down(playground).await;
}
