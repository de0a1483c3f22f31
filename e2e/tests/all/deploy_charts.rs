//! What the charts render is accepted by a real API server.

use e2e::assets::{Assets, Program};
use e2e::control_plane::Role;
use e2e::harness::{self, TestFolder};
use e2e::playground::charts;
use e2e::progress::Progress;

const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: rollout-system\n---\n";
const MEMBER_VALUES: [&str; 4] =
    ["--set", "member.name=prod-us-east", "--set", "hub.urls={https://rollout.example.com:7443}"];

#[tokio::test(flavor = "multi_thread")]
async fn every_object_of_both_charts_is_accepted() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("charts").unwrap();
    let assets = Assets::ensure(&Program::CLUSTERS, &Progress::stderr()).await.unwrap();
    let cluster = harness::start_cluster(folder.path(), "cluster", Role::Hub).await.unwrap();
    for (chart, values) in [("rollout-hub", &[][..]), ("rollout-member", &MEMBER_VALUES[..])] {
        let manifests = charts::template(&assets, chart, values).await.unwrap();
        let arguments = ["apply", "--server-side", "-f", "-"];
        let output = cluster.kubectl().run_with_input(&arguments, &format!("{NAMESPACE}{manifests}")).await.unwrap();
        assert!(output.success, "{chart}: {}", output.stderr);
        assert!(!output.stderr.contains("Warning"), "{chart}: {}", output.stderr);
        assert!(output.stdout.contains("serverside-applied"), "{chart}: {}", output.stdout);
    }
    cluster.stop().await;
}

#[tokio::test]
async fn the_member_chart_says_what_it_must_be_told() {
    let _turn = crate::common::turn().await;
    let assets = Assets::ensure(&Program::CLUSTERS, &Progress::stderr()).await.unwrap();
    let error = charts::template(&assets, "rollout-member", &[]).await.unwrap_err().to_string();
    assert!(error.contains("member") && error.contains("name"), "{error}");
}
