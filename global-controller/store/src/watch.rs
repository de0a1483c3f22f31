//! Watching keys: whole revisions in order, or word that the past is gone.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::stream::{self, BoxStream, Stream};
use store_node::Change;
use tokio::sync::watch;

use crate::history::{History, Next};

/// A watcher without matching changes hears of progress after this many revisions.
const PROGRESS_REVISIONS: u64 = 1_000;

/// What a watcher hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// All changes of one revision under the prefix, in the order of their transaction.
    Changes {
        /// The revision.
        revision: u64,
        /// What changed.
        changes: Vec<Change>,
    },
    /// Nothing more under the prefix up to and with this revision.
    Progress {
        /// The revision.
        revision: u64,
    },
    /// Changes were missed: read the keys again, page by page, and ignore later events at or below a page's
    /// revision. The watch goes on from this revision.
    Resync {
        /// The revision from which the watch goes on.
        revision: u64,
    },
}

/// A stream of [`WatchEvent`]s; ends when the store is closed. It holds no queue: a slow watcher costs nothing, and
/// gets [`WatchEvent::Resync`] once it falls behind the history.
pub struct Watch {
    events: BoxStream<'static, WatchEvent>,
}

impl Stream for Watch {
    type Item = WatchEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        self.events.as_mut().poll_next(context)
    }
}

struct Cursor {
    history: Arc<History>,
    latest: watch::Receiver<u64>,
    closed: tokio_util::sync::CancellationToken,
    prefix: String,
    position: u64,
    reported: Option<u64>,
}

impl Watch {
    pub(crate) fn new(
        history: Arc<History>,
        closed: tokio_util::sync::CancellationToken,
        prefix: &str,
        from: u64,
    ) -> Self {
        let latest = history.subscribe();
        let cursor = Cursor { history, latest, closed, prefix: prefix.to_owned(), position: from, reported: None };
        let events = stream::unfold(cursor, |mut cursor| async move {
            let event = cursor.next().await?;
            Some((event, cursor))
        });
        Self::from_events(events)
    }

    pub(crate) fn from_events(events: impl Stream<Item = WatchEvent> + Send + 'static) -> Self {
        Self { events: Box::pin(events) }
    }
}

impl Cursor {
    async fn next(&mut self) -> Option<WatchEvent> {
        loop {
            self.latest.mark_unchanged();
            match self.history.next(self.position, &self.prefix) {
                Next::Compacted { latest } => {
                    (self.position, self.reported) = (latest, Some(latest));
                    return Some(WatchEvent::Resync { revision: latest });
                }
                Next::Found { revision, changes } => {
                    (self.position, self.reported) = (revision, Some(revision));
                    return Some(WatchEvent::Changes { revision, changes });
                }
                Next::Nothing { upto, more } => {
                    self.position = upto;
                    if let Some(event) = self.progress(upto) {
                        return Some(event);
                    }
                    if !more && !self.wait().await {
                        return None;
                    }
                }
            }
        }
    }

    fn progress(&mut self, revision: u64) -> Option<WatchEvent> {
        let due = self.reported.is_none_or(|reported| revision >= reported + PROGRESS_REVISIONS);
        if !due {
            return None;
        }
        self.reported = Some(revision);
        Some(WatchEvent::Progress { revision })
    }

    /// Waits for a later revision; false when the store was closed.
    async fn wait(&mut self) -> bool {
        tokio::select! {
            () = self.closed.cancelled() => false,
            changed = self.latest.changed() => changed.is_ok(),
        }
    }
}
