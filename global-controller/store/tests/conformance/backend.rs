//! What the suite needs of a backend, and what its tests share.

use federated_store::{Leadership, Store, Versioned};

use crate::common::PATIENCE;

/// What a test does to its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing but using it.
    Use,
    /// Its history is made short.
    Forgetting,
    /// Its servers stop.
    Stopping,
}

/// A store in a test: several handles, as controller replicas have them.
pub trait Backend: Sized {
    /// Starts it; each of its handles is open.
    async fn start(needs: Needs) -> Self;
    /// How many handles there are.
    fn places(&self) -> usize;
    /// The handle at a place, which must be open. A place beyond the last is counted from the first again.
    fn store(&self, place: usize) -> Store;
    /// Ends a handle in order.
    async fn close(&mut self, place: usize);
    /// Ends a handle as a crash would.
    async fn abort(&mut self, place: usize);
    /// Opens it again.
    async fn reopen(&mut self, place: usize);
    /// Something happens that takes a revision without touching the store's keys, if the backend has that.
    async fn noise(&self);
    /// Makes the history forget all that is older than a few revisions.
    async fn forget(&self);
    /// Ends everything.
    async fn end(self);
}

/// A backend on several servers.
pub trait Replicated: Backend {
    /// Ends servers until there is no majority; the handle at place 0 stays open.
    async fn lose_servers(&mut self);
    /// Starts them again.
    async fn regain_servers(&mut self);
}

/// The place of the handle that leads with a fence.
pub async fn leader(backend: &impl Backend, open: &[usize]) -> (usize, Leadership) {
    let give_up = tokio::time::Instant::now() + PATIENCE;
    loop {
        for place in open {
            let view = backend.store(*place).leadership().borrow().clone();
            if view.fence.is_some() {
                return (*place, view);
            }
        }
        let views: Vec<_> = open.iter().map(|place| backend.store(*place).leadership().borrow().clone()).collect();
        assert!(tokio::time::Instant::now() < give_up, "no leader in time: {views:?}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// All places.
pub fn all(backend: &impl Backend) -> Vec<usize> {
    (0..backend.places()).collect()
}

/// A key that must exist.
pub async fn found(store: &Store, key: &str) -> Versioned {
    store.get(key).await.unwrap().unwrap_or_else(|| panic!("'{key}' is not there"))
}
