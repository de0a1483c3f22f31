//! The hub: posts to the replica that the stream is connected to, and to the next one when that fails.

pub mod introduce;
pub mod lines;
pub mod outbox;
mod progress;
pub mod resync;
pub mod stream;
mod upload;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::{Client, StatusCode, Url};
use serde::Serialize;

/// Deadline of one post to one replica. A report is answered once a quorum has it on disk.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// Bytes of a refusal that are kept for the log.
const MAX_REASON_BYTES: usize = 512;

/// Why the hub did not take something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was not reached, or did not answer in time.
    #[error("failed to reach '{url}'")]
    Unreachable {
        /// The replica.
        url: Url,
        /// Why.
        source: reqwest::Error,
    },
    /// It answered something else than yes.
    #[error("'{url}' answered {status}: {reason}")]
    Answer {
        /// The replica.
        url: Url,
        /// HTTP status.
        status: StatusCode,
        /// What it said.
        reason: String,
    },
    /// There is no URL.
    #[error("no hub is known")]
    None,
}

impl Error {
    /// Whether the hub refuses this as such: the same again is of no use.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Answer { status, .. } => status.is_client_error() && ![408, 421, 425, 429].contains(&status.as_u16()),
            Self::Unreachable { .. } | Self::None => false,
        }
    }
}

/// The replicas of the hub.
#[derive(Debug)]
pub struct Hub {
    client: Client,
    urls: Vec<Url>,
    current: AtomicUsize,
}

impl Hub {
    /// `urls` are base URLs; `client` shows the certificate.
    pub fn new(client: Client, urls: Vec<Url>) -> Self {
        Self { client, urls, current: AtomicUsize::new(0) }
    }

    /// Number of replicas.
    pub fn len(&self) -> usize {
        self.urls.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.urls.is_empty()
    }

    /// The stream is connected to this one: posts go there first.
    pub fn prefer(&self, index: usize) {
        self.current.store(index, Ordering::Relaxed);
    }

    /// Posts to the preferred replica, then to the others in turn, until one takes it or refuses it.
    pub async fn post<T: Serialize + Sync>(&self, path: &str, body: &T) -> Result<(), Error> {
        let first = self.current.load(Ordering::Relaxed);
        let mut failure = Error::None;
        for turn in 0..self.urls.len() {
            match self.post_to(first.wrapping_add(turn), path, body).await {
                Err(error) if !error.is_refusal() => failure = error,
                result => return result,
            }
        }
        Err(failure)
    }

    async fn post_to<T: Serialize + Sync>(&self, index: usize, path: &str, body: &T) -> Result<(), Error> {
        let url = self.url(index, path).ok_or(Error::None)?;
        let sent = self.client.post(url.clone()).timeout(DEADLINE).json(body).send().await;
        let answer = sent.map_err(|source| Error::Unreachable { url: url.clone(), source })?;
        if answer.status().is_success() { Ok(()) } else { Err(refused(url, answer).await) }
    }

    fn url(&self, index: usize, path: &str) -> Option<Url> {
        let mut url = self.urls.get(index % self.urls.len().max(1))?.clone();
        url.set_path(path);
        Some(url)
    }
}

async fn refused(url: Url, answer: reqwest::Response) -> Error {
    let status = answer.status();
    let text = tokio::time::timeout(DEADLINE, answer.text()).await;
    let mut reason = text.ok().and_then(Result::ok).unwrap_or_default();
    reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
    Error::Answer { url, status, reason }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_answers_that_stay_the_same_are_refusals() {
        let answer = |code: u16| Error::Answer {
            url: "https://hub".parse().unwrap(),
            status: StatusCode::from_u16(code).unwrap(),
            reason: String::new(),
        };
        assert!([400, 403, 413, 422].into_iter().all(|code| answer(code).is_refusal()));
        assert!([302, 408, 429, 500, 503].into_iter().all(|code| !answer(code).is_refusal()));
    }
}
