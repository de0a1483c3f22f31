//! What each rollout's latest decision was taken on, in the memory of the leader that took it, so that a record tells
//! only what changed since.
//!
//! A new leader knows nothing and begins with a base. Records that would be too large say so instead: a decision never
//! fails because it can't be replayed.

use std::collections::BTreeMap;

use crds::Fence;
use rollout_core::replay::{Inputs, Recorded, Unrecorded};
use rollout_core::{Decision, Desired, Millis, Observations, RolloutState};

/// Every so many decisions all inputs are recorded, so that as many older records, at most, are kept for one to build on.
pub(crate) const BASE_EVERY: u64 = 50;
/// Bytes of one record's inputs: half of what a transaction bears, the rest of which is the decision's own.
pub(super) const MAX_RECORDED_BYTES: usize = 512 * 1024;
/// Entries (records, assignments, reports, claims) beyond which a base is not even tried: each takes 150 bytes and more,
/// so it would be too large for certain.
const MAX_ENTRIES: usize = MAX_RECORDED_BYTES / 150;

/// The latest decisions' inputs, by uid.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    known: BTreeMap<String, Remembered>,
}

#[derive(Debug)]
struct Remembered {
    /// Number of the decision.
    number: u64,
    /// As its commit left them; none: they were too large.
    inputs: Option<Inputs>,
    /// Fence that its orders have got.
    fence: Fence,
    /// Decisions since everything was recorded, or was found too large.
    since_base: u64,
}

impl Recorder {
    /// What is recorded of a decision; nothing if there is nothing to commit.
    pub fn record(
        &self,
        before: &RolloutState,
        decision: &Decision,
        desired: Desired<'_>,
        observations: &Observations<'_>,
        now: Millis,
    ) -> Option<Recorded> {
        let header = &decision.state.header;
        // Each decision that changes anything is counted.
        if header.decisions == before.header.decisions {
            return None;
        }
        let known = self.known.get(&header.uid).filter(|known| known.number + 1 == header.decisions);
        let recent = known.filter(|known| known.since_base + 1 < BASE_EVERY);
        Some(match recent {
            Some(Remembered { inputs: Some(inputs), fence, .. }) => {
                Recorded::Difference { inputs: Box::new(inputs.until(*fence, before, desired, observations, now)) }
            }
            // Not again each time: computing it is what takes long.
            Some(Remembered { inputs: None, .. }) => Recorded::NotReplayable { why: Unrecorded::TooLarge },
            None if Inputs::entries(before, observations) > MAX_ENTRIES => {
                Recorded::NotReplayable { why: Unrecorded::TooLarge }
            }
            None => Recorded::Base {
                state: Box::new(before.clone()),
                inputs: Box::new(Inputs::of(before, desired, observations, now)),
            },
        })
    }

    /// The decision was committed with this record, and its orders have this fence.
    pub fn committed(&mut self, recorded: Recorded, decision: &Decision, fence: Fence) {
        let header = &decision.state.header;
        let before = self.known.remove(&header.uid);
        let follows = before.as_ref().filter(|known| known.number + 1 == header.decisions);
        let since_before = follows.map(|known| known.since_base + 1).filter(|since| *since < BASE_EVERY);
        let (inputs, since_base) = match recorded {
            Recorded::Base { inputs, .. } => (Some(*inputs), 0),
            Recorded::Difference { inputs: diff } => {
                let inputs = before.and_then(|known| known.inputs).map(|mut inputs| {
                    inputs.apply(&diff);
                    inputs
                });
                (inputs, since_before.unwrap_or(0))
            }
            Recorded::NotReplayable { .. } => (None, since_before.unwrap_or(0)),
        };
        let inputs = inputs.map(|mut inputs| {
            inputs.follow(&header.name, &decision.commands, fence);
            inputs
        });
        let remembered = Remembered { number: header.decisions, inputs, fence, since_base };
        self.known.insert(header.uid.clone(), remembered);
    }

    /// The rollout is gone.
    pub fn forget(&mut self, uid: &str) {
        self.known.remove(uid);
    }
}

#[cfg(test)]
#[path = "recorder_test.rs"]
mod tests;
