//! A rollout as a person writes it: YAML through the real parser and `validate`.

use std::fmt::Write as _;

use crds::ClusterScopeRollout;
use rollout_core::{Problem, Rollout, validate};

/// The fields that tests change; everything else of the object is always the same.
#[derive(Clone, Debug)]
pub struct Spec {
    pub targets: Vec<String>,
    /// As YAML, for example `{matchLabels: {env: prod}}`.
    pub selector: Option<String>,
    /// Tag of the image of container `app`; none: no workload.
    pub image: Option<String>,
    /// `Hold` or `Skip`.
    pub if_missing: Option<String>,
    /// As YAML; instead of the image.
    pub manifests: Option<String>,
    pub force_conflicts: bool,
    /// As YAML, for example `[{setWeight: 10, pause: 300}]`.
    pub steps: String,
    /// As YAML, for example `[{clusterSelector: {matchLabels: {region: east}}, images: {app: 'east/shop:v2'}}]`.
    pub overrides: Option<String>,
    pub soak_seconds: Option<i64>,
    /// As YAML, for example `"20%"` with its quotes, or `3`.
    pub max_concurrency: Option<String>,
    /// As YAML, for example `{spreadBy: region}`.
    pub order: Option<String>,
    pub deadline_seconds: Option<i64>,
    /// As YAML, for example `"20%"` with its quotes, or `3`.
    pub max_failures: Option<String>,
    /// `Soft` or `Strict`.
    pub tolerance: Option<String>,
    /// As YAML, for example `"20%"` with its quotes, or `3`.
    pub max_unreachable: Option<String>,
    pub min_ready_seconds: Option<i64>,
    /// As YAML, for example `{mode: Manual}`.
    pub rollback: Option<String>,
    /// As YAML, for example `{interval: 10}`.
    pub analysis: Option<String>,
    pub paused: bool,
    pub enforce: bool,
    pub history_limit: Option<i64>,
    pub generation: i64,
    /// metadata.uid: another one is another object of the same name.
    pub uid: String,
}

impl Spec {
    /// Image v2 for these targets in these steps.
    pub fn new(targets: &[&str], steps: &str) -> Self {
        Self {
            targets: targets.iter().map(|name| (*name).to_owned()).collect(),
            selector: None,
            image: Some("v2".to_owned()),
            if_missing: None,
            manifests: None,
            force_conflicts: false,
            steps: steps.to_owned(),
            overrides: None,
            soak_seconds: None,
            max_concurrency: None,
            order: None,
            deadline_seconds: None,
            max_failures: None,
            tolerance: None,
            max_unreachable: None,
            min_ready_seconds: None,
            rollback: None,
            analysis: None,
            paused: false,
            enforce: true,
            history_limit: None,
            generation: 1,
            uid: "11e8-b0a7".to_owned(),
        }
    }

    /// Image v2 for all members of the environment `prod` in these steps.
    pub fn selecting(steps: &str) -> Self {
        Self { selector: Some("{matchLabels: {env: prod}}".to_owned()), ..Self::new(&[], steps) }
    }

    /// Changes it further, in passing.
    pub fn with(mut self, edit: impl FnOnce(&mut Self)) -> Self {
        edit(&mut self);
        self
    }

    pub fn validate(&self) -> Result<Rollout, Vec<Problem>> {
        validate(&crds::yaml::from_str::<ClusterScopeRollout>(&self.yaml()).expect("the fixture is a rollout"))
    }

    /// Stands for the hash that the controller makes of what the hub has.
    pub fn hash(&self) -> String {
        self.yaml().lines().skip_while(|line| *line != "spec:").collect()
    }

    pub fn yaml(&self) -> String {
        let mut text = format!(
            "apiVersion: rollout.example.com/v1alpha1
kind: ClusterScopeRollout
metadata: {{name: checkout, uid: {}, generation: {}, creationTimestamp: '2025-12-31T23:59:00Z'}}
spec:
  targetClusters: {:?}
  paused: {}
",
            self.uid, self.generation, self.targets, self.paused
        );
        let mut line = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                writeln!(text, "{name}: {value}").expect("a String takes all");
            }
        };
        line("  clusterSelector", self.selector.clone());
        let if_missing = self.if_missing.as_ref().map(|what| format!(", ifMissing: {what}")).unwrap_or_default();
        let workload = |tag| {
            format!("{{kind: Deployment, namespace: shop, name: checkout, images: {{app: 'shop:{tag}'}}{if_missing}}}")
        };
        line("  workload", self.image.as_ref().filter(|_| self.manifests.is_none()).map(workload));
        line("  manifests", self.manifests.clone());
        line("  forceConflicts", self.force_conflicts.then(|| "true".to_owned()));
        line("  enforce", (!self.enforce).then(|| "false".to_owned()));
        line("  overrides", self.overrides.clone());
        line("  revisionHistoryLimit", self.history_limit.map(|limit| limit.to_string()));
        line("  rollback", self.rollback.clone());
        line("  analysis", self.analysis.clone());
        line("  rolloutStrategy", Some(String::new()));
        line("    maxConcurrency", self.max_concurrency.clone());
        line("    order", self.order.clone());
        line("    progressDeadlineSeconds", self.deadline_seconds.map(|seconds| seconds.to_string()));
        line("    maxFailures", self.max_failures.clone());
        line("    failureTolerance", self.tolerance.clone());
        line("    maxUnreachable", self.max_unreachable.clone());
        line("    minReadySeconds", self.min_ready_seconds.map(|seconds| seconds.to_string()));
        line("    canary", Some(String::new()));
        line("      steps", Some(self.steps.clone()));
        line("      soakSeconds", self.soak_seconds.map(|seconds| seconds.to_string()));
        text
    }
}
