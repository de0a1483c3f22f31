//! What is served: agents and peers by mutual TLS, people and operations by plain HTTP.

pub(crate) mod agents;
mod alerts;
mod dashboard;
mod events;
mod history;
pub(crate) mod operations;
pub(crate) mod people;
mod plan;
pub(crate) mod refusal;
mod reports;
mod samples;
mod uploads;
pub(crate) mod went_back;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::world::World;

/// How long open requests may finish after the stop; streams never do by themselves.
const GRACE: Duration = Duration::from_secs(1);

/// Why people are not answered.
type Refused = (StatusCode, String);

/// The uid of the rollout of this name on the hub.
fn uid_of(world: &World, name: &str) -> Result<String, Refused> {
    let uid = world.hub().rollout(name).and_then(|object| object.metadata.uid.clone());
    uid.ok_or_else(|| (StatusCode::NOT_FOUND, format!("there is no rollout '{name}'")))
}

/// Serves plain HTTP until told to stop.
pub(crate) async fn plain(listener: TcpListener, router: Router, stop: CancellationToken) -> std::io::Result<()> {
    let stopped = stop.clone();
    let router = router.into_make_service_with_connect_info::<SocketAddr>();
    let serving = axum::serve(listener, router).with_graceful_shutdown(async move { stopped.cancelled().await });
    tokio::select! {
        served = async { serving.await } => served,
        () = async { stop.cancelled().await; tokio::time::sleep(GRACE).await } => Ok(()),
    }
}
