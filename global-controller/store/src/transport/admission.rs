//! Who is at the other end of a request, and whether it belongs to this store.

use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use mutual_tls::{Peer, Role};

use crate::handle::Shared;

/// Name of the sender's cluster.
pub(crate) const CLUSTER: &str = "x-store-cluster";
/// The sender's incarnation.
const INCARNATION: &str = "x-store-incarnation";

/// A refusal, with its reason in the body.
pub(crate) struct Refusal {
    status: StatusCode,
    reason: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        tracing::warn!(status = self.status.as_u16(), reason = self.reason, "refused a request under /raft");
        (self.status, self.reason).into_response()
    }
}

/// The name of the replica that the certificate is for: a member, or one that is configured here. One that was removed
/// gets 410, anyone else 403.
pub(crate) fn replica(shared: &Shared, parts: &Parts) -> Result<String, Refusal> {
    let name = certified(shared, parts)?;
    if name == shared.config.own.id {
        let reason = format!("'{name}' is this replica itself");
        return Err(Refusal::new(StatusCode::FORBIDDEN, reason));
    }
    Ok(name)
}

fn certified(shared: &Shared, parts: &Parts) -> Result<String, Refusal> {
    let forbidden = |reason: String| Refusal::new(StatusCode::FORBIDDEN, reason);
    let peer = parts.extensions.get::<Peer>();
    let peer = peer.ok_or_else(|| forbidden("a client certificate is needed".to_owned()))?;
    let Peer { role, name } = peer;
    if *role != Role::Replica {
        return Err(forbidden(format!("'{name}' is no replica")));
    }
    let roster = shared.roster.borrow();
    if roster.is_retired(name) {
        return Err(Refusal::new(StatusCode::GONE, format!("'{name}' was removed from this store")));
    }
    if roster.by_id(name).is_none() && shared.config.by_id(name).is_none() {
        // Perhaps it joined after the last entry that is known here.
        shared.strangers.notify_one();
        return Err(forbidden(format!("'{name}' is not a replica of this store")));
    }
    Ok(name.clone())
}

/// Whether a request doesn't say which replica sends it, as a tool's.
pub(crate) fn introduces_no_replica(parts: &Parts) -> bool {
    !parts.headers.contains_key(INCARNATION)
}

/// A tool that holds the certificate of a replica, perhaps this one's, and knows the cluster.
pub(crate) fn administrator(shared: &Shared, parts: &Parts) -> Result<(), Refusal> {
    certified(shared, parts)?;
    check_cluster(shared, parts)
}

fn check_cluster(shared: &Shared, parts: &Parts) -> Result<(), Refusal> {
    let own = shared.config.config.cluster.as_str();
    let cluster = text(&parts.headers, CLUSTER);
    if cluster == Some(own) {
        return Ok(());
    }
    Err(Refusal::new(StatusCode::CONFLICT, format!("this is cluster '{own}', not {cluster:?}")))
}

/// The Raft id of a peer that belongs to the same formed store as the same incarnation.
pub(crate) fn member(shared: &Shared, parts: &Parts) -> Result<u64, Refusal> {
    let replica = replica(shared, parts)?;
    if shared.identity().formation.is_none() {
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the store isn't formed yet"));
    }
    check_cluster(shared, parts)?;
    let incarnation = text(&parts.headers, INCARNATION).and_then(|text| text.parse::<u64>().ok());
    let Some(peer) = shared.peer_by_id(&replica) else {
        shared.strangers.notify_one();
        return Err(Refusal::new(StatusCode::FORBIDDEN, format!("'{replica}' is not a replica of this store")));
    };
    let known = peer.incarnation;
    if incarnation != Some(known) {
        let reason = format!("'{replica}' is known as incarnation {known}, not {incarnation:?}");
        return Err(Refusal::new(StatusCode::CONFLICT, reason));
    }
    Ok(peer.number)
}

/// What [`member`] wants to see, added to a request.
pub(crate) fn introduce(shared: &Shared, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
    let identity = shared.identity();
    request.header(CLUSTER, identity.cluster).header(INCARNATION, identity.incarnation)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
