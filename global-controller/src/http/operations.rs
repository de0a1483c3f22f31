//! `/healthz`, `/readyz`, `/metrics` and `/debug/consistency`.

use std::sync::Arc;

use axum::extract::{FromRef, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::sync::Semaphore;

use crate::consistency;
use crate::world::World;

/// A check looks at everything, so that one after the other is enough.
const CHECKS_AT_ONCE: usize = 1;

#[derive(Clone)]
struct Operations {
    world: Arc<World>,
    checks: Arc<Semaphore>,
}

impl FromRef<Operations> for Arc<World> {
    fn from_ref(operations: &Operations) -> Self {
        Self::clone(&operations.world)
    }
}

/// Routes for kubelet and Prometheus.
pub(crate) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/debug/consistency", get(consistency))
        .with_state(Operations { world, checks: Arc::new(Semaphore::new(CHECKS_AT_ONCE)) })
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

/// 200 when nothing is broken, 500 with what is, 503 while nothing can be said.
async fn consistency(State(Operations { world, checks }): State<Operations>) -> Response {
    let Ok(_turn) = checks.try_acquire() else {
        return (StatusCode::TOO_MANY_REQUESTS, "a check is under way; ask again").into_response();
    };
    match consistency::check(&world).await {
        Ok(findings) if findings.found == 0 => Json(findings).into_response(),
        Ok(findings) => (StatusCode::INTERNAL_SERVER_ERROR, Json(findings)).into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, crate::logging::with_causes(&error)).into_response(),
    }
}
