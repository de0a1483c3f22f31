//! Transactions that a follower brings to the leader.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use store_node::{MAX_TXN_BYTES, Txn, TxnOutcome};
use tokio::time::Instant;

use super::admission::{self, Refusal};
use super::leader::{self, Answer};
use crate::handle::{Shared, WriteError};

/// How long the leader may take: less than a caller's deadline, so that its answer still arrives.
const LEADER_DEADLINE: Duration = Duration::from_millis(4_500);
/// A conflict names up to 100 keys of up to 1 KiB, each character perhaps escaped.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// What a replica answered to a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Forwarded {
    /// It went through the log.
    Outcome(TxnOutcome),
    /// It didn't enter any log: the replica doesn't lead.
    NotLeader,
}

/// Brings a transaction to the leader.
pub(crate) async fn txn(shared: &Shared, leader: &str, txn: &Txn, deadline: Instant) -> Result<Forwarded, WriteError> {
    let body = |request: reqwest::RequestBuilder| request.body(txn.encode());
    let answer = leader::ask(shared, leader, "/raft/txn", body, MAX_ANSWER_BYTES, deadline).await?;
    Ok(answer.unwrap_or(Forwarded::NotLeader))
}

/// Takes a transaction from a follower.
pub(crate) async fn receive(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Json<Answer<Forwarded>>, Refusal> {
    let (parts, body) = request.into_parts();
    admission::member(&shared, &parts)?;
    let txn = read(body).await?;
    let Ok(_permit) = shared.operations.try_acquire() else {
        return Ok(Json(Answer::NotApplied("too many operations are under way at the leader".to_owned())));
    };
    Ok(Json(shared.write_here(txn, Instant::now() + LEADER_DEADLINE).await.into()))
}

async fn read(body: Body) -> Result<Txn, Refusal> {
    let unfit = |reason: String| Refusal::new(StatusCode::BAD_REQUEST, reason);
    let bytes = to_bytes(body, MAX_TXN_BYTES).await.map_err(|error| unfit(error.to_string()))?;
    Txn::decode(bytes).map_err(|error| unfit(error.to_string()))
}
