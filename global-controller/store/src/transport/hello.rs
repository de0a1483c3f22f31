//! The exchange before any Raft byte: who are you, and which store do you belong to?

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::admission::{self, Refusal};
use crate::config::ReplicaConfig;
use crate::disk::identity::{Formation, Restored};
use crate::handle::Shared;
use crate::roster::Roster;

/// An answer is some hundred bytes from a process nearby.
const DEADLINE: Duration = Duration::from_secs(2);
/// Names and urls of all members, and a thousand names of replicas that were removed, each character perhaps escaped.
const MAX_BYTES: usize = 1024 * 1024;

/// Who a replica is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) cluster: String,
    pub(crate) id: String,
    pub(crate) incarnation: u64,
    /// `None`: its folder is new and belongs to no store yet.
    pub(crate) formation: Option<Formation>,
    /// Its Raft id; 0 from a version that doesn't say.
    #[serde(default)]
    pub(crate) number: u64,
    /// Whether it waits to be added to a store.
    #[serde(default)]
    pub(crate) joins: bool,
    /// Who belongs to its store; `None` before it has started, or from a version that doesn't say.
    #[serde(default)]
    pub(crate) roster: Option<Roster>,
    /// Its folder was prepared from a backup.
    #[serde(default)]
    pub(crate) restored: Option<Restored>,
}

/// Why a peer can't be spoken with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to ask")]
    Http(#[from] reqwest::Error),
    #[error("the answer is longer than {MAX_BYTES} bytes")]
    TooLong,
    #[error("failed to read the answer")]
    Format(#[from] serde_json::Error),
    #[error("it answered {status}: {reason}")]
    Refused { status: u16, reason: String },
    #[error("it is '{id}' of cluster '{cluster}'")]
    Stranger { id: String, cluster: String },
    #[error("no client is configured")]
    NoClient,
}

/// An error with its causes, as one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Asks a peer who it is; refuses an answer of another name or cluster.
pub(crate) async fn ask(shared: &Shared, peer: &ReplicaConfig) -> Result<Hello, Error> {
    let client = shared.config.config.client.as_ref().ok_or(Error::NoClient)?;
    let url = format!("{}/raft/hello", peer.url.trim_end_matches('/'));
    let answer = client.post(url).timeout(DEADLINE).send().await?;
    let status = answer.status();
    let bytes = bounded(answer, MAX_BYTES).await?.ok_or(Error::TooLong)?;
    if !status.is_success() {
        let reason = String::from_utf8_lossy(&bytes).into_owned();
        return Err(Error::Refused { status: status.as_u16(), reason });
    }
    let hello: Hello = serde_json::from_slice(&bytes)?;
    if hello.id != peer.id || hello.cluster != shared.config.config.cluster {
        return Err(Error::Stranger { id: hello.id, cluster: hello.cluster });
    }
    Ok(hello)
}

/// A body of at most `bound` bytes; `None` when it is longer.
pub(crate) async fn bounded(mut answer: reqwest::Response, bound: usize) -> reqwest::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if bytes.len() + chunk.len() > bound {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes))
}

/// Answers [`ask`].
pub(crate) async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Result<Json<Hello>, Refusal> {
    let (parts, _) = request.into_parts();
    admission::replica(&shared, &parts)?;
    if shared.closed.is_cancelled() {
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the store is closed"));
    }
    let identity = shared.identity();
    let roster = shared.applied_roster();
    let joins = shared.config.joins(&identity);
    Ok(Json(Hello {
        cluster: identity.cluster,
        id: identity.id,
        incarnation: identity.incarnation,
        number: identity.number,
        joins,
        formation: identity.formation,
        restored: identity.restored,
        roster: (roster.index > 0).then_some(roster),
    }))
}
