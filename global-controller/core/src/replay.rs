//! Decisions fed back: what each was taken on, as values, so that it can be taken again and must come out the same.
//!
//! A decision is a function of the state before it and of its [`Inputs`]. The state is the outcome of the decision
//! before, so a chain of decisions needs it only once: a record is either a [`Recorded::Base`], complete, or the
//! [`InputsDiff`] from the decision before it. What a decision's own commit changes of its inputs (its orders, its claims)
//! is foreseen ([`Inputs::follow`]) and not written down again, so that a record is as large as the news that led to it.

mod differences;
mod inputs;
mod map_diff;
mod replayer;
mod surroundings;

use serde::{Deserialize, Serialize};

pub use differences::differences;
pub use inputs::{Asked, Inputs, InputsDiff};
pub use map_diff::MapDiff;
pub use replayer::{Outcome, Replayer};
pub use surroundings::Surroundings;

use crate::{Decision, MemberRecord, RolloutState};

/// What a decision was taken on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Recorded {
    /// Everything.
    Base {
        /// The state before it.
        state: Box<RolloutState>,
        /// All else.
        inputs: Box<Inputs>,
    },
    /// What was other than at the decision before, whose outcome is the state.
    Difference {
        /// All else.
        inputs: Box<InputsDiff>,
    },
    /// Nothing: it can't be replayed, nor can those that follow before the next base.
    NotReplayable {
        /// Why.
        why: Unrecorded,
    },
}

/// Why the inputs of a decision were not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unrecorded {
    /// They are larger than a record may be.
    TooLarge,
}

/// A short hash of all that a decision commits, commands and records that changed, byte for byte: 16 hexadecimal digits.
pub fn digest(before: &RolloutState, decision: &Decision) -> String {
    let Decision { state, commands, changed_members, more, wake_at } = decision;
    let plan = Some(&state.plan).filter(|plan| **plan != before.plan);
    let records: Vec<(&String, Option<&MemberRecord>)> =
        changed_members.iter().map(|name| (name, state.members.get(name))).collect();
    let committed = (&state.header, plan, records, commands, more, wake_at);
    let history = Some(&state.history).filter(|history| **history != before.history);
    // All of it is structs, lists and maps with string keys, which always encode.
    let text = match history {
        Some(history) => serde_json::to_string(&(committed, history)),
        None => serde_json::to_string(&committed),
    };
    crds::short_sha256(&text.unwrap_or_default())
}
