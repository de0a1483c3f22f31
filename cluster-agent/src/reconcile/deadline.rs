//! The deadline of an assignment after which the agent returns by itself (SEMANTICS 17).
//!
//! Its end is written down by the member's clock, once, so that no restart makes it longer; a running agent goes by its
//! monotonic clock.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crds::{Deadline, DeadlineState, Fence, Outcome, RolloutAssignmentStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::assignment::Order;

/// What the next status says of the deadline, when the answer is `outcome`. Pure: the time is an argument.
pub fn next(order: &Order, outcome: Outcome, gives_up: bool, now: &Time) -> Option<Deadline> {
    if !order.returns_by_itself() {
        return None;
    }
    let plain = |state| Some(Deadline { state, until: None });
    let before = order.deadline();
    let running = before.filter(|before| before.state == DeadlineState::Running);
    match (before.map(|before| before.state), outcome) {
        // Neither ends under this fence.
        (Some(DeadlineState::Passed), _) => plain(DeadlineState::Passed),
        (Some(DeadlineState::Met), _) | (_, Outcome::Healthy) => plain(DeadlineState::Met),
        _ if gives_up => plain(DeadlineState::Passed),
        (_, Outcome::WorkloadMissing | Outcome::PreviousChanged | Outcome::PodDeletionByOwner | Outcome::Contended) => {
            plain(DeadlineState::Suspended)
        }
        _ => match running {
            Some(running) => Some(running.clone()),
            None => {
                Some(Deadline { state: DeadlineState::Running, until: Some(later(now, order.spec.deadline_seconds)) })
            }
        },
    }
}

fn later(now: &Time, seconds: i64) -> Time {
    crds::time_from_millis(now.0.as_millisecond().saturating_add(seconds.saturating_mul(1_000)))
}

/// The end of a running deadline by the monotonic clock.
#[derive(Clone, Debug, PartialEq)]
struct Armed {
    fence: Fence,
    until: Time,
    at: Instant,
}

impl Armed {
    /// What is left by the member's clock, which may have been set meanwhile: never more than the whole.
    fn new(fence: Fence, until: &Time, whole: Duration, (wall, now): (Timestamp, Instant)) -> Self {
        let left = until.0.as_millisecond().saturating_sub(wall.as_millisecond());
        let left = Duration::from_millis(u64::try_from(left).unwrap_or(0)).min(whole);
        Self { fence, until: until.clone(), at: now + left }
    }
}

/// The deadlines that run, by rollout; at most as many as there are assignments.
#[derive(Debug, Default)]
pub struct Deadlines(Mutex<BTreeMap<String, Armed>>);

impl Deadlines {
    /// When the deadline ends that this status tells of, if it runs.
    pub fn end(&self, order: &Order, status: &RolloutAssignmentStatus) -> Option<Instant> {
        let name = &order.spec.rollout.name;
        let running = status.deadline.as_ref().filter(|_| status.fence == order.spec.fence);
        let until = running.filter(|one| one.state == DeadlineState::Running).and_then(|one| one.until.as_ref());
        let mut armed = self.lock();
        let Some(until) = until else {
            armed.remove(name);
            return None;
        };
        let known = armed.get(name).filter(|known| known.fence == status.fence && known.until == *until);
        if let Some(known) = known {
            return Some(known.at);
        }
        let whole = Duration::from_secs(u64::try_from(order.spec.deadline_seconds).unwrap_or(0));
        let one = Armed::new(status.fence, until, whole, (Timestamp::now(), Instant::now()));
        let at = one.at;
        armed.insert(name.clone(), one);
        Some(at)
    }

    /// Whether the deadline has passed that the present status of an assignment tells of.
    pub fn passed(&self, order: &Order) -> bool {
        let end = order.status.as_ref().and_then(|status| self.end(order, status));
        end.is_some_and(|end| end <= Instant::now())
    }

