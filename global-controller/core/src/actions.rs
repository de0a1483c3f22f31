//! What people do to a run, and what the rollout remembers of it.

use std::collections::BTreeSet;

use crds::{ActionOutcome, RolloutActionSpec};
use serde::{Deserialize, Serialize};

use crate::Millis;

/// Actions whose outcome a rollout remembers. Each decision writes them, and all that people do in a day fits.
const MAX_HANDLED: usize = 64;

/// A `RolloutAction` of the hub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionFacts {
    /// metadata.uid of the action.
    pub uid: String,
    /// metadata.creationTimestamp; 0 when the object has none.
    pub created_at: Millis,
    /// What is done to which run.
    pub spec: RolloutActionSpec,
}

/// What became of an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HandledAction {
    /// metadata.uid of the action.
    pub uid: String,
    /// `Applied` or `Refused`.
    pub outcome: ActionOutcome,
    /// The same for people, at most 1024 characters; empty when a later action followed, since the object has it then.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When it was taken up.
    pub at: Millis,
}

/// What became of the last 64 actions, the latest last: none of them is taken up again. One whose outcome the hub has not
/// been told yet never gives way to a later one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Handled(Vec<HandledAction>);

impl Handled {
    /// What became of an action; none when it was not taken up, or so long ago that it is forgotten.
    pub fn get(&self, uid: &str) -> Option<&HandledAction> {
        self.0.iter().find(|action| action.uid == uid)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many more can be remembered while the hub has no outcome of `untold`.
    pub(crate) fn room(&self, untold: &[ActionFacts]) -> usize {
        let kept = untold.iter().filter(|action| self.get(&action.uid).is_some()).count();
        MAX_HANDLED.saturating_sub(kept)
    }

    /// Remembers one more. Of those that the hub has been told of, the message is dropped and the oldest give way.
    pub(crate) fn push(&mut self, action: HandledAction, untold: &[ActionFacts]) {
        let untold: BTreeSet<&str> = untold.iter().map(|action| action.uid.as_str()).collect();
        for known in self.0.iter_mut().filter(|known| !untold.contains(known.uid.as_str())) {
            known.message.clear();
        }
        while self.0.len() >= MAX_HANDLED
            && let Some(oldest) = self.0.iter().position(|known| !untold.contains(known.uid.as_str()))
        {
            self.0.remove(oldest);
        }
        self.0.push(action);
    }
}
