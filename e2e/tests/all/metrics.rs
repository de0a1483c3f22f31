//! Prometheus and the simulated traffic of the playground: what a gate can rely on in the tests that follow.

use std::path::Path;
use std::time::Duration;

use crate::common::{meddle, up};
use e2e::harness::{TestFolder, wait_for};
use e2e::playground::{Options, Playground, Rule};
use tokio::process::Command;

const DEADLINE: Duration = Duration::from_mins(1);
/// Long enough for several scrapes, short enough to forget what was before.
const WINDOW: &str = "4s";

#[tokio::test(flavor = "multi_thread")]
async fn a_members_ratio_follows_the_image_that_it_really_runs() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("metrics").unwrap();
    let playground = up(Options::new(folder.path(), 2, 1).with_prometheus()).await;
    let state = playground.state();
    assert_eq!(state.prometheus.as_deref(), Some(playground.prometheus().unwrap().url()));
    assert!(state.traffic.unwrap().ends_with("/metrics"));
    for member in ["member-1", "member-2"] {
        until_ratio(&playground, member, 1.0).await;
    }

    meddle(&playground, "member-1", "registry.example.com/checkout:v2-e100").await;
    until_ratio(&playground, "member-1", 0.9).await;
    until_ratio(&playground, "member-2", 1.0).await;

    // The file says otherwise; and who is silent has no series.
    let worse = Rule { error_permille: Some(500.0), ..Rule::default() };
    let silent = Rule { silent: Some(true), ..Rule::default() };
    playground.shape_traffic(&[("member-1", worse), ("member-2", silent)]).unwrap();
    until_ratio(&playground, "member-1", 0.5).await;
    until_series(&playground, "member-2", 0).await;
    playground.shape_traffic(&[]).unwrap();
    until_ratio(&playground, "member-1", 0.9).await;
    until_ratio(&playground, "member-2", 1.0).await;

    // The old image back, and no error is counted any more.
    meddle(&playground, "member-1", "registry.example.com/checkout:v1").await;
    until_ratio(&playground, "member-1", 1.0).await;

    // Users' requests don't need the API server, and Prometheus comes back with what it knew.
    playground.stop_part("member-1/apiserver").await.unwrap();
    playground.stop_part("prometheus").await.unwrap();
    assert!(playground.prometheus().unwrap().query("up").await.is_err());
    playground.start_part("prometheus").await.unwrap();
    until_series(&playground, "member-1", 2).await;
    until_ratio(&playground, "member-1", 1.0).await;
    playground.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_takes_up_sources_without_a_restart_and_asks_them() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("sources").unwrap();
    let playground = up(Options::new(folder.path(), 1, 1).with_prometheus()).await;
    let closed = "rollout_controller_prometheus_circuit_open{source=\"central\"} 0";
    let metrics = playground.metrics("controller-1").await.unwrap();
    assert!(metrics.contains(closed), "{metrics}");

    let config = folder.path().join("controllers/controller-1/config.yaml");
    let ask = async |source: &str, query: &str| {
        let mut ask = Command::new(Path::new(env!("CARGO_BIN_EXE_playground")).with_file_name("global-controller"));
        ask.args(["ask", "--source", source, "--config"]).arg(&config).arg(query);
        let output = ask.output().await.unwrap();
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(ask("central", "vector(1) / 4").await, "{} 0.25\n");
    assert_eq!(ask("central", "count(http_requests_total) by (code)").await, "{code=\"200\"} 3\n{code=\"500\"} 3\n");
    let refused = ask("central", "rate(").await;
    assert!(refused.contains("source 'central' gave no answer: the query is refused"), "{refused}");

    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("name: central", "name: another")).unwrap();
    let another = closed.replace("central", "another");
    wait_for("the controller to take up the other source", DEADLINE, || async {
        let metrics = playground.metrics("controller-1").await?;
        let taken = metrics.contains(&another) && !metrics.contains(closed);
        Ok(if taken { Ok(()) } else { Err(metrics) })
    })
    .await
    .unwrap();
    let gone = ask("central", "1").await;
    assert!(gone.contains("there is no source 'central'; there are: another"), "{gone}");
    playground.stop().await;
}

/// Waits until the success ratio of a member's checkout, over the last seconds, is within half a percent.
async fn until_ratio(playground: &Playground, member: &str, wanted: f64) {
    let sum = |more: &str| {
        let series = format!("http_requests_total{{cluster=\"{member}\",workload=\"checkout\"{more}}}");
        format!("sum(increase({series}[{WINDOW}]))")
    };
    let query = format!("{} / {}", sum(",code!~\"5..\""), sum(""));
    wait_for(&format!("the success ratio of {member} to be {wanted}"), DEADLINE, || async {
        let found = playground.prometheus()?.query(&query).await?;
        let near = found.first().is_some_and(|series| (series.value - wanted).abs() < 0.005);
        Ok(if near { Ok(()) } else { Err(format!("{found:?}")) })
    })
    .await
    .unwrap();
}

async fn until_series(playground: &Playground, member: &str, wanted: usize) {
    let query = format!("http_requests_total{{cluster=\"{member}\",workload=\"checkout\"}}");
    wait_for(&format!("{wanted} series of {member}"), DEADLINE, || async {
        let found = playground.prometheus()?.query(&query).await?;
        Ok(if found.len() == wanted { Ok(()) } else { Err(format!("{found:?}")) })
    })
    .await
    .unwrap();
}
