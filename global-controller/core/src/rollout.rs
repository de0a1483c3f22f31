//! A rollout as decisions use it: parsed once, complete, valid.

use crds::{
    Approval, ClusterSelector, FailureTolerance, IntOrPercent, OnDrift, Revision, RollbackMode, RollbackScope,
    WaveOrder,
};
use serde::{Deserialize, Serialize};

use crate::history::DEFAULT_PAST_RUNS;
use crate::{Analysis, Millis};

/// What a person asked for. Made only by [`crate::validate`], and read again only from what was recorded of that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// metadata.name.
    pub name: String,
    /// metadata.uid.
    pub uid: String,
    /// metadata.generation.
    pub generation: i64,
    /// metadata.creationTimestamp; 0 when the object has none.
    pub created_at: Millis,
    /// What to deliver; without it the rollout waits with `NoPayload`.
    pub payload: Option<Payload>,
    /// Members by name, in canary order, none twice.
    pub targets: Vec<String>,
    /// Further members by label.
    pub selector: Option<ClusterSelector>,
    /// Who of these comes first, and what they share the risk by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<WaveOrder>,
    /// Explicit steps, 1 to 32, weights never decreasing. The implicit last one is not among them.
    pub steps: Vec<Step>,
    /// Seconds that the whole fleet must stay healthy at the end: as given, else the longest pause.
    pub soak_seconds: u32,
    /// Members that may be in flux at once.
    pub max_concurrency: IntOrPercent,
    /// What counts as failure, how many are borne, and what is done about them.
    pub failures: FailureRules,
    /// What is measured during pauses and soak; none: what the configuration says.
    pub analysis: Option<Analysis>,
    /// Whether a person has paused it.
    pub paused: bool,
    /// What agents do about drift after a success.
    #[serde(default, skip_serializing_if = "OnDrift::is_repair")]
    pub on_drift: OnDrift,
    /// What agents do about fields of whole objects that belong to somebody else.
    #[serde(default, skip_serializing_if = "OnConflict::is_refuse")]
    pub on_conflict: OnConflict,
    /// Runs that are kept beside the latest one; 1 to 100.
    #[serde(default = "default_past_runs")]
    pub past_runs: usize,
}

/// Also what records of older versions mean.
fn default_past_runs() -> usize {
    DEFAULT_PAST_RUNS
}

/// What agents do about fields of whole objects that belong to another field manager.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnConflict {
    /// They apply nothing and say whose they are.
    #[default]
    Refuse,
    /// They take them over.
    Force,
}

impl OnConflict {
    #[allow(clippy::trivially_copy_pass_by_ref)] // As serde hands it over.
    pub(crate) fn is_refuse(&self) -> bool {
        *self == Self::Refuse
    }
}

/// What counts as failure, how many are borne, and what is done about them. A run keeps them as last seen: a rollback
/// goes on while the object is invalid or being deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureRules {
    /// Seconds from a member's assignment until it must be healthy, and from its return until it must be back; 1 to
    /// 86400.
    pub progress_deadline_seconds: i64,
    /// Seconds that a member must be healthy without a break before it counts as healthy; less than the deadline.
    #[serde(default)]
    pub min_ready_seconds: i64,
    /// Members that may fail before all roll back.
    pub max_failures: IntOrPercent,
    /// Whether no more members are in flux than may still fail, and one.
    #[serde(default)]
    pub tolerance: FailureTolerance,
    /// Members that may be silent without holding the run.
    #[serde(default = "none")]
    pub max_unreachable: IntOrPercent,
    /// Who takes members back.
    pub mode: RollbackMode,
    /// Who goes back when too many have failed.
    #[serde(default)]
    pub scope: RollbackScope,
    /// Members that may be going back at once in a rollback.
    pub return_concurrency: IntOrPercent,
}

/// Those of an object that says nothing about it.
impl Default for FailureRules {
    fn default() -> Self {
        Self {
            progress_deadline_seconds: 600,
            min_ready_seconds: 0,
            max_failures: none(),
            tolerance: FailureTolerance::Soft,
            max_unreachable: none(),
            mode: RollbackMode::Automatic,
            scope: RollbackScope::Fleet,
            return_concurrency: IntOrPercent::Percent(100),
        }
    }
}

/// Also what records of older versions mean, which have no such field.
fn none() -> IntOrPercent {
    IntOrPercent::Count(0)
}

impl FailureRules {
    /// The deadline of a member.
    pub(crate) fn deadline_millis(&self) -> i64 {
        self.progress_deadline_seconds * 1000
    }

    /// Seconds after which a member that is not healthy returns by itself: it does what is done from here, too.
    pub(crate) fn returns_after(&self) -> Option<i64> {
        (self.mode == RollbackMode::Automatic).then_some(self.progress_deadline_seconds)
    }

    /// How long a member must be healthy before it counts.
    pub(crate) fn min_ready_millis(&self) -> i64 {
        self.min_ready_seconds * 1000
    }
}

/// An immutable payload and its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Payload {
    /// Hash of the payload.
    pub revision: Revision,
    /// Images of one workload, and which members get others. Older records have it under another name.
    #[serde(alias = "workload")]
    pub content: crds::Payload,
}

impl Payload {
    /// A payload and its name.
    pub fn new(content: crds::Payload) -> Self {
        Self { revision: Revision::of(&content), content }
    }
}

/// One explicit step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Cumulative share of the members.
    pub weight: Weight,
    /// Seconds to wait after all members of the step are healthy; 0 goes on at once.
    pub pause_seconds: u32,
    /// Whether a person has to approve, after the pause, that it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
}

/// A cumulative share of the members: 1 to 100 percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Weight(u8);

/// Why a number is no weight.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a weight: must be 1 to 100")]
pub struct WeightError(i64);

impl Weight {
    /// Everybody: the weight of the implicit last step.
    pub const FULL: Self = Self(100);

    /// The percentage, 1 to 100.
    pub fn percent(self) -> u8 {
        self.0
    }

    /// Members that a step of this weight reaches, out of `total`: `ceil(weight × total / 100)`, which is at
    /// least 1 unless there are none.
    pub fn of(self, total: usize) -> usize {
        (total * usize::from(self.0)).div_ceil(100)
    }
}

impl TryFrom<i64> for Weight {
    type Error = WeightError;

    fn try_from(percent: i64) -> Result<Self, WeightError> {
        match u8::try_from(percent) {
            Ok(valid @ 1..=100) => Ok(Self(valid)),
            _ => Err(WeightError(percent)),
        }
    }
}

impl From<Weight> for i64 {
    fn from(weight: Weight) -> Self {
        Self::from(weight.0)
    }
}
