//! What an agent does when somebody else changes what it has set.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the agent does when somebody else changes the images that it has set for this assignment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnDrift {
    /// It sets them again, until another field manager has changed them three times within 10 minutes (Contended).
    #[default]
    Repair,
    /// It leaves them alone and answers Drifted, with who set them.
    Report,
}

impl OnDrift {
    /// Whether it is what an order without the field means.
    #[allow(clippy::trivially_copy_pass_by_ref)] // As serde calls it.
    pub fn is_repair(&self) -> bool {
        *self == Self::Repair
    }
}
