//! Wishes about the membership: from another replica, which found the leader here, or from an administrator's tool.

use std::sync::Arc;

use axum::Json;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use tokio::time::Instant;

use super::admission::{self, Refusal};
use super::leader::{self, Answer};
use crate::handle::{Shared, WriteError};
use crate::members::{CHANGE_DEADLINE, Granted, Member, Wish};

/// A wish is a name, a url and a number.
const MAX_WISH_BYTES: usize = 8 * 1024;
/// Sixteen members with the longest names and urls, each character perhaps escaped.
pub(crate) const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// Brings a wish to the leader.
pub(crate) async fn forward(
    shared: &Shared,
    leader: &str,
    wish: &Wish,
    deadline: Instant,
) -> Result<Granted, WriteError> {
    let body = |request: reqwest::RequestBuilder| request.json(wish);
    let answer = leader::ask(shared, leader, "/raft/members", body, MAX_ANSWER_BYTES, deadline).await?;
    Ok(answer.unwrap_or(Granted::NotLeader))
}

/// Takes a wish. One of another replica is granted here or not at all; a tool's wish is brought to the leader.
pub(crate) async fn receive(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Json<Answer<Granted>>, Refusal> {
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
    Ok(Json(granted.into()))
}
