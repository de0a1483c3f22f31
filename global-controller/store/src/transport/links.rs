//! The sending side: one bounded queue and one long-lived request per peer.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use store_node::{Message, SnapshotOrder};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::{hello, snapshots, streams};
use crate::config::ReplicaConfig;
use crate::handle::Shared;
use crate::inbox::Command;

/// Messages that wait for one peer. Raft bears the loss of any message, so beyond it they are dropped and counted.
const QUEUE: usize = 4096;
/// Bytes of entries that wait for one peer: twice what may be uncommitted.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// Between attempts to connect: the first soon, as leaders change within 200 ms, later ones less often.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The queue to one peer.
struct Link {
    queue: Sender<Message>,
    bytes: Arc<AtomicUsize>,
    dropped: AtomicU64,
}

/// The queues to all peers.
pub(crate) struct Links {
    by_number: HashMap<u64, Link>,
    shared: Arc<Shared>,
    runtime: Handle,
}

/// What a message counts for in a queue.
pub(crate) fn weight(message: &Message) -> usize {
    message.get_entries().iter().map(|entry| entry.data.len() + 32).sum()
}

impl Links {
    /// Starts connecting to every other replica.
    pub(crate) fn start(shared: &Arc<Shared>, runtime: &Handle) -> Self {
        let mut links = HashMap::new();
        for peer in shared.config.others() {
            let (queue, waiting) = mpsc::channel(QUEUE);
            let bytes = Arc::new(AtomicUsize::new(0));
            runtime.spawn(keep_connected(Arc::clone(shared), peer.clone(), waiting, Arc::clone(&bytes)));
            links.insert(peer.number, Link { queue, bytes, dropped: AtomicU64::new(0) });
        }
        Self { by_number: links, shared: Arc::clone(shared), runtime: runtime.clone() }
    }

    /// Whether this replica is the only one.
    pub(crate) fn none(&self) -> bool {
        self.by_number.is_empty()
    }

    /// Queues messages, in order per peer; returns the peers that lost some.
    pub(crate) fn send(&self, messages: Vec<Message>) -> Vec<u64> {
        let mut lost = Vec::new();
        for message in messages {
            let to = message.to;
            let Some(link) = self.by_number.get(&to) else { continue };
            if !link.push(message) && !lost.contains(&to) {
                lost.push(to);
            }
        }
        lost
    }

    /// Sends a snapshot on a request of its own.
    pub(crate) fn send_snapshot(&self, order: SnapshotOrder) {
        let shared = Arc::clone(&self.shared);
        self.runtime.spawn(async move {
            let peer = order.to;
            let sent = snapshots::send(&shared, order).await;
            if let Err(error) = &sent {
                tracing::warn!(peer, error = hello::describe(error), "failed to send a snapshot");
            }
            // Raft sends this follower nothing until it hears of it, so this one isn't dropped.
            shared.tell(Command::SnapshotSent { peer, delivered: sent.is_ok() }).await;
        });
    }
}

impl Link {
    fn push(&self, message: Message) -> bool {
        let weight = weight(&message);
        if self.bytes.load(Ordering::Relaxed) + weight > QUEUE_BYTES {
            self.count_drop();
            return false;
        }
        self.bytes.fetch_add(weight, Ordering::Relaxed);
        if self.queue.try_send(message).is_ok() {
            return true;
        }
        self.bytes.fetch_sub(weight, Ordering::Relaxed);
        self.count_drop();
        false
    }

    fn count_drop(&self) {
        let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
        // Once per power of two: a peer that is down drops messages all the time.
        if dropped.is_power_of_two() {
            tracing::warn!(dropped, "messages to a replica were dropped, its queue is full");
        }
    }
}

async fn keep_connected(
    shared: Arc<Shared>,
    peer: ReplicaConfig,
    mut queue: Receiver<Message>,
    bytes: Arc<AtomicUsize>,
) {
    let closed = shared.closed.clone();
    let mut pause = FIRST_PAUSE;
    loop {
        // What waited during the interruption is stale; raft has sent or will send it again.
        while let Ok(message) = queue.try_recv() {
            bytes.fetch_sub(weight(&message), Ordering::Relaxed);
        }
        let began = tokio::time::Instant::now();
        let connection = streams::connect(&shared, &peer, queue, &bytes);
        let (returned, error) = tokio::select! {
            () = closed.cancelled() => return,
            ended = connection => ended,
        };
        queue = returned;
        if queue.is_closed() {
            return;
        }
        tracing::debug!(peer = peer.id, error, "the connection to a replica ended");
        let _ = shared.inbox.try_send(Command::Unreachable(peer.number));
        pause = if began.elapsed() > LONGEST_PAUSE { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
        tokio::select! {
            () = closed.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}
