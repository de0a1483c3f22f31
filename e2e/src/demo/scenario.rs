//! What the demo can show.

use std::time::Duration;

use crds::Phase;

use crate::playground::samples;

/// Longest time that the good rollout may take on a busy machine; it needs about a minute.
const GOOD_DEADLINE: Duration = Duration::from_mins(10);

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
    /// Image that every member should run in the end.
    pub image: String,
    /// How long to wait for the end.
    pub deadline: Duration,
}

impl Scenario {
    /// A good image, over all members in canary steps.
    pub fn good() -> Self {
        let image = samples::image("checkout", "v2");
        let manifest = format!(
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
    canary:
      steps:
      - setWeight: 10    # first 10 % of the clusters, at least one
        pause: 15        # seconds
      - setWeight: 50    # then up to 50 %
",
            samples::NAMESPACE
        );
        Self {
            name: "checkout".to_owned(),
            explanation: "A good rollout: every member runs checkout:v1 and gets checkout:v2, a few members first."
                .to_owned(),
            manifest,
            workload: "checkout".to_owned(),
            phase: Phase::Succeeded,
            image,
            deadline: GOOD_DEADLINE,
        }
    }
}
