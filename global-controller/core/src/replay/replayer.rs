//! Takes recorded decisions again, one after the other.

use super::{Inputs, Recorded, Unrecorded, differences, digest};
use crate::{Command, Decision, RolloutState, decide};

/// Takes the recorded decisions of one rollout again, in their order.
#[derive(Clone, Debug, Default)]
pub struct Replayer {
    /// As the decision before left it; none: there is nothing to build on.
    before: Option<Before>,
}

#[derive(Clone, Debug)]
struct Before {
    state: RolloutState,
    inputs: Inputs,
    commands: Vec<Command>,
}

/// What became of one.
#[derive(Debug)]
pub enum Outcome {
    /// It was taken again.
    Decided {
        /// The decision.
        decision: Box<Decision>,
        /// See [`digest`].
        digest: String,
        /// How the state that was recorded with it differs from the outcome of the decision before, in words; only a base
        /// has one.
        drift: Vec<String>,
    },
    /// Its inputs were not recorded.
    Unrecorded(Unrecorded),
    /// Its inputs are told by what changed since one that is not there.
    Baseless,
}

impl Replayer {
    /// The next one. After a gap in the records call [`Self::forget`] first.
    pub fn next(&mut self, recorded: &Recorded) -> Outcome {
        let before = self.before.take();
        let (state, inputs, drift) = match (recorded, before) {
            (Recorded::NotReplayable { why }, _) => return Outcome::Unrecorded(*why),
            (Recorded::Base { state, inputs }, before) => {
                let drift = before.map(|before| drift(state, &before.state)).unwrap_or_default();
                ((**state).clone(), (**inputs).clone(), drift)
            }
            (Recorded::Difference { .. }, None) => return Outcome::Baseless,
            (Recorded::Difference { inputs: diff }, Some(Before { state, mut inputs, commands })) => {
                inputs.follow(&state.header.name, &commands, diff.fence);
                inputs.apply(diff);
                (state, inputs, Vec::new())
            }
        };
        let decision = decide(&state, inputs.desired(), &inputs.observations(), inputs.now);
        let digest = digest(&state, &decision);
        self.before = Some(Before { state: decision.state.clone(), inputs, commands: decision.commands.clone() });
        Outcome::Decided { decision: Box::new(decision), digest, drift }
    }

    /// What follows builds on something else.
    pub fn forget(&mut self) {
        self.before = None;
    }
}

fn drift(recorded: &RolloutState, carried: &RolloutState) -> Vec<String> {
    if recorded == carried {
        return Vec::new();
    }
    differences(&json(recorded), &json(carried))
}

fn json(state: &RolloutState) -> serde_json::Value {
    // Structs, lists and maps with string keys always encode.
    serde_json::to_value(state).unwrap_or_default()
}
