//! `/v1`: what agents call, and what replicas call of each other. The certificate says who calls.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use bytes::Bytes;
use crds::{Finding, Heartbeats, Register, Reports, Upload};
use federated_store::{TxnOutcome, When};
use futures::Stream;
use mutual_tls::{Peer, Role};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::act::stream;
use crate::bus::Change;
use crate::clock::{self, millis};
use crate::http::refusal::Refusal;
use crate::http::{reports, samples, uploads};
use crate::keys;
use crate::presence::{Ages, MAX_HEARTBEATS};
use crate::records::put;
use crate::skew::Time;
use crate::world::World;

/// Largest body: 10,000 heartbeats of members with long names.
const MAX_BODY_BYTES: usize = 2 * 1024 * 1024;
/// Characters of a version that are kept; the schema of `MemberCluster` allows as many.
const MAX_VERSION_CHARS: usize = 64;

/// Routes for agents and peers.
pub(crate) fn router(world: Arc<World>, replicas: reqwest::Client) -> Router {
    Router::new()
        .route("/v1/register", post(register))
        .route("/v1/heartbeats", post(heartbeats))
        .route("/v1/reports", post(report))
        .route("/v1/uploads", post(upload))
        .route("/v1/samples", post(samples).layer(Extension(replicas)))
        .route("/v1/assignments", get(assignments))
        .route("/v1/time", get(time))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(world)
}

/// The member that calls. Names are compared whole: "cluster1" is not "cluster10".
fn member(peer: &Peer) -> Result<&str, Refusal> {
    match peer.role {
        Role::Member => Ok(&peer.name),
        Role::Replica => Err(Refusal::Forbidden(format!("'{}' is a replica and no member", peer.name))),
    }
}

fn only_own<'a>(own: &str, mut named: impl Iterator<Item = &'a str>) -> Result<(), Refusal> {
    match named.find(|name| *name != own) {
        Some(other) => Err(Refusal::Forbidden(format!("the certificate is of member '{own}', not of '{other}'"))),
        None => Ok(()),
    }
}

async fn register(
    State(world): State<Arc<World>>,
    Extension(peer): Extension<Peer>,
    Json(Register { member: named, mut info }): Json<Register>,
) -> Result<StatusCode, Refusal> {
    let own = member(&peer)?;
    only_own(own, [named.as_str()].into_iter())?;
    for version in [&mut info.agent_version, &mut info.kubernetes_version] {
        *version = version.chars().take(MAX_VERSION_CHARS).collect();
    }
    hear(&world, own);
    if world.mirror().member(own).and_then(|known| known.info.as_ref()) == Some(&info) {
        return Ok(StatusCode::NO_CONTENT);
    }
    let operation = put(keys::info(own), &info).map_err(|error| Refusal::Unfit(error.to_string()))?;
    match world.store.txn(None, Vec::<When>::new(), vec![operation]).await {
        Ok(TxnOutcome::Committed { .. }) => Ok(StatusCode::NO_CONTENT),
        Ok(other) => Err(Refusal::Unavailable(format!("not written: {other:?}"))),
        Err(error) => Err(Refusal::Unavailable(error.to_string())),
    }
}

async fn heartbeats(
    State(world): State<Arc<World>>,
    Extension(peer): Extension<Peer>,
    Json(Heartbeats { heartbeats }): Json<Heartbeats>,
) -> Result<Response, Refusal> {
    if *world.cut_off.borrow() {
        return Err(Refusal::Unavailable("this replica is cut off from the others; go to another one".to_owned()));
    }
    if heartbeats.len() > MAX_HEARTBEATS {
        return Err(Refusal::Unfit(format!("{} heartbeats, at most {MAX_HEARTBEATS}", heartbeats.len())));
    }
    if peer.role == Role::Member {
        only_own(&peer.name, heartbeats.iter().map(|one| one.member.as_str()))?;
        hear(&world, &peer.name);
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let now = Instant::now();
    let brought: Vec<String> = heartbeats.iter().map(|one| one.member.clone()).collect();
    let inquiries = world.inquiries.hand(&peer.name, &brought, now);
    let mut news = Vec::new();
    let mut presence = world.presence();
    for heartbeat in heartbeats {
        let at = now.checked_sub(Duration::from_millis(heartbeat.age_millis));
        if at.is_some_and(|at| presence.hear(&heartbeat.member, at, now)) {
            news.push(heartbeat.member);
        }
    }
    let age_millis: BTreeMap<_, _> = presence.ages(now).map(|(name, age)| (name.clone(), millis(age))).collect();
    drop(presence);
    for name in news {
        world.bus.send(Change::Member { name });
    }
    Ok(Json(Ages { age_millis, inquiries }).into_response())
}

/// Whatever an agent sends shows that it is alive.
fn hear(world: &World, member: &str) {
    let back = world.presence().hear_here(member, Instant::now());
    world.inquiries.hear_here(member);
    if back {
        world.bus.send(Change::Member { name: member.to_owned() });
    }
}

async fn report(
    State(world): State<Arc<World>>,
    Extension(peer): Extension<Peer>,
    Json(Reports { reports }): Json<Reports>,
) -> Result<StatusCode, Refusal> {
    let own = member(&peer)?;
    only_own(own, reports.iter().map(|one| one.member.as_str()))?;
    hear(&world, own);
    reports::accept(&world, reports).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn upload(
    State(world): State<Arc<World>>,
    Extension(peer): Extension<Peer>,
    Json(upload): Json<Upload>,
) -> Result<StatusCode, Refusal> {
    let own = member(&peer)?;
    let named = upload.orders.iter().map(|order| order.spec.member.as_str());
    only_own(own, named.chain([upload.member.as_str()]))?;
    hear(&world, own);
    uploads::accept(&world, upload).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn samples(
    State(world): State<Arc<World>>,
    Extension(peer): Extension<Peer>,
    Extension(replicas): Extension<reqwest::Client>,
    Json(finding): Json<Finding>,
) -> Result<StatusCode, Refusal> {
    if peer.role == Role::Member {
        only_own(&peer.name, [finding.member.as_str()].into_iter())?;
        hear(&world, &peer.name);
    }
    samples::accept(&world, &replicas, peer.role, finding).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// For the other replicas, which compare their clocks with this one.
async fn time(Extension(peer): Extension<Peer>) -> Result<Json<Time>, Refusal> {
    match peer.role {
        Role::Replica => Ok(Json(Time { unix_millis: clock::now_millis() })),
        Role::Member => Err(Refusal::Forbidden(format!("'{}' is a member and no replica", peer.name))),
    }
}

async fn assignments(State(world): State<Arc<World>>, Extension(peer): Extension<Peer>) -> Result<Response, Refusal> {
    let own = member(&peer)?.to_owned();
    hear(&world, &own);
    let lines = stream::open(world, own).await.map_err(|error| Refusal::Unavailable(error.to_string()))?;
    let mut response = Response::new(Body::from_stream(receive(lines)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jsonl"));
    Ok(response)
}

fn receive(lines: stream::Lines) -> impl Stream<Item = Result<Bytes, std::io::Error>> {
    futures::stream::unfold(lines, |mut lines: mpsc::Receiver<_>| async move { Some((lines.recv().await?, lines)) })
}
