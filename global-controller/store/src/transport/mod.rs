//! Connections between replicas: HTTP/2 over mutual TLS, with routes under `/raft/` on the caller's listener.
//!
//! One long-lived request per direction and peer carries messages; transactions that a follower forwards and
//! snapshots are requests of their own. Every route first checks who is at the other end.

pub(crate) mod admission;
mod backups;
pub(crate) mod forward;
pub(crate) mod frames;
pub(crate) mod hello;
mod inspection;
pub(crate) mod leader;
mod links;
pub(crate) mod members;
pub(crate) mod snapshots;
mod streams;

use std::sync::Arc;

use axum::Router;
use axum::routing::post;

use crate::handle::Shared;
pub(crate) use links::Links;

/// Routes that other replicas call.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/raft/hello", post(hello::answer))
        .route("/raft/stream", post(streams::receive))
        .route("/raft/txn", post(forward::receive))
        .route("/raft/members", post(members::receive))
        .route("/raft/snapshot", post(snapshots::receive))
        .route("/raft/backup", post(backups::send))
        .route("/raft/inspect", post(inspection::answer))
        .with_state(shared)
}
