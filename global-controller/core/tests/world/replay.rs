//! Every decision that is committed is recorded as the driver records it, read back from JSON, and taken again.

use crds::Fence;
use rollout_core::replay::{Inputs, Outcome, Recorded, Replayer, digest};
use rollout_core::{Decision, RolloutState, decide};

use super::World;

/// Short, so that stories have several.
const BASE_EVERY: u32 = 7;

/// What is remembered from one decision to the next.
#[derive(Clone, Debug, Default)]
pub struct Replays {
    /// What the latest decision has left: a test that changes the state itself begins anew.
    left: Option<RolloutState>,
    before: Option<Remembered>,
    replayer: Replayer,
}

#[derive(Clone, Debug)]
struct Remembered {
    inputs: Inputs,
    fence: Fence,
    since_base: u32,
}

impl World {
    /// To be called before the decision is committed, under `fence`.
    pub fn check_replay(&mut self, decision: &Decision, fence: Fence) {
        if decision.state.header.decisions == self.state.header.decisions {
            return;
        }
        if self.replays.left.as_ref().is_some_and(|left| *left != self.state) {
            self.replays = Replays::default();
        }
        // A test may commit what was decided on an earlier look.
        if decide(&self.state, self.desired(), &self.observations(), self.now) != *decision {
            self.replays = Replays::default();
            return;
        }
        let recorded = self.record();
        let text = serde_json::to_string(&recorded).expect("a record is JSON");
        let recorded = serde_json::from_str(&text).expect("a record can be read");
        match self.replays.replayer.next(&recorded) {
            Outcome::Decided { decision: again, digest: found, drift } => {
                assert_eq!(drift, [""; 0], "the state is not what the decision before has left");
                assert_eq!(*again, *decision, "decided again, it came out different");
                assert_eq!(found, digest(&self.state, decision));
            }
            other => panic!("{other:?}"),
        }
        self.remember(recorded, decision, fence);
    }

    fn record(&self) -> Recorded {
        let (desired, observations) = (self.desired(), self.observations());
        match self.replays.before.as_ref().filter(|before| before.since_base < BASE_EVERY) {
            Some(before) => {
                let diff = before.inputs.until(before.fence, &self.state, desired, &observations, self.now);
                Recorded::Difference { inputs: Box::new(diff) }
            }
            None => Recorded::Base {
                state: Box::new(self.state.clone()),
                inputs: Box::new(Inputs::of(&self.state, desired, &observations, self.now)),
            },
        }
    }

    fn remember(&mut self, recorded: Recorded, decision: &Decision, fence: Fence) {
        let before = self.replays.before.take();
        let (mut inputs, since_base) = match recorded {
            Recorded::Base { inputs, .. } => (*inputs, 0),
            Recorded::Difference { inputs: diff } => {
                let mut before = before.expect("a difference is from something");
                before.inputs.apply(&diff);
                (before.inputs, before.since_base + 1)
            }
            Recorded::NotReplayable { why } => panic!("{why:?}"),
        };
        self.replays.left = Some(decision.state.clone());
        inputs.follow(&decision.state.header.name, &decision.commands, fence);
        self.replays.before = Some(Remembered { inputs, fence, since_base });
    }
}
