//! What to do about one assignment, from what the hub wants, what was answered before, and what is there. Pure.

use std::collections::BTreeMap;

use crds::{Intent, OnDrift, Outcome, WorkloadObservation, images_hash};

use super::drift;
use super::health::{Health, health};
use super::workload::Workload;
use crate::assignment::{Order, Target};

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Delete the assignment and say so.
    Withdraw,
    /// There is nothing to apply; say this.
    Answer(Answer),
    /// Set these images.
    Apply(Images),
}

/// What the agent answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// In a word.
    pub outcome: Outcome,
    /// For people.
    pub message: String,
    /// The workload in numbers; absent when it does not exist.
    pub workload: Option<WorkloadObservation>,
    /// Hash of the images that were applied under this rollout uid and revision.
    pub applied_hash: Option<String>,
    /// Whether the deadline has passed, and the next step is to go back. It is written down first, so that no restart
    /// applies again what was given up.
    pub gives_up: bool,
}

/// Images to set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// Container to image.
    pub images: BTreeMap<String, String>,
    /// Whether they were set before, and somebody changed them since.
    pub drifted: bool,
}

impl Images {
    /// Their hash.
    pub fn hash(&self) -> String {
        images_hash(&self.images)
    }
}

/// Decides the next step. `live` is the workload, if it exists.
pub fn plan(order: &Order, live: Option<&Workload>) -> Step {
    let spec = &order.spec;
    if spec.intent == Intent::Withdraw {
        return Step::Withdraw;
    }
    let answer = |outcome, message: String| Step::Answer(answer(order, live, outcome, message));
    if !order.intact {
        let message = "SchemaPruned: the member's API server did not keep the assignment as it was sent, or somebody \
                       edited it; update the RolloutAssignment CRD there";
        return answer(Outcome::Refused, message.to_owned());
    }
    let target = Target::from(&spec.workload);
    let Some(workload) = live else {
        return answer(Outcome::WorkloadMissing, format!("{target} does not exist"));
    };
    let Some(images) = wanted(order) else {
        return answer(Outcome::Refused, "there is no previous state to return to".to_owned());
    };
    let there = workload.images();
    let missing: Vec<&str> = images.keys().filter(|name| !there.contains_key(*name)).map(String::as_str).collect();
    if !missing.is_empty() {
        return answer(Outcome::WorkloadMissing, format!("{target} has no container {}", quoted(&missing)));
    }
    let health = health(workload);
    if spec.intent == Intent::Observe {
        return answer(Outcome::Observed, health.message);
    }
    // Once said under a fence it stands: the hub observes afresh, and what it then finds must not be our doing.
    if order.answered() == Some(Outcome::PreviousChanged) {
        return answer(Outcome::PreviousChanged, changed(&there));
    }
    // So does this, and nothing is set any more, there or back.
    if let Some(said) = order.status.as_ref().filter(|_| order.answered() == Some(Outcome::Contended)) {
        return answer(Outcome::Contended, said.message.clone());
    }
    let hash = images_hash(&images);
    if workload.runs(&images) {
        let outcome = running(order, &health);
        let message = if outcome == Outcome::Reverted { returned(order, &health) } else { health.message };
        let gives_up = order.overdue && outcome == Outcome::Progressing;
        let workload = Some(health.observation);
        return Step::Answer(Answer { outcome, message, workload, applied_hash: Some(hash), gives_up });
    }
    if spec.on_drift == OnDrift::Report {
        return answer(Outcome::Drifted, drift::reported(order, workload, &images));
    }
    if order.overdue && !order.has_given_up() {
        return gives_up(order, workload);
    }
    let drifted = order.applied_hash() == Some(&hash);
    if drifted && order.contested {
        return answer(Outcome::Contended, drift::contended(order, workload, &images));
    }
    if drifted || is_expected(order, &there) {
        return Step::Apply(Images { images, drifted });
    }
    answer(Outcome::PreviousChanged, changed(&there))
}

/// An answer that is not about health.
pub fn answer(order: &Order, live: Option<&Workload>, outcome: Outcome, message: String) -> Answer {
    let workload = live.map(|workload| health(workload).observation);
    let applied_hash = order.applied_hash().map(ToOwned::to_owned);
    Answer { outcome, message, workload, applied_hash, gives_up: false }
}

/// What is said of a workload with the wanted images.
fn running(order: &Order, health: &Health) -> Outcome {
    match health.is_healthy() {
        _ if order.has_given_up() => Outcome::Reverted,
        true => Outcome::Healthy,
        false if health.awaits_owner => Outcome::PodDeletionByOwner,
        false => Outcome::Progressing,
    }
}

/// The deadline has passed before the images could even be set, or while somebody else's were there.
fn gives_up(order: &Order, workload: &Workload) -> Step {
    let message = format!("not healthy within {} s: goes back by itself", order.spec.deadline_seconds);
    let answer = answer(order, Some(workload), Outcome::Progressing, message);
    Step::Answer(Answer { gives_up: true, ..answer })
}

fn returned(order: &Order, health: &Health) -> String {
    format!("not healthy within {} s: went back by itself; {}", order.spec.deadline_seconds, health.message)
}

/// The images that the assignment means by now. `None`: it is a return to nowhere.
pub fn wanted(order: &Order) -> Option<BTreeMap<String, String>> {
    let spec = &order.spec;
    let named = &spec.workload.images;
    match (going(order), &spec.previous) {
        (Intent::Return, Some(previous)) => {
            let mut images = previous.images.clone();
            images.retain(|name, _| named.contains_key(name));
            (!images.is_empty()).then_some(images)
        }
        (Intent::Return, None) => None,
        (Intent::Observe | Intent::Apply | Intent::Withdraw, _) => Some(named.clone()),
    }
}

/// Where the workload is to go: one that was not healthy in time goes back.
pub fn going(order: &Order) -> Intent {
    if order.has_given_up() { Intent::Return } else { order.spec.intent }
}

/// Whether what is there is what the hub saw. A return goes back to the recorded state from wherever it is, unless the
/// hub says from where.
fn is_expected(order: &Order, there: &BTreeMap<String, String>) -> bool {
    match &order.spec.expected_hash {
        _ if order.has_given_up() => true,
        Some(expected) => *expected == images_hash(there),
        None => order.spec.intent == Intent::Return,
    }
}

fn changed(there: &BTreeMap<String, String>) -> String {
    let images: Vec<String> = there.iter().map(|(name, image)| format!("{name}={image}")).collect();
    format!("nothing was applied: the workload no longer runs what was observed; it runs {}", images.join(", "))
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[path = "plan_test.rs"]
mod tests;
