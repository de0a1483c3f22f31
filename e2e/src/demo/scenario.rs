//! What the demo can show.

use std::time::Duration;

use crds::Phase;

use crate::playground::samples;

/// Longest time that a rollout may take on a busy machine; each needs about a minute.
const DEADLINE: Duration = Duration::from_mins(10);

/// A rollout, and how it should end.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Name of the `ClusterScopeRollout`.
    pub name: String,
    /// What it is about, in a sentence or two.
    pub explanation: String,
    /// The rollout as one would write it.
    pub manifest: String,
    /// Name of the Deployment in namespace `shop`.
    pub workload: String,
    /// Phase in which it should end.
    pub phase: Phase,
    /// Image that the rollout brings.
    pub brings: String,
    /// Image that every member should run in the end.
    pub image: String,
    /// How long to wait for the end.
    pub deadline: Duration,
}

impl Scenario {
    /// A good image, over all members in canary steps.
    pub fn good() -> Self {
        let image = samples::image("checkout", "v2");
        Self {
            name: "checkout".to_owned(),
            explanation: "A good rollout: every member runs checkout:v1 and gets checkout:v2, a few members first."
                .to_owned(),
            manifest: manifest(&image, ""),
            workload: "checkout".to_owned(),
            phase: Phase::Succeeded,
            brings: image.clone(),
            image,
            deadline: DEADLINE,
        }
    }

    /// After the good one: an image of which no pod ever becomes ready.
    pub fn bad() -> Self {
        let image = samples::image("checkout", "never-ready-3");
        let deadline = "    progressDeadlineSeconds: 15   # a member that takes longer goes back\n";
        Self {
            explanation:
                "A bad rollout: no pod of checkout:never-ready-3 ever becomes ready. The first member shows it, goes \
                          back to checkout:v2 by itself, and no other is touched."
                    .to_owned(),
            manifest: manifest(&image, deadline),
            phase: Phase::RolledBack,
            brings: image,
            ..Self::good()
        }
    }

    /// After the good one: an image whose pods are ready, and of whose requests some fail.
    pub fn lossy() -> Self {
        let image = samples::image("checkout", "v3-e20");
        Self {
            explanation:
                "A bad rollout that looks well: all pods of checkout:v3-e20 are ready, but 2 % of its requests \
                          fail. Prometheus is asked at the end of the first pause, and the member goes back to \
                          checkout:v2 by itself."
                    .to_owned(),
            manifest: manifest(&image, ""),
            phase: Phase::RolledBack,
            brings: image,
            ..Self::good()
        }
    }
}

/// The rollout of an image; `strategy` are further lines of its strategy.
fn manifest(image: &str, strategy: &str) -> String {
    format!(
        "apiVersion: rollout.example.com/v1alpha1
kind: ClusterScopeRollout
metadata:
  name: checkout
spec:
  clusterSelector:
    matchLabels: {{env: prod}}
  workload:
    kind: Deployment
    namespace: {}
    name: checkout
    images: {{app: \"{image}\"}}
  rolloutStrategy:
{strategy}    canary:
      steps:
      - setWeight: 10    # first 10 % of the clusters, at least one
        pause: 15        # seconds, at whose end 99.5 % of the requests must have succeeded
      - setWeight: 50    # then up to 50 %
",
        samples::NAMESPACE
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_manifests_are_rollouts() {
        let parse =
            |scenario: &Scenario| crds::yaml::from_str::<crds::ClusterScopeRollout>(&scenario.manifest).unwrap();
        let (good, bad) = (parse(&Scenario::good()), parse(&Scenario::bad()));
        assert_eq!(good.metadata.name, parse(&Scenario::lossy()).metadata.name);
        assert_eq!(good.spec.rollout_strategy.progress_deadline_seconds, 600);
        assert_eq!(bad.spec.rollout_strategy.progress_deadline_seconds, 15);
        assert_eq!(good.metadata.name, bad.metadata.name, "the bad one is a change of the good one");
    }
}
