//! Watching: etcd's events as whole revisions, over as many streams as it takes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Event, EventType, WatchOptions, WatchResponse, WatchStream};
use futures::stream;
use store_node::Change;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::failure::Failure;
use super::keys::Keys;
use super::reading::{latest, revision, unsigned};
use crate::watch::{Watch, WatchEvent};

/// One request; a member that hangs is left for another one after it.
const ATTEMPT_DEADLINE: Duration = Duration::from_secs(2);
/// Before the next stream when one ended.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// An answer named a revision that the watch hasn't reached, or its first mark hasn't come: when that doesn't come by
/// itself within this time, nothing under our prefix will bring it, and the etcd is asked to say so.
const CATCH_UP: Duration = Duration::from_millis(20);
/// When nothing is heard for so long, the etcd is asked whether it is still there.
const IDLE: Duration = Duration::from_secs(5);
/// Questions without any message before the stream is taken for dead. One that catches up doesn't answer them, but it
/// sends events.
const UNANSWERED: u32 = 500;

/// A position in the history of the keys under a prefix, and the stream that brings what comes after it.
pub(super) struct Follower {
    connection: Connection,
    keys: Arc<Keys>,
    heard: watch::Receiver<u64>,
    closed: CancellationToken,
    prefix: String,
    /// Everything up to it was told.
    position: u64,
    /// The highest revision that this watch's own messages named.
    seen: u64,
    progressed: bool,
    unanswered: u32,
    stream: Option<WatchStream>,
    waiting: VecDeque<WatchEvent>,
}

impl Follower {
    pub(super) fn new(
        connection: Connection,
        keys: Arc<Keys>,
        heard: watch::Receiver<u64>,
        closed: CancellationToken,
        prefix: &str,
        from: u64,
    ) -> Self {
        Self {
            connection,
            keys,
            heard,
            closed,
            prefix: prefix.to_owned(),
            position: from,
            seen: 0,
            progressed: false,
            unanswered: 0,
            stream: None,
            waiting: VecDeque::new(),
        }
    }

    pub(super) fn into_watch(self) -> Watch {
        Watch::from_events(stream::unfold(self, |mut follower| async move {
            let event = follower.next().await?;
            Some((event, follower))
        }))
    }

    async fn next(&mut self) -> Option<WatchEvent> {
        let closed = self.closed.clone();
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            let failure = tokio::select! {
                () = closed.cancelled() => return None,
                done = self.step() => match done {
                    Ok(true) => continue,
                    Ok(false) => return None,
                    Err(failure) => failure,
                },
            };
            tracing::debug!(%failure, position = self.position, "a watch ended and is taken up again");
            self.stream = None;
            tokio::select! {
                () = closed.cancelled() => return None,
                () = sleep(RETRY_PAUSE) => {}
            }
        }
    }

    /// Takes in one message; false when there is no client any more.
    async fn step(&mut self) -> Result<bool, Failure> {
        let Some(stream) = &mut self.stream else { return self.connect().await };
        let behind = *self.heard.borrow_and_update() > self.position || !self.progressed;
        let message = tokio::select! {
            message = timeout(if behind { CATCH_UP } else { IDLE }, stream.message()) => message,
            Ok(()) = self.heard.changed(), if !behind => return Ok(true),
        };
        match message {
            Ok(Ok(Some(message))) => {
                self.unanswered = 0;
                return self.take(&message).await;
            }
            Ok(Ok(None)) => return Err(Failure::Perhaps("the etcd ended the stream".to_owned())),
            Ok(Err(error)) => match error.into() {
                // The next stream would bring the same message again.
                Failure::TooLarge => return self.resync().await,
                failure => return Err(failure),
            },
            Err(_) => {}
        }
        self.unanswered += if behind { 1 } else { UNANSWERED / 2 };
        if self.unanswered > UNANSWERED {
            return Err(Failure::Perhaps("the etcd is silent".to_owned()));
        }
        let asked = timeout(ATTEMPT_DEADLINE, stream.request_progress()).await;
        asked.map_err(|_| Failure::Perhaps("the etcd doesn't take questions".to_owned()))??;
        Ok(true)
    }

    async fn connect(&mut self) -> Result<bool, Failure> {
        let (Some(kv), Some(mut client)) = (self.connection.kv().await, self.connection.watch().await) else {
            return Ok(false);
        };
        // Also brings a new token when the old one expired, which the stream's own request doesn't.
        let latest = within(latest(kv, &self.keys)).await?;
        if latest < self.seen {
            // It was restored from a backup: what lies between was taken back.
            return self.resync().await;
        }
        let start = i64::try_from(self.position.saturating_add(1)).unwrap_or(i64::MAX);
        let options = WatchOptions::new().with_prefix().with_start_revision(start).with_progress_notify();
        let opened = async { Ok(client.watch(self.keys.outer(&self.prefix), Some(options)).await?) };
        self.stream = Some(within(opened).await?);
        self.unanswered = 0;
        Ok(true)
    }

    async fn take(&mut self, message: &WatchResponse) -> Result<bool, Failure> {
        if message.compact_revision() > 0 {
            return self.resync().await;
        }
        if message.canceled() {
            return Err(Failure::Perhaps(message.cancel_reason().to_owned()));
        }
        let at = revision(message.header());
        self.seen = self.seen.max(at);
        if message.created() {
            // The first mark says that the watch is there.
            if let (false, Some(stream)) = (self.progressed, &mut self.stream) {
                stream.request_progress().await?;
            }
            return Ok(true);
        }
        if message.events().is_empty() {
            self.progress(at);
        } else {
            self.changes(message.events());
        }
        Ok(true)
    }

    fn progress(&mut self, at: u64) {
        if self.progressed && at <= self.position {
            return;
        }
        self.progressed = true;
        self.position = self.position.max(at);
        self.waiting.push_back(WatchEvent::Progress { revision: self.position });
    }

    /// Events come in order, and all of a revision in one message as long as messages aren't asked for in fragments.
    fn changes(&mut self, events: &[Event]) {
        let events = events.iter().filter_map(Event::kv).zip(events.iter().map(Event::event_type));
        for (found, kind) in events {
            let revision = unsigned(found.mod_revision());
            let Some(key) = self.keys.inner(found.key()) else { continue };
            let value = (kind == EventType::Put).then(|| bytes::Bytes::copy_from_slice(found.value()));
            let change = Change { key, value };
            match self.waiting.back_mut() {
                Some(WatchEvent::Changes { revision: last, changes }) if *last == revision => changes.push(change),
                // Told before the last stream ended.
                _ if revision <= self.position => {}
                _ => self.waiting.push_back(WatchEvent::Changes { revision, changes: vec![change] }),
            }
        }
        if let Some(WatchEvent::Changes { revision, .. }) = self.waiting.back() {
            self.position = *revision;
        }
    }

    /// Goes on from now: what lies between can't be told any more.
    async fn resync(&mut self) -> Result<bool, Failure> {
        let Some(kv) = self.connection.kv().await else { return Ok(false) };
        let now = within(latest(kv, &self.keys)).await?;
        (self.position, self.seen, self.progressed, self.stream) = (now, now, true, None);
        self.waiting.push_back(WatchEvent::Resync { revision: now });
        Ok(true)
    }
}

async fn within<T>(request: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let answer = timeout(ATTEMPT_DEADLINE, request).await;
    answer.unwrap_or_else(|_| Err(Failure::Perhaps("no answer in time".to_owned())))
}
