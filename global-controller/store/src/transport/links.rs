//! The sending side: one bounded queue and one long-lived request per peer.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use store_node::{Message, SnapshotOrder};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::watch;

use super::{hello, snapshots, streams};
use crate::config::ReplicaConfig;
use crate::handle::Shared;
use crate::inbox::Command;
use crate::roster::{Peer, Roster};

/// Messages that wait for one peer. Raft bears the loss of any message, so beyond it they are dropped and counted.
const QUEUE: usize = 4096;
/// Bytes of entries that wait for one peer: twice what may be uncommitted.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// Between attempts to connect: the first soon, as leaders change within 200 ms, later ones less often.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The queue to one peer; dropping it ends the connection.
struct Link {
    peer: ReplicaConfig,
    queue: Sender<Message>,
    bytes: Arc<AtomicUsize>,
    dropped: AtomicU64,
}

/// The queues to all peers.
pub(crate) struct Links {
    by_number: HashMap<u64, Link>,
    roster: watch::Receiver<Roster>,
    shared: Arc<Shared>,
    runtime: Handle,
}

/// What a message counts for in a queue.
pub(crate) fn weight(message: &Message) -> usize {
    message.get_entries().iter().map(|entry| entry.data.len() + 32).sum()
}

impl Links {
    /// Starts connecting to every other member.
    pub(crate) fn start(shared: &Arc<Shared>, runtime: &Handle) -> Self {
        let roster = shared.roster.subscribe();
        let mut links =
            Self { by_number: HashMap::new(), roster, shared: Arc::clone(shared), runtime: runtime.clone() };
        links.follow();
        links
    }

    /// Takes a changed membership over, if there is one: says whether there was.
    pub(crate) fn follow_changes(&mut self) -> bool {
        let changed = self.roster.has_changed().unwrap_or(false);
        if changed {
            self.follow();
        }
        changed
    }

    fn follow(&mut self) {
        // Before looking: a change that comes meanwhile is seen again next time.
        self.roster.mark_unchanged();
        let wanted = self.wanted();
        self.by_number.retain(|number, link| wanted.get(number) == Some(&link.peer));
        self.add_new();
    }

    /// Starts connecting to members that are new, and keeps the connections to those that left: what is on its way
    /// to one that was removed tells it so.
    pub(crate) fn add_new(&mut self) {
        for (number, peer) in self.wanted() {
            let (shared, runtime) = (&self.shared, &self.runtime);
            self.by_number.entry(number).or_insert_with(|| Link::start(shared, runtime, peer));
        }
    }

    /// All other members, or nobody once this replica is none.
    fn wanted(&self) -> HashMap<u64, ReplicaConfig> {
        let own = self.shared.config.own.number;
        let roster = self.roster.borrow();
        if roster.by_number(own).is_none() || self.shared.removed.load(Ordering::Relaxed) {
            return HashMap::new();
        }
        let others = roster.members.iter().filter(|peer| peer.number != own).cloned();
        others.map(|Peer { number, id, url, .. }| (number, ReplicaConfig { id, number, url })).collect()
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
    fn start(shared: &Arc<Shared>, runtime: &Handle, peer: ReplicaConfig) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let bytes = Arc::new(AtomicUsize::new(0));
        runtime.spawn(keep_connected(Arc::clone(shared), peer.clone(), waiting, Arc::clone(&bytes)));
        Self { peer, queue, bytes, dropped: AtomicU64::new(0) }
    }

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
