//! Three members of etcd with its defaults, and its client.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use tokio::time::{Instant, sleep, timeout};

use crate::certificates::Authority;
use crate::handle::Handle;
use crate::ours::free_addresses;
use crate::process::Process;

const PATIENCE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(10);
/// Of one question: a member that is starting may leave it unanswered.
const DEADLINE: Duration = Duration::from_secs(2);

struct Member {
    name: String,
    client_url: String,
    peer_url: String,
    credentials: PathBuf,
    folder: PathBuf,
    process: Option<Process>,
}

/// Three members.
pub struct Etcd {
    program: PathBuf,
    members: Vec<Member>,
}

impl Etcd {
    /// Starts a new cluster and waits until it has a leader.
    pub async fn start(program: &Path, root: &Path, authority: &Authority) -> Result<Self> {
        let (clients, peers) = (free_addresses()?, free_addresses()?);
        let mut members = Vec::new();
        for (place, (client, peer)) in clients.into_iter().zip(peers).enumerate() {
            let name = format!("etcd-{}", place + 1);
            let (folder, credentials) = (root.join(&name), authority.issue(&name)?);
            std::fs::create_dir_all(&folder)?;
            let (client_url, peer_url) = (format!("https://{client}"), format!("https://{peer}"));
            members.push(Member { name, client_url, peer_url, credentials, folder, process: None });
        }
        let mut etcd = Self { program: program.to_owned(), members };
        for place in 0..3 {
            etcd.start_member(place)?;
        }
        etcd.leader().await?;
        Ok(etcd)
    }

    /// Starts a member that isn't running.
    pub fn start_member(&mut self, place: usize) -> Result<()> {
        let all: Vec<_> = self.members.iter().map(|member| format!("{}={}", member.name, member.peer_url)).collect();
        let member = &mut self.members[place];
        let file = |name: &str| member.credentials.join(name).display().to_string();
        let arguments = [
            format!("--name={}", member.name),
            format!("--data-dir={}", member.folder.join("data").display()),
            format!("--listen-client-urls={}", member.client_url),
            format!("--advertise-client-urls={}", member.client_url),
            format!("--listen-peer-urls={}", member.peer_url),
            format!("--initial-advertise-peer-urls={}", member.peer_url),
            format!("--initial-cluster={}", all.join(",")),
            "--initial-cluster-state=new".to_owned(),
            format!("--cert-file={}", file("tls.crt")),
            format!("--key-file={}", file("tls.key")),
            format!("--trusted-ca-file={}", file("ca.crt")),
            "--client-cert-auth=true".to_owned(),
            format!("--peer-cert-file={}", file("tls.crt")),
            format!("--peer-key-file={}", file("tls.key")),
            format!("--peer-trusted-ca-file={}", file("ca.crt")),
            "--peer-client-cert-auth=true".to_owned(),
            "--log-level=error".to_owned(),
        ];
        let log = File::options().create(true).append(true).open(member.folder.join("log"))?;
        let started = Process::start(&self.program.display().to_string(), &arguments, |command| {
            command.stdout(Stdio::null()).stderr(log);
        })?;
        member.process = Some(started);
        Ok(())
    }

    /// Waits until all running members agree on one that leads, and says which.
    pub async fn leader(&self) -> Result<usize> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let mut statuses = Vec::new();
            for place in (0..3).filter(|place| self.members[*place].process.is_some()) {
                let status = timeout(DEADLINE, async { anyhow::Ok(self.client(place).await?.status().await?) }).await;
                if let Ok(Ok(status)) = status {
                    let own = status.header().map_or(0, etcd_client::ResponseHeader::member_id);
                    statuses.push((place, own, status.leader()));
                }
            }
            let leader = statuses.iter().find(|(_, own, leader)| *own != 0 && own == leader);
            let running = self.members.iter().filter(|member| member.process.is_some()).count();
            if let Some((place, own, _)) = leader
                && statuses.len() == running
                && statuses.iter().all(|(_, _, named)| named == own)
            {
                return Ok(*place);
            }
            if Instant::now() > give_up {
                bail!("etcd has no leader; see the logs in {}", self.members[0].folder.display());
            }
            sleep(POLL).await;
        }
    }

    async fn client(&self, place: usize) -> Result<Client> {
        let Member { client_url, credentials, .. } = &self.members[place];
        let read = |name: &str| std::fs::read(credentials.join(name));
        let tls = TlsOptions::new()
            .ca_certificate(Certificate::from_pem(read("ca.crt")?))
            .identity(Identity::from_pem(read("tls.crt")?, read("tls.key")?));
        Client::connect([client_url], Some(ConnectOptions::new().with_tls(tls))).await.context("failed to connect")
    }

    /// Connections to one member.
    pub async fn connect(&self, place: usize, count: usize) -> Result<Vec<Handle>> {
        let mut handles = Vec::new();
        for _ in 0..count {
            handles.push(Handle::Etcd(Arc::new(self.client(place).await?)));
        }
        Ok(handles)
    }

    /// `kill -9` of a member, at once.
    pub fn kill(&mut self, place: usize) {
        self.members[place].process = None;
    }

    /// Ids of the processes.
    pub fn processes(&self) -> Vec<u32> {
        (0..3).filter_map(|place| self.process(place)).collect()
    }

    /// A member's process.
    pub fn process(&self, place: usize) -> Option<u32> {
        self.members[place].process.as_ref().map(Process::id)
    }

    /// Folders of all data.
    pub fn data_dirs(&self) -> Vec<PathBuf> {
        self.members.iter().map(|member| member.folder.join("data")).collect()
    }
}
