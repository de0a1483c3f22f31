//! Alerts on real Alertmanagers, which tell a real webhook: each fact is told once, whoever leads.

use crate::common;
use std::collections::BTreeSet;
use std::path::Path;

use crate::common::receiver::Receiver;
use crate::common::story::Story;
use crate::common::{PATIENCE, V2, apply, checkouts, rollout, until, until_phase, up};
use crds::Phase;
use e2e::alertmanager::{ActiveAlert, Alertmanager};
use e2e::harness::{TestFolder, wait_for};
use e2e::playground::{Options, Playground};

const CANARY: &str = "prod-us-east";
const MEMBERS: [&str; 2] = [CANARY, "prod-us-west"];
/// Two in a hundred of its requests fail.
const LOSSY: &str = "registry.example.com/checkout:v3-e20";

fn checkout(image: &str, canary: &str) -> String {
    let targets = format!("targetClusters: [{}]\n  analysis: {{interval: 5}}", MEMBERS.join(", "));
    rollout("checkout", &targets, image, &format!("{{maxConcurrency: 2, canary: {{{canary}, soakSeconds: 10}}}}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn semantics_29_the_leader_killed_between_a_failing_measurement_and_the_rollback_rolls_back_once_and_alerts_once()
{
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("alerts").unwrap();
    let (fault, receiver) = (folder.path().join("fault"), Receiver::start().await);
    let options = Options::new(folder.path().join("playground"), 2, 3)
        .named(&MEMBERS)
        .with_prometheus()
        .with_alertmanagers(2, &[receiver.alerts()])
        .with_event_sink(receiver.events())
        .with_controller_variable("CLUSTERROLLOUT_FAULT_FILE", fault.to_str().unwrap());
    let playground = up(options).await;
    let [first, second] = playground.alertmanagers() else { panic!("there are two Alertmanagers") };
    a_failed_gate_is_told_once(&playground, &receiver, &fault).await;
    one_that_was_away_is_told_when_it_is_back(&playground, &receiver, second).await;
    what_lasts_is_repeated_by_the_next_leader(&playground, &receiver, first).await;
    what_is_over_is_told_by_the_next_leader(&playground, &receiver, &fault).await;
    each_fact_is_one_event(&receiver).await;
    a_person_who_is_waited_for_is_told(&playground, &receiver, first).await;
    silent_members_are_told(&playground, &receiver, first).await;
    common::down(playground).await;
}

/// The second Alertmanager is away meanwhile.
async fn a_failed_gate_is_told_once(playground: &Playground, receiver: &Receiver, fault: &Path) {
    let first = playground.alertmanagers()[0].url();
    playground.stop_part("alertmanager-2").await.unwrap();
    let before = checkouts(playground).await;
    apply(playground, &checkout(LOSSY, "steps: [{setWeight: 10, pause: 15}]")).await;
    until_phase(playground, "checkout", Phase::Verifying).await;
    // While all passes nothing is decided, so the next decision is to take the canary back.
    kill_leader_at(playground, "decide", fault).await;
    let status = until_phase(playground, "checkout", Phase::RolledBack).await;
    assert_eq!((status.run, status.counts.returned), (1, 1));
    let story = Story::of(playground, "checkout", 1).await.unwrap();
    let started = story.reasons.iter().filter(|reason| *reason == "RollbackStarted").count();
    assert_eq!(started, 1, "{:?}", story.reasons);
    for ((member, old_image, old), (_, image, new)) in before.iter().zip(&checkouts(playground).await) {
        let changes = if member == CANARY { 2 } else { 0 };
        assert_eq!((image, *new), (old_image, old + changes), "{member}");
    }
    let failed = receiver.until(first, "firing", ("RolloutGateFailed", 1)).await;
    assert_eq!((failed.labels["severity"].as_str(), failed.labels["hub"].as_str()), ("critical", "playground"));
    assert!(failed.annotations["description"].contains("success-rate on prod-us-east: 9"), "{failed:?}");
    receiver.until(first, "firing", ("RolloutRolledBack", 1)).await;
}

async fn one_that_was_away_is_told_when_it_is_back(
    playground: &Playground,
    receiver: &Receiver,
    second: &Alertmanager,
) {
    let leader = playground.leader().await.unwrap().id.unwrap();
    let metrics = playground.metrics(&leader).await.unwrap();
    let away = format!("rollout_controller_alertmanager_up{{alertmanager=\"{}\"}} 0", second.url());
    assert!(metrics.contains(&away), "{metrics}");
    playground.start_part("alertmanager-2").await.unwrap();
    for name in ["RolloutGateFailed", "RolloutRolledBack"] {
        receiver.until(second.url(), "firing", (name, 1)).await;
    }
}

async fn what_lasts_is_repeated_by_the_next_leader(playground: &Playground, receiver: &Receiver, first: &Alertmanager) {
    let before = only(first, "RolloutGateFailed").await.unwrap();
    let leader = playground.leader().await.unwrap().id.unwrap();
    playground.kill_part(&leader).await.unwrap();
    let told = only(first, "RolloutGateFailed").await.unwrap().updated_at;
    wait_for("another leader to repeat the alert", PATIENCE, || async {
        let found = only(first, "RolloutGateFailed").await?;
        Ok(if found.updated_at > told { Ok(()) } else { Err(format!("{found:?}")) })
    })
    .await
    .unwrap();
    playground.start_part(&leader).await.unwrap();
    let after = only(first, "RolloutGateFailed").await.unwrap();
    assert_eq!((after.fingerprint, after.starts_at), (before.fingerprint, before.starts_at));
    for one in playground.alertmanagers() {
        for name in ["RolloutGateFailed", "RolloutRolledBack"] {
            assert_eq!(receiver.count(one.url(), "firing", (name, 1)), 1, "{name} by {}", one.url());
            assert_eq!(receiver.count(one.url(), "resolved", (name, 1)), 0, "{name} by {}", one.url());
        }
    }
}

/// The leader dies between the decision that ends them and the first who is told.
async fn what_is_over_is_told_by_the_next_leader(playground: &Playground, receiver: &Receiver, fault: &Path) {
    arm(fault, "tell");
    apply(playground, &checkout(V2, "steps: [{setWeight: 10, pause: 15}]")).await;
    await_death(playground, fault).await;
    until_phase(playground, "checkout", Phase::Succeeded).await;
    for one in playground.alertmanagers() {
        for name in ["RolloutGateFailed", "RolloutRolledBack"] {
            receiver.until(one.url(), "resolved", (name, 1)).await;
        }
        until_none(one).await;
    }
    for one in playground.alertmanagers() {
        for name in ["RolloutGateFailed", "RolloutRolledBack"] {
            for status in ["firing", "resolved"] {
                assert_eq!(receiver.count(one.url(), status, (name, 1)), 1, "{name} {status} by {}", one.url());
            }
        }
    }
}

/// Whoever led has posted it, perhaps several times, under the same id.
async fn each_fact_is_one_event(receiver: &Receiver) {
    for fact in ["gatefailed", "rollingback", "rolledback"] {
        for what in ["began", "ended"] {
            let kind = format!("com.example.rollout.{fact}.{what}");
            wait_for(&format!("an event {kind}"), PATIENCE, || async {
                let ids: BTreeSet<String> = receiver.event_ids(&kind).into_iter().collect();
                Ok(if ids.len() == 1 { Ok(()) } else { Err(format!("{ids:?}")) })
            })
            .await
            .unwrap();
        }
    }
}

async fn a_person_who_is_waited_for_is_told(playground: &Playground, receiver: &Receiver, first: &Alertmanager) {
    let image = "registry.example.com/checkout:v4";
    apply(playground, &checkout(image, "steps: [{setWeight: 10, approval: Required}]")).await;
    let waiting = receiver.until(first.url(), "firing", ("RolloutApprovalWaiting", 3)).await;
    assert_eq!((waiting.labels["step"].as_str(), waiting.labels["severity"].as_str()), ("1", "info"));
    playground.plugin().ok(&["approve", "checkout", "--step", "1"]).await.unwrap();
    receiver.until(first.url(), "resolved", ("RolloutApprovalWaiting", 3)).await;
    until(playground, "checkout", "to end run 3", |status| status.run == 3 && status.phase == Some(Phase::Succeeded))
        .await;
}

async fn silent_members_are_told(playground: &Playground, receiver: &Receiver, first: &Alertmanager) {
    playground.kill_part(&format!("{CANARY}/agent")).await.unwrap();
    apply(playground, &checkout("registry.example.com/checkout:v5", "steps: [{setWeight: 10, pause: 15}]")).await;
    let silent = receiver.until(first.url(), "firing", ("RolloutMembersUnreachable", 4)).await;
    assert!(silent.annotations["description"].contains(CANARY), "{silent:?}");
    playground.start_part(&format!("{CANARY}/agent")).await.unwrap();
    receiver.until(first.url(), "resolved", ("RolloutMembersUnreachable", 4)).await;
    until_phase(playground, "checkout", Phase::Succeeded).await;
    until_none(first).await;
}

fn arm(fault: &Path, stage: &str) {
    // In one rename, or a passage might read half of it.
    let unfinished = fault.with_extension("unfinished");
    std::fs::write(&unfinished, stage).unwrap();
    std::fs::rename(unfinished, fault).unwrap();
}

async fn kill_leader_at(playground: &Playground, stage: &str, fault: &Path) {
    arm(fault, stage);
    await_death(playground, fault).await;
}

/// Waits until one has died of the fault, and brings it back.
async fn await_death(playground: &Playground, fault: &Path) {
    let ids: Vec<String> = playground.controllers().into_iter().map(|(id, _)| id).collect();
    let dead = wait_for("the leader to die", PATIENCE, || async {
        let mut gone = Vec::new();
        for id in &ids {
            gone.extend(playground.pid(id)?.is_none().then(|| id.clone()));
        }
        Ok(if fault.exists() { Err("armed".to_owned()) } else { gone.pop().ok_or_else(|| "all live".to_owned()) })
    });
    playground.start_part(&dead.await.unwrap()).await.unwrap();
}

/// The alert of this name, which it has once.
async fn only(alertmanager: &Alertmanager, name: &str) -> anyhow::Result<ActiveAlert> {
    let found: Vec<_> =
        alertmanager.alerts().await?.into_iter().filter(|alert| alert.labels["alertname"] == name).collect();
    let count = found.len();
    let [alert] = found.try_into().map_err(|_| anyhow::anyhow!("{count} alerts {name}"))?;
    Ok(alert)
}

async fn until_none(alertmanager: &Alertmanager) {
    wait_for("no alert to be left", PATIENCE, || async {
        let left = alertmanager.alerts().await?;
        Ok(if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) })
    })
    .await
    .unwrap();
}
