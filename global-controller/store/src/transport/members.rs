//! Wishes about the membership: from another replica, which found the leader here, or from an administrator's tool.

use std::sync::Arc;

use axum::Json;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::admission::{self, Refusal};
use super::hello::bounded;
use crate::handle::{Shared, WriteError, not_applied, unknown};
use crate::members::{CHANGE_DEADLINE, Granted, Member, Wish};

/// A wish is a name, a url and a number.
const MAX_WISH_BYTES: usize = 8 * 1024;
/// Sixteen members with the longest names and urls, each character perhaps escaped.
pub(crate) const MAX_ANSWER_BYTES: usize = 256 * 1024;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done(Granted),
    NotApplied(String),
    Unknown(String),
}

/// Reads an answer.
pub(crate) fn read(bytes: &[u8]) -> Result<Granted, WriteError> {
    match serde_json::from_slice(bytes) {
        Ok(Answer::Done(granted)) => Ok(granted),
        Ok(Answer::NotApplied(reason)) => Err(not_applied(reason)),
        Ok(Answer::Unknown(reason)) => Err(unknown(reason)),
        Err(error) => Err(unknown(format!("the answer can't be read: {error}"))),
    }
}

/// Sends a wish to the leader. Unless the connection couldn't even be made, a failure leaves it unknown.
pub(crate) async fn forward(
    shared: &Shared,
    leader: &str,
    wish: &Wish,
    deadline: Instant,
) -> Result<Granted, WriteError> {
    let Some((client, peer)) = shared.config.config.client.as_ref().zip(shared.peer_by_id(leader)) else {
        return Err(not_applied("no connection to the leader is configured"));
    };
    let url = format!("{}/raft/members", peer.url.trim_end_matches('/'));
    let request = admission::introduce(shared, client.post(url)).json(wish);
    let left = deadline.saturating_duration_since(Instant::now());
    let answer = match request.timeout(left).send().await {
        Ok(answer) => answer,
        Err(error) if error.is_connect() => return Ok(Granted::NotLeader),
        Err(error) => return Err(unknown(format!("the connection to the leader failed: {error}"))),
    };
    match answer.status() {
        status if status.is_success() => {}
        // Refusals come before the wish is read.
        status if status.is_client_error() || status == StatusCode::SERVICE_UNAVAILABLE => {
            return Ok(Granted::NotLeader);
        }
        status => return Err(unknown(format!("the leader answered {status}"))),
    }
    let bytes = bounded(answer, MAX_ANSWER_BYTES).await.map_err(|error| unknown(error.to_string()))?;
    read(&bytes.ok_or_else(|| unknown("the leader's answer is too long"))?)
}

/// Takes a wish. One of another replica is granted here or not at all; a tool's wish is brought to the leader.
pub(crate) async fn receive(State(shared): State<Arc<Shared>>, request: Request) -> Result<Json<Answer>, Refusal> {
    let (parts, body) = request.into_parts();
    let from_tool = admission::introduces_no_replica(&parts);
    if from_tool {
        admission::administrator(&shared, &parts)?;
    } else {
        admission::member(&shared, &parts)?;
    }
    let unfit = |reason: String| Refusal::new(StatusCode::BAD_REQUEST, reason);
    let bytes = to_bytes(body, MAX_WISH_BYTES).await.map_err(|error| unfit(error.to_string()))?;
    let wish: Wish = serde_json::from_slice(&bytes).map_err(|error| unfit(error.to_string()))?;
    tracing::info!(?wish, from_tool, "a wish about the membership");
    let granted = if from_tool {
        shared.grant(wish).await.map(|members: Vec<Member>| Granted::Members(members))
    } else {
        // A moment less than the asking replica waits, so that the answer still arrives.
        shared.grant_here(&wish, Instant::now() + CHANGE_DEADLINE * 9 / 10).await
    };
    Ok(Json(match granted {
        Ok(granted) => Answer::Done(granted),
        Err(WriteError::NotApplied { reason } | WriteError::Invalid { reason }) => Answer::NotApplied(reason),
        Err(WriteError::Unknown { reason }) => Answer::Unknown(reason),
    }))
}
