//! A bad image on ten members: who is touched, who is not, and where each goes back to.

use std::collections::BTreeSet;

use crate::common::{V1, apply, checkouts, down, meddle, rollout, until_phase, until_rolled_out, up};
use crds::{ClusterScopeRolloutStatus, Phase, millis_from_time};
use e2e::harness::{CHECKOUT, Sampler, TestFolder};
use e2e::playground::{Options, Playground};

/// Its pods never become ready.
const BAD: &str = "registry.example.com/checkout:never-ready";
const SELECTOR: &str = "clusterSelector: {matchLabels: {env: prod}}";
/// progressDeadlineSeconds. A good image is healthy within two seconds here.
const DEADLINE_SECONDS: i64 = 8;

/// Image and generation of each member, by name. (Names sort member-1, member-10, member-2.)
type Fleet = Vec<(String, String, i64)>;

#[tokio::test(flavor = "multi_thread")]
async fn semantics_12_28_29_a_bad_image_touches_few_of_ten_and_leaves_everybody_where_they_were() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("bad").unwrap();
    let playground = up(Options::new(folder.path(), 10, 1)).await;
    at_ten_percent_one_member_is_touched_and_back_within_its_deadline(&playground).await;
    members_with_images_of_their_own_each_return_to_it(&playground).await;
    strict_tolerance_touches_one_more_than_may_fail(&playground).await;
    soft_tolerance_touches_no_more_than_may_fail_and_are_in_flux(&playground).await;
    down(playground).await;
}

async fn at_ten_percent_one_member_is_touched_and_back_within_its_deadline(playground: &Playground) {
    let before = checkouts(playground).await;
    let sampler = Sampler::start(playground.member_clients().await.unwrap(), CHECKOUT);
    let strategy = "{progressDeadlineSeconds: 8, canary: {steps: [{setWeight: 10, pause: 1}]}}";
    let (status, touched) = roll_back(playground, "tenth", strategy, &before).await;
    let samples = sampler.stop();
    // By name the first.
    assert_eq!(touched.iter().map(String::as_str).collect::<Vec<_>>(), ["member-1"]);
    assert_eq!((status.counts.failed, status.counts.returned, status.counts.not_started), (1, 1, 9));
    let times = [status.started_at, status.finished_at].map(|time| millis_from_time(&time.unwrap()));
    let took = times[1] - times[0];
    // One deadline to be healthy, one to be back; the times of the status are cut to seconds.
    assert!((7_000..=2_000 * DEADLINE_SECONDS).contains(&took), "the run took {took} ms");
    assert!(samples.len() > 10, "{} samples", samples.len());
    for (member, image, generation) in before.iter().filter(|(member, ..)| !touched.contains(member)) {
        let moved = samples.iter().find(|sample| {
            let view = &sample.views[member];
            (&view.image, view.generation) != (image, *generation)
        });
        assert!(moved.is_none(), "{member} was touched: {moved:?}");
    }
}

async fn members_with_images_of_their_own_each_return_to_it(playground: &Playground) {
    let own = |number: usize| format!("registry.example.com/checkout:own-{number}");
    for number in [1, 2, 3, 10] {
        meddle(playground, &format!("member-{number}"), &own(number)).await;
    }
    until_rolled_out(playground, None, CHECKOUT).await;
    let before = checkouts(playground).await;
    let strategy = "{progressDeadlineSeconds: 8, maxConcurrency: 5, canary: {steps: [{setWeight: 50}]}}";
    let (status, touched) = roll_back(playground, "own", strategy, &before).await;
    // By name the first five: three of them have an image of their own, and two share one with the others.
    let expected = ["member-1", "member-10", "member-2", "member-3", "member-4"];
    assert_eq!(touched.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    assert_eq!(status.counts.returned, 5);
    let images: BTreeSet<&str> = before.iter().map(|(_, image, _)| image.as_str()).collect();
    assert_eq!(images.len(), 5, "four of their own and {V1}: {images:?}");
}

async fn strict_tolerance_touches_one_more_than_may_fail(playground: &Playground) {
    let before = checkouts(playground).await;
    let strategy = "{progressDeadlineSeconds: 8, maxConcurrency: 4, maxFailures: 1, failureTolerance: Strict, canary: {steps: [{setWeight: 100}]}}";
    let (status, touched) = roll_back(playground, "strict", strategy, &before).await;
    assert_eq!(touched.len(), 2, "{touched:?}");
    assert_eq!(status.counts.failed, 2);
}

async fn soft_tolerance_touches_no_more_than_may_fail_and_are_in_flux(playground: &Playground) {
    let before = checkouts(playground).await;
    let strategy =
        "{progressDeadlineSeconds: 8, maxConcurrency: 4, maxFailures: 1, canary: {steps: [{setWeight: 100}]}}";
    let (status, touched) = roll_back(playground, "soft", strategy, &before).await;
    // Four at once; when the first has failed, which is borne, perhaps one in its place.
    assert!((4..=5).contains(&touched.len()), "{touched:?}");
    assert!(status.counts.failed >= 2, "{:?}", status.counts);
}

/// Rolls the bad image out until it is rolled back, and deletes the rollout, which holds the workload. Everybody runs
/// what it ran before, to and fro once if it was touched; answers who was.
async fn roll_back(
    playground: &Playground,
    name: &str,
    strategy: &str,
    before: &Fleet,
) -> (ClusterScopeRolloutStatus, BTreeSet<String>) {
    apply(playground, &rollout(name, SELECTOR, BAD, strategy)).await;
    let status = until_phase(playground, name, Phase::RolledBack).await;
    let after = checkouts(playground).await;
    let mut touched = BTreeSet::new();
    for ((member, old_image, old), (_, image, new)) in before.iter().zip(&after) {
        assert_eq!(image, old_image, "{member}");
        match new - old {
            0 => {}
            2 => drop(touched.insert(member.clone())),
            changes => panic!("the Deployment of {member} was changed {changes} times"),
        }
    }
    until_rolled_out(playground, None, CHECKOUT).await;
    playground.kubectl().ok(&["delete", "csro", name, "--timeout=60s"]).await.unwrap();
    assert_eq!(checkouts(playground).await, after, "the deletion changed a workload");
    (status, touched)
}
