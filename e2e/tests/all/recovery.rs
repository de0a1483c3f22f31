//! What is left when the controllers lose everything: hub and members tell, nobody is sent back, and a person decides what
//! nobody can know.

use crate::common;
use std::path::{Path, PathBuf};

use crate::common::canary::{BAD, CANARY, checkout, fleet};
use crate::common::{
    V1, V2, V3, apply, checkouts, copy, members_with, only_ran, status, until, until_described, until_phase,
    until_rolled_out, until_waiting, watch,
};
use crds::{ClusterScopeRolloutStatus, Phase};
use e2e::harness::{CHECKOUT, TestFolder};
use e2e::playground::Playground;

const V4: &str = "registry.example.com/checkout:v4";

#[tokio::test(flavor = "multi_thread")]
async fn semantics_42_a_store_that_was_lost_is_learnt_anew_from_hub_and_members() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("recovery").unwrap();
    let playground = fleet(folder.path()).await;
    after_a_rollback(&playground).await;
    after_a_success(&playground).await;
    after_folders_were_put_back(&playground, folder.path()).await;
    in_the_middle_of_a_good_run(&playground).await;
    resumed_it_goes_on_and_aborted_it_goes_back(&playground).await;
    common::down(playground).await;
}

/// It stays rolled back, and its revision in quarantine.
async fn after_a_rollback(playground: &Playground) {
    apply(playground, &checkout(BAD, 1)).await;
    let before = until_phase(playground, "checkout", Phase::RolledBack).await;
    until_rolled_out(playground, None, CHECKOUT).await;
    let ran = checkouts(playground).await;
    let watches = watch(playground).await;
    lose_store(playground).await;
    until_described(playground, "checkout", &["Adopted", "was over and stays so", "Quarantined"]).await;
    let after = until_phase(playground, "checkout", Phase::RolledBack).await;
    assert_eq!(after.quarantined_revisions, before.quarantined_revisions);
    assert_eq!((after.run, after.revision), (before.run, before.revision));
    assert_eq!(checkouts(playground).await, ran, "nobody was touched");
    only_ran(watches, |_| V1);
}

/// The next payload goes out over what is known; what is accepted then is known after another loss.
async fn after_a_success(playground: &Playground) {
    apply(playground, &checkout(V2, 1)).await;
    let before = until_phase(playground, "checkout", Phase::Succeeded).await;
    assert_eq!((before.run, members_with(playground, V2).await.len()), (2, 3));
    let ran = checkouts(playground).await;
    lose_store(playground).await;
    until_adopted(playground, &before).await;
    let after = until_phase(playground, "checkout", Phase::Succeeded).await;
    assert_eq!((after.accepted_revision, after.counts), (before.accepted_revision, before.counts));
    assert_eq!(checkouts(playground).await, ran, "nobody was touched");
}

/// Nobody said that the store went back; the hub and the members know of a run that it doesn't.
async fn after_folders_were_put_back(playground: &Playground, folder: &Path) {
    let kept = folder.join("kept");
    stop_controllers(playground).await;
    for id in ids(playground) {
        copy(&data(playground, &id), &kept.join(&id));
    }
    start_controllers(playground).await;
    apply(playground, &checkout(V3, 1)).await;
    until(playground, "checkout", "to begin the third run", |status| status.run == 3).await;
    let before = until_phase(playground, "checkout", Phase::Succeeded).await;
    let (ran, epoch) = (checkouts(playground).await, epoch(playground).await);
    let watches = watch(playground).await;
    stop_controllers(playground).await;
    for id in ids(playground) {
        std::fs::remove_dir_all(data(playground, &id)).unwrap();
        copy(&kept.join(&id), &data(playground, &id));
    }
    start_controllers(playground).await;
    until_adopted(playground, &before).await;
    let after = until_phase(playground, "checkout", Phase::Succeeded).await;
    assert_eq!((after.run, after.accepted_revision), (3, before.accepted_revision));
    assert!(self::epoch(playground).await > epoch, "or members would take none of its orders");
    assert_eq!(checkouts(playground).await, ran, "nobody was touched");
    only_ran(watches, |_| V3);
}

/// It holds, says so, and nobody is told anything new.
async fn in_the_middle_of_a_good_run(playground: &Playground) {
    apply(playground, &checkout(V4, 3_600)).await;
    until_waiting(playground, "checkout", "Pause").await;
    assert_eq!(members_with(playground, V4).await, [CANARY]);
    let ran = checkouts(playground).await;
    let watches = watch(playground).await;
    lose_store(playground).await;
    let held = until_waiting(playground, "checkout", "StoreRebuilt").await;
    until(playground, "checkout", "to hold", |status| status.phase == Some(Phase::Holding)).await;
    until_described(playground, "checkout", &["StoreRebuilt", "until a person resumes, aborts or retries it"]).await;
    assert_eq!((held.run, held.counts.healthy), (4, 1));
    assert_eq!(checkouts(playground).await, ran, "nobody was touched");
    only_ran(watches, |member| if member == CANARY { V4 } else { V3 });
}

/// An abort after another loss takes the canary to what it ran before, which only the canary knew.
async fn resumed_it_goes_on_and_aborted_it_goes_back(playground: &Playground) {
    let plugin = playground.plugin();
    plugin.ok(&["resume", "checkout", "--why", "looked at it"]).await.unwrap();
    until_waiting(playground, "checkout", "Pause").await;
    lose_store(playground).await;
    until(playground, "checkout", "to hold", |status| status.phase == Some(Phase::Holding)).await;
    plugin.ok(&["abort", "checkout", "--why", "not today"]).await.unwrap();
    until_phase(playground, "checkout", Phase::RolledBack).await;
    assert_eq!(members_with(playground, V3).await.len(), 3);
}

/// Every controller is stopped, all that it has on its disk is deleted, and it is started again.
async fn lose_store(playground: &Playground) {
    stop_controllers(playground).await;
    for id in ids(playground) {
        std::fs::remove_dir_all(data(playground, &id)).unwrap();
    }
    start_controllers(playground).await;
}

async fn stop_controllers(playground: &Playground) {
    for id in ids(playground) {
        playground.stop_part(&id).await.unwrap();
    }
}

async fn start_controllers(playground: &Playground) {
    // None of them is ready without the others.
    for id in ids(playground) {
        playground.launch_part(&id).await.unwrap();
    }
    for id in ids(playground) {
        playground.start_part(&id).await.unwrap();
    }
}

fn ids(playground: &Playground) -> Vec<String> {
    playground.controllers().into_iter().map(|(id, _)| id).collect()
}

fn data(playground: &Playground, controller: &str) -> PathBuf {
    playground.dir().join("controllers").join(controller).join("data")
}

/// The epoch that the hub keeps.
async fn epoch(playground: &Playground) -> i64 {
    let arguments =
        ["get", "configmap", "-A", "-o", "jsonpath={.items[?(@.metadata.name==\"rollout-epoch\")].data.epoch}"];
    playground.kubectl().ok(&arguments).await.unwrap().trim().parse().unwrap()
}

/// Waits until the new store knows of this run, which is over. An earlier one was adopted before, and the next payload must
/// not come before this one is.
async fn until_adopted(playground: &Playground, before: &ClusterScopeRolloutStatus) {
    let (run, revision) = (before.run, before.revision.as_ref().unwrap());
    let adopted = format!("run {run} to revision {revision} is adopted from the hub and the members; it was over");
    until_described(playground, "checkout", &[&adopted]).await;
    assert_ne!(status(playground, "checkout").await.unwrap().phase, Some(Phase::Holding));
}
