//! Ten members: exactly as many are touched as each step allows, read from the members' own API servers.

use std::time::Duration;

use crate::common::{V1, V2, apply, down, members_with, rollout, until_phase, up};
use crds::Phase;
use e2e::harness::{CHECKOUT, Sample, Sampler, TestFolder};
use e2e::playground::Options;

/// Pause of each step.
const PAUSE: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread")]
async fn semantics_09_of_ten_members_one_then_five_then_all_are_updated_and_never_more() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("ten").unwrap();
    let playground = up(Options::new(folder.path(), 10, 3)).await;
    assert_eq!(members_with(&playground, V1).await.len(), 10);
    let sampler = Sampler::start(playground.member_clients().await.unwrap(), CHECKOUT);
    let strategy =
        "{maxConcurrency: 2, canary: {steps: [{setWeight: 10, pause: 6}, {setWeight: 50, pause: 6}], soakSeconds: 1}}";
    let selector = "clusterSelector: {matchExpressions: [{key: rollout.example.com/member, operator: Exists}]}";
    apply(&playground, &rollout("ten", selector, V2, strategy)).await;
    let done = until_phase(&playground, "ten", Phase::Succeeded).await;
    let samples = sampler.stop();
    assert_eq!((done.counts.total, done.counts.healthy, done.step), (10, 10, 3));
    assert_eq!(members_with(&playground, V2).await.len(), 10);

    for (reached, next) in [(1, 2), (5, 6)] {
        let healthy = place(&samples, |sample| sample.running(V2) == reached && sample.in_flux(V2).is_empty());
        let more = place(&samples, |sample| sample.running(V2) >= next);
        // The members of the step were not all healthy when the sample before was begun, so its pause began later.
        let pause_began = samples[healthy - 1].from;
        let ended = samples[more].to;
        assert!(
            ended >= pause_began + PAUSE,
            "{next} members {ended:?} after the start, the pause began {pause_began:?}"
        );
        assert!(more - healthy >= 2, "no two samples were taken in the pause at {reached} members");
    }
    for pair in samples.windows(2) {
        // A sample takes a while: only who is in flux in two running was so at one instant between them.
        let (before, after) = (pair[0].in_flux(V2), pair[1].in_flux(V2));
        let both: Vec<_> = before.intersection(&after).collect();
        assert!(both.len() <= 2, "more than maxConcurrency in flux at once: {both:?}");
    }
    down(playground).await;
}

fn place(samples: &[Sample], wanted: impl Fn(&Sample) -> bool) -> usize {
    let found = samples.iter().position(wanted);
    found.unwrap_or_else(|| panic!("no such sample among {}: {:?}", samples.len(), counts(samples)))
}

fn counts(samples: &[Sample]) -> Vec<(usize, usize)> {
    samples.iter().map(|sample| (sample.running(V2), sample.in_flux(V2).len())).collect()
}
