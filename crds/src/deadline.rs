//! What an agent does by itself when a workload is not healthy in time, and how far that is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the agent does by itself when the workload is not healthy in time.
///
/// The default is what an order means that has no such field: its controller would not understand a member that has
/// returned by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnDeadline {
    /// It goes on as before.
    #[default]
    Hold,
    /// It sets the images of `previous` again, also when it is cut off from the hub, and answers Reverted.
    Return,
}

impl OnDeadline {
    /// Whether it is what an order without the field means.
    #[allow(clippy::trivially_copy_pass_by_ref)] // As serde calls it.
    pub(crate) fn is_hold(&self) -> bool {
        *self == Self::Hold
    }
}

/// How far the deadline of an assignment is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deadline {
    /// In a word.
    #[serde(default)]
    pub state: DeadlineState,
    /// While it runs: its end, by the member's clock. An agent that restarts goes on with what is left until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

/// How far a deadline is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeadlineState {
    /// The workload has to be healthy until its end.
    #[default]
    Running,
    /// It is not the change that is waited for: the workload is missing, its owner has to delete pods, or another field
    /// manager insists on other images. It starts again when that is over.
    Suspended,
    /// The workload was healthy in time. What comes after is judged by the hub.
    Met,
    /// The workload was not healthy in time: it goes back, or is back, to its previous images, until another
    /// assignment comes.
    Passed,
}
