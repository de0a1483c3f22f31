//! Somebody else sets images in a member: that is repaired, or only reported, by where the rollout stands; and who does it
//! again and again gets their way, and their name in the story.

use crate::common::{
    PATIENCE, V2, V3, apply, checkouts, down, meddle, members_with, rollout, until, until_described, until_image,
    until_phase, up,
};
use crds::{Intent, OnDrift, Phase, RolloutAssignment, images_hash};
use e2e::harness::{TestFolder, wait_for};
use e2e::playground::{Options, Playground};
use kube::Api;

const CANARY: &str = "prod-us-east";
const WEST: &str = "prod-us-west";
const BAD: &str = "registry.example.com/checkout:never-ready-3";
/// Never ready either, so that nobody is healthy before the third change.
const WANTED: &str = "registry.example.com/checkout:never-ready-4";

/// The image over both, the canary first.
fn checkout(image: &str, deadline_seconds: u32) -> String {
    let targets = format!("targetClusters: [{CANARY}, {WEST}]");
    let steps = "steps: [{setWeight: 50, pause: 1}], soakSeconds: 1";
    let strategy = format!("{{progressDeadlineSeconds: {deadline_seconds}, canary: {{{steps}}}}}");
    rollout("checkout", &targets, image, &strategy)
}

#[tokio::test(flavor = "multi_thread")]
async fn semantics_22_drift_is_repaired_or_reported_and_whoever_insists_is_named() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("drift").unwrap();
    let playground = up(Options::new(folder.path(), 2, 1).named(&[CANARY, WEST])).await;
    apply(&playground, &checkout(V2, 60)).await;
    until_phase(&playground, "checkout", Phase::Succeeded).await;
    after_the_success_it_is_repaired(&playground).await;
    without_enforce_it_is_reported(&playground).await;
    after_a_rollback_it_is_reported(&playground).await;
    who_insists_makes_the_member_fail(&playground).await;
    down(playground).await;
}

async fn after_the_success_it_is_repaired(playground: &Playground) {
    let before = checkouts(playground).await;
    meddle(playground, CANARY, V3).await;
    until_image(playground, CANARY, V2).await;
    let after = checkouts(playground).await;
    assert_eq!((after[0].2, after[1].2), (before[0].2 + 2, before[1].2), "there and back again, and nobody else");
    let order = order(playground, CANARY).await.unwrap();
    assert_eq!((order.spec.intent, order.spec.on_drift), (Intent::Apply, OnDrift::Repair));
}

async fn without_enforce_it_is_reported(playground: &Playground) {
    enforce(playground, false).await;
    for member in [CANARY, WEST] {
        until_ordered(playground, member, Intent::Apply, OnDrift::Report).await;
    }
    meddle(playground, CANARY, V3).await;
    until_drifted(playground, CANARY).await;
    let words = ["MemberDrifted", CANARY, "kubectl-set has set app", V3, "MembersDrifted"];
    until_described(playground, "checkout", &words).await;
    let status = until_phase(playground, "checkout", Phase::Succeeded).await;
    assert_eq!((status.run, status.counts.healthy, status.counts.failed), (1, 1, 0));
    assert_eq!(members_with(playground, V3).await, [CANARY]);

    enforce(playground, true).await;
    until_image(playground, CANARY, V2).await;
    until(playground, "checkout", "to be healthy again", |status| status.counts.healthy == 2).await;
}

/// Also where the run that was rolled back had not come to.
async fn after_a_rollback_it_is_reported(playground: &Playground) {
    apply(playground, &checkout(BAD, 10)).await;
    until_phase(playground, "checkout", Phase::RolledBack).await;
    until_ordered(playground, CANARY, Intent::Return, OnDrift::Report).await;
    until_ordered(playground, WEST, Intent::Apply, OnDrift::Report).await;
    let before = until_phase(playground, "checkout", Phase::RolledBack).await;
    for member in [CANARY, WEST] {
        meddle(playground, member, V3).await;
        until_drifted(playground, member).await;
    }
    let after = until_phase(playground, "checkout", Phase::RolledBack).await;
    assert_eq!((after.run, after.counts), (before.run, before.counts));
    assert_eq!(members_with(playground, V3).await, [CANARY, WEST]);
}

async fn who_insists_makes_the_member_fail(playground: &Playground) {
    apply(playground, &checkout(WANTED, 600)).await;
    for _ in 0..3 {
        until_image(playground, CANARY, WANTED).await;
        until_noted(playground, CANARY, WANTED).await;
        meddle(playground, CANARY, V3).await;
    }
    let status = until(playground, "checkout", "to be rolled back the second time", |status| {
        status.run == 3 && status.phase == Some(Phase::RolledBack)
    })
    .await;
    assert_eq!((status.counts.failed, status.counts.returned), (1, 1));
    let who = "kubectl-set has set other images 3 times within 10 minutes";
    until_described(playground, "checkout", &["MemberContended", "was contended before it was healthy", who]).await;
    assert_eq!(members_with(playground, V3).await, [CANARY, WEST]);
    let said = playground.kubectl().ok(&["describe", "csro", "checkout"]).await.unwrap();
    assert!(!said.contains("CatchUpStarted"), "what a person has set is not caught up with: {said}");
}

/// Waits until the agent has written down that it has set this image: before that another one is no drift.
async fn until_noted(playground: &Playground, member: &str, image: &str) {
    let hash = images_hash(&[("app".to_owned(), image.to_owned())].into());
    wait_for(&format!("{member} to note {image}"), PATIENCE, || async {
        let RolloutAssignment { spec, status, .. } = order(playground, member).await?;
        let status = status.unwrap_or_default();
        let noted = status.fence == spec.fence && status.applied_hash.as_ref() == Some(&hash);
        Ok(if noted { Ok(()) } else { Err(format!("{status:?}")) })
    })
    .await
    .unwrap();
}

async fn enforce(playground: &Playground, enforce: bool) {
    let patch = format!(r#"{{"spec":{{"enforce":{enforce}}}}}"#);
    playground.kubectl().ok(&["patch", "csro", "checkout", "--type=merge", "-p", &patch]).await.unwrap();
}

async fn order(playground: &Playground, member: &str) -> anyhow::Result<RolloutAssignment> {
    let api: Api<RolloutAssignment> = Api::all(playground.member(member)?.client().await?);
    Ok(api.get("checkout").await?)
}

/// Waits until the member has such an order and has answered it.
async fn until_ordered(playground: &Playground, member: &str, intent: Intent, on_drift: OnDrift) {
    let what = format!("{member} to have an order to {} with {on_drift:?}", intent.as_str());
    let found = wait_for(&what, PATIENCE, || async {
        let RolloutAssignment { spec, status, .. } = order(playground, member).await?;
        let answered = status.as_ref().is_some_and(|status| status.fence == spec.fence);
        let is_there = answered && spec.intent == intent && spec.on_drift == on_drift;
        Ok(if is_there { Ok(()) } else { Err(format!("{spec:?}, {status:?}")) })
    });
    found.await.unwrap();
}

async fn until_drifted(playground: &Playground, member: &str) {
    let what = format!("to tell that {member} has drifted");
    let status = until(playground, "checkout", &what, |status| {
        status.clusters.iter().any(|cluster| cluster.name == member && cluster.state == "Drifted")
    })
    .await;
    let cluster = status.clusters.iter().find(|cluster| cluster.name == member).unwrap();
    assert!(cluster.message.contains("kubectl-set has set app to"), "{cluster:?}");
    assert!(cluster.message.contains(&format!("{V3} instead of {V2}")), "{cluster:?}");
}
