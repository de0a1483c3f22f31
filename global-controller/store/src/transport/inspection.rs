//! What a running replica says of itself to a tool.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;

use super::admission::{self, Refusal};
use crate::handle::Shared;
use crate::inspect::{self, Inspection};

/// Answers [`crate::inspect::live`].
pub(crate) async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Result<Json<Inspection>, Refusal> {
    let (parts, _) = request.into_parts();
    admission::administrator(&shared, &parts)?;
    // Each request reads all snapshots: one at a time, and none beside a backup.
    let Ok(_permit) = shared.backups.try_acquire() else {
        return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "a backup or another inspection is under way"));
    };
    let looking = Arc::clone(&shared);
    let found = tokio::task::spawn_blocking(move || look(&looking)).await;
    found.map(Json).map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

fn look(shared: &Shared) -> Inspection {
    let mut found = inspect::of_identity(shared.identity());
    (found.snapshots, found.problems) = inspect::snapshots(&shared.layout);
    found.problems.extend(inspect::loss(&shared.layout));
    found.state = inspect::of_table(&shared.table.read());
    found.leader.clone_from(&shared.leadership.borrow().leader);
    found
}
