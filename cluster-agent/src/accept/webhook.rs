//! `POST /reconcile`: the hub's short cut past the stream. Any pod answers it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Extension, Router};
use crds::RolloutAssignment;
use mutual_tls::{Peer, Role};
use tokio::sync::Semaphore;

use super::{Accepted, Acceptor, Error, Source};
use crate::hub::outbox::Outbox;
use crate::lease::Held;

/// A rendered payload is at most 192 KiB; the rest of an assignment is small.
const MAX_BODY_BYTES: usize = 256 * 1024;
/// Requests at once: they wait for each other anyway, and the hub comes again.
const MAX_REQUESTS: usize = 64;
/// The hub gives up after 5 s; an answer that it does not hear is no use.
const DEADLINE: Duration = Duration::from_millis(4_500);

type Answer = (StatusCode, String);

struct Webhook {
    acceptor: Arc<Acceptor>,
    outbox: Arc<Outbox>,
    held: Held,
    permits: Semaphore,
}

/// The routes. `held` tells whether this pod is the one that reports.
pub fn router(acceptor: Arc<Acceptor>, outbox: Arc<Outbox>, held: Held) -> Router {
    let webhook = Webhook { acceptor, outbox, held, permits: Semaphore::new(MAX_REQUESTS) };
    Router::new()
        .route("/reconcile", post(reconcile))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(Arc::new(webhook))
}

async fn reconcile(State(webhook): State<Arc<Webhook>>, Extension(peer): Extension<Peer>, body: Bytes) -> Answer {
    if peer.role != Role::Replica {
        return (StatusCode::FORBIDDEN, format!("'{}' is no replica of the controller", peer.name));
    }
    let Ok(_permit) = webhook.permits.try_acquire() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many requests at once".to_owned());
    };
    let assignment: RolloutAssignment = match serde_json::from_slice(&body) {
        Ok(assignment) => assignment,
        Err(error) => return (StatusCode::UNPROCESSABLE_ENTITY, format!("this is no assignment: {error}")),
    };
    match tokio::time::timeout(DEADLINE, webhook.acceptor.accept(&assignment, Source::Webhook)).await {
        Ok(Ok(accepted)) => webhook.answer(accepted),
        Ok(Err(error)) => {
            let fence = assignment.spec.fence;
            tracing::warn!(rollout = assignment.spec.rollout.name, %fence, %error, "refused a posted assignment");
            (status(&error), crate::logging::with_causes(&error))
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the local API server is too slow".to_owned()),
    }
}

impl Webhook {
    fn answer(&self, accepted: Accepted) -> Answer {
        match accepted {
            Accepted::Written | Accepted::Unchanged => (StatusCode::OK, "taken".to_owned()),
            Accepted::Gone(report) if self.held.now() => {
                self.outbox.put(*report);
                (StatusCode::OK, "there was nothing to withdraw".to_owned())
            }
            // Only the holder reports. It hears the same on its stream.
            Accepted::Gone(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "there is nothing to withdraw, and this pod does not report".to_owned(),
            ),
        }
    }
}

fn status(error: &Error) -> StatusCode {
    match error {
        Error::Stale { .. } => StatusCode::CONFLICT,
        Error::Foreign { .. } | Error::Refused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        Error::Unsynced | Error::Full(_) | Error::Busy | Error::Cluster(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

#[cfg(test)]
mod tests {
    use crds::Fence;

    use super::*;

    #[test]
    fn a_stale_fence_is_a_conflict_that_names_both() {
        let (low, high) = (Fence { epoch: 1, generation: 4 }, Fence { epoch: 2, generation: 3 });
        let error = Error::Stale { fence: low, seen: high };
        assert_eq!(status(&error), StatusCode::CONFLICT);
        assert_eq!(error.to_string(), "fence 1/4 is stale: 2/3 was seen");
    }

    #[test]
    fn semantics_16_without_fences_the_webhook_is_unavailable_and_not_wrong() {
        assert_eq!(status(&Error::Unsynced), StatusCode::SERVICE_UNAVAILABLE);
        let foreign = Error::Foreign { wanted: "west".to_owned(), here: "east".to_owned() };
        assert_eq!(status(&foreign), StatusCode::UNPROCESSABLE_ENTITY);
    }
}
