//! What a rollout's runs brought and how they ended, as the controller tells it over HTTP.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};

use crate::{Payload, Revision};

/// Answer to `GET /api/v1/rollouts/{name}/history`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutHistory {
    /// metadata.name of the rollout.
    pub rollout: String,
    /// Hash of the payload of the last run that succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_revision: Option<Revision>,
    /// Hashes of payloads that were rolled back, the latest last: none of them is rolled out again without a retry.
    #[serde(default)]
    pub quarantined_revisions: Vec<Revision>,
    /// The latest run and, before it, at most as many as `spec.revisionHistoryLimit` says, and the last that succeeded, however
    /// old it is. The latest is the last.
    pub runs: Vec<PastRun>,
    /// Hash to payload, of these runs and of the accepted revision. One is missing where a lost store knew it alone.
    pub payloads: BTreeMap<Revision, Payload>,
}

/// A run of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PastRun {
    /// Number of the run, from 1.
    pub run: i64,
    /// Hash of its payload.
    pub revision: Revision,
    /// metadata.generation of the rollout that it started with; absent where nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// When it started.
    pub started_at: Time,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// How it ended; absent while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<RunOutcome>,
    /// Why, for people; empty while it is under way.
    #[serde(default)]
    pub reason: String,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunOutcome {
    /// Its revision was accepted.
    Succeeded,
    /// Every touched member that was heard went back.
    RolledBack,
    /// Members are not back in time, or with `rollback.scope: Member` too many failed.
    Failed,
    /// Another payload came before its end.
    Superseded,
    /// A person took it back.
    Aborted,
}

impl RunOutcome {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "Succeeded",
            Self::RolledBack => "RolledBack",
            Self::Failed => "Failed",
            Self::Superseded => "Superseded",
            Self::Aborted => "Aborted",
        }
    }
}
