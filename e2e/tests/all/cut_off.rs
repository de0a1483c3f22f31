//! A member that is cut off in mid-wave with a bad image goes back by itself, within its deadline and while all
//! controllers are away; when they are there again, the run ends as if they had sent it back.

use crate::common::{PATIENCE, V1, apply, checkouts, down, rollout, until_described, until_image, until_phase, up};
use crds::{DeadlineState, Intent, Outcome, Phase, RolloutAssignment};
use e2e::harness::{TestFolder, wait_for};
use e2e::playground::{Options, Playground};
use kube::Api;

const CANARY: &str = "prod-us-east";
const WEST: &str = "prod-us-west";
const BAD: &str = "registry.example.com/checkout:never-ready-3";

#[tokio::test(flavor = "multi_thread")]
async fn semantics_17_a_member_that_is_cut_off_in_mid_wave_returns_by_itself_and_counts_as_failed_afterwards() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("cut-off").unwrap();
    let playground = up(Options::new(folder.path(), 2, 1).named(&[CANARY, WEST])).await;
    let before = checkouts(&playground).await;
    let strategy = "{progressDeadlineSeconds: 15, canary: {steps: [{setWeight: 10}]}}";
    let targets = format!("targetClusters: [{CANARY}, {WEST}]");
    apply(&playground, &rollout("checkout", &targets, BAD, strategy)).await;
    until_image(&playground, CANARY, BAD).await;
    playground.kill_part("controller-1").await.unwrap();

    let object = until_reverted(&playground).await;
    assert_eq!(object.spec.intent, Intent::Apply, "nobody has told it to return");
    until_image(&playground, CANARY, V1).await;
    // What it gave up it never applies again, also when its agent has lost its memory.
    playground.kill_part(&format!("{CANARY}/agent")).await.unwrap();
    playground.start_part(&format!("{CANARY}/agent")).await.unwrap();
    until_reverted(&playground).await;

    playground.start_part("controller-1").await.unwrap();
    let status = until_phase(&playground, "checkout", Phase::RolledBack).await;
    assert_eq!((status.counts.failed, status.counts.returned, status.counts.not_started), (1, 1, 1));
    until_described(&playground, "checkout", &["and has returned by itself"]).await;
    for ((member, image, old), (_, now, new)) in before.iter().zip(&checkouts(&playground).await) {
        // There and back again, once, and the other was never touched.
        let changes = if member == CANARY { 2 } else { 0 };
        assert_eq!((now, *new), (image, old + changes), "{member}");
    }
    down(playground).await;
}

async fn until_reverted(playground: &Playground) -> RolloutAssignment {
    let client = playground.member(CANARY).unwrap().client().await.unwrap();
    let api: Api<RolloutAssignment> = Api::all(client);
    let found = wait_for("the agent to return by itself", PATIENCE, || async {
        let object = api.get("checkout").await?;
        let status = object.status.clone().unwrap_or_default();
        let passed = status.deadline.as_ref().is_some_and(|deadline| deadline.state == DeadlineState::Passed);
        let back = passed && status.outcome == Outcome::Reverted;
        Ok(if back { Ok(object) } else { Err(format!("{status:?}")) })
    });
    found.await.unwrap()
}
