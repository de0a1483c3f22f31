//! What keeps objects from being set or removed, and whether it is told. Pure.

use crds::{Intent, OnDrift};

use super::super::Error;
use super::super::ladder::Answer;
use super::Halt;
use crate::assignment::Order;
use crate::logging::with_causes;

/// What kept single objects from being set or removed, while the rest went on.
#[derive(Debug, Default)]
pub(super) struct Hitches {
    failed: Option<Halt>,
    /// What has to come first, for people.
    waiting: Option<String>,
}

impl Hitches {
    /// Takes in what came of an object, or of several; fails with what keeps from all others as well.
    pub(super) fn note(&mut self, came: Result<Option<String>, Halt>) -> Result<(), Halt> {
        match came {
            Ok(waiting) => self.waiting = self.waiting.take().or(waiting),
            Err(halt) if halt.is_for_all() => return Err(halt),
            Err(halt) => self.failed = self.failed.take().or(Some(halt)),
        }
        Ok(())
    }

    /// Whether there was nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.failed.is_none() && self.waiting.is_none()
    }

    /// The first failure; else what is waited for first.
    pub(super) fn first(self) -> Result<Option<String>, Halt> {
        self.failed.map_or(Ok(self.waiting), Err)
    }
}

impl Halt {
    /// For people.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Refused(message) => message.clone(),
            Self::Failed(error) => with_causes(error),
        }
    }

    /// Whether nothing at all may be done by this look any more.
    pub(super) fn is_for_all(&self) -> bool {
        matches!(self, Self::Failed(Error::NotHeld | Error::Superseded(_)))
    }
}

/// What is said when objects of earlier revisions are to go and one can't be removed: a member that is well stays so.
pub(super) fn unremoved(answer: Answer, hitch: Option<String>) -> Answer {
    let Some(hitch) = hitch else { return answer };
    let message = format!(
        "{}; not all that is not wanted any more could be removed, which is tried again: {hitch}",
        answer.message
    );
    Answer { message, ..answer }
}

/// Whether it is told that a look failed: an order that sets something says so, as its deadline runs meanwhile. What
/// comes of others being faster is mostly gone with the next look; it is told where nothing else was, or time is up.
pub(super) fn is_told(order: &Order, error: &Error) -> bool {
    let spec = &order.spec;
    let sets = matches!(spec.intent, Intent::Apply | Intent::Return) && spec.on_drift == OnDrift::Repair;
    let is_passing = match error {
        Error::Cluster(_) | Error::Object { .. } => error.is_conflict(),
        Error::Unsettled => true,
        Error::NotHeld | Error::Superseded(_) | Error::Refused(_) | Error::Restless => return false,
    };
    sets && (!is_passing || order.answered().is_none() || order.overdue)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use crds::{Fence, Outcome, RolloutAssignmentStatus};

    use super::super::super::ladder::{self, stumbles};
    use super::super::fixtures;
    use super::*;
    use crate::assignment::fixtures::accepted;
    use crate::cluster;

    fn refused(message: &str) -> Result<Option<String>, Halt> {
        Err(Halt::Refused(message.to_owned()))
    }

    fn failed(code: u16) -> Error {
        let message = "failed calling webhook".to_owned();
        let error = cluster::Error::Answer { what: "apply an object", code, message, causes: Vec::new() };
        let Halt::Failed(error) = Halt::of(&fixtures::config_ref("a"), error.into()) else { panic!("refused") };
        error
    }

    fn order(intent: Intent) -> Order {
        let mut spec = fixtures::order(&[]).spec;
        (spec.intent, spec.on_deadline) = (intent, crds::OnDeadline::Return);
        Order::of(&accepted(&spec, None))
    }

    #[test]
    fn semantics_17_the_first_failure_is_told_and_the_rest_goes_on() {
        let mut hitches = Hitches::default();
        hitches.note(Ok(None)).unwrap();
        assert!(hitches.is_empty());
        for came in [Ok(Some("a".to_owned())), Ok(None), Ok(Some("b".to_owned()))] {
            hitches.note(came).unwrap();
        }
        assert!(!hitches.is_empty());
        hitches.note(refused("c")).unwrap();
        hitches.note(Err(Halt::Failed(failed(500)))).unwrap();
        assert!(matches!(hitches.first(), Err(Halt::Refused(message)) if message == "c"));
        let waiting = Hitches { waiting: Some("a".to_owned()), failed: None };
        assert_eq!(waiting.first().unwrap().as_deref(), Some("a"));
    }

    #[test]
    fn semantics_15_who_may_not_act_any_more_does_not_go_on() {
        for error in [Error::NotHeld, Error::Superseded(Fence::default())] {
            assert!(!is_told(&order(Intent::Apply), &error), "{error}");
            let mut hitches = Hitches::default();
            assert!(hitches.note(Err(Halt::Failed(error))).is_err());
        }
    }

    #[test]
    fn semantics_20_a_member_is_not_refused_for_what_cannot_be_removed() {
        let healthy = ladder::answer(&order(Intent::Apply), None, Outcome::Healthy, "1 of 1 objects ready".to_owned());
        assert_eq!(unremoved(healthy.clone(), None), healthy);
        let answer = unremoved(healthy, Some(Halt::Refused("ConfigMap shop/a: no".to_owned()).message()));
        assert_eq!(answer.outcome, Outcome::Healthy);
        assert!(
            answer.message.starts_with("1 of 1 objects ready; ") && answer.message.ends_with(": ConfigMap shop/a: no")
        );
    }

    #[test]
    fn semantics_17_an_order_that_always_fails_says_so_and_is_given_up_at_its_deadline() {
        let mut order = order(Intent::Apply);
        assert!(is_told(&order, &failed(500)));
        let message = "ConfigMap shop/a: failed to apply an object: failed calling webhook (500)";
        assert_eq!(Halt::Failed(failed(500)).message(), message);
        let answer = stumbles(&order, crds::WorkloadObservation::default(), "failed".to_owned());
        let said = (answer.outcome, answer.message.as_str(), answer.gives_up);
        assert_eq!(said, (Outcome::Progressing, "failed", false));
        order.overdue = true;
        assert!(is_told(&order, &failed(409)) && is_told(&order, &failed(500)));
        let answer = stumbles(&order, crds::WorkloadObservation::default(), "failed".to_owned());
        assert_eq!((answer.outcome, answer.gives_up), (Outcome::Progressing, true));
    }

    #[test]
    fn what_is_gone_with_the_next_look_is_told_only_where_nothing_else_was() {
        let mut order = order(Intent::Apply);
        assert!(is_told(&order, &failed(409)) && is_told(&order, &Error::Unsettled));
        let fence = order.spec.fence;
        order.status = Some(RolloutAssignmentStatus { fence, ..RolloutAssignmentStatus::default() });
        assert!(!is_told(&order, &failed(409)) && !is_told(&order, &Error::Unsettled) && is_told(&order, &failed(500)));
        let observe = self::order(Intent::Observe);
        assert!(!is_told(&observe, &failed(500)));
        order.spec.on_drift = OnDrift::Report;
        assert!(!is_told(&order, &failed(500)));
    }
}
