//! `/api/v1/events`: what people are shown, as server-sent events. First everything, then what changes.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::board::{Board, Update};

/// Pages that are open at once; each costs a task and what it falls behind.
const MAX_PAGES: usize = 500;

/// What pages need.
#[derive(Clone)]
pub(super) struct Pages {
    pub(super) board: Arc<Board>,
    open: Arc<Semaphore>,
}

impl Pages {
    pub(super) fn new(board: Arc<Board>) -> Self {
        Self { board, open: Arc::new(Semaphore::new(MAX_PAGES)) }
    }
}

struct Follower {
    board: Arc<Board>,
    receiver: Receiver<Update>,
    next: Option<Update>,
    _permit: OwnedSemaphorePermit,
}

/// Serves one page.
pub(super) async fn serve(State(Pages { board, open }): State<Pages>) -> Response {
    let Ok(permit) = Semaphore::try_acquire_owned(open) else {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("{MAX_PAGES} pages are open already")).into_response();
    };
    let (snapshot, receiver) = board.subscribe();
    let follower = Follower { board, receiver, next: Some(snapshot), _permit: permit };
    Sse::new(updates(follower)).keep_alive(KeepAlive::default()).into_response()
}

fn updates(follower: Follower) -> impl Stream<Item = Result<Event, Infallible>> {
    futures::stream::unfold(follower, |mut follower| async move {
        let update = match follower.next.take() {
            Some(update) => update,
            None => match follower.receiver.recv().await {
                Ok(update) => update,
                // A page that fell behind gets everything again.
                Err(RecvError::Lagged(_)) => {
                    let (snapshot, receiver) = follower.board.subscribe();
                    follower.receiver = receiver;
                    snapshot
                }
                Err(RecvError::Closed) => return None,
            },
        };
        let event = Event::default().event(update.name).data(&update.data);
        Some((Ok(event), follower))
    })
}
