//! The high-water mark of fences for each object, and what a fence is judged to be. Pure.
//!
//! A mark outlives its assignment: as a tombstone it keeps a replayed old assignment from coming back.

use std::collections::{BTreeMap, BTreeSet};

use crds::{Fence, Intent, RolloutAssignmentSpec};
use serde::{Deserialize, Serialize};

use crate::assignment::Target;

/// Marks that are kept. The longest (names of 253 and 63 characters) take 480 bytes, so all fit into a `ConfigMap`
/// of one mebibyte; a member has a few dozen workloads under rollout.
pub const MAX_MARKS: usize = 2_000;

/// The highest fence seen for one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The fence.
    pub fence: Fence,
    /// The rollout that it came for.
    pub rollout: String,
}

/// All marks of this member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// Whether a complete list of the hub was taken in since these marks began. Before that they may be missing
    /// something, and a webhook can't be trusted to be new.
    #[serde(default)]
    pub synced: bool,
    /// The highest fence of all marks that were dropped or lost: for an object without mark nothing lower is taken.
    #[serde(default)]
    pub floor: Fence,
    /// By object, as "kind/namespace/name", or by rollout of whole objects, as "Manifests/name".
    #[serde(default)]
    pub marks: BTreeMap<String, Mark>,
}

/// What an arriving fence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Lower than what was seen.
    Stale {
        /// What was seen.
        seen: Fence,
    },
    /// Seen before: the object is checked, and written if it is not there yet.
    Known,
    /// New: the mark rises first.
    Newer,
}

/// Every mark belongs to an assignment that is there.
#[derive(Debug, thiserror::Error)]
#[error("all {MAX_MARKS} fences belong to assignments that are still there")]
pub struct Full;

impl Marks {
    /// Judges an arriving assignment; `current` is the fence of the local object of the same rollout.
    pub fn judge(&self, spec: &RolloutAssignmentSpec, current: Option<Fence>) -> Verdict {
        let fence = spec.fence;
        if let Some(seen) = current.filter(|seen| *seen > fence) {
            return Verdict::Stale { seen };
        }
        let withdraws = spec.intent == Intent::Withdraw;
        match self.of(&Target::from(spec)) {
            // Another rollout has taken the object over since. Its mark stays; forgetting harms nobody.
            Some(mark) if withdraws && mark.rollout != spec.rollout.name && mark.fence > fence => Verdict::Known,
            Some(mark) if mark.fence > fence => Verdict::Stale { seen: mark.fence },
            Some(mark) if mark.fence == fence => Verdict::Known,
            None if self.floor > fence && current != Some(fence) && !withdraws => Verdict::Stale { seen: self.floor },
            None if self.floor > fence => Verdict::Known,
            Some(_) | None => Verdict::Newer,
        }
    }

    /// A complete list of the hub was taken in, with this as its `highest` fence: all that is alive has its mark now.
    /// What has none was withdrawn, and its tombstone is lost, or comes later, and then higher, as the hub counts all
    /// assignments together.
    pub fn sync(&mut self, highest: Fence) {
        self.synced = true;
        self.floor = self.floor.max(highest);
    }

    /// The mark of an object.
    pub fn of(&self, target: &Target) -> Option<&Mark> {
        self.marks.get(&target.to_string())
    }

