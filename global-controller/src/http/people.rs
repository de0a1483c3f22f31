//! `/` and `/api/v1`: for people and their programs. Whoever may reach the listener may read; what an Alertmanager tells
//! needs a token.

use std::sync::Arc;

use axum::extract::{FromRef, Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use crds::Leader;
use federated_store::{KeyValue, ReadError};
use serde::Deserialize;

use super::events::{self, Pages};
use super::{Refused, alerts, dashboard, history, plan, uid_of};
use crate::board::{Board, ClusterView, RolloutView};
use crate::decisions_command::{PAGE as REPLAYABLE_AT_ONCE, Taken, TakenPage};
use crate::keys;
use crate::records::{DecisionRecord, read};
use crate::remote::Secrets;
use crate::world::World;

/// Decisions of one answer unless the question says otherwise, and at most.
const DECISIONS: (usize, usize) = (100, 1_000);

/// Records of one page, and of one answer to be sorted.
const PAGE: usize = 500;
const MAX_READ: usize = 20_000;

#[derive(Clone)]
struct Shared {
    world: Arc<World>,
    pages: Pages,
}

impl FromRef<Shared> for Arc<World> {
    fn from_ref(shared: &Shared) -> Self {
        Self::clone(&shared.world)
    }
}

impl FromRef<Shared> for Pages {
    fn from_ref(shared: &Shared) -> Self {
        shared.pages.clone()
    }
}

/// Routes for people.
pub(crate) fn router(world: Arc<World>, board: Arc<Board>, secrets: Secrets) -> Router {
    let webhook = alerts::route(Arc::clone(&world), secrets);
    let planner = plan::route(Arc::clone(&world));
    let pages = Pages::new(board);
    Router::new()
        .route("/api/v1/leader", get(leader))
        .route("/api/v1/rollouts", get(rollouts))
        .route("/api/v1/rollouts/{name}/history", get(history::serve))
        .route("/api/v1/rollouts/{name}/payloads/{revision}", get(history::payload))
        .route("/api/v1/clusters", get(clusters))
        .route("/api/v1/decisions", get(decisions))
        .route("/api/v1/decisions/replay", get(replayable))
        .route("/api/v1/events", get(events::serve))
        .merge(dashboard::router())
        .with_state(Shared { world, pages })
        .route("/api/v1/alerts", webhook)
        .route("/api/v1/plan", planner)
}

async fn leader(State(Pages { board, .. }): State<Pages>) -> Json<Leader> {
    Json(board.leader())
}

async fn rollouts(State(Pages { board, .. }): State<Pages>) -> Json<Vec<RolloutView>> {
    Json(board.rollouts())
}

async fn clusters(State(Pages { board, .. }): State<Pages>) -> Json<Vec<ClusterView>> {
    Json(board.clusters())
}

#[derive(Deserialize)]
struct DecisionsQuery {
    /// metadata.name of a rollout; its decisions only.
    rollout: Option<String>,
    /// At most so many, 1 to 1000.
    limit: Option<usize>,
}

/// The latest decisions of a rollout, or those of all, by time; read from the store, linearizable.
async fn decisions(
    State(world): State<Arc<World>>,
    Query(query): Query<DecisionsQuery>,
) -> Result<Json<Vec<DecisionRecord>>, Refused> {
    let limit = query.limit.unwrap_or(DECISIONS.0).clamp(1, DECISIONS.1);
    let prefix = match &query.rollout {
        None => keys::DECISIONS.to_owned(),
        Some(name) => keys::decisions_of(&uid_of(&world, name)?),
    };
    let mut records = read_all(&world, &prefix).await.map_err(unread)?;
    records.sort_by_key(|record| (record.at, record.number));
    Ok(Json(records.split_off(records.len().saturating_sub(limit))))
}

#[allow(clippy::needless_pass_by_value)] // As map_err hands it over.
fn unread(error: ReadError) -> Refused {
    (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}

#[derive(Deserialize)]
struct ReplayableQuery {
    /// metadata.name of a rollout.
    rollout: String,
    /// Number of a decision: those after it.
    #[serde(default)]
    after: u64,
}

/// Decisions of a rollout with what they were taken on, in their order, at most 50.
async fn replayable(
    State(world): State<Arc<World>>,
    Query(query): Query<ReplayableQuery>,
) -> Result<Json<TakenPage>, Refused> {
    let ReplayableQuery { rollout, after } = query;
    let uid = uid_of(&world, &rollout)?;
    let after = keys::decision(&uid, after);
    let page = world.store.range(&keys::decisions_of(&uid), Some(&after), REPLAYABLE_AT_ONCE).await.map_err(unread)?;
    let read = |item: &KeyValue| Some(Taken { uid: uid.clone(), record: read(&item.key, &item.value)? });
    Ok(Json(TakenPage { decisions: page.items.iter().filter_map(read).collect(), more: page.more }))
}

async fn read_all(world: &World, prefix: &str) -> Result<Vec<DecisionRecord>, ReadError> {
    let (mut records, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = world.store.range(prefix, after.as_deref(), PAGE).await?;
        records.extend(page.items.iter().filter_map(|item| read::<DecisionRecord>(&item.key, &item.value)));
        after = page.items.last().map(|item| item.key.clone());
        // Each rollout keeps 200, so a question about all of many rollouts reads the first ones only.
        if !page.more || records.len() >= MAX_READ {
            return Ok(records);
        }
    }
}
