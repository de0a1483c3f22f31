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
use super::hello::bounded;
use crate::handle::{Shared, WriteError, not_applied, unknown};

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

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Answer {
    Done(Forwarded),
    NotApplied(String),
    Unknown(String),
}

/// Sends a transaction to the leader. Unless the connection couldn't even be made, a failure leaves it unknown.
pub(crate) async fn txn(shared: &Shared, leader: &str, txn: &Txn, deadline: Instant) -> Result<Forwarded, WriteError> {
    let Some((client, peer)) = shared.config.config.client.as_ref().zip(shared.peer_by_id(leader)) else {
        return Err(not_applied("no connection to the leader is configured"));
    };
    let url = format!("{}/raft/txn", peer.url.trim_end_matches('/'));
    let request = admission::introduce(shared, client.post(url));
    let left = deadline.saturating_duration_since(Instant::now());
    let answer = match request.timeout(left).body(txn.encode()).send().await {
        Ok(answer) => answer,
        // It was never sent: whoever leads next may get it.
        Err(error) if error.is_connect() => return Ok(Forwarded::NotLeader),
        Err(error) => return Err(unknown(format!("the connection to the leader failed: {error}"))),
    };
    match answer.status() {
        status if status.is_success() => {}
        // Refusals come before the transaction is read.
        status if status.is_client_error() || status == StatusCode::SERVICE_UNAVAILABLE => {
            return Ok(Forwarded::NotLeader);
        }
        status => return Err(unknown(format!("the leader answered {status}"))),
    }
    let bytes = bounded(answer, MAX_ANSWER_BYTES).await.map_err(|error| unknown(error.to_string()))?;
    let bytes = bytes.ok_or_else(|| unknown("the leader's answer is too long"))?;
    match serde_json::from_slice(&bytes) {
        Ok(Answer::Done(forwarded)) => Ok(forwarded),
        Ok(Answer::NotApplied(reason)) => Err(not_applied(reason)),
        Ok(Answer::Unknown(reason)) => Err(unknown(reason)),
        Err(error) => Err(unknown(format!("the leader's answer can't be read: {error}"))),
    }
}

/// Takes a transaction from a follower.
pub(crate) async fn receive(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Json<impl Serialize>, Refusal> {
    let (parts, body) = request.into_parts();
    admission::member(&shared, &parts)?;
    let txn = read(body).await?;
    let Ok(_permit) = shared.operations.try_acquire() else {
        return Ok(Json(Answer::NotApplied("too many operations are under way at the leader".to_owned())));
    };
    let answer = match shared.write_here(txn, Instant::now() + LEADER_DEADLINE).await {
        Ok(forwarded) => Answer::Done(forwarded),
        Err(WriteError::NotApplied { reason } | WriteError::Invalid { reason }) => Answer::NotApplied(reason),
        Err(WriteError::Unknown { reason }) => Answer::Unknown(reason),
    };
    Ok(Json(answer))
}

async fn read(body: Body) -> Result<Txn, Refusal> {
    let unfit = |reason: String| Refusal::new(StatusCode::BAD_REQUEST, reason);
    let bytes = to_bytes(body, MAX_TXN_BYTES).await.map_err(|error| unfit(error.to_string()))?;
    Txn::decode(bytes).map_err(|error| unfit(error.to_string()))
}
