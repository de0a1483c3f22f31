//! The control group on a real Prometheus: a revision that makes things a little worse goes back, and trouble that comes over
//! all members at once holds the run.

use crate::common;
use crate::common::{V2, apply, checkouts, members_with, rollout, until_described, until_phase, until_waiting, up};
use crds::{Phase, Verdict};
use e2e::harness::TestFolder;
use e2e::playground::{EVERYBODY, Options, Playground, Rule};

const CANARY: &str = "prod-us-east";
const MEMBERS: [&str; 3] = [CANARY, "prod-us-west", "prod-mars"];
/// 99.55 % of its requests succeed where 99.99 % did before: 0.4 points less, and more than the minimum of 99.5 %.
const WORSE: &str = "registry.example.com/checkout:v3-e4.5";
/// Much traffic, so that a few looks are enough.
const USUAL: Rule = Rule { rps: Some(20_000.0), error_permille: None, silent: None };

/// The image over all three, the canary first.
fn checkout(image: &str) -> String {
    let analysis = "{interval: 5, compare: {with: NotYetUpdated, maxDrop: \"0.3%\"}}";
    let targets = format!("targetClusters: [{}]\n  analysis: {analysis}", MEMBERS.join(", "));
    let strategy = "{maxConcurrency: 2, canary: {steps: [{setWeight: 10, pause: 40}], soakSeconds: 5}}";
    rollout("checkout", &targets, image, strategy)
}

#[tokio::test(flavor = "multi_thread")]
async fn updated_members_are_judged_against_those_that_are_not_updated_yet() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("compare").unwrap();
    let playground = up(Options::new(folder.path(), 3, 3).named(&MEMBERS).with_prometheus()).await;
    playground.shape_traffic(&[(EVERYBODY, USUAL)]).unwrap();
    a_revision_that_makes_things_worse_goes_back_although_it_is_above_the_minimum(&playground).await;
    when_all_members_degrade_at_once_the_run_holds_and_goes_on_by_itself(&playground).await;
    common::down(playground).await;
}

async fn a_revision_that_makes_things_worse_goes_back_although_it_is_above_the_minimum(playground: &Playground) {
    let before = checkouts(playground).await;
    apply(playground, &checkout(WORSE)).await;
    let status = until_phase(playground, "checkout", Phase::RolledBack).await;
    assert_eq!((status.counts.returned, status.counts.not_started), (1, 2));
    let after = checkouts(playground).await;
    let images = |all: &[(String, String, i64)]| all.iter().map(|(_, image, _)| image.clone()).collect::<Vec<_>>();
    assert_eq!(images(&after), images(&before));
    let words = [
        "RollbackStarted",
        "success-rate-drop: 99.5",
        "requests succeed where updated, 99.9",
        "where not updated yet: more than 0.3% less",
        "Quarantined",
    ];
    until_described(playground, "checkout", &words).await;
}

async fn when_all_members_degrade_at_once_the_run_holds_and_goes_on_by_itself(playground: &Playground) {
    apply(playground, &checkout(V2)).await;
    until_phase(playground, "checkout", Phase::Verifying).await;
    playground.shape_traffic(&[(EVERYBODY, Rule { error_permille: Some(100.0), ..USUAL })]).unwrap();
    let held = until_waiting(playground, "checkout", "GlobalTrouble").await;
    assert_eq!((held.phase, held.step, held.counts.assigned), (Some(Phase::Holding), 1, 1));
    assert_eq!(held.gate.unwrap().verdict, Some(Verdict::Inconclusive));
    until_described(playground, "checkout", &["GlobalTrouble", "in trouble as well as updated ones"]).await;
    assert_eq!(members_with(playground, V2).await, [CANARY], "nothing goes back, and nothing forward");

    playground.shape_traffic(&[(EVERYBODY, USUAL)]).unwrap();
    let done = until_phase(playground, "checkout", Phase::Succeeded).await;
    assert_eq!((done.counts.healthy, done.counts.failed), (3, 0));
    until_described(playground, "checkout", &["TroubleOver", "the pause begins anew", "GatePassed"]).await;
}
