//! `/healthz`, `/readyz` and `/metrics`, over plain HTTP, and the signs of life behind them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::work::cache::Cache;

/// The main loop turns at least every 15 s, deadlines included; four missed turns mean that it hangs.
const BEAT_WITHIN: Duration = Duration::from_mins(1);
/// The API server is asked every 5 s; a restart of it takes less than this.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// When the main loop last turned, and when the API server last answered.
#[derive(Debug)]
pub struct Vitals {
    started: Instant,
    beat_millis: AtomicU64,
    /// 0: never.
    answered_millis: AtomicU64,
}

impl Default for Vitals {
    fn default() -> Self {
        Self { started: Instant::now(), beat_millis: AtomicU64::new(0), answered_millis: AtomicU64::new(0) }
    }
}

impl Vitals {
    /// The main loop turned.
    pub fn beat(&self) {
        self.beat_millis.store(self.now(), Ordering::Relaxed);
    }

    /// The API server answered.
    pub fn answered(&self) {
        self.answered_millis.store(self.now().max(1), Ordering::Relaxed);
    }

    fn is_alive(&self) -> bool {
        self.within(self.beat_millis.load(Ordering::Relaxed), BEAT_WITHIN)
    }

    fn is_connected(&self) -> bool {
        let answered = self.answered_millis.load(Ordering::Relaxed);
        answered > 0 && self.within(answered, ANSWER_WITHIN)
    }

    fn within(&self, millis: u64, limit: Duration) -> bool {
        Duration::from_millis(self.now().saturating_sub(millis)) < limit
    }

    fn now(&self) -> u64 {
        // 500 million years fit.
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// What the routes look at.
#[derive(Clone)]
pub struct Operations {
    /// Signs of life.
    pub vitals: Arc<Vitals>,
    /// The local assignments.
    pub cache: Arc<Cache>,
    /// Figures.
    pub metrics: Arc<Metrics>,
}

/// Serves until `stop` fires.
pub async fn serve(
    listener: TcpListener,
    operations: Operations,
    stop: CancellationToken,
) -> Result<(), std::io::Error> {
    let router = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(operations);
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn healthz(State(operations): State<Operations>) -> (StatusCode, &'static str) {
    if operations.vitals.is_alive() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the main loop hangs")
    }
}

async fn readyz(State(operations): State<Operations>) -> (StatusCode, &'static str) {
    if !operations.vitals.is_connected() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the local API server does not answer");
    }
    if !operations.cache.is_listed() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the assignments are not listed yet");
    }
    (StatusCode::OK, "ok")
}

async fn metrics(State(operations): State<Operations>) -> impl IntoResponse {
    match operations.metrics.encode() {
        Ok(text) => (StatusCode::OK, [(header::CONTENT_TYPE, OPENMETRICS)], text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "text/plain")], error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_process_is_alive_and_not_connected() {
        let vitals = Vitals::default();
        assert!(vitals.is_alive());
        assert!(!vitals.is_connected());
        vitals.answered();
        assert!(vitals.is_connected());
    }
}
