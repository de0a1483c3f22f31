//! Values of the store that are no type of another crate.

use bytes::Bytes;
use crds::Fence;
use federated_store::Op;
use rollout_core::replay::Recorded;
use rollout_core::{Command, Decision, Event, Millis};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Whether a member's agent is heard, as the leader last saw a change of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReachRecord {
    /// Whether it was heard.
    pub reachable: bool,
    /// Since when.
    pub since: Millis,
    /// When it was last heard before this was written; 0 if never.
    #[serde(default)]
    pub last_heard: Millis,
}

/// That the store has to learn anew what it lost, and whether that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecoveryRecord {
    /// The store's epoch since then. What was told under an earlier one has to be told by the members.
    pub epoch: i64,
    /// Why.
    pub cause: Cause,
    /// Since when.
    pub at: Millis,
    /// Whether members are still waited for and runs adopted, so that nothing else is decided.
    pub open: bool,
}

/// Why a store has to learn anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Cause {
    /// It is empty: it is new, or everything was lost.
    Rebuilt,
    /// It was restored from a backup.
    Restored,
    /// It is behind what others know, and nobody had said so.
    WentBack,
}

/// What is known of the hub's own past.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HubRecord {
    /// How often people have accepted the hub as it is.
    pub accepted: u64,
    /// That it was restored from an older backup, until a person accepts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewound: Option<Rewound>,
}

/// That the hub was restored from an older backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rewound {
    /// Since when that is known.
    pub since: Millis,
    /// What shows it, for people.
    pub told: String,
}

/// That the store is behind what others know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Proof {
    /// A fence above the store's own, or the store's own when it is the hub that knows more.
    pub fence: Fence,
    /// Who told, and what, for people.
    pub told: String,
    /// When.
    pub at: Millis,
}

/// One decision: what was decided, when, by whom, and what people were told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DecisionRecord {
    /// From 1, rising.
    pub number: u64,
    /// When.
    pub at: Millis,
    /// The deciding replica.
    pub by: String,
    /// Its term.
    pub term: u64,
    /// Name of the rollout.
    pub rollout: String,
    /// Number of the run.
    pub run: i64,
    /// "member-1: Apply", in order.
    pub commands: Vec<String>,
    /// What people were told.
    pub events: Vec<RecordedEvent>,
}

/// A decision with what it takes to take it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Replayable {
    /// What it says to people.
    #[serde(flatten)]
    pub decision: DecisionRecord,
    /// Version of the program that decided.
    #[serde(default)]
    pub version: String,
    /// See [`rollout_core::replay::digest`].
    #[serde(default)]
    pub digest: String,
    /// What it was taken on; none of versions that didn't record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Recorded>,
}

/// What people were told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecordedEvent {
    /// "Normal" or "Warning".
    pub kind: String,
    /// A word for programs.
    pub reason: String,
    /// The same for people.
    pub message: String,
}

impl From<&Event> for RecordedEvent {
    fn from(event: &Event) -> Self {
        let kind = match event.kind {
            rollout_core::EventKind::Normal => "Normal",
            rollout_core::EventKind::Warning => "Warning",
        };
        Self { kind: kind.to_owned(), reason: event.reason.to_owned(), message: event.message.clone() }
    }
}

/// What a decision orders, in order, each as "member-1: Apply", or "member-1: Return, drift reported".
pub(crate) fn commands_of(decision: &Decision) -> Vec<String> {
    let lines = decision.commands.iter().filter_map(|command| match command {
        Command::Assign { member, spec } => {
            let drift = if spec.on_drift.is_repair() { "" } else { ", drift reported" };
            Some(format!("{member}: {}{drift}", spec.intent.as_str()))
        }
        Command::Forget { member } => Some(format!("{member}: forget")),
        Command::TakeUp { member } => Some(format!("{member}: take up")),
        Command::AcceptHub => Some("accept the hub".to_owned()),
        Command::Claim { member, target, .. } => Some(format!("{member}: claim {target}")),
        Command::Release { member, target } => Some(format!("{member}: release {target}")),
        Command::ReleaseFinalizer => Some("release the finalizer".to_owned()),
        Command::Announce { .. } => None,
    });
    lines.collect()
}

/// What a decision tells people.
pub(crate) fn events_of(decision: &Decision) -> Vec<RecordedEvent> {
    let events = decision.commands.iter().filter_map(|command| match command {
        Command::Announce { event } => Some(RecordedEvent::from(event)),
        _ => None,
    });
    events.collect()
}

/// A put of a value as JSON.
pub(crate) fn put<T: Serialize>(key: String, value: &T) -> Result<Op, serde_json::Error> {
    Ok(Op::Put { key, value: Bytes::from(serde_json::to_vec(value)?) })
}

/// A value from JSON. One that can't be read is reported and left out: the rest of the store still counts.
pub(crate) fn read<T: DeserializeOwned>(key: &str, value: &[u8]) -> Option<T> {
    match serde_json::from_slice(value) {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::error!(key, %error, "a record of the store can't be read; it is left out");
            None
        }
    }
}
