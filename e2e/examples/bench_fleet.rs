//! What it costs a controller to measure the gate of a large fleet.
//!
//! `make bench-fleet`. A hub, one real controller as it is delivered, a real Prometheus, and fake agents (they answer at once,
//! and there is no cluster behind them) of 500 members or as many as the first argument says. A rollout updates them all
//! and then pauses; in its pause each member's default success rate is measured every 30 seconds. The controller's
//! processor time is read from the kernel: over four rounds in the pause, and as long after the rollout has succeeded, when
//! it does all but measure. Queries in flight are what Prometheus itself says, looked at every 20 ms.
//!
//! The same again with queries that can't be asked about many members at once, which is what a tool without vector
//! questions would do: the peer of the comparison.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::time::{Duration, Instant};

use crds::{ClusterScopeRollout, Phase};
use e2e::harness::{TestFolder, wait_for};
use e2e::playground::{Options, Playground};
use e2e::process::processor_seconds;
use e2e::progress::Progress;
use kube::Api;
use tokio::time::sleep;

const MEMBERS: usize = 500;
/// Seconds between two measurements, by default.
const INTERVAL: u64 = 30;
const ROUNDS: u64 = 4;
/// Longer than the rounds that are looked at, with some time before and after.
const PAUSE: u64 = INTERVAL * (ROUNDS + 3);
const PATIENCE: Duration = Duration::from_mins(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Two queries, each of which names the member in a way that no question about many keeps apart.
const ONE_BY_ONE: &str = r#"{successRate: {
    good: 'sum(increase(http_requests_total{cluster=~"{{cluster}}",code!~"5.."}[{{window}}]))',
    total: 'sum(increase(http_requests_total{cluster=~"{{cluster}}"}[{{window}}]))'}}"#;

/// What a controller and the Prometheus did over some time.
struct Cost {
    core: f64,
    questions: f64,
    most_in_flight: u64,
}

#[tokio::main]
async fn main() {
    let members = std::env::args().nth(1).map_or(MEMBERS, |text| text.parse().expect("a number of members"));
    let folder = TestFolder::new("bench-fleet").unwrap();
    let options = Options::new(folder.path(), 1, 1).with_prometheus();
    let mut playground = Playground::up(options, Progress::stderr()).await.unwrap();
    playground.add_fakes(members).await.unwrap();
    println!("{members} members, each measured every {INTERVAL} s by one controller; over {ROUNDS} rounds each:");
    println!("{:>26} {:>12} {:>20} {:>18}", "", "% of a core", "questions a round", "most in flight");
    let mut rows = Vec::new();
    for (word, tag, analysis) in [("many in a question", "v2", ""), ("a question for each", "v3", ONE_BY_ONE)] {
        apply(&playground, tag, analysis).await;
        until(&playground, Phase::Verifying).await;
        // The first measurement comes after an interval; what the start of the pause costs is not what is asked.
        sleep(Duration::from_secs(INTERVAL)).await;
        let cost = watch(&playground).await;
        println!("{word:>26} {:>12.2} {:>20.1} {:>18}", cost.core, cost.questions, cost.most_in_flight);
        until(&playground, Phase::Succeeded).await;
        rows.push(cost);
    }
    let idle = watch(&playground).await;
    println!("{:>26} {:>12.2} {:>20.1} {:>18}", "nothing is measured", idle.core, idle.questions, idle.most_in_flight);
    let [many, each] = rows.as_slice() else { unreachable!() };
    println!(
        "{:>26} {:>12.3} {:>20.3}",
        "ratio of the first two",
        many.core / each.core,
        many.questions / each.questions
    );
    playground.stop().await;
}

async fn apply(playground: &Playground, tag: &str, analysis: &str) {
    let analysis = if analysis.is_empty() { String::new() } else { format!("\n  analysis: {analysis}") };
    let manifest = format!(
        "apiVersion: rollout.example.com/v1alpha1
kind: ClusterScopeRollout
metadata: {{name: checkout}}
spec:
  clusterSelector: {{matchLabels: {{env: fake}}}}
  workload: {{kind: Deployment, namespace: shop, name: checkout, images: {{app: \"registry.example.com/checkout:{tag}\"}}}}
  rolloutStrategy: {{maxConcurrency: \"100%\", canary: {{steps: [{{setWeight: 100, pause: {PAUSE}}}], soakSeconds: 1}}}}{analysis}
"
    );
    let output = playground.kubectl().apply(&manifest).await.unwrap();
    assert!(output.success, "refused: {}", output.stderr);
}

async fn until(playground: &Playground, phase: Phase) {
    let rollouts: Api<ClusterScopeRollout> = Api::all(playground.hub().client().await.unwrap());
    let what = format!("the rollout to be {}", phase.as_str());
    let reached = wait_for(&what, PATIENCE, || async {
        let object = rollouts.get("checkout").await?;
        let status = object.status.unwrap_or_default();
        let is = status.phase == Some(phase) && Some(status.observed_generation) == object.metadata.generation;
        let waiting = status.waiting_on.map(|waiting| waiting.message);
        Ok(if is { Ok(()) } else { Err(format!("{:?}: {waiting:?}", status.phase)) })
    });
    reached.await.unwrap();
}

async fn watch(playground: &Playground) -> Cost {
    let controller = playground.pid("controller-1").unwrap().expect("a controller that runs");
    let processor_seconds = || processor_seconds(&controller.to_string()).unwrap();
    let (began, processor) = (Instant::now(), processor_seconds());
    let questions = asked(playground).await;
    let client = reqwest::Client::builder().tls_certs_only([]).build().unwrap();
    let mut most_in_flight = 0;
    while began.elapsed() < Duration::from_secs(INTERVAL * ROUNDS) {
        most_in_flight = most_in_flight.max(in_flight(&client, playground).await);
        sleep(LOOK_EVERY).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    let rounds = seconds / Duration::from_secs(INTERVAL).as_secs_f64();
    Cost {
        core: 100.0 * (processor_seconds() - processor) / seconds,
        questions: (asked(playground).await - questions) / rounds,
        most_in_flight,
    }
}

/// Questions that the controller has had answered.
async fn asked(playground: &Playground) -> f64 {
    let metrics = playground.metrics("controller-1").await.unwrap();
    let of = |line: &&str| line.starts_with("rollout_controller_prometheus_questions_total");
    let counts = metrics.lines().filter(of).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    counts.sum()
}

/// Queries that the Prometheus works on.
async fn in_flight(client: &reqwest::Client, playground: &Playground) -> u64 {
    let url = format!("{}/metrics", playground.prometheus().unwrap().url());
    let text = client.get(url).send().await.unwrap().text().await.unwrap();
    let line = text.lines().find(|line| line.starts_with("prometheus_engine_queries "));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}
