//! What to do about one assignment that is about images, and what it means: the [`ladder`](super::ladder) climbed with
//! a workload in sight. Pure.

use std::collections::BTreeMap;

use crds::{Intent, Outcome, images_hash};

use super::drift;
use super::health::{Health, health};
use super::ladder::{self, Answer, NOWHERE, Next, PRUNED, Sight, going};
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

/// A workload, held against the images that are wanted.
struct Seen<'a> {
    workload: &'a Workload,
    wanted: &'a BTreeMap<String, String>,
}

impl Sight for Seen<'_> {
    fn wanted_hash(&self) -> String {
        images_hash(self.wanted)
    }

    fn is_as_wanted(&self) -> bool {
        self.workload.runs(self.wanted)
    }

    fn is(&self, hash: &str) -> bool {
        images_hash(&self.workload.images()) == hash
    }

    /// All images are set in one request.
    fn is_begun(&self) -> bool {
        false
    }

    fn health(&self) -> Health {
        health(self.workload)
    }

    fn unexpected(&self) -> String {
        let images: Vec<String> =
            self.workload.images().iter().map(|(name, image)| format!("{name}={image}")).collect();
        format!("nothing was applied: the workload no longer runs what was observed; it runs {}", images.join(", "))
    }

    fn reported(&self, order: &Order) -> String {
        drift::reported(order, self.workload, self.wanted)
    }

    fn contended(&self, order: &Order) -> String {
        drift::contended(order, self.workload, self.wanted)
    }
}

/// Decides the next step. `live` is the workload, if it exists.
pub fn plan(order: &Order, live: Option<&Workload>) -> Step {
    if order.spec.intent == Intent::Withdraw {
        return Step::Withdraw;
    }
    let answer = |outcome, message: String| Step::Answer(answer(order, live, outcome, message));
    if !order.intact {
        return answer(Outcome::Refused, PRUNED.to_owned());
    }
    let target = Target::from(&order.spec);
    let Some(workload) = live else {
        return answer(Outcome::WorkloadMissing, format!("{target} does not exist"));
    };
    let Some(images) = wanted(order) else {
        return answer(Outcome::Refused, NOWHERE.to_owned());
    };
    let there = workload.images();
    let missing: Vec<&str> = images.keys().filter(|name| !there.contains_key(*name)).map(String::as_str).collect();
    if !missing.is_empty() {
        return answer(Outcome::WorkloadMissing, format!("{target} has no container {}", quoted(&missing)));
    }
    match ladder::next(order, &Seen { workload, wanted: &images }) {
        Next::Answer(answer) => Step::Answer(answer),
        Next::Set { drifted } => Step::Apply(Images { images, drifted }),
    }
}

/// An answer that is not about health.
pub fn answer(order: &Order, live: Option<&Workload>, outcome: Outcome, message: String) -> Answer {
    ladder::answer(order, live.map(|workload| health(workload).observation), outcome, message)
}

/// The images that the assignment means by now. `None`: it is a return to nowhere.
pub fn wanted(order: &Order) -> Option<BTreeMap<String, String>> {
    let named = order.spec.images();
    match (going(order), &order.spec.previous) {
        (Intent::Return, Some(previous)) => {
            let mut images = previous.images.clone();
            images.retain(|name, _| named.contains_key(name));
            (!images.is_empty()).then_some(images)
        }
        (Intent::Return, None) => None,
        (Intent::Observe | Intent::Apply | Intent::Withdraw, _) => Some(named.clone()),
    }
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[path = "plan_test.rs"]
mod tests;
