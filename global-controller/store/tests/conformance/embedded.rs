//! Replicas of our own: one, and three over mutual TLS.

use federated_store::{Store, Tuning};

use crate::backend::{Backend, Needs, Replicated, leader};
use crate::common::cluster::Cluster;
use crate::common::{open_single_with, write};

/// Revisions that a short history holds.
const SHORT_HISTORY: usize = 10;

fn tuning(needs: Needs) -> Tuning {
    match needs {
        Needs::Forgetting => Tuning { history_revisions: SHORT_HISTORY, ..Tuning::default() },
        Needs::Use | Needs::Stopping => Tuning::default(),
    }
}

async fn outgrow_history(store: &Store) {
    for n in 0..2 * SHORT_HISTORY {
        write(store, "outgrowing", &n.to_string()).await;
    }
}

pub struct OneReplica {
    folder: tempfile::TempDir,
    tuning: Tuning,
    store: Option<Store>,
}

impl Backend for OneReplica {
    async fn start(needs: Needs) -> Self {
        let (folder, tuning) = (tempfile::tempdir().unwrap(), tuning(needs));
        let store = Some(open_single_with(folder.path(), tuning).await);
        Self { folder, tuning, store }
    }

    fn places(&self) -> usize {
        1
    }

    fn store(&self, _place: usize) -> Store {
        self.store.clone().unwrap()
    }

    async fn close(&mut self, _place: usize) {
        self.store.take().unwrap().close().await;
    }

    async fn abort(&mut self, _place: usize) {
        self.store.take().unwrap().abort().await;
    }

    async fn reopen(&mut self, _place: usize) {
        self.store = Some(open_single_with(self.folder.path(), self.tuning).await);
    }

    async fn noise(&self) {}

    async fn forget(&self) {
        outgrow_history(&self.store(0)).await;
    }

    async fn end(mut self) {
        if let Some(store) = self.store.take() {
            store.close().await;
        }
    }
}

pub struct ThreeReplicas {
    cluster: Cluster,
    lost: Vec<usize>,
}

impl Backend for ThreeReplicas {
    async fn start(needs: Needs) -> Self {
        let started = Self { cluster: Cluster::new(tuning(needs)).await, lost: Vec::new() };
        leader(&started, &[0, 1, 2]).await;
        started
    }

    fn places(&self) -> usize {
        3
    }

    fn store(&self, place: usize) -> Store {
        self.cluster.store(place % 3)
    }

    async fn close(&mut self, place: usize) {
        self.cluster.close(place).await;
    }

    async fn abort(&mut self, place: usize) {
        self.cluster.abort(place).await;
    }

    async fn reopen(&mut self, place: usize) {
        self.cluster.start(place).await;
    }

    async fn noise(&self) {}

    async fn forget(&self) {
        outgrow_history(&self.store(0)).await;
    }

    async fn end(self) {
        self.cluster.close_all().await;
    }
}

impl Replicated for ThreeReplicas {
    async fn lose_servers(&mut self) {
        for place in [1, 2] {
            self.cluster.abort(place).await;
            self.lost.push(place);
        }
    }

    async fn regain_servers(&mut self) {
        for place in std::mem::take(&mut self.lost) {
            self.cluster.start(place).await;
        }
    }
}
