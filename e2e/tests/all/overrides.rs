//! Overrides: members of a region get an image of their own, in one revision with all the others.

use crate::common::{V1, V2, V3, apply, checkouts, down, rollout, until, until_phase, up};
use crds::{Phase, PlanAnswer};
use e2e::harness::TestFolder;
use e2e::playground::{Options, Playground};

const ROLLOUT: &str = "checkout";
const EAST: &str = "prod-us-east";
const WEST: &str = "prod-us-west";
const MARS: &str = "prod-mars";
const OWN: &str = "mirror.example.com/checkout:v2";

fn manifest(image: &str, overrides: &str) -> String {
    let targets = format!("targetClusters: [{EAST}, {WEST}, {MARS}]\n  overrides: {overrides}");
    rollout(ROLLOUT, &targets, image, "{maxConcurrency: 3, canary: {steps: [{setWeight: 34}], soakSeconds: 0}}")
}

fn other(selector: &str, image: &str) -> String {
    format!("[{{clusterSelector: {selector}, images: {image}}}]")
}

/// For the member on Mars, by the label that every member has.
fn for_mars(image: &str) -> String {
    other(&format!("{{matchLabels: {{rollout.example.com/member: {MARS}}}}}"), &format!("{{app: \"{image}\"}}"))
}

async fn images(playground: &Playground) -> Vec<(String, String)> {
    checkouts(playground).await.into_iter().map(|(member, image, _)| (member, image)).collect()
}

async fn assert_images(playground: &Playground, others: &str, mars: &str) {
    for (member, image) in images(playground).await {
        assert_eq!(image, if member == MARS { mars } else { others }, "{member}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn semantics_02_some_members_get_images_of_their_own_in_one_revision_with_all_others() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("overrides").unwrap();
    let playground = up(Options::new(folder.path(), 3, 1).named(&[EAST, WEST, MARS])).await;
    what_cannot_be_meant_is_refused(&playground).await;
    the_plan_shows_who_gets_what(&playground).await;
    apply(&playground, &manifest(V2, &for_mars(OWN))).await;
    let first = until_phase(&playground, ROLLOUT, Phase::Succeeded).await;
    assert_eq!((first.run, first.counts.healthy), (1, 3));
    assert_images(&playground, V2, OWN).await;

    // Another override is another payload, and one that is bad goes back to what each had.
    let bad = for_mars("mirror.example.com/checkout:never-ready-2");
    apply(&playground, &manifest(V2, &bad).replace("maxConcurrency: 3", "progressDeadlineSeconds: 10")).await;
    let refused = until_phase(&playground, ROLLOUT, Phase::RolledBack).await;
    assert_eq!((refused.run, refused.accepted_revision), (2, first.revision.clone()));
    assert_images(&playground, V2, OWN).await;
    apply(&playground, &manifest(V3, "[]")).await;
    let third = |status: &crds::ClusterScopeRolloutStatus| status.run == 3 && status.phase == Some(Phase::Succeeded);
    until(&playground, ROLLOUT, "to bring all the same", third).await;
    assert_images(&playground, V3, V3).await;

    // The way back has the override again.
    let (_, url) = playground.controllers().remove(0);
    playground.plugin().ok(&["undo", ROLLOUT, "--controller", &url]).await.unwrap();
    let undone = |status: &crds::ClusterScopeRolloutStatus| status.run == 4 && status.phase == Some(Phase::Succeeded);
    let status = until(&playground, ROLLOUT, "to undo", undone).await;
    assert_eq!(status.revision, first.revision);
    assert_images(&playground, V2, OWN).await;
    let table = playground.plugin().ok(&["history", ROLLOUT, "--controller", &url]).await.unwrap();
    assert!(table.contains("checkout:v2 and 1 override "), "{table}");
    down(playground).await;
}

async fn what_cannot_be_meant_is_refused(playground: &Playground) {
    let unknown = other("{matchLabels: {env: prod}}", "{proxy: \"envoy:2\"}");
    let everybody = other("{}", &format!("{{app: \"{OWN}\"}}"));
    let spaced = other("{matchLabels: {env: prod}}", "{app: \"two words\"}");
    let rows = [
        (unknown, ["spec.overrides", "containers that workload.images names"]),
        (everybody, ["spec.overrides[0].clusterSelector", "empty clusterSelector"]),
        (spaced, ["spec.overrides[0].images.app", "should match"]),
    ];
    for (overrides, words) in rows {
        let refused = playground.kubectl().apply(&manifest(V2, &overrides)).await.unwrap();
        let told = words.iter().all(|words| refused.stderr.contains(words));
        assert!(!refused.success && told, "no {words:?} in {}", refused.stderr);
    }
    let workload = manifest(V2, &for_mars(OWN));
    let bare: Vec<&str> = workload.lines().filter(|line| !line.contains("workload:")).collect();
    let refused = playground.kubectl().apply(&bare.join("\n")).await.unwrap();
    assert!(
        refused.stderr.contains("images of overrides replace those of workload, which is missing"),
        "{}",
        refused.stderr
    );
}

async fn the_plan_shows_who_gets_what(playground: &Playground) {
    let (_, url) = playground.controllers().remove(0);
    let file = playground.dir().join("planned.yaml");
    std::fs::write(&file, manifest(V2, &for_mars(OWN))).unwrap();
    let arguments = ["plan", "-f", file.to_str().unwrap(), "--controller", &url];
    let table = playground.plugin().ok(&arguments).await.unwrap();
    assert!(table.contains(&format!("app={OWN}")) && table.contains(&format!("app={V2}")), "{table}");
    let told = playground.plugin().ok(&[&arguments[..], &["-o", "json"]].concat()).await.unwrap();
    let plan: PlanAnswer = serde_json::from_str(&told).unwrap();
    let members: Vec<_> = plan.delivers.iter().map(|one| one.members.clone()).collect();
    assert_eq!(members, [vec![EAST.to_owned(), WEST.to_owned()], vec![MARS.to_owned()]]);
    assert_images(playground, V1, V1).await;
}
