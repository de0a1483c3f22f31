//! Bringing a request to the leader, and telling from its answer whether something was done, certainly not, or perhaps.

use axum::http::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::admission;
use super::hello::bounded;
use crate::handle::{Shared, WriteError, not_applied, unknown};

/// What a replica made of a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Answer<T> {
    Done(T),
    NotApplied(String),
    Unknown(String),
}

impl<T> From<Result<T, WriteError>> for Answer<T> {
    fn from(result: Result<T, WriteError>) -> Self {
        match result {
            Ok(done) => Self::Done(done),
            Err(WriteError::NotApplied { reason } | WriteError::Invalid { reason }) => Self::NotApplied(reason),
            Err(WriteError::Unknown { reason }) => Self::Unknown(reason),
        }
    }
}

impl<T: DeserializeOwned> Answer<T> {
    /// Reads an answer. One that can't be read leaves open what was done.
    pub(crate) fn read(bytes: &[u8]) -> Result<T, WriteError> {
        match serde_json::from_slice(bytes) {
            Ok(Self::Done(done)) => Ok(done),
            Ok(Self::NotApplied(reason)) => Err(not_applied(reason)),
            Ok(Self::Unknown(reason)) => Err(unknown(reason)),
            Err(error) => Err(unknown(format!("the answer can't be read: {error}"))),
        }
    }
}

/// Posts to the leader under `path`. `None`: it certainly did nothing, and whoever leads next may be asked. Unless the
/// connection couldn't even be made, a failure leaves open what was done.
pub(crate) async fn ask<T: DeserializeOwned>(
    shared: &Shared,
    leader: &str,
    path: &str,
    body: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    max_answer_bytes: usize,
    deadline: Instant,
) -> Result<Option<T>, WriteError> {
    let Some((client, peer)) = shared.config.config.client.as_ref().zip(shared.peer_by_id(leader)) else {
        return Err(not_applied("no connection to the leader is configured"));
    };
    let url = format!("{}{path}", peer.url.trim_end_matches('/'));
    let request = body(admission::introduce(shared, client.post(url)));
    let left = deadline.saturating_duration_since(Instant::now());
    let answer = match request.timeout(left).send().await {
        Ok(answer) => answer,
        // It was never sent.
        Err(error) if error.is_connect() => return Ok(None),
        Err(error) => return Err(unknown(format!("the connection to the leader failed: {error}"))),
    };
    match answer.status() {
        status if status.is_success() => {}
        // Refusals come before the request is read.
        status if status.is_client_error() || status == StatusCode::SERVICE_UNAVAILABLE => return Ok(None),
        status => return Err(unknown(format!("the leader answered {status}"))),
    }
    let bytes = bounded(answer, max_answer_bytes).await.map_err(|error| unknown(error.to_string()))?;
    Answer::read(&bytes.ok_or_else(|| unknown("the leader's answer is too long"))?).map(Some)
}