    /// The assignment is gone.
    pub fn forget(&self, rollout: &str) {
        self.lock().remove(rollout);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Armed>> {
        // A panic can't leave the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crds::{OnDeadline, RolloutAssignment, time_from_millis};

    use super::*;
    use crate::assignment::fixtures::{accepted, assignment};

    const START: i64 = 1_800_000_000_000;

    fn returning() -> RolloutAssignment {
        let mut assignment = assignment(5);
        assignment.spec.on_deadline = OnDeadline::Return;
        assignment
    }

    /// The order after its status said so of the deadline, under the fence of generation 5.
    fn order(assignment: &RolloutAssignment, deadline: Option<Deadline>) -> Order {
        let mut object = accepted(&assignment.spec, None);
        let fence = Fence { epoch: 1, generation: 5 };
        object.status = Some(RolloutAssignmentStatus { fence, deadline, ..RolloutAssignmentStatus::default() });
        Order::of(&object)
    }

    fn state(state: DeadlineState) -> Deadline {
        let until = (state == DeadlineState::Running).then(|| time_from_millis(START + 600_000));
        Deadline { state, until }
    }

    fn said(order: &Order, outcome: Outcome, gives_up: bool) -> DeadlineState {
        next(order, outcome, gives_up, &time_from_millis(START)).unwrap().state
    }

    #[test]
    fn semantics_17_only_an_apply_that_may_return_and_knows_where_has_a_deadline() {
        let now = time_from_millis(START);
        let none = |assignment: &RolloutAssignment| next(&order(assignment, None), Outcome::Progressing, false, &now);
        assert_eq!(none(&returning()), Some(state(DeadlineState::Running)));
        assert_eq!(none(&assignment(5)), None);
        let mut nowhere = returning();
        nowhere.spec.previous = None;
        assert_eq!(none(&nowhere), None);
        let mut back = returning();
        back.spec.intent = crds::Intent::Return;
        assert_eq!(none(&back), None);
    }

    #[test]
    fn semantics_17_a_deadline_runs_on_is_met_or_passes_and_then_stays_so() {
        use DeadlineState::{Met, Passed, Running, Suspended};
        let rows = [
            (Running, Outcome::Progressing, false, Running),
            (Running, Outcome::Refused, false, Running),
            (Running, Outcome::Healthy, false, Met),
            (Running, Outcome::Progressing, true, Passed),
            (Running, Outcome::WorkloadMissing, false, Suspended),
            (Running, Outcome::Contended, false, Suspended),
            (Suspended, Outcome::Contended, false, Suspended),
            (Suspended, Outcome::Progressing, false, Running),
            (Running, Outcome::PodDeletionByOwner, false, Suspended),
            (Suspended, Outcome::PodDeletionByOwner, false, Suspended),
            (Suspended, Outcome::Healthy, false, Met),
            (Met, Outcome::PodDeletionByOwner, false, Met),
            (Passed, Outcome::PodDeletionByOwner, false, Passed),
            (Met, Outcome::Progressing, false, Met),
            (Met, Outcome::WorkloadMissing, false, Met),
            (Passed, Outcome::Reverted, false, Passed),
            (Passed, Outcome::Refused, false, Passed),
            (Passed, Outcome::Contended, false, Passed),
        ];
        for (before, outcome, gives_up, after) in rows {
            let order = order(&returning(), Some(state(before)));
            assert_eq!(said(&order, outcome, gives_up), after, "{before:?} {outcome:?}");
        }
    }

    #[test]
    fn semantics_18_after_the_owners_turn_the_deadline_starts_anew_in_full() {
        let order = order(&returning(), Some(state(DeadlineState::Suspended)));
        let later = START + 7_200_000;
        let next = next(&order, Outcome::Progressing, false, &time_from_millis(later)).unwrap();
        assert_eq!((next.state, next.until), (DeadlineState::Running, Some(time_from_millis(later + 600_000))));
    }

    #[test]
    fn semantics_17_a_higher_fence_starts_anew() {
        let mut next_order = returning();
        next_order.spec.fence.generation = 6;
        let order = order(&next_order, Some(state(DeadlineState::Passed)));
        assert!(!order.has_given_up());
        assert_eq!(said(&order, Outcome::Progressing, false), DeadlineState::Running);
    }

    #[test]
    fn semantics_42_the_same_order_of_a_rebuilt_store_is_no_new_attempt() {
        let first = returning();
        let mut given_up = accepted(&first.spec, None);
        let status = |state| RolloutAssignmentStatus {
            fence: first.spec.fence,
            deadline: Some(self::state(state)),
            ..RolloutAssignmentStatus::default()
        };
        given_up.status = Some(status(DeadlineState::Passed));
        let mut again = first.spec.clone();
        again.fence = Fence { epoch: 2, generation: 1 };
        assert!(Order::of(&accepted(&again, Some(&given_up))).has_given_up());
        given_up.status = Some(status(DeadlineState::Running));
        let order = Order::of(&accepted(&again, Some(&given_up)));
        let next = next(&order, Outcome::Progressing, false, &time_from_millis(START + 500_000)).unwrap();
        assert_eq!(next, state(DeadlineState::Running), "it gets no more time");
        let mut another = again.clone();
        another.revision.0 = "bbbb".to_owned();
        assert!(!Order::of(&accepted(&another, Some(&given_up))).has_given_up());
    }

    #[test]
    fn semantics_17_a_restart_goes_on_with_what_is_left_and_a_clock_that_was_set_back_gives_no_more_than_the_whole() {
        let (now, whole, until) = (Instant::now(), Duration::from_mins(10), time_from_millis(START + 600_000));
        let left = |wall: i64| {
            let wall = Timestamp::from_millisecond(wall).unwrap();
            Armed::new(Fence::default(), &until, whole, (wall, now)).at - now
        };
        assert_eq!(left(START + 200_000), Duration::from_secs(400));
        assert_eq!(left(START - 86_400_000), whole);
        assert_eq!(left(START + 86_400_000), Duration::ZERO);
    }

    #[test]
    fn a_running_deadline_is_armed_once() {
        let deadlines = Deadlines::default();
        let order = order(&returning(), Some(state(DeadlineState::Running)));
        let status = order.status.clone().unwrap();
        let end = deadlines.end(&order, &status);
        assert!(end.is_some());
        assert_eq!(deadlines.end(&order, &status), end);
        let met = RolloutAssignmentStatus { deadline: Some(state(DeadlineState::Met)), ..status };
        assert_eq!(deadlines.end(&order, &met), None);
        assert!(deadlines.lock().is_empty());
    }
}
