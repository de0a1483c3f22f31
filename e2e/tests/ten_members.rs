//! Ten members: exactly as many are touched as each step allows, read from the members' own API servers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::time::Duration;

use common::{V1, V2, apply, members_with, rollout, until_phase, up};
use crds::Phase;
use e2e::harness::{CHECKOUT, Sample, Sampler, TestFolder};
use e2e::playground::Options;

/// Pause of each step, less what a sample may be late.
const PAUSE: Duration = Duration::from_millis(3_500);

#[tokio::test(flavor = "multi_thread")]
async fn semantics_09_of_ten_members_one_then_five_then_all_are_updated_and_never_more() {
    let folder = TestFolder::new("ten").unwrap();
    let playground = up(Options::new(folder.path(), 10, 3)).await;
    assert_eq!(members_with(&playground, V1).await.len(), 10);
    let sampler = Sampler::start(playground.member_clients().await.unwrap(), CHECKOUT);
    let strategy =
        "{maxConcurrency: 2, canary: {steps: [{setWeight: 10, pause: 4}, {setWeight: 50, pause: 4}], soakSeconds: 1}}";
    let selector = "clusterSelector: {matchExpressions: [{key: rollout.example.com/member, operator: Exists}]}";
    apply(&playground, &rollout("ten", selector, V2, strategy)).await;
    let done = until_phase(&playground, "ten", Phase::Succeeded).await;
    let samples = sampler.stop();
    assert_eq!((done.counts.total, done.counts.healthy, done.step), (10, 10, 3));
    assert_eq!(members_with(&playground, V2).await.len(), 10);

    assert!(samples.len() > 20, "only {} samples were taken", samples.len());
    // A step ends when its pause, which begins once its members are healthy, is over.
    for (reached, next) in [(1, 2), (5, 6)] {
        let healthy = first(&samples, |sample| sample.running(V2) == reached && sample.in_flux(V2) == 0);
        let more = first(&samples, |sample| sample.running(V2) >= next);
        assert!(more.at >= healthy.at + PAUSE, "{next} members too early: {more:?}");
        let between = samples.iter().filter(|sample| sample.at >= healthy.at && sample.at < more.at);
        assert!(between.clone().count() > 5, "no samples in the pause at {reached} members");
        assert!(between.clone().all(|sample| sample.running(V2) == reached), "not exactly {reached} in the pause");
    }
    for sample in &samples {
        assert!(sample.in_flux(V2) <= 2, "more than maxConcurrency in flux: {sample:?}");
    }
    playground.stop().await;
}

fn first(samples: &[Sample], wanted: impl Fn(&Sample) -> bool) -> &Sample {
    let found = samples.iter().find(|sample| wanted(sample));
    found.unwrap_or_else(|| panic!("no such sample among {}: {:?}", samples.len(), counts(samples)))
}

fn counts(samples: &[Sample]) -> Vec<(usize, usize)> {
    samples.iter().map(|sample| (sample.running(V2), sample.in_flux(V2))).collect()
}
