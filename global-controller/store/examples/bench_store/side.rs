//! One side of a comparison: how its store is reached, and whose processor time is whose.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::etcd::Etcd;
use crate::handle::Handle;
use crate::machine;
use crate::ours::Ours;

/// HTTP/2 connections to the leader for the load of any number of clients, on both sides of the network mode and on
/// etcd's in both. One connection is one task on either end, and several keep both processors busy; on two
/// processors 1, 2, 8, 16 and 64 served etcd no better. All lead to the leader: a follower would only pass puts on.
pub const CONNECTIONS: usize = 4;

/// How our store is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By the handle of the leader, which runs in the load's own process, as in a controller.
    InProcess,
    /// By a network client.
    Network,
}

impl Mode {
    /// As it is called in the results.
    pub fn name(self) -> &'static str {
        match self {
            Self::InProcess => "in-process",
            Self::Network => "network",
        }
    }
}

/// One side.
pub struct Side {
    /// Clients share these.
    pub handles: Vec<Handle>,
    /// Server processes.
    pub servers: Vec<u32>,
    /// The process whose memory grows with the leader's watchers; `None` is this one.
    pub leader: Option<u32>,
}

impl Side {
    /// Ours, at its leader.
    pub async fn ours(ours: &Ours, mode: Mode) -> Result<Self> {
        let leader = ours.leader().await?;
        let handles = match mode {
            Mode::InProcess => vec![ours.handle()?],
            Mode::Network => ours.connect(leader, CONNECTIONS).await?,
        };
        Ok(Self { handles, servers: ours.children(), leader: ours.child(leader) })
    }

    /// etcd, at its leader.
    pub async fn etcd(etcd: &Etcd) -> Result<Self> {
        let leader = etcd.leader().await?;
        let handles = etcd.connect(leader, CONNECTIONS).await?;
        Ok(Self { handles, servers: etcd.processes(), leader: etcd.process(leader) })
    }

    /// The handle of the client with this number.
    pub fn handle(&self, client: usize) -> Result<Handle> {
        self.handles.get(client % self.handles.len().max(1)).cloned().context("no connection")
    }

    /// Processor time so far: of servers, and of clients. In process, the store's own threads are the server; what it
    /// does on the shared runtime (TLS, HTTP/2 to its peers) counts as the clients'.
    pub fn times(&self) -> Result<(Duration, Duration)> {
        let own = machine::store_threads_time()?;
        let all = machine::process_time(std::process::id())?;
        let mut servers = own;
        for id in &self.servers {
            servers += machine::process_time(*id)?;
        }
        Ok((servers, all.saturating_sub(own)))
    }

    /// Resident memory of the leader's process.
    pub fn leader_bytes(&self) -> Result<u64> {
        machine::resident_bytes(self.leader.unwrap_or_else(std::process::id))
    }
}
