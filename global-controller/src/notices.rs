//! The queue of what people are to be told: filled by whoever commits a decision, emptied by who writes Events.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::Timestamp;
use tokio::sync::mpsc;

use crate::records::RecordedEvent;

/// Events that may wait for the hub; beyond it they are dropped, and the record in the store remains.
const QUEUE: usize = 1_000;

/// An event about one rollout.
pub(crate) struct Notice {
    /// The rollout.
    pub reference: ObjectReference,
    pub event: RecordedEvent,
    /// When it was committed.
    pub at: Timestamp,
    /// Place among the events of one decision.
    pub number: usize,
}

/// The sending side.
#[derive(Clone)]
pub(crate) struct Queue(mpsc::Sender<Notice>);

/// Both sides.
pub(crate) fn queue() -> (Queue, mpsc::Receiver<Notice>) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Queue(sender), receiver)
}

impl Queue {
    /// Queues the events of one decision about a rollout; answers how many found no room.
    pub fn announce(&self, reference: &ObjectReference, events: Vec<RecordedEvent>) -> u64 {
        let mut dropped = 0;
        let at = Timestamp::now();
        for (number, event) in events.into_iter().enumerate() {
            let notice = Notice { reference: reference.clone(), event, at, number };
            if self.0.try_send(notice).is_err() {
                dropped += 1;
                tracing::warn!(rollout = reference.name, "too many events wait for the hub; one is dropped");
            }
        }
        dropped
    }
}
