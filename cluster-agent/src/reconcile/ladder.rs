//! What to do about an assignment, be it about images of a workload or about whole objects: from what the hub wants,
//! what was answered before, and what is there. Pure.

use crds::{Intent, OnDrift, Outcome, WorkloadObservation};

use super::health::Health;
use crate::assignment::Order;

/// What is said of an assignment that is not as the hub sent it.
pub const PRUNED: &str = "SchemaPruned: the member's API server did not keep the assignment as it was sent, or somebody \
                          edited it; update the RolloutAssignment CRD there";
/// What is said of a return that knows no way.
pub const NOWHERE: &str = "there is no previous state to return to";

/// What the agent answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// In a word.
    pub outcome: Outcome,
    /// For people.
    pub message: String,
    /// The workload in numbers; absent when it does not exist.
    pub workload: Option<WorkloadObservation>,
    /// Hash of what was applied under this rollout uid and revision.
    pub applied_hash: Option<String>,
    /// Whether the deadline has passed, and the next step is to go back. It is written down first, so that no restart
    /// applies again what was given up.
    pub gives_up: bool,
}

/// What is there, held against what is wanted.
pub trait Sight {
    /// Hash of what is wanted.
    fn wanted_hash(&self) -> String;
    /// Whether what is wanted is there.
    fn is_as_wanted(&self) -> bool;
    /// Whether what is there has this hash.
    fn is(&self, hash: &str) -> bool;
    /// Whether the agent has begun to set what is wanted, so that what is there may be its own doing.
    fn is_begun(&self) -> bool;
    /// How well it is.
    fn health(&self) -> Health;
    /// What is there instead of what was expected.
    fn unexpected(&self) -> String;
    /// What somebody else has changed, of what is left alone as the order wants it so.
    fn reported(&self, order: &Order) -> String;
    /// What somebody else changes again and again.
    fn contended(&self, order: &Order) -> String;
}

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing is set; say this.
    Answer(Answer),
    /// Set what is wanted.
    Set {
        /// Whether it was set before, and somebody has changed it since.
        drifted: bool,
    },
}

/// Decides the next step of an order to observe, to apply or to return.
pub fn next(order: &Order, sight: &impl Sight) -> Next {
    let spec = &order.spec;
    let health = sight.health();
    let answer =
        |outcome, message: String| Next::Answer(answer(order, Some(health.observation.clone()), outcome, message));
    if spec.intent == Intent::Observe {
        return answer(Outcome::Observed, health.message.clone());
    }
    if stands(order) {
        return match &order.status {
            Some(said) if said.outcome == Outcome::Contended => answer(Outcome::Contended, said.message.clone()),
            _ => answer(Outcome::PreviousChanged, sight.unexpected()),
        };
    }
    let hash = sight.wanted_hash();
    if sight.is_as_wanted() {
        return Next::Answer(running(order, &health, hash));
    }
    if spec.on_drift == OnDrift::Report {
        return answer(Outcome::Drifted, sight.reported(order));
    }
    if order.overdue && !order.has_given_up() {
        return Next::Answer(gives_up(order, health.observation));
    }
    let drifted = order.applied_hash() == Some(&hash);
    if drifted && order.contested {
        return answer(Outcome::Contended, sight.contended(order));
    }
    if drifted || sight.is_begun() || is_expected(order, sight) {
        return Next::Set { drifted };
    }
    answer(Outcome::PreviousChanged, sight.unexpected())
}

/// Whether what was answered under a fence stands, whatever is there. After `PreviousChanged` the hub observes afresh,
/// and what it then finds must not be our doing; after `Contended` nothing is set any more, there or back.
pub fn stands(order: &Order) -> bool {
    matches!(order.answered(), Some(Outcome::PreviousChanged | Outcome::Contended))
}

/// What is said when an error keeps from going on: the deadline runs meanwhile, and passes.
pub fn stumbles(order: &Order, workload: WorkloadObservation, error: String) -> Answer {
    if order.overdue && !order.has_given_up() {
        return gives_up(order, workload);
    }
    answer(order, Some(workload), Outcome::Progressing, error)
}

/// An answer that is not about health.
pub fn answer(order: &Order, workload: Option<WorkloadObservation>, outcome: Outcome, message: String) -> Answer {
    let applied_hash = order.applied_hash().map(ToOwned::to_owned);
    Answer { outcome, message, workload, applied_hash, gives_up: false }
}

/// What is said while what is wanted is there.
fn running(order: &Order, health: &Health, hash: String) -> Answer {
    let outcome = match health.is_healthy() {
        _ if order.has_given_up() => Outcome::Reverted,
        true => Outcome::Healthy,
        false if health.awaits_owner => Outcome::PodDeletionByOwner,
        false => Outcome::Progressing,
    };
    let message = if outcome == Outcome::Reverted { returned(order, health) } else { health.message.clone() };
    let gives_up = order.overdue && outcome == Outcome::Progressing;
    Answer { outcome, message, workload: Some(health.observation.clone()), applied_hash: Some(hash), gives_up }
}

/// The deadline has passed before it could even be set, or while something of somebody else's was there.
fn gives_up(order: &Order, workload: WorkloadObservation) -> Answer {
    let message = format!("not healthy within {} s: goes back by itself", order.spec.deadline_seconds);
    Answer { gives_up: true, ..answer(order, Some(workload), Outcome::Progressing, message) }
}

fn returned(order: &Order, health: &Health) -> String {
    format!("not healthy within {} s: went back by itself; {}", order.spec.deadline_seconds, health.message)
}

/// What was done when something was set, for the metrics.
pub fn deed(order: &Order, drifted: bool) -> &'static str {
    match drifted {
        true => "repaired",
        false if order.has_given_up() => "reverted",
        false => "applied",
    }
}

/// Where it is to go: what was not healthy in time goes back.
pub fn going(order: &Order) -> Intent {
    if order.has_given_up() { Intent::Return } else { order.spec.intent }
}

/// Whether what is there is what the hub saw. A return goes back to the recorded state from wherever it is, unless the
/// hub says from where.
fn is_expected(order: &Order, sight: &impl Sight) -> bool {
    match &order.spec.expected_hash {
        _ if order.has_given_up() => true,
        Some(expected) => sight.is(expected),
        None => order.spec.intent == Intent::Return,
    }
}
