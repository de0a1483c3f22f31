//! Parses an object of the hub once into a [`Rollout`], and reports all problems at once.
//!
//! The API server checks the same by the schema. This repeats it for objects that were stored before a
//! schema change.

mod analysis;
mod manifests;
mod overrides;

use std::collections::{BTreeMap, BTreeSet};

use crds::{
    ClusterScopeRollout, ClusterSelector, IntOrPercent, OnDrift, RolloutStrategy, SelectorOperator, WaveOrder,
    WorkloadPayload, is_dns_label, is_dns_part, millis_from_time,
};
use serde::{Deserialize, Serialize};

use crate::{FailureRules, MAX_PAST_RUNS, MemberFacts, OnConflict, Payload, Rollout, Step, Weight, words};

/// A month: the longest pause or soak.
const MAX_PAUSE_SECONDS: i64 = 2_592_000;
/// A day: the longest deadline of one member.
const MAX_DEADLINE_SECONDS: i64 = 86_400;
/// Most named targets; larger fleets select by label.
const MAX_TARGETS: usize = 512;
/// Most explicit steps.
const MAX_STEPS: usize = 32;
/// Most containers whose images one payload sets.
const MAX_IMAGES: usize = 32;
/// Longest image reference, in bytes.
const MAX_IMAGE_BYTES: usize = 512;
/// Longest name of a workload, in bytes.
const MAX_WORKLOAD_NAME_BYTES: usize = 253;
/// Longest key of a label, in bytes: a DNS name, a slash and a name.
const MAX_LABEL_KEY_BYTES: usize = 317;
/// Most requirements of either sort in a selector.
const MAX_REQUIREMENTS: usize = 32;

/// One thing that is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Path of the field, as in `spec.rolloutStrategy.canary.steps[1].setWeight`.
    pub field: String,
    /// Its value, as text.
    pub value: String,
    /// What it must be.
    pub message: String,
    /// What the problem is about, beside the field.
    #[serde(default, skip_serializing_if = "Concern::is_field")]
    pub concern: Concern,
}

/// What a problem is about, beside its field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Concern {
    /// Nothing else.
    #[default]
    Field,
    /// The payload is too large.
    Size,
    /// Members, by their labels.
    Members(ClusterSelector),
}

impl Concern {
    fn is_field(&self) -> bool {
        *self == Self::Field
    }
}

impl Problem {
    /// The same, with the names of those among `members` that it is about.
    #[must_use]
    pub fn naming(&self, members: &BTreeMap<String, MemberFacts>) -> Self {
        if !matches!(self.concern, Concern::Members(_)) {
            return self.clone();
        }
        let meant = members.iter().filter(|(name, facts)| self.is_about(name, facts));
        let names: Vec<&String> = meant.map(|(name, _)| name).collect();
        let message = match names.as_slice() {
            [] => format!("{}; it is for no member at present", self.message),
            names => format!("{}; it is for {}", self.message, words::list(names)),
        };
        Self { message, ..self.clone() }
    }

    /// Whether it is about this member.
    pub(crate) fn is_about(&self, member: &str, facts: &MemberFacts) -> bool {
        matches!(&self.concern, Concern::Members(selector) if selector.selects(member, &facts.labels))
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: \"{}\": {}", self.field, self.value, self.message)
    }
}

