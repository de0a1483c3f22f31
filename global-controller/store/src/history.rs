//! The last revisions in memory, shared by all watchers: a watcher is a position in it, not a queue of its own.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use store_node::{Change, Changes};
use tokio::sync::watch;

/// Revisions looked through under one lock.
const SCAN_REVISIONS: usize = 4096;

#[derive(Debug)]
struct Ring {
    items: VecDeque<Arc<Changes>>,
    bytes: usize,
    /// Changes of revisions above this one are all held.
    floor: u64,
    /// The last revision.
    latest: u64,
}

/// The last revisions.
#[derive(Debug)]
pub(crate) struct History {
    ring: RwLock<Ring>,
    latest: watch::Sender<u64>,
    max_revisions: usize,
    max_bytes: usize,
}

/// What comes after a position.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The position is no longer held; the last revision is this one.
    Compacted { latest: u64 },
    /// The next revision with changes under the prefix.
    Found { revision: u64, changes: Vec<Change> },
    /// Nothing under the prefix up to and with this revision.
    Nothing { upto: u64, more: bool },
}

/// Whole revisions after a position, whatever they change.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Batch {
    /// The position is no longer held.
    Compacted,
    /// The next revisions, none when there are no later ones.
    Revisions(Vec<Arc<Changes>>),
}

impl History {
    pub(crate) fn new(max_revisions: usize, max_bytes: usize) -> Self {
        let ring = Ring { items: VecDeque::new(), bytes: 0, floor: 0, latest: 0 };
        Self { ring: RwLock::new(ring), latest: watch::Sender::new(0), max_revisions, max_bytes }
    }

    /// Forgets everything: the state is now that of `revision`, and what led there isn't known.
    pub(crate) fn restart(&self, revision: u64) {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        *ring = Ring { items: VecDeque::new(), bytes: 0, floor: revision, latest: revision };
        drop(ring);
        self.latest.send_replace(revision);
    }

    /// Adds revisions in order.
    pub(crate) fn extend(&self, revisions: Vec<Changes>) {
        let Some(latest) = revisions.last().map(|changes| changes.revision) else { return };
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        ring.latest = latest;
        for changes in revisions {
            ring.bytes += size(&changes);
            ring.items.push_back(Arc::new(changes));
        }
        while ring.items.len() > self.max_revisions || ring.bytes > self.max_bytes {
            let Some(oldest) = ring.items.pop_front() else { break };
            ring.bytes -= size(&oldest);
            ring.floor = oldest.revision;
        }
        drop(ring);
        self.latest.send_replace(latest);
    }

    /// Wakes when there are later revisions.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    /// What comes after `position` under `prefix`.
    pub(crate) fn next(&self, position: u64, prefix: &str) -> Next {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        if position < ring.floor {
            return Next::Compacted { latest: ring.latest };
        }
        let start = ring.items.partition_point(|changes| changes.revision <= position);
        let mut upto = position;
        for changes in ring.items.iter().skip(start).take(SCAN_REVISIONS) {
            upto = changes.revision;
            let matching: Vec<_> = changes.changes.iter().filter(|change| change.key.starts_with(prefix)).collect();
            if !matching.is_empty() {
                return Next::Found { revision: upto, changes: matching.into_iter().cloned().collect() };
            }
        }
        Next::Nothing { upto, more: ring.items.len() > start + SCAN_REVISIONS }
    }
}

impl History {
    /// Up to `limit` revisions after `position`, shared and not copied.
    pub(crate) fn batch(&self, position: u64, limit: usize) -> Batch {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        if position < ring.floor {
            return Batch::Compacted;
        }
        let start = ring.items.partition_point(|changes| changes.revision <= position);
        Batch::Revisions(ring.items.iter().skip(start).take(limit).cloned().collect())
    }
}

fn size(changes: &Changes) -> usize {
    const FIXED: usize = 64;
    let values = changes
        .changes
        .iter()
        .map(|change| FIXED + change.key.len() + change.value.as_ref().map_or(0, bytes::Bytes::len));
    FIXED + values.sum::<usize>()
}
