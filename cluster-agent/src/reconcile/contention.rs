//! How often drift was repaired lately, and when that is enough (SEMANTICS 22).
//!
//! In memory: an agent that restarts counts anew, but what it has answered under a fence stands.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crds::Fence;

use crate::assignment::Order;

/// Changes by another field manager within [`WINDOW`] after which the agent gives way.
pub const MAX_REVERTS: usize = 3;
/// Longer ago counts no more.
pub const WINDOW: Duration = Duration::from_mins(10);
/// The change after these is not repaired any more.
const MAX_REPAIRS: usize = MAX_REVERTS - 1;

/// The latest repairs under one fence, at most [`MAX_REPAIRS`], the oldest first.
#[derive(Debug)]
struct Repaired {
    fence: Fence,
    at: Vec<Instant>,
}

/// Repairs of drift, by rollout; at most as many as there are assignments. Each undid one change of somebody else: changes
/// themselves are seen more than once when a repair fails and is tried again.
#[derive(Debug, Default)]
pub struct Repairs(Mutex<BTreeMap<String, Repaired>>);

impl Repairs {
    /// What this assignment demanded was set again, because somebody else had changed it.
    pub fn note(&self, order: &Order, now: Instant) {
        let fence = order.spec.fence;
        let mut repairs = self.lock();
        let repaired = repairs.entry(order.spec.rollout.name.clone()).or_insert(Repaired { fence, at: Vec::new() });
        if repaired.fence != fence {
            *repaired = Repaired { fence, at: Vec::new() };
        }
        repaired.at.push(now);
        let surplus = repaired.at.len().saturating_sub(MAX_REPAIRS);
        repaired.at.drain(..surplus);
    }

    /// Whether the next change is one too many.
    pub fn are_used_up(&self, order: &Order, now: Instant) -> bool {
        let repairs = self.lock();
        let repaired = repairs.get(&order.spec.rollout.name).filter(|repaired| repaired.fence == order.spec.fence);
        let recent = |at: &&Instant| now.saturating_duration_since(**at) <= WINDOW;
        repaired.is_some_and(|repaired| repaired.at.iter().filter(recent).count() >= MAX_REPAIRS)
    }

    /// The assignment is gone.
    pub fn forget(&self, rollout: &str) {
        self.lock().remove(rollout);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Repaired>> {
        // A panic can't leave the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assignment::fixtures::{assignment, order};

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn semantics_22_the_third_change_within_ten_minutes_is_one_too_many() {
        let (repairs, order, start) = (Repairs::default(), order(&assignment(5)), Instant::now());
        assert!(!repairs.are_used_up(&order, start));
        repairs.note(&order, start);
        assert!(!repairs.are_used_up(&order, start + MINUTE));
        repairs.note(&order, start + 9 * MINUTE);
        assert!(repairs.are_used_up(&order, start + 10 * MINUTE));
        // The first is too long ago by then.
        assert!(!repairs.are_used_up(&order, start + 11 * MINUTE));
        repairs.note(&order, start + 11 * MINUTE);
        assert!(repairs.are_used_up(&order, start + 19 * MINUTE));
        assert!(!repairs.are_used_up(&order, start + 20 * MINUTE));
    }

    #[test]
    fn semantics_22_another_fence_or_rollout_is_counted_by_itself() {
        let (repairs, first, start) = (Repairs::default(), order(&assignment(5)), Instant::now());
        repairs.note(&first, start);
        repairs.note(&first, start);
        let next = order(&assignment(6));
        let mut other = first.clone();
        other.spec.rollout.name = "payments".to_owned();
        assert!(!repairs.are_used_up(&next, start) && !repairs.are_used_up(&other, start));
        repairs.note(&next, start);
        assert!(!repairs.are_used_up(&next, start));
        repairs.note(&next, start);
        assert!(repairs.are_used_up(&next, start));
        repairs.forget("checkout");
        assert!(!repairs.are_used_up(&next, start));
    }
}