/// Parses an object of the hub; on failure every problem is named, not only the first.
pub fn validate(object: &ClusterScopeRollout) -> Result<Rollout, Vec<Problem>> {
    let mut problems = Problems::default();
    let spec = &object.spec;
    let name = object.metadata.name.clone().unwrap_or_default();
    problems.dns_label("metadata.name", &name);
    let uid = object.metadata.uid.clone().unwrap_or_default();
    problems.require(!uid.is_empty(), "metadata.uid", "", "must be set by the API server");
    check_targets(&spec.target_clusters, spec.cluster_selector.as_ref(), &mut problems);
    let steps = check_steps(&spec.rollout_strategy.canary.steps, &mut problems);
    let soak_seconds = check_soak(spec.rollout_strategy.canary.soak_seconds, &steps, &mut problems);
    let strategy = &spec.rollout_strategy;
    check_concurrency("spec.rolloutStrategy.maxConcurrency", strategy.max_concurrency, &mut problems);
    check_concurrency("spec.rollback.maxConcurrency", spec.rollback.max_concurrency, &mut problems);
    check_budget("spec.rolloutStrategy.maxFailures", strategy.max_failures, &mut problems);
    check_budget("spec.rolloutStrategy.maxUnreachable", strategy.max_unreachable, &mut problems);
    check_min_ready(strategy, &mut problems);
    if let Some(order) = &strategy.order {
        check_order(order, &mut problems);
    }
    problems.range(
        "spec.rolloutStrategy.progressDeadlineSeconds",
        strategy.progress_deadline_seconds,
        1,
        MAX_DEADLINE_SECONDS,
    );
    let (past_runs, most) = (i64::from(spec.revision_history_limit), i64::try_from(MAX_PAST_RUNS).unwrap_or(i64::MAX));
    problems.range("spec.revisionHistoryLimit", past_runs, 1, most);
    if let Some(workload) = &spec.workload {
        check_workload(workload, &mut problems);
    }
    manifests::check(&spec.manifests, &mut problems);
    let both = spec.workload.is_some() && !spec.manifests.is_empty();
    problems.require(!both, "spec.manifests", "and spec.workload", "must not both be given");
    overrides::check(spec, &mut problems);
    let analysis = spec.analysis.as_ref().map(|analysis| analysis::check(analysis, &mut problems));
    problems.into_result(Rollout {
        name,
        uid,
        generation: object.metadata.generation.unwrap_or_default(),
        created_at: object.metadata.creation_timestamp.as_ref().map_or(0, millis_from_time),
        payload: crds::Payload::of(spec).map(Payload::new),
        targets: spec.target_clusters.clone(),
        selector: spec.cluster_selector.clone(),
        order: strategy.order.clone(),
        steps,
        soak_seconds,
        max_concurrency: strategy.max_concurrency,
        failures: FailureRules {
            progress_deadline_seconds: strategy.progress_deadline_seconds,
            min_ready_seconds: strategy.min_ready_seconds,
            max_failures: strategy.max_failures,
            tolerance: strategy.failure_tolerance,
            max_unreachable: strategy.max_unreachable,
            mode: spec.rollback.mode,
            scope: spec.rollback.scope,
            return_concurrency: spec.rollback.max_concurrency,
        },
        analysis,
        paused: spec.paused,
        on_drift: if spec.enforce { OnDrift::Repair } else { OnDrift::Report },
        on_conflict: if spec.force_conflicts { OnConflict::Force } else { OnConflict::Refuse },
        past_runs: usize::try_from(spec.revision_history_limit).unwrap_or_default(),
    })
}

fn check_targets(targets: &[String], selector: Option<&ClusterSelector>, problems: &mut Problems) {
    let field = "spec.targetClusters";
    problems.require(
        !targets.is_empty() || selector.is_some(),
        field,
        "",
        "name at least one member, or give a clusterSelector",
    );
    problems.require(
        targets.len() <= MAX_TARGETS,
        field,
        &targets.len().to_string(),
        "must name at most 512 members; larger fleets use clusterSelector",
    );
    let mut seen = BTreeSet::new();
    for (index, target) in targets.iter().enumerate() {
        let field = format!("{field}[{index}]");
        problems.dns_label(&field, target);
        problems.require(seen.insert(target), &field, target, "a member may be named only once");
    }
    if let Some(selector) = selector {
        check_selector("spec.clusterSelector", selector, problems);
    }
}

fn check_selector(field: &str, selector: &ClusterSelector, problems: &mut Problems) {
    let ClusterSelector { match_labels, match_expressions } = selector;
    problems.require(
        !match_labels.is_empty() || !match_expressions.is_empty(),
        field,
        "{}",
        "an empty clusterSelector selects nothing on purpose; for all members write matchExpressions: [{key: rollout.example.com/member, operator: Exists}]",
    );
    let most = match_labels.len().max(match_expressions.len());
    problems.require(most <= MAX_REQUIREMENTS, field, &most.to_string(), "must have at most 32 requirements");
    for (index, requirement) in match_expressions.iter().enumerate() {
        let takes_values = matches!(requirement.operator, SelectorOperator::In | SelectorOperator::NotIn);
        problems.require(
            takes_values != requirement.values.is_empty(),
            &format!("{field}.matchExpressions[{index}].values"),
            &requirement.values.join(","),
            "operators In and NotIn need values, Exists and DoesNotExist take none",
        );
    }
}

fn check_steps(steps: &[crds::Step], problems: &mut Problems) -> Vec<Step> {
    let field = "spec.rolloutStrategy.canary.steps";
    problems.require(
        (1..=MAX_STEPS).contains(&steps.len()),
        field,
        &steps.len().to_string(),
        "must have 1 to 32 steps",
    );
    let mut parsed = Vec::new();
    let mut before = i32::MIN;
    for (index, step) in steps.iter().enumerate() {
        let weight_field = format!("{field}[{index}].setWeight");
        let text = step.set_weight.to_string();
        let weight = Weight::try_from(i64::from(step.set_weight));
        problems.require(weight.is_ok(), &weight_field, &text, "must be 1 to 100");
        problems.require(
            step.set_weight >= before,
            &weight_field,
            &text,
            "must not decrease from one step to the next",
        );
        before = step.set_weight;
        let pause_seconds = problems.seconds(&format!("{field}[{index}].pause"), step.pause.unwrap_or(0));
        parsed.extend(weight.ok().map(|weight| Step { weight, pause_seconds, approval: step.approval }));
    }
    parsed
}

