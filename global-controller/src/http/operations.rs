//! `/healthz`, `/readyz` and `/metrics`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::world::World;

/// Routes for kubelet and Prometheus.
pub(crate) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(world)
}

/// Ready when it can serve agents and people, and take over: the store has a leader, and both pictures are complete.
async fn ready(State(world): State<Arc<World>>) -> Response {
    let mut missing = Vec::new();
    if world.store.leadership().borrow().leader.is_none() {
        missing.push("the store has no leader");
    }
    if !world.is_mirrored() {
        missing.push("the store was not read yet");
    }
    if !world.hub().is_complete() {
        missing.push("the hub was not read yet");
    }
    if *world.clock_off.borrow() {
        missing.push("the clock is more than a second off those of the other replicas");
    }
    if missing.is_empty() {
        return "ok".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, missing.join("; ")).into_response()
}

async fn metrics(State(world): State<Arc<World>>) -> Response {
    match world.metrics.encode() {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
