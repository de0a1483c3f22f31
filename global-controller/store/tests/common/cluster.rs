//! Three replicas over real sockets, each of which can be closed, aborted and started again on its port and folder.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use federated_store::{Config, ReplicaConfig, Store, Tuning};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::PATIENCE;
use super::secure::{Authority, Role};

pub struct Running {
    pub store: Store,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

pub struct Cluster {
    pub authority: Authority,
    pub replicas: Vec<ReplicaConfig>,
    pub running: Vec<Option<Running>>,
    pub tuning: Tuning,
    /// Replicas with which the store is formed; those after them join.
    formed: usize,
    folder: PathBuf,
    temporary: Option<tempfile::TempDir>,
}

impl Cluster {
    pub async fn new(tuning: Tuning) -> Self {
        let mut cluster = Self::unstarted(tuning);
        for place in 0..3 {
            cluster.start(place).await;
        }
        cluster
    }

    /// A store of one replica, which may grow.
    pub async fn one(tuning: Tuning) -> Self {
        let mut cluster = Self::unstarted(tuning);
        cluster.formed = 1;
        cluster.replicas.truncate(1);
        cluster.running.truncate(1);
        cluster.start(0).await;
        cluster
    }

    pub fn unstarted(tuning: Tuning) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut cluster = Self::in_folder(temporary.path(), tuning);
        cluster.temporary = Some(temporary);
        cluster
    }

    /// Replicas whose folders outlive this process.
    pub fn in_folder(folder: &Path, tuning: Tuning) -> Self {
        // All ports are reserved at once, so that no two replicas get the same one.
        let listeners: Vec<_> = (0..3).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let replicas = (1_u64..).zip(&listeners).map(|(number, listener)| ReplicaConfig {
            id: format!("controller-{number}"),
            number,
            url: format!("https://{}", listener.local_addr().unwrap()),
        });
        let replicas = replicas.collect();
        let (authority, running, folder) = (Authority::new(), vec![None, None, None], folder.to_owned());
        Self { authority, replicas, running, tuning, formed: 3, folder, temporary: None }
    }

    pub fn folder(&self, place: usize) -> PathBuf {
        self.folder.join(format!("replica-{place}"))
    }

    pub fn config(&self, place: usize, folder: &Path) -> Config {
        let id = self.replicas[place].id.clone();
        let client = Some(self.authority.client(Role::Replica, &id));
        let (cluster, data_dir, replicas) = ("test".to_owned(), folder.to_owned(), self.replicas.clone());
        let join = place >= self.formed;
        Config { cluster, id, data_dir, replicas, join, client, tick: Config::TICK }
    }

    /// Starts a replica that waits to be added, under a number that was never used; returns its place.
    pub async fn start_joining(&mut self) -> usize {
        let place = self.replicas.len();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (number, url) = (place as u64 + 1, format!("https://{}", listener.local_addr().unwrap()));
        self.replicas.push(ReplicaConfig { id: format!("controller-{number}"), number, url });
        self.running.push(None);
        drop(listener);
        self.start(place).await;
        place
    }

    pub async fn start(&mut self, place: usize) {
        let config = self.config(place, &self.folder(place));
        let (store, router) = Store::open_with(config, self.tuning).await.unwrap();
        let listener = listen(self.replicas[place].url.split("//").nth(1).unwrap().parse().unwrap()).await;
        let shutdown = CancellationToken::new();
        let serving = self.authority.serve(&self.replicas[place].id, listener, router, shutdown.clone());
        self.running[place] = Some(Running { store, shutdown, serving: tokio::spawn(serving) });
    }

    pub fn store(&self, place: usize) -> Store {
        self.running[place].as_ref().unwrap().store.clone()
    }

    /// Ends a replica in order.
    pub async fn close(&mut self, place: usize) {
        let Running { store, shutdown, serving } = self.running[place].take().unwrap();
        store.close().await;
        shutdown.cancel();
        let _ = serving.await;
    }

    /// Ends a replica as a crash would: its connections break first, nothing more is written.
    pub async fn abort(&mut self, place: usize) {
        let Running { store, shutdown, serving } = self.running[place].take().unwrap();
        serving.abort();
        let _ = serving.await;
        store.abort().await;
        shutdown.cancel();
    }

    /// The place of the replica that leads with a fence.
    pub async fn leader(&self) -> usize {
        let give_up = tokio::time::Instant::now() + PATIENCE;
        loop {
            for (place, running) in self.running.iter().enumerate() {
                if running.as_ref().is_some_and(|running| running.store.leadership().borrow().fence.is_some()) {
                    return place;
                }
            }
            assert!(tokio::time::Instant::now() < give_up, "no leader in time: {:?}", self.views());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn views(&self) -> Vec<Option<federated_store::Leadership>> {
        let views = self.running.iter().map(|running| Some(running.as_ref()?.store.leadership().borrow().clone()));
        views.collect()
    }

    pub async fn close_all(mut self) {
        for place in 0..self.running.len() {
            if self.running[place].is_some() {
                self.close(place).await;
            }
        }
    }
}

/// Listens on the port that a replica had before.
pub async fn listen(address: SocketAddr) -> TcpListener {
    let give_up = tokio::time::Instant::now() + PATIENCE;
    loop {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        match socket.bind(address).and_then(|()| socket.listen(128)) {
            Ok(listener) => return listener,
            Err(error) if tokio::time::Instant::now() > give_up => panic!("{error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
