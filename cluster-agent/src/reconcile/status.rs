//! The next status of an assignment. Pure: the time is an argument.

use crds::{Report, RolloutAssignmentStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::deadline;
use super::ladder::Answer;
use crate::assignment::Order;

/// Longest message in characters, as the schema says.
const MAX_MESSAGE_CHARS: usize = 1_024;

/// The status that says `answer`; `None` when the last one says the same already.
pub fn next(order: &Order, answer: Answer, now: Time) -> Option<RolloutAssignmentStatus> {
    let Answer { outcome, message, workload, applied_hash, gives_up } = answer;
    let now_millis = now.0.as_millisecond();
    let before = order.status.as_ref();
    let unchanged_since =
        before.filter(|before| before.outcome == outcome).and_then(|before| before.changed_at.clone());
    let mut status = RolloutAssignmentStatus {
        deadline: deadline::next(order, outcome, gives_up, &now),
        fence: order.spec.fence,
        sequence: before.map_or(0, |before| before.sequence),
        outcome,
        applied_hash,
        workload,
        message: bounded(&message),
        changed_at: Some(unchanged_since.unwrap_or(now)),
    };
    if before == Some(&status) {
        return None;
    }
    status.sequence = order.next_sequence(now_millis);
    Some(status)
}

/// The status as the hub is told.
pub fn report(order: &Order, status: RolloutAssignmentStatus) -> Report {
    Report {
        member: order.spec.member.clone(),
        rollout: order.spec.rollout.name.clone(),
        rollout_uid: order.spec.rollout.uid.clone(),
        status,
    }
}

/// A message that the schema takes.
pub fn bounded(message: &str) -> String {
    message.chars().take(MAX_MESSAGE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crds::{Outcome, time_from_millis};
    use k8s_openapi::jiff::Timestamp;

    use super::*;
    use crate::assignment::fixtures::{accepted, assignment, order};

    fn answer(outcome: Outcome, message: &str) -> Answer {
        Answer { outcome, message: message.to_owned(), workload: None, applied_hash: None, gives_up: false }
    }

    #[test]
    fn each_new_status_has_the_next_sequence_and_an_equal_one_is_none() {
        let mut order = order(&assignment(5));
        let first = next(&order, answer(Outcome::Progressing, "1 of 3"), time_from_millis(1_000)).unwrap();
        assert_eq!((first.sequence, first.fence), (1_001, order.spec.fence));
        order.status = Some(first.clone());
        assert_eq!(next(&order, answer(Outcome::Progressing, "1 of 3"), time_from_millis(9_000)), None);
        let second = next(&order, answer(Outcome::Progressing, "2 of 3"), time_from_millis(9_000)).unwrap();
        assert_eq!((second.sequence, &second.changed_at), (9_001, &first.changed_at));
        order.status = Some(second);
        let third = next(&order, answer(Outcome::Healthy, "3 of 3"), time_from_millis(9_000)).unwrap();
        assert_eq!((third.sequence, third.changed_at), (9_002, Some(time_from_millis(9_000))));
    }

    #[test]
    fn the_sequence_goes_on_under_another_fence_and_after_a_restart() {
        let mut object = accepted(&assignment(5).spec, None);
        let order = Order::of(&object);
        object.status = next(&order, answer(Outcome::Observed, ""), time_from_millis(0));
        let order = Order::of(&accepted(&assignment(6).spec, Some(&object)));
        let status = next(&order, answer(Outcome::Observed, ""), time_from_millis(0)).unwrap();
        assert_eq!((status.sequence, status.fence.generation), (2, 6));
    }

    #[test]
    fn a_status_after_a_direct_report_has_a_higher_sequence() {
        let assignment = assignment(5);
        let said_at = Timestamp::from_millisecond(1_800_000_000_000).unwrap();
        let direct = crate::accept::direct(&assignment, Outcome::Refused, "invalid", said_at);
        let status = next(&order(&assignment), answer(Outcome::Progressing, ""), Time(said_at)).unwrap();
        assert_eq!(status.fence, direct.status.fence);
        assert!(status.sequence > direct.status.sequence);
    }

    #[test]
    fn a_message_is_cut_to_what_the_schema_takes() {
        let order = order(&assignment(5));
        let status = next(&order, answer(Outcome::Refused, &"ü".repeat(2_000)), time_from_millis(0)).unwrap();
        assert_eq!(status.message.chars().count(), 1_024);
    }
}