    /// Raises the mark of an object. When there are too many, the oldest tombstones go, those of objects that are not
    /// `in_use`, and the floor rises to them; returns how many went.
    pub fn raise(&mut self, spec: &RolloutAssignmentSpec, in_use: &BTreeSet<Target>) -> Result<usize, Full> {
        let key = Target::from(spec).to_string();
        self.marks.insert(key.clone(), Mark { fence: spec.fence, rollout: spec.rollout.name.clone() });
        let excess = self.marks.len().saturating_sub(MAX_MARKS);
        if excess == 0 {
            return Ok(0);
        }
        let in_use: BTreeSet<String> = in_use.iter().map(Target::to_string).chain([key]).collect();
        let tombstones = self.marks.iter().filter(|(key, _)| !in_use.contains(*key));
        let mut tombstones: Vec<(Fence, String)> = tombstones.map(|(key, mark)| (mark.fence, key.clone())).collect();
        tombstones.sort();
        if tombstones.len() < excess {
            return Err(Full);
        }
        for (fence, key) in tombstones.into_iter().take(excess) {
            self.marks.remove(&key);
            self.floor = self.floor.max(fence);
        }
        Ok(excess)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::assignment::fixtures::assignment;

    fn fence(generation: i64) -> Fence {
        Fence { epoch: 1, generation }
    }

    fn spec(generation: i64) -> RolloutAssignmentSpec {
        assignment(generation).spec
    }

    fn withdraw(generation: i64) -> RolloutAssignmentSpec {
        RolloutAssignmentSpec { intent: Intent::Withdraw, ..spec(generation) }
    }

    fn marks(generation: i64) -> Marks {
        let mut marks = Marks::default();
        marks.raise(&spec(generation), &BTreeSet::new()).unwrap();
        marks
    }

    #[test]
    fn guarantee_02_a_fence_below_the_mark_or_below_the_object_is_stale() {
        assert_eq!(marks(7).judge(&spec(6), None), Verdict::Stale { seen: fence(7) });
        assert_eq!(Marks::default().judge(&spec(6), Some(fence(7))), Verdict::Stale { seen: fence(7) });
        let mut older_epoch = spec(99);
        older_epoch.fence.epoch = 0;
        assert_eq!(marks(7).judge(&older_epoch, None), Verdict::Stale { seen: fence(7) });
    }

    #[test]
    fn a_new_fence_raises_the_mark_and_a_known_one_does_not() {
        assert_eq!(Marks::default().judge(&spec(1), None), Verdict::Newer);
        assert_eq!(marks(7).judge(&spec(8), Some(fence(7))), Verdict::Newer);
        assert_eq!(marks(7).judge(&spec(7), Some(fence(7))), Verdict::Known);
    }

    #[test]
    fn a_crash_between_mark_and_object_is_healed_by_the_same_fence() {
        assert_eq!(marks(7).judge(&spec(7), None), Verdict::Known);
        assert_eq!(marks(7).judge(&spec(7), Some(fence(5))), Verdict::Known);
    }

    #[test]
    fn semantics_16_a_withdrawn_assignment_does_not_come_back() {
        let mut marks = marks(7);
        assert_eq!(marks.judge(&withdraw(8), Some(fence(7))), Verdict::Newer);
        marks.raise(&withdraw(8), &BTreeSet::new()).unwrap();
        assert_eq!(marks.judge(&spec(7), None), Verdict::Stale { seen: fence(8) });
        assert_eq!(marks.judge(&withdraw(8), None), Verdict::Known);
    }

    #[test]
    fn a_rollout_can_still_leave_an_object_that_another_one_took_over() {
        let mut marks = marks(7);
        let mut other = spec(9);
        other.rollout.name = "other".to_owned();
        marks.raise(&other, &BTreeSet::new()).unwrap();
        assert_eq!(marks.judge(&withdraw(8), Some(fence(7))), Verdict::Known);
        assert_eq!(marks.judge(&spec(8), Some(fence(7))), Verdict::Stale { seen: fence(9) });
    }

    #[test]
    fn dropped_tombstones_leave_a_floor_behind() {
        let named = |generation: i64| {
            let mut spec = spec(generation);
            spec.workload.as_mut().unwrap().name = format!("workload-{generation}");
            spec
        };
        let mut marks = Marks::default();
        let last = i64::try_from(MAX_MARKS).unwrap();
        let in_use = BTreeSet::from([Target::from(&named(1))]);
        for generation in 1..=last {
            assert_eq!(marks.raise(&named(generation), &in_use).unwrap(), 0);
        }
        assert_eq!(marks.raise(&named(last + 1), &in_use).unwrap(), 1);
        assert_eq!((marks.marks.len(), marks.floor), (MAX_MARKS, fence(2)));
        assert!(marks.of(&Target::from(&named(1))).is_some());
        assert_eq!(marks.judge(&named(2), None), Verdict::Newer);
        let mut replayed = named(2);
        replayed.fence.generation = 1;
        assert_eq!(marks.judge(&replayed, None), Verdict::Stale { seen: fence(2) });
    }

    #[test]
    fn semantics_16_lost_marks_come_back_with_a_floor() {
        let named = |name: &str, generation: i64| {
            let mut spec = spec(generation);
            spec.workload.as_mut().unwrap().name = name.to_owned();
            spec
        };
        let mut marks = Marks::default();
        marks.raise(&named("old", 3), &BTreeSet::new()).unwrap();
        marks.raise(&named("new", 9), &BTreeSet::new()).unwrap();
        marks.sync(fence(9));
        assert_eq!((marks.synced, marks.floor), (true, fence(9)));
        assert_eq!(marks.judge(&named("withdrawn", 7), None), Verdict::Stale { seen: fence(9) });
        assert_eq!(marks.judge(&named("old", 3), Some(fence(3))), Verdict::Known);
        assert_eq!(marks.judge(&named("old", 3), None), Verdict::Known);
        assert_eq!(marks.judge(&named("later", 10), None), Verdict::Newer);
        marks.sync(Fence::default());
        assert_eq!(marks.floor, fence(9));
    }

    #[test]
    fn marks_of_assignments_that_are_there_are_never_dropped() {
        let mut marks = Marks::default();
        let mut in_use = BTreeSet::new();
        for generation in 1..=i64::try_from(MAX_MARKS).unwrap() {
            let mut spec = spec(generation);
            spec.workload.as_mut().unwrap().name = format!("workload-{generation}");
            in_use.insert(Target::from(&spec));
            marks.raise(&spec, &in_use).unwrap();
        }
        assert!(marks.raise(&spec(9_999), &in_use).is_err());
    }
}
