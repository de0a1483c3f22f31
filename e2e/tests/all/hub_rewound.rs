//! The hub's etcd is put back to an older backup: everything holds until a person accepts the hub, and a rollout that was
//! created again goes on as the one that had its name.

use crate::common;
use std::path::{Path, PathBuf};

use crate::common::canary::{BAD, CANARY, checkout, fleet};
use crate::common::{
    V1, V2, V3, apply, checkouts, copy, members_with, only_ran, until_described, until_phase, until_rolled_out,
    until_waiting, watch,
};
use crds::Phase;
use e2e::harness::{CHECKOUT, TestFolder};
use e2e::playground::Playground;

#[tokio::test(flavor = "multi_thread")]
async fn semantics_43_a_hub_that_was_put_back_moves_nobody_until_a_person_accepts_it() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("hub-rewound").unwrap();
    let playground = fleet(folder.path()).await;
    let [empty, second] = ["empty", "second"].map(|name| folder.path().join(name));
    back_up(&playground, &empty).await;
    apply(&playground, &checkout(V2, 1)).await;
    until_phase(&playground, "checkout", Phase::Succeeded).await;
    back_up(&playground, &second).await;
    a_run_that_the_backup_does_not_know(&playground, &second).await;
    a_rollout_that_the_backup_does_not_know(&playground, &empty).await;
    common::down(playground).await;
}

/// The canary runs v3, and the hub says v2 again.
async fn a_run_that_the_backup_does_not_know(playground: &Playground, backup: &Path) {
    apply(playground, &checkout(V3, 3_600)).await;
    until_waiting(playground, "checkout", "Pause").await;
    assert_eq!(members_with(playground, V3).await, [CANARY]);
    let ran = checkouts(playground).await;
    let watches = watch(playground).await;
    put_back(playground, backup).await;
    let held = until_waiting(playground, "checkout", "HubRewound").await;
    assert_eq!((held.phase, held.run), (Some(Phase::Holding), 2), "the store still knows the run");
    let how = ["HubRewound", "nothing is withdrawn", "kubectl clusterrollout accept-hub"];
    until_described(playground, "checkout", &how).await;
    let plugin = playground.plugin();
    let told = plugin.ok(&["explain", "checkout"]).await.unwrap();
    assert!(told.contains("accept-hub checkout --why REASON"), "{told}");
    let refused = plugin.run(&["abort", "checkout", "--why", "in doubt"]).await.unwrap();
    assert!(!refused.success && refused.stderr.contains("accept the hub"), "{refused:?}");
    assert_eq!(checkouts(playground).await, ran, "nobody was touched");
    only_ran(watches, |member| if member == CANARY { V3 } else { V2 });
    plugin.ok(&["accept-hub", "checkout", "--why", "v2 is what we want"]).await.unwrap();
    let after = until_phase(playground, "checkout", Phase::Succeeded).await;
    assert_eq!((after.run, members_with(playground, V2).await.len()), (3, 3), "it goes on by what the hub says");
}

/// Its last run was rolled back; it is created again as it was, and that revision is not delivered.
async fn a_rollout_that_the_backup_does_not_know(playground: &Playground, backup: &Path) {
    apply(playground, &checkout(BAD, 1)).await;
    let before = until_phase(playground, "checkout", Phase::RolledBack).await;
    until_rolled_out(playground, None, CHECKOUT).await;
    let ran = checkouts(playground).await;
    let watches = watch(playground).await;
    put_back(playground, backup).await;
    apply(playground, &checkout(BAD, 1)).await;
    until_waiting(playground, "checkout", "HubRewound").await;
    until_described(playground, "checkout", &["checkout is gone, though nobody took its finalizer away"]).await;
    assert_eq!(checkouts(playground).await, ran, "nobody was touched");
    let plugin = playground.plugin();
    plugin.ok(&["accept-hub", "checkout", "--why", "it is complete again"]).await.unwrap();
    until_described(playground, "checkout", &["Inherited", "Quarantined"]).await;
    let after = until_phase(playground, "checkout", Phase::RolledBack).await;
    assert_eq!((after.run, &after.accepted_revision), (before.run, &before.accepted_revision));
    assert_eq!(after.quarantined_revisions, before.quarantined_revisions);
    only_ran(watches, |_| V2);
    apply(playground, &checkout(V1, 1)).await;
    let last = until_phase(playground, "checkout", Phase::Succeeded).await;
    assert_eq!((last.run, members_with(playground, V1).await.len()), (before.run + 1, 3));
}

async fn back_up(playground: &Playground, to: &Path) {
    playground.hub().stop().await;
    copy(&data(playground), to);
    playground.hub().start().await.unwrap();
}

async fn put_back(playground: &Playground, backup: &Path) {
    playground.hub().stop().await;
    std::fs::remove_dir_all(data(playground)).unwrap();
    copy(backup, &data(playground));
    playground.hub().start().await.unwrap();
}

/// Of the hub's etcd.
fn data(playground: &Playground) -> PathBuf {
    playground.dir().join("hub").join("etcd")
}
