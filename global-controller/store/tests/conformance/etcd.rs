//! Real etcds of three members over mutual TLS. Most tests share one, with users and a prefix for each test; what stops
//! members or compacts has one of its own, without users.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etcd_client::Client;
use federated_store::{EtcdConfig, EtcdTls, EtcdUser, Store};

use crate::backend::{Backend, Needs, Replicated};
use crate::etcd_servers::{ROLLOUT, Servers};

/// The shortest: a leader that died is to be missed soon.
const LEASE: Duration = Duration::from_secs(2);
const REPLICAS: usize = 3;

/// The one that tests share. Its members are children of a thread that lives as long as the process.
static SHARED: OnceLock<Servers> = OnceLock::new();
/// Numbers the prefixes in it.
static PREFIXES: AtomicU64 = AtomicU64::new(1);

fn shared() -> &'static Servers {
    SHARED.get_or_init(|| {
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let servers = runtime.block_on(async {
                let mut servers = Servers::new();
                servers.start().await;
                servers.add_users().await;
                servers
            });
            sender.send(servers).unwrap();
            // The members end with the thread that started them.
            loop {
                std::thread::park();
            }
        });
        receiver.recv().expect("the shared etcd didn't start; its thread says why")
    })
}

fn new_prefix() -> String {
    format!("/clusterrollout/test-{}/", PREFIXES.fetch_add(1, Ordering::Relaxed))
}

pub struct Etcd {
    /// None: the shared one.
    own: Option<Servers>,
    prefix: String,
    stores: BTreeMap<usize, Store>,
}

impl Etcd {
    fn servers(&self) -> &Servers {
        self.own.as_ref().unwrap_or_else(|| shared())
    }

    /// What a handle is opened with.
    pub fn config(&self, place: usize) -> EtcdConfig {
        let servers = self.servers();
        let (authority, certificate, key) = servers.client_pem();
        let identity = Some((certificate.into_bytes(), key.into_bytes()));
        let user = servers.has_users().then(|| EtcdUser { name: ROLLOUT.into(), password: ROLLOUT.into() });
        let number = place + 1;
        EtcdConfig {
            cluster: "test".into(),
            id: format!("controller-{number}"),
            url: format!("https://127.0.0.1:{number}"),
            endpoints: servers.endpoints(),
            prefix: Some(self.prefix.clone()),
            tls: Some(EtcdTls { authority: authority.into_bytes(), identity }),
            user,
            lease: LEASE,
        }
    }

    /// One of its own whose members don't run, without a handle.
    pub fn unstarted() -> Self {
        Self { own: Some(Servers::new()), prefix: new_prefix(), stores: BTreeMap::new() }
    }

    /// Starts the members of its own.
    pub async fn start_servers(&mut self) {
        self.own.as_mut().unwrap().start().await;
    }

    /// As somebody with rights on our prefix may.
    pub async fn delete_leader(&self) {
        let mut client = self.raw().await;
        let deleted = client.delete(format!("{}leader", self.prefix), None).await.unwrap();
        assert_eq!(deleted.deleted(), 1, "the leader's key is elsewhere");
    }

    /// A client of etcd's own kind.
    async fn raw(&self) -> Client {
        self.servers().client(self.servers().has_users().then_some(ROLLOUT)).await
    }
}

impl Backend for Etcd {
    async fn start(needs: Needs) -> Self {
        let own = if needs == Needs::Use {
            tokio::task::spawn_blocking(|| shared().endpoints()).await.unwrap();
            None
        } else {
            let mut servers = Servers::new();
            servers.start().await;
            Some(servers)
        };
        let mut started = Self { own, prefix: new_prefix(), stores: BTreeMap::new() };
        for place in 0..REPLICAS {
            started.reopen(place).await;
        }
        started
    }

    fn places(&self) -> usize {
        REPLICAS
    }

    fn store(&self, place: usize) -> Store {
        self.stores[&(place % REPLICAS)].clone()
    }

    async fn close(&mut self, place: usize) {
        self.stores.remove(&place).unwrap().close().await;
    }

    async fn abort(&mut self, place: usize) {
        self.stores.remove(&place).unwrap().abort().await;
    }

    async fn reopen(&mut self, place: usize) {
        let store = Store::open_etcd(self.config(place)).await.unwrap();
        self.stores.insert(place, store);
    }

    async fn noise(&self) {
        let mut client = self.raw().await;
        client.put("/clusterrollout/someone-else", "noise", None).await.unwrap();
    }

    /// As another owner of the etcd would.
    async fn forget(&self) {
        let mut client = self.raw().await;
        let header = client.get("any", None).await.unwrap().take_header().unwrap();
        client.compact(header.revision(), None).await.unwrap();
    }

    async fn end(mut self) {
        for store in std::mem::take(&mut self.stores).into_values() {
            store.close().await;
        }
    }
}

impl Replicated for Etcd {
    async fn lose_servers(&mut self) {
        self.own.as_mut().unwrap().kill();
    }

    async fn regain_servers(&mut self) {
        self.own.as_mut().unwrap().start().await;
    }
}
