//! What whole objects cost a controller beside images of one workload.
//!
//! `make bench-objects`. A hub, one real controller as it is delivered, and fake agents (they answer at once, and there is no
//! cluster behind them) of 300 members or as many as the first argument says. One rollout brings them an image, the next
//! 20 objects, which are claimed one by one on each member; both in one wave. Times are those that the statuses tell of, to the second
//! that they are written; the processor time is the controller's own, as the kernel counts it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::time::{Duration, Instant};

use crds::{ClusterScopeRollout, Phase};
use e2e::harness::{TestFolder, wait_for};
use e2e::playground::{Options, Playground};
use e2e::process::processor_seconds;
use e2e::progress::Progress;
use kube::Api;

const MEMBERS: usize = 300;
const OBJECTS: usize = 20;
/// Characters in each of the objects: together they are near the 192 KiB that a payload may have.
const CHARACTERS: usize = 9_000;
const PATIENCE: Duration = Duration::from_mins(10);

/// What a rollout took.
struct Cost {
    until_started: f64,
    until_done: f64,
    processor: f64,
}

#[tokio::main]
async fn main() {
    let members = std::env::args().nth(1).map_or(MEMBERS, |text| text.parse().expect("a number of members"));
    let folder = TestFolder::new("bench-objects").unwrap();
    let mut playground = Playground::up(Options::new(folder.path(), 1, 1), Progress::stderr()).await.unwrap();
    playground.add_fakes(members).await.unwrap();
    println!("{members} members, one wave, one controller:");
    println!("{:>26} {:>20} {:>16} {:>20}", "", "s until it starts", "s until done", "processor seconds");
    let image = "workload: {kind: Deployment, namespace: shop, name: checkout, images: {app: 'shop:v2'}}".to_owned();
    let text = "x".repeat(CHARACTERS);
    let object = |number: usize| {
        format!(
            "\n  - {{apiVersion: v1, kind: ConfigMap, metadata: {{namespace: shop, name: c{number}}}, data: {{text: '{text}'}}}}"
        )
    };
    let objects = format!("manifests:{}", (0..OBJECTS).map(object).collect::<String>());
    let one = measure(&playground, "image", &image).await;
    let all = measure(&playground, "objects", &objects).await;
    for (word, cost) in [("one image".to_owned(), &one), (format!("{OBJECTS} objects"), &all)] {
        println!("{word:>26} {:>20.1} {:>16.1} {:>20.2}", cost.until_started, cost.until_done, cost.processor);
    }
    let ratio = |of: fn(&Cost) -> f64| of(&all) / of(&one).max(0.1);
    println!(
        "{:>26} {:>20.1} {:>16.1} {:>20.1}",
        "ratio",
        ratio(|cost| cost.until_started),
        ratio(|cost| cost.until_done),
        ratio(|cost| cost.processor)
    );
    playground.stop().await;
}

async fn measure(playground: &Playground, name: &str, payload: &str) -> Cost {
    let manifest = format!(
        "apiVersion: rollout.example.com/v1alpha1
kind: ClusterScopeRollout
metadata: {{name: {name}}}
spec:
  clusterSelector: {{matchLabels: {{env: fake}}}}
  {payload}
  rolloutStrategy: {{maxConcurrency: '100%', canary: {{steps: [{{setWeight: 100}}]}}}}
"
    );
    let before = processor(playground);
    let began = Instant::now();
    playground.kubectl().apply_server_side(&manifest).await.unwrap();
    until(playground, name, |status| status.run == 1).await;
    let until_started = began.elapsed().as_secs_f64();
    until(playground, name, |status| status.phase == Some(Phase::Succeeded)).await;
    let until_done = began.elapsed().as_secs_f64();
    Cost { until_started, until_done, processor: processor(playground) - before }
}

async fn until(playground: &Playground, name: &str, is_so: impl Fn(&crds::ClusterScopeRolloutStatus) -> bool) {
    let api: Api<ClusterScopeRollout> = Api::all(playground.hub().client().await.unwrap());
    wait_for(&format!("rollout {name}"), PATIENCE, || async {
        let status = api.get(name).await?.status.unwrap_or_default();
        Ok(if is_so(&status) { Ok(()) } else { Err(format!("{:?} {:?}", status.phase, status.waiting_on)) })
    })
    .await
    .unwrap();
}

/// Of the controller, since its start.
fn processor(playground: &Playground) -> f64 {
    let pid = playground.pid("controller-1").unwrap().expect("it runs");
    processor_seconds(&pid.to_string()).unwrap()
}