fn check_soak(soak: Option<i64>, steps: &[Step], problems: &mut Problems) -> u32 {
    match soak {
        Some(seconds) => problems.seconds("spec.rolloutStrategy.canary.soakSeconds", seconds),
        None => steps.iter().map(|step| step.pause_seconds).max().unwrap_or(0),
    }
}

fn check_concurrency(field: &str, limit: IntOrPercent, problems: &mut Problems) {
    let sound = match limit {
        IntOrPercent::Count(count) => (1..=100_000).contains(&count),
        IntOrPercent::Percent(percent) => (1..=100).contains(&percent),
    };
    problems.require(sound, field, &limit.to_string(), "must be 1 to 100000, or \"1%\" to \"100%\"");
}

fn check_order(order: &WaveOrder, problems: &mut Problems) {
    let field = "spec.rolloutStrategy.order";
    let WaveOrder { priority_label, spread_by, max_per_domain } = order;
    let says_something = priority_label.is_some() || spread_by.is_some();
    problems.require(says_something, field, "{}", "give priorityLabel, spreadBy or both");
    for (name, label) in [("priorityLabel", priority_label), ("spreadBy", spread_by)] {
        let sound = label.as_ref().is_none_or(|label| !label.is_empty() && label.len() <= MAX_LABEL_KEY_BYTES);
        problems.require(
            sound,
            &format!("{field}.{name}"),
            label.as_deref().unwrap_or_default(),
            "must be the key of a label",
        );
    }
    if let Some(limit) = max_per_domain {
        let field = format!("{field}.maxPerDomain");
        check_concurrency(&field, *limit, problems);
        problems.require(
            spread_by.is_some(),
            &field,
            &limit.to_string(),
            "needs spreadBy, which says what a domain is",
        );
    }
}

fn check_min_ready(strategy: &RolloutStrategy, problems: &mut Problems) {
    let seconds = strategy.min_ready_seconds;
    let field = "spec.rolloutStrategy.minReadySeconds";
    let sound = (0..strategy.progress_deadline_seconds.max(1)).contains(&seconds);
    problems.require(sound, field, &seconds.to_string(), "must be 0 or more, and less than progressDeadlineSeconds");
}

fn check_budget(field: &str, limit: IntOrPercent, problems: &mut Problems) {
    let sound = match limit {
        IntOrPercent::Count(count) => count <= 100_000,
        IntOrPercent::Percent(percent) => percent <= 100,
    };
    problems.require(sound, field, &limit.to_string(), "must be 0 to 100000, or \"0%\" to \"100%\"");
}

fn check_workload(workload: &WorkloadPayload, problems: &mut Problems) {
    let WorkloadPayload { kind: _, namespace, name, images, if_missing: _ } = workload;
    problems.dns_label("spec.workload.namespace", namespace);
    let sound = name.len() <= MAX_WORKLOAD_NAME_BYTES && name.split('.').all(is_dns_part);
    problems.require(sound, "spec.workload.name", name, "must be a DNS subdomain of at most 253 characters");
    check_images("spec.workload.images", images, problems);
}

fn check_images(field: &str, images: &BTreeMap<String, String>, problems: &mut Problems) {
    problems.require(
        (1..=MAX_IMAGES).contains(&images.len()),
        field,
        &images.len().to_string(),
        "must name 1 to 32 containers",
    );
    for (container, image) in images {
        problems.dns_label(&format!("{field} (key)"), container);
        let sound = (1..=MAX_IMAGE_BYTES).contains(&image.len()) && !image.chars().any(char::is_whitespace);
        problems.require(
            sound,
            &format!("{field}.{container}"),
            image,
            "must be an image of 1 to 512 characters without spaces",
        );
    }
}

#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn require(&mut self, holds: bool, field: &str, value: &str, message: &str) {
        if !holds {
            let (field, value, message) = (field.to_owned(), value.to_owned(), message.to_owned());
            self.0.push(Problem { field, value, message, concern: Concern::Field });
        }
    }

    fn dns_label(&mut self, field: &str, value: &str) {
        let sound = is_dns_label(value);
        self.require(sound, field, value, "must be a DNS label of 1 to 63 characters: a-z, 0-9 and -");
    }

    fn range(&mut self, field: &str, value: i64, least: i64, most: i64) {
        let message = format!("must be {least} to {most}");
        self.require((least..=most).contains(&value), field, &value.to_string(), &message);
    }

    fn seconds(&mut self, field: &str, value: i64) -> u32 {
        self.range(field, value, 0, MAX_PAUSE_SECONDS);
        // Out of range is reported above, and the result is never used then.
        u32::try_from(value).unwrap_or(0)
    }

    fn into_result<T>(self, value: T) -> Result<T, Vec<Problem>> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }
}
