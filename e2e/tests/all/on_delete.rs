//! A `StatefulSet` whose pods only their owner deletes, and one whose partition keeps old pods, on a real member.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::common::{
    PATIENCE, apply, down, status, until, until_described, until_phase, until_rolled_out, until_waiting, up,
};
use crds::Phase;
use e2e::cluster_client::WorkloadView;
use e2e::harness::{LEDGER, TestFolder, views, wait_for};
use e2e::playground::{Options, Playground};

const MEMBER: &str = "member-1";
const V1: &str = "registry.example.com/ledger:v1";
const V2: &str = "registry.example.com/ledger:v2";
const V3: &str = "registry.example.com/ledger:v3";
const BAD: &str = "registry.example.com/ledger:never-ready";
/// progressDeadlineSeconds. A pod that was deleted is there again within two or three seconds on a machine that is not busy.
const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn semantics_18_with_on_delete_a_member_waits_for_its_owner_and_with_a_partition_it_is_partial() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("on-delete").unwrap();
    let playground = up(Options::new(folder.path(), 1, 1)).await;
    patch(&playground, r#"{"spec":{"replicas":3,"updateStrategy":{"type":"OnDelete","rollingUpdate":null}}}"#).await;
    until_ledger(&playground, "three pods", |view| view.desired == 3 && view.is_rolled_out()).await;
    it_waits_for_the_owner_longer_than_its_deadline_and_succeeds_when_all_pods_are_deleted(&playground).await;
    a_pod_that_never_becomes_ready_fails_and_is_the_only_one_that_the_agent_deletes(&playground).await;
    with_a_partition_the_run_succeeds_and_says_that_the_member_is_partial(&playground).await;
    down(playground).await;
}

async fn until_answer(playground: &Playground, wanted: &str) {
    let what = format!("the agent to say {wanted}");
    let said = wait_for(&what, PATIENCE, || async {
        let said = answer(playground).await;
        Ok(if said == wanted { Ok(()) } else { Err(said) })
    });
    said.await.unwrap();
}

async fn it_waits_for_the_owner_longer_than_its_deadline_and_succeeds_when_all_pods_are_deleted(
    playground: &Playground,
) {
    let before = pods(playground).await;
    assert!(before.values().all(|pod| pod.image == V1), "{before:?}");
    apply(playground, &ledger(V2)).await;
    let waits = until_waiting(playground, "ledger", "PodDeletionByOwner").await;
    let message = waits.waiting_on.unwrap().message;
    assert!(message.contains("member-1 (PodDeletionByOwner: 0 of 3 pods updated, 3 available;"), "{message}");
    assert_eq!(waits.phase, Some(Phase::Holding));
    let states: Vec<&str> = waits.clusters.iter().map(|cluster| cluster.state.as_str()).collect();
    assert_eq!(states, ["PodDeletionByOwner"]);
    assert_eq!(answer(playground).await, "PodDeletionByOwner Suspended");
    until_described(playground, "ledger", &["PodDeletionByOwner", "until their owner deletes them"]).await;

    // The time itself is what is waited for.
    tokio::time::sleep(DEADLINE * 3 / 2).await;
    let still = status(playground, "ledger").await.unwrap();
    assert_eq!(still.waiting_on.unwrap().reason, "PodDeletionByOwner");
    assert_eq!((still.run, still.counts.failed, still.counts.in_flux), (1, 0, 1));
    assert_eq!(pods(playground).await, before, "nobody but the owner deletes them");

    for (number, name) in ["ledger-0", "ledger-1", "ledger-2"].into_iter().enumerate() {
        delete(playground, name).await;
        let updated = i32::try_from(number).unwrap() + 1;
        let there = |view: &WorkloadView| (view.updated, view.ready) == (updated, 3);
        until_ledger(playground, &format!("{updated} new pods"), there).await;
        if updated < 3 {
            // Only what the agent has seen begins its deadline anew.
            until_answer(playground, "PodDeletionByOwner Suspended").await;
        }
    }
    let done = until_phase(playground, "ledger", Phase::Succeeded).await;
    assert_eq!((done.run, done.counts.healthy, done.counts.partial, done.counts.failed), (1, 1, 0, 0));
}

