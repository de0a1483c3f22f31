//! `/` and `/api/v1`: for people and their programs. Reads only; whoever may reach the listener may read.

use std::sync::Arc;

use axum::extract::{FromRef, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use crds::Leader;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::{dashboard, events};
use crate::board::{Board, ClusterView, RolloutView};
use crate::keys;
use crate::records::{DecisionRecord, read};
use crate::world::World;

/// Decisions of one answer unless the question says otherwise, and at most.
const DECISIONS: (usize, usize) = (100, 1_000);

#[derive(Clone)]
struct Shared {
    world: Arc<World>,
    people: People,
}

/// What pages need.
#[derive(Clone)]
pub(super) struct People {
    pub(super) board: Arc<Board>,
    pub(super) pages: Arc<Semaphore>,
}

impl FromRef<Shared> for Arc<World> {
    fn from_ref(shared: &Shared) -> Self {
        Self::clone(&shared.world)
    }
}

impl FromRef<Shared> for People {
    fn from_ref(shared: &Shared) -> Self {
        shared.people.clone()
    }
}

/// Routes for people.
pub(crate) fn router(world: Arc<World>, board: Arc<Board>) -> Router {
    let people = People { board, pages: Arc::new(Semaphore::new(events::MAX_PAGES)) };
    Router::new()
        .route("/api/v1/leader", get(leader))
        .route("/api/v1/rollouts", get(rollouts))
        .route("/api/v1/clusters", get(clusters))
        .route("/api/v1/decisions", get(decisions))
        .route("/api/v1/events", get(events::serve))
        .merge(dashboard::router())
        .with_state(Shared { world, people })
}

async fn leader(State(People { board, .. }): State<People>) -> Json<Leader> {
    Json(board.leader())
}

async fn rollouts(State(People { board, .. }): State<People>) -> Json<Vec<RolloutView>> {
    Json(board.rollouts())
}

async fn clusters(State(People { board, .. }): State<People>) -> Json<Vec<ClusterView>> {
    Json(board.clusters())
}

#[derive(Deserialize)]
struct DecisionsQuery {
    /// metadata.name of a rollout; its decisions only.
    rollout: Option<String>,
    /// At most so many, 1 to 1000.
    limit: Option<usize>,
}

/// Decisions in order, the oldest that are kept first; read from the store, linearizable.
async fn decisions(State(world): State<Arc<World>>, Query(query): Query<DecisionsQuery>) -> Response {
    let limit = query.limit.unwrap_or(DECISIONS.0).clamp(1, DECISIONS.1);
    let prefix = match &query.rollout {
        None => keys::DECISIONS.to_owned(),
        Some(name) => match world.hub().rollouts().find(|(known, _)| *known == name) {
            Some((_, object)) => keys::decisions_of(object.metadata.uid.as_deref().unwrap_or_default()),
            None => return (StatusCode::NOT_FOUND, format!("there is no rollout '{name}'")).into_response(),
        },
    };
    match world.store.range(&prefix, None, limit).await {
        Ok(page) => {
            let records = page.items.iter().filter_map(|item| read::<DecisionRecord>(&item.key, &item.value));
            Json(records.collect::<Vec<_>>()).into_response()
        }
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}
