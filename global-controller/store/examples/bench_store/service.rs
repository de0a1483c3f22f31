//! What a replica of ours serves to network clients, beside the routes that its peers call: as little as an honest
//! service can do. Callers show a replica's certificate; one request is one operation, as in gRPC.

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Router};
use bytes::{BufMut as _, Bytes, BytesMut};
use federated_store::{MAX_TXN_BYTES, Store, TxnOutcome};
use futures::StreamExt as _;
use mutual_tls::{Peer, Role};
use store_node::{Reader, Txn, Writer};

use crate::handle::values;

/// Paths of the service.
pub const TXN: &str = "/bench/txn";
/// A linearizable get.
pub const GET: &str = "/bench/get";
/// A page of a range.
pub const RANGE: &str = "/bench/range";
/// A stream of values.
pub const WATCH: &str = "/bench/watch";
/// Longest prefix or key in a request.
pub const MAX_KEY: usize = federated_store::MAX_KEY_BYTES;

/// The routes.
pub fn router(store: Store) -> Router {
    Router::new()
        .route(TXN, post(txn))
        .route(GET, post(get))
        .route(RANGE, post(range))
        .route(WATCH, post(watch))
        .with_state(store)
}

struct Failure(StatusCode, String);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, self.1).into_response()
    }
}

#[allow(clippy::needless_pass_by_value, reason = "it is made for map_err")]
fn unfit(error: impl std::error::Error) -> Failure {
    Failure(StatusCode::BAD_REQUEST, error.to_string())
}

#[allow(clippy::needless_pass_by_value, reason = "it is made for map_err")]
fn failed(error: impl std::error::Error) -> Failure {
    Failure(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}

async fn admit(peer: &Peer, request: Request) -> Result<Bytes, Failure> {
    if peer.role != Role::Replica {
        return Err(Failure(StatusCode::FORBIDDEN, format!("'{}' is no replica", peer.name)));
    }
    to_bytes(request.into_body(), MAX_TXN_BYTES).await.map_err(unfit)
}

/// Answers a committed revision in 8 bytes; anything else is a conflict, which no load here asks for.
async fn txn(
    State(store): State<Store>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Result<Vec<u8>, Failure> {
    let txn = Txn::decode(admit(&peer, request).await?).map_err(unfit)?;
    let outcome = store.txn(txn.fence(), txn.when().to_vec(), txn.then().to_vec()).await.map_err(failed)?;
    match outcome {
        TxnOutcome::Committed { revision } => Ok(revision.to_le_bytes().to_vec()),
        other => Err(Failure(StatusCode::CONFLICT, format!("{other:?}"))),
    }
}

async fn get(State(store): State<Store>, Extension(peer): Extension<Peer>, request: Request) -> Result<Bytes, Failure> {
    let body = admit(&peer, request).await?;
    let key = std::str::from_utf8(&body).map_err(unfit)?;
    let Some(found) = store.get(key).await.map_err(failed)? else { return Ok(Bytes::new()) };
    let mut answer = BytesMut::with_capacity(8 + found.value.len());
    answer.put_u64_le(found.revision);
    answer.put(found.value);
    Ok(answer.freeze())
}

async fn range(
    State(store): State<Store>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Result<Vec<u8>, Failure> {
    let mut reader = Reader::new(admit(&peer, request).await?);
    let limit = reader.u32("limit").map_err(unfit)?;
    let prefix = reader.text("prefix", MAX_KEY).map_err(unfit)?;
    let after = reader.text("after", MAX_KEY).map_err(unfit)?;
    let after = (!after.is_empty()).then_some(after.as_str());
    let page = store.range(&prefix, after, limit as usize).await.map_err(failed)?;
    let bytes: usize = page.items.iter().map(|item| 16 + item.key.len() + item.value.len()).sum();
    let mut writer = Writer::with_capacity(16 + bytes);
    writer.u64(page.revision);
    writer.flag(page.more);
    writer.count(page.items.len());
    for item in &page.items {
        writer.bytes(item.key.as_bytes());
        writer.u64(item.revision);
        writer.bytes(&item.value);
    }
    Ok(writer.finish())
}

/// Each chunk of the answer is one value. The answer's head is sent when the watch is in place.
async fn watch(
    State(store): State<Store>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Result<Body, Failure> {
    let body = admit(&peer, request).await?;
    let prefix = std::str::from_utf8(&body).map_err(unfit)?;
    let from = store.range(prefix, None, 1).await.map_err(failed)?.revision;
    let values = values(store.watch(prefix, from)).map(Ok::<_, std::convert::Infallible>);
    Ok(Body::from_stream(values))
}