async fn a_pod_that_never_becomes_ready_fails_and_is_the_only_one_that_the_agent_deletes(playground: &Playground) {
    let before = pods(playground).await;
    apply(playground, &ledger(BAD)).await;
    until_waiting(playground, "ledger", "PodDeletionByOwner").await;
    delete(playground, "ledger-1").await;
    let back = until_phase(playground, "ledger", Phase::RolledBack).await;
    assert_eq!((back.run, back.counts.failed, back.counts.returned), (2, 1, 1));
    until_rolled_out(playground, None, LEDGER).await;
    let after = pods(playground).await;
    for name in ["ledger-0", "ledger-2"] {
        assert_eq!(after[name], before[name], "{name} has served all the time");
    }
    assert_eq!(after["ledger-1"].image, V2);
}

async fn with_a_partition_the_run_succeeds_and_says_that_the_member_is_partial(playground: &Playground) {
    let strategy = r#"{"spec":{"updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"partition":2}}}}"#;
    patch(playground, strategy).await;
    until_rolled_out(playground, None, LEDGER).await;
    let before = pods(playground).await;
    apply(playground, &ledger(V3)).await;
    let succeeded =
        |status: &crds::ClusterScopeRolloutStatus| (status.run, status.phase) == (3, Some(Phase::Succeeded));
    let done = until(playground, "ledger", "to succeed the second time", succeeded).await;
    assert_eq!((done.counts.healthy, done.counts.partial, done.healthy_summary.as_str()), (1, 1, "1/1 (1 partial)"));
    let words = ["1 partial, as a partition keeps pods of an older template there: member-1", "partial, partition 2"];
    until_described(playground, "ledger", &words).await;
    let after = pods(playground).await;
    for name in ["ledger-0", "ledger-1"] {
        assert_eq!(after[name], before[name], "{name} is below the partition");
    }
    assert_eq!((before["ledger-2"].image.as_str(), after["ledger-2"].image.as_str()), (V2, V3));
}

/// The image over the one member.
fn ledger(image: &str) -> String {
    format!(
        "apiVersion: rollout.example.com/v1alpha1
kind: ClusterScopeRollout
metadata: {{name: ledger}}
spec:
  targetClusters: [{MEMBER}]
  workload: {{kind: StatefulSet, namespace: shop, name: ledger, images: {{app: \"{image}\"}}}}
  rolloutStrategy: {{progressDeadlineSeconds: {}, canary: {{steps: [{{setWeight: 100}}]}}}}
",
        DEADLINE.as_secs()
    )
}

/// A pod of the `StatefulSet`.
#[derive(Debug, PartialEq, Eq)]
struct Pod {
    uid: String,
    image: String,
}

async fn pods(playground: &Playground) -> BTreeMap<String, Pod> {
    let columns =
        r#"jsonpath={range .items[*]}{.metadata.name} {.metadata.uid} {.spec.containers[0].image}{"\n"}{end}"#;
    let text = member(playground, &["get", "pods", "-n", "shop", "-l", "app=ledger", "-o", columns]).await;
    let pod = |line: &str| {
        let [name, uid, image] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        (String::from(name), Pod { uid: String::from(uid), image: String::from(image) })
    };
    text.lines().map(pod).collect()
}

/// Outcome and state of the deadline, as the agent has written them down.
async fn answer(playground: &Playground) -> String {
    let columns = "jsonpath={.status.outcome} {.status.deadline.state}";
    member(playground, &["get", "roas", "ledger", "-o", columns]).await
}

/// What the owner does.
async fn delete(playground: &Playground, pod: &str) {
    member(playground, &["delete", "pod", "-n", "shop", pod]).await;
}

async fn patch(playground: &Playground, patch: &str) {
    member(playground, &["patch", "statefulset", "ledger", "-n", "shop", "--type=merge", "-p", patch]).await;
}

async fn member(playground: &Playground, arguments: &[&str]) -> String {
    playground.member(MEMBER).unwrap().kubectl().ok(arguments).await.unwrap()
}

async fn until_ledger(playground: &Playground, what: &str, wanted: impl Fn(&WorkloadView) -> bool) {
    let clients = playground.member_clients().await.unwrap();
    let what = format!("the StatefulSet to have {what}");
    let found = wait_for(&what, PATIENCE, || async {
        let view = views(&clients, LEDGER).await?.remove(MEMBER);
        let seen = view.as_ref().is_some_and(|view| view.observed && wanted(view));
        Ok(if seen { Ok(()) } else { Err(format!("{view:?}")) })
    });
    found.await.unwrap();
}
