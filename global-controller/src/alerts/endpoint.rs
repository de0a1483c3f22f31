//! Posting to a server: how it is reached, who we are, and what it said when it did not take something.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use tokio::time::Instant;

use crate::config::ReceiverConfig;
use crate::logging::with_causes;
use crate::remote::{Authorization, Connection, Purpose, Secrets};

/// Bytes of a refusal that are logged.
const MAX_REASON_BYTES: usize = 512;

/// A server that is told something.
pub(super) struct Endpoint {
    pub address: String,
    timeout: Duration,
    connection: Connection,
    authorization: Authorization,
}

/// Why something was not taken.
#[derive(Debug)]
pub(super) struct NotTaken {
    /// Whether it was understood and is not wanted, so that trying again is of no use.
    pub refused: bool,
    pub reason: String,
}

impl Endpoint {
    pub fn new(config: &ReceiverConfig, secrets: Secrets, purpose: Purpose) -> Self {
        let ReceiverConfig { server, timeout } = config;
        Self {
            connection: Connection::new(&server.address, &server.tls, &server.headers),
            authorization: Authorization::new(server.credentials.clone(), secrets, purpose),
            address: server.address.clone(),
            timeout: *timeout,
        }
    }

    /// Posts a body, to this path below the address.
    pub async fn post(&self, path: &str, content_type: &'static str, body: Vec<u8>) -> Result<(), NotTaken> {
        let posted = tokio::time::timeout(self.timeout, self.try_post(path, content_type, body)).await;
        posted.unwrap_or_else(|_| Err(NotTaken { refused: false, reason: "no answer in time".to_owned() }))
    }

    async fn try_post(&self, path: &str, content_type: &'static str, body: Vec<u8>) -> Result<(), NotTaken> {
        let failed =
            |error: &(dyn std::error::Error + 'static)| NotTaken { refused: false, reason: with_causes(error) };
        let client = self.connection.client().await.map_err(|error| failed(&error))?;
        let authorization = self.authorization.header(Instant::now()).await.map_err(|error| failed(&error))?;
        let url = if path.is_empty() {
            self.address.clone()
        } else {
            format!("{}{path}", self.address.trim_end_matches('/'))
        };
        let mut request = client.post(url).header(CONTENT_TYPE, content_type).body(body);
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        let mut answer = request.send().await.map_err(|error| failed(&error.without_url()))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            self.authorization.forget().await;
        }
        // The first piece is enough of whatever it sends.
        let first = answer.chunk().await.ok().flatten().unwrap_or_default();
        let words = String::from_utf8_lossy(first.get(..MAX_REASON_BYTES).unwrap_or(&first));
        Err(NotTaken { refused: is_refusal(status), reason: format!("it answered {status}: {words}") })
    }
}

/// Whether what was sent is the matter. Credentials may be repaired, a path may come, and who is busy takes it later.
fn is_refusal(status: StatusCode) -> bool {
    let passes = [401, 403, 404, 405, 408, 425, 429];
    status.is_client_error() && !passes.contains(&status.as_u16())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_is_wrong_with_the_message_itself_is_final() {
        let refused = |code: u16| is_refusal(StatusCode::from_u16(code).unwrap());
        assert!([400, 409, 413, 415, 422].into_iter().all(refused));
        assert!(![301, 401, 403, 404, 429, 500, 503].into_iter().any(refused));
    }
}
