//! Who is at the other end of a request, and whether it belongs to this store.

use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use mutual_tls::{Peer, Role};

use crate::config::ReplicaConfig;
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

/// The configured replica, other than this one, that the certificate names. Anyone else gets 403.
pub(crate) fn replica<'a>(shared: &'a Shared, parts: &Parts) -> Result<&'a ReplicaConfig, Refusal> {
    let replica = certified(shared, parts)?;
    if replica.number == shared.config.own.number {
        return Err(Refusal::new(StatusCode::FORBIDDEN, format!("'{}' is this replica itself", replica.id)));
    }
    Ok(replica)
}

/// A tool that holds the certificate of a replica, perhaps this one's, and knows the cluster.
pub(crate) fn administrator(shared: &Shared, parts: &Parts) -> Result<(), Refusal> {
    certified(shared, parts)?;
    let own = shared.config.config.cluster.as_str();
    match text(&parts.headers, CLUSTER) {
        Some(cluster) if cluster == own => Ok(()),
        cluster => Err(Refusal::new(StatusCode::CONFLICT, format!("this is cluster '{own}', not {cluster:?}"))),
    }
}

fn certified<'a>(shared: &'a Shared, parts: &Parts) -> Result<&'a ReplicaConfig, Refusal> {
    let forbidden = |reason: String| Refusal::new(StatusCode::FORBIDDEN, reason);
    let peer = parts.extensions.get::<Peer>();
    let peer = peer.ok_or_else(|| forbidden("a client certificate is needed".to_owned()))?;
    let Peer { role, name } = peer;
    if *role != Role::Replica {
        return Err(forbidden(format!("'{name}' is no replica")));
    }
    let known = shared.config.by_id(name);
    known.ok_or_else(|| forbidden(format!("'{name}' is not a replica of this store")))
}

/// The Raft id of a peer that belongs to the same formed store as the same incarnation.
pub(crate) fn member(shared: &Shared, parts: &Parts) -> Result<u64, Refusal> {
    let replica = replica(shared, parts)?;
    let identity = shared.identity();
    let Some(formation) = &identity.formation else {
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the store isn't formed yet"));
    };
    let cluster = text(&parts.headers, CLUSTER);
    if cluster != Some(identity.cluster.as_str()) {
        let reason = format!("this is cluster '{}', not {cluster:?}", identity.cluster);
        return Err(Refusal::new(StatusCode::CONFLICT, reason));
    }
    let incarnation = text(&parts.headers, INCARNATION).and_then(|text| text.parse::<u64>().ok());
    let known = formation.members.get(&replica.id);
    if incarnation.as_ref() != known {
        let reason = format!("'{}' is known as incarnation {known:?}, not {incarnation:?}", replica.id);
        return Err(Refusal::new(StatusCode::CONFLICT, reason));
    }
    Ok(replica.number)
}

/// What [`member`] wants to see, added to a request.
pub(crate) fn introduce(shared: &Shared, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
    let identity = shared.identity();
    request.header(CLUSTER, identity.cluster).header(INCARNATION, identity.incarnation)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
