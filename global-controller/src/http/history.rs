//! `/api/v1/rollouts/{name}/history`: the runs that a rollout has had, as this replica's picture of the store has them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use crds::{FullPayload, Revision, RolloutHistory, time_from_millis};
use rollout_core::{PastRun, RolloutState};

use super::{Refused, uid_of};
use crate::act::objects;
use crate::world::World;

/// The history of a rollout; that of one that nothing was decided about is empty.
pub(super) async fn serve(
    State(world): State<Arc<World>>,
    Path(name): Path<String>,
) -> Result<Json<RolloutHistory>, Refused> {
    let uid = uid_of(&world, &name)?;
    let mirror = world.mirror();
    let stored = mirror.rollout(&uid);
    Ok(Json(stored.map_or_else(|| told(&RolloutState::new(&name, &uid)), |stored| told(&stored.state))))
}

/// The payload of one revision with all that is in it, from a majority of the store.
pub(super) async fn payload(
    State(world): State<Arc<World>>,
    Path((name, revision)): Path<(String, String)>,
) -> Result<Json<FullPayload>, Refused> {
    let uid = uid_of(&world, &name)?;
    let found = objects::payload(&world, &uid, &Revision(revision.clone())).await;
    let found = found.map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    let unknown = || (StatusCode::NOT_FOUND, format!("nobody knows the payload of revision {revision}"));
    found.map(|full| Json((*full).clone())).ok_or_else(unknown)
}

fn told(state: &RolloutState) -> RolloutHistory {
    let RolloutState { header, history, plan: _, members: _ } = state;
    RolloutHistory {
        rollout: header.name.clone(),
        accepted_revision: header.accepted_revision.clone(),
        quarantined_revisions: header.quarantine.clone(),
        runs: history.runs.iter().map(run).collect(),
        payloads: history.payloads.clone(),
    }
}

fn run(past: &PastRun) -> crds::PastRun {
    let PastRun { number, revision, generation, started_at, finished_at, outcome, reason } = past;
    crds::PastRun {
        run: *number,
        revision: revision.clone(),
        generation: (*generation > 0).then_some(*generation),
        started_at: time_from_millis(*started_at),
        finished_at: finished_at.map(time_from_millis),
        outcome: *outcome,
        reason: reason.clone(),
    }
}

#[cfg(test)]
mod tests {
    use crds::{Revision, RunOutcome};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_history_is_told_with_times_that_people_read() {
        let mut state = RolloutState::new("checkout", "u");
        state.history.runs.push(PastRun {
            number: 2,
            revision: Revision("7a".to_owned()),
            generation: 0,
            started_at: 1_767_225_600_000,
            finished_at: Some(1_767_225_660_000),
            outcome: Some(RunOutcome::RolledBack),
            reason: "1 member failed, 0 allowed".to_owned(),
        });
        state.header.quarantine.push(Revision("7a".to_owned()));
        assert_eq!(
            json!(told(&state)),
            json!({
                "rollout": "checkout",
                "quarantinedRevisions": ["7a"],
                "runs": [{
                    "run": 2, "revision": "7a", "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:01:00Z",
                    "outcome": "RolledBack", "reason": "1 member failed, 0 allowed",
                }],
                "payloads": {},
            })
        );
    }
}
