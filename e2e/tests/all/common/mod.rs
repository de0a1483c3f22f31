//! What tests of whole rollouts share: manifests, and waiting for what the hub and the members say.

#![allow(dead_code)]

pub mod canary;
pub mod receiver;
mod sound;
pub mod story;

use std::path::Path;
use std::time::Duration;

use crds::{ClusterScopeRollout, ClusterScopeRolloutStatus};
use e2e::harness::{self, CHECKOUT, Watched, wait_for};
use e2e::image_watch::ImageWatch;
use e2e::playground::{Options, Playground};
use e2e::progress::Progress;
use kube::Api;
use tokio::sync::{Mutex, MutexGuard};

/// One test at a time: two fleets on a small machine make each other late.
static TURN: Mutex<()> = Mutex::const_new(());

/// Waits for the others. To be kept to the end of the test.
pub async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(2);

pub const V1: &str = "registry.example.com/checkout:v1";
pub const V2: &str = "registry.example.com/checkout:v2";
pub const V3: &str = "registry.example.com/checkout:v3";

/// A playground, ready, whose progress goes to the test's output.
pub async fn up(options: Options) -> Playground {
    Playground::up(options, Progress::stderr()).await.unwrap()
}

/// Ends a playground, after the controllers have said that all they keep is sound.
pub async fn down(playground: Playground) {
    sound::check(&playground).await;
    playground.stop().await;
}

/// A rollout of an image of `shop/checkout`. `targets` and `strategy` are flow YAML.
pub fn rollout(name: &str, targets: &str, image: &str, strategy: &str) -> String {
    format!(
        "apiVersion: rollout.example.com/v1alpha1
kind: ClusterScopeRollout
metadata: {{name: {name}}}
spec:
  {targets}
  workload: {{kind: Deployment, namespace: shop, name: checkout, images: {{app: \"{image}\"}}}}
  rolloutStrategy: {strategy}
"
    )
}

pub async fn apply(playground: &Playground, manifest: &str) {
    let output = playground.kubectl().apply(manifest).await.unwrap();
    assert!(output.success, "refused: {}", output.stderr);
    assert!(!output.stderr.contains("Warning"), "accepted with a warning: {}", output.stderr);
}

pub async fn status(playground: &Playground, name: &str) -> anyhow::Result<ClusterScopeRolloutStatus> {
    let rollouts: Api<ClusterScopeRollout> = Api::all(playground.hub().client().await?);
    let object = rollouts.get(name).await?;
    let current = object.status.filter(|status| Some(status.observed_generation) == object.metadata.generation);
    Ok(current.unwrap_or_default())
}

/// Waits until the status, once it speaks of the current spec, is as wanted.
pub async fn until(
    playground: &Playground,
    name: &str,
    what: &str,
    wanted: impl Fn(&ClusterScopeRolloutStatus) -> bool,
) -> ClusterScopeRolloutStatus {
    let what = format!("rollout {name} {what}");
    let found = wait_for(&what, PATIENCE, || async {
        let status = status(playground, name).await?;
        Ok(if wanted(&status) { Ok(status) } else { Err(format!("{status:#?}")) })
    });
    found.await.unwrap()
}

pub async fn until_phase(playground: &Playground, name: &str, phase: crds::Phase) -> ClusterScopeRolloutStatus {
    until(playground, name, &format!("to be {}", phase.as_str()), |status| status.phase == Some(phase)).await
}

pub async fn until_waiting(playground: &Playground, name: &str, reason: &str) -> ClusterScopeRolloutStatus {
    let waits = |status: &ClusterScopeRolloutStatus| status.waiting_on.as_ref().is_some_and(|on| on.reason == reason);
    until(playground, name, &format!("to wait for {reason}"), waits).await
}

/// Image and generation of the checkout Deployment on each member, in the order of their names.
pub async fn checkouts(playground: &Playground) -> Vec<(String, String, i64)> {
    let clients = playground.member_clients().await.unwrap();
    let views = harness::views(&clients, CHECKOUT).await.unwrap();
    views.into_iter().map(|(member, view)| (member, view.image, view.generation)).collect()
}

/// Members whose checkout Deployment has this image.
pub async fn members_with(playground: &Playground, image: &str) -> Vec<String> {
    let all = checkouts(playground).await;
    all.into_iter().filter(|(_, running, _)| running == image).map(|(member, ..)| member).collect()
}

/// The Deployment of one member gets another image by somebody else's hand.
pub async fn meddle(playground: &Playground, member: &str, image: &str) {
    let set = format!("app={image}");
    let kubectl = playground.member(member).unwrap().kubectl();
    kubectl.ok(&["set", "image", "-n", "shop", "deployment/checkout", &set]).await.unwrap();
}

pub async fn until_image(playground: &Playground, member: &str, image: &str) {
    wait_for(&format!("{member} to run {image}"), PATIENCE, || async {
        let running = members_with(playground, image).await;
        Ok(if running.iter().any(|one| one == member) { Ok(()) } else { Err(format!("{running:?} run it")) })
    })
    .await
    .unwrap();
}

/// Waits until `describe` of a rollout has all these words, and answers all of it. Events come a little after the status.
pub async fn until_described(playground: &Playground, rollout: &str, words: &[&str]) -> String {
    let what = format!("what is said about {rollout}");
    let found = wait_for(&what, PATIENCE, || async {
        let text = playground.kubectl().ok(&["describe", "csro", rollout]).await?;
        let missing: Vec<_> = words.iter().filter(|word| !text.contains(**word)).collect();
        Ok(if missing.is_empty() { Ok(text.clone()) } else { Err(format!("no {missing:?} in:\n{text}")) })
    });
    found.await.unwrap()
}

/// Waits until the workload is healthy on this member, or on every one.
pub async fn until_rolled_out(playground: &Playground, member: Option<&str>, watched: Watched<'_>) {
    let clients = playground.member_clients().await.unwrap();
    let what = format!("{} to be healthy", member.unwrap_or("every member"));
    let healthy = wait_for(&what, PATIENCE, || async {
        let seen = harness::views(&clients, watched).await?;
        let meant = seen.iter().filter(|(name, _)| member.is_none_or(|member| name.as_str() == member));
        let (well, ill): (Vec<_>, Vec<_>) = meant.partition(|(_, view)| view.is_rolled_out());
        Ok(if ill.is_empty() && !well.is_empty() { Ok(()) } else { Err(format!("{ill:?}")) })
    });
    healthy.await.unwrap();
}

/// Watches the checkout Deployment of each member.
pub async fn watch(playground: &Playground) -> Vec<(String, ImageWatch)> {
    let mut watches = Vec::new();
    for (member, client) in playground.member_clients().await.unwrap() {
        watches.push((member, ImageWatch::start(client, CHECKOUT).await.unwrap()));
    }
    watches
}

/// Since the watches began each member's Deployment had this image and no other.
pub fn only_ran(watches: Vec<(String, ImageWatch)>, image: impl Fn(&str) -> &'static str) {
    for (member, watch) in watches {
        assert_eq!(Vec::from_iter(watch.stop().unwrap()), [image(&member)], "{member}");
    }
}

/// Copies a folder with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
