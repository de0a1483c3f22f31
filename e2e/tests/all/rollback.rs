//! A bad image on three members: the one that it reached goes back to what it ran itself, and nobody else notices.

use crate::common::{
    V1, V2, V3, apply, checkouts, down, meddle, members_with, rollout, until, until_described, until_image,
    until_phase, until_rolled_out, until_waiting, up,
};
use crds::Phase;
use e2e::harness::{CHECKOUT, LEDGER, TestFolder, views};
use e2e::playground::{Options, Playground};

const CANARY: &str = "prod-us-east";
const WEST: &str = "prod-us-west";
const MARS: &str = "prod-mars";
const BAD: &str = "registry.example.com/checkout:never-ready-3";

/// The image over all three, the canary first.
fn checkout(image: &str) -> String {
    let targets = format!("targetClusters: [{CANARY}, {WEST}, {MARS}]");
    let strategy = "{progressDeadlineSeconds: 10, canary: {steps: [{setWeight: 10, pause: 1}], soakSeconds: 1}}";
    rollout("checkout", &targets, image, strategy)
}

#[tokio::test(flavor = "multi_thread")]
async fn semantics_28_to_33_a_bad_image_goes_back_where_it_was_and_a_good_one_goes_out_after_it() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("rollback").unwrap();
    let playground = up(Options::new(folder.path(), 3, 1).named(&[CANARY, WEST, MARS])).await;
    // What the canary runs is its own: not what the others run.
    meddle(&playground, CANARY, V2).await;
    until_image(&playground, CANARY, V2).await;
    until_rolled_out(&playground, Some(CANARY), CHECKOUT).await;
    a_bad_image_goes_back_by_itself(&playground).await;
    the_same_payload_waits_in_quarantine(&playground).await;
    semantics_18_a_stateful_set_gets_rid_of_pods_that_never_became_ready(&playground).await;
    down(playground).await;
}

async fn a_bad_image_goes_back_by_itself(playground: &Playground) {
    let before = checkouts(playground).await;
    apply(playground, &checkout(BAD)).await;
    let status = until_phase(playground, "checkout", Phase::RolledBack).await;
    assert_eq!((status.counts.failed, status.counts.returned, status.counts.not_started), (1, 1, 2));
    assert_eq!(status.quarantined_revisions, [status.revision.unwrap()]);
    assert_eq!(status.accepted_revision, None);
    let after = checkouts(playground).await;
    for ((member, old_image, old), (_, image, new)) in before.iter().zip(&after) {
        assert_eq!(image, old_image, "{member}");
        // There and back again, and nobody else was touched.
        let changes = if member == CANARY { 2 } else { 0 };
        assert_eq!(*new, old + changes, "{member}: generation");
    }
    assert_eq!(members_with(playground, V2).await, [CANARY]);
    until_rolled_out(playground, Some(CANARY), CHECKOUT).await;
    let words = ["FailedMember", "RollbackStarted", "RolledBack", "Quarantined"];
    until_described(playground, "checkout", &words).await;
}

async fn the_same_payload_waits_in_quarantine(playground: &Playground) {
    let again = until_waiting(playground, "checkout", "Quarantined").await;
    assert!(again.waiting_on.unwrap().message.contains("set another payload"));
    apply(playground, &checkout(V3)).await;
    let done = until_phase(playground, "checkout", Phase::Succeeded).await;
    assert_eq!((done.run, done.counts.healthy, done.counts.failed), (2, 3, 0));
    assert_eq!(members_with(playground, V3).await.len(), 3);

    let before = checkouts(playground).await;
    apply(playground, &checkout(BAD)).await;
    until_waiting(playground, "checkout", "Quarantined").await;
    apply(playground, &checkout(V1)).await;
    until(playground, "checkout", "to run the third time", |status| status.run == 3).await;
    let done = until_phase(playground, "checkout", Phase::Succeeded).await;
    assert_eq!(done.run, 3, "the payload in quarantine had no run");
    let after = checkouts(playground).await;
    for ((member, _, old), (_, image, new)) in before.iter().zip(&after) {
        assert_eq!((image.as_str(), *new), (V1, old + 1), "{member}");
    }
}

/// Its controller leaves a pod that never became ready when the template goes back; somebody has to delete it.
async fn semantics_18_a_stateful_set_gets_rid_of_pods_that_never_became_ready(playground: &Playground) {
    let manifest = format!(
        "apiVersion: rollout.example.com/v1alpha1
kind: ClusterScopeRollout
metadata: {{name: ledger}}
spec:
  targetClusters: [{CANARY}, {WEST}]
  workload: {{kind: StatefulSet, namespace: shop, name: ledger, images: {{app: \"registry.example.com/ledger:never-ready\"}}}}
  rolloutStrategy: {{progressDeadlineSeconds: 10, canary: {{steps: [{{setWeight: 50}}]}}}}
"
    );
    let clients = playground.member_clients().await.unwrap();
    let before = views(&clients, LEDGER).await.unwrap();
    apply(playground, &manifest).await;
    until_phase(playground, "ledger", Phase::RolledBack).await;
    until_rolled_out(playground, Some(CANARY), LEDGER).await;
    let after = views(&clients, LEDGER).await.unwrap();
    for (member, old) in &before {
        let new = &after[member];
        assert_eq!(new.image, old.image, "{member}");
        let changes = if member == CANARY { 2 } else { 0 };
        assert_eq!(new.generation, old.generation + changes, "{member}: generation");
    }
}
