//! Processes of a real etcd, built from its Go module.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, Permission, TlsOptions};

use crate::common::PATIENCE;
use crate::common::secure::{Authority, Role};

/// Name and password of the user whose rights end at `/clusterrollout/`.
pub const ROLLOUT: &str = "rollout";
/// Name and password of the administrator.
const ROOT: &str = "root";
const MEMBERS: usize = 3;

/// An etcd of three members.
pub struct Servers {
    authority: Authority,
    folder: tempfile::TempDir,
    /// Each member's address for clients and for other members.
    addresses: Vec<(String, String)>,
    running: Vec<Child>,
    users: bool,
}

impl Servers {
    /// Reserves ports; nothing runs yet.
    pub fn new() -> Self {
        let listeners: Vec<_> = (0..2 * MEMBERS).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let urls: Vec<_> =
            listeners.iter().map(|listener| format!("https://{}", listener.local_addr().unwrap())).collect();
        let addresses = urls.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        let servers = Self {
            authority: Authority::new(),
            folder: tempfile::tempdir().unwrap(),
            addresses,
            running: Vec::new(),
            users: false,
        };
        let (ca, certificate, key) = servers.authority.pem(Role::Replica, "etcd");
        for (name, text) in [("ca", ca), ("certificate", certificate), ("key", key)] {
            std::fs::write(servers.file(name), text).unwrap();
        }
        servers
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn endpoints(&self) -> Vec<String> {
        self.addresses.iter().map(|(client, _)| client.clone()).collect()
    }

    pub fn has_users(&self) -> bool {
        self.users
    }

    /// Authority, certificate and key of a client.
    pub fn client_pem(&self) -> (String, String, String) {
        self.authority.pem(Role::Replica, "controller")
    }

    /// Starts all members and waits until they answer.
    pub async fn start(&mut self) {
        for place in 0..MEMBERS {
            let child = self.command(place).spawn().expect("failed to start etcd by setpriv");
            self.running.push(child);
        }
        let give_up = tokio::time::Instant::now() + PATIENCE;
        loop {
            let user = self.users.then_some(ROOT);
            let client = tokio::time::timeout(PATIENCE, self.try_client(user)).await;
            let answer = match client {
                Ok(Ok(mut client)) => tokio::time::timeout(Duration::from_secs(1), client.get("any", None))
                    .await
                    .map(|answer| answer.is_ok()),
                _ => Ok(false),
            };
            if answer == Ok(true) {
                return;
            }
            assert!(tokio::time::Instant::now() < give_up, "etcd didn't start in time: {}", self.logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Kills all members.
    pub fn kill(&mut self) {
        for mut child in std::mem::take(&mut self.running) {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// An administrator, and a user who may use our keys only.
    pub async fn add_users(&mut self) {
        let mut client = self.client(None).await;
        for user in [ROOT, ROLLOUT] {
            client.user_add(user, user, None).await.unwrap();
            client.role_add(user).await.unwrap();
            client.user_grant_role(user, user).await.unwrap();
        }
        let ours = Permission::read_write("/clusterrollout/").with_prefix();
        client.role_grant_permission(ROLLOUT, ours).await.unwrap();
        client.auth_enable().await.unwrap();
        self.users = true;
    }

    /// A client of etcd's own kind.
    pub async fn client(&self, user: Option<&str>) -> Client {
        self.try_client(user).await.unwrap()
    }

    async fn try_client(&self, user: Option<&str>) -> Result<Client, etcd_client::Error> {
        let (ca, certificate, key) = self.client_pem();
        let tls = TlsOptions::new().ca_certificate(Certificate::from_pem(ca));
        let mut options = ConnectOptions::new().with_tls(tls.identity(Identity::from_pem(certificate, key)));
        if let Some(user) = user {
            options = options.with_user(user, user);
        }
        Client::connect(self.endpoints(), Some(options)).await
    }

    fn command(&self, place: usize) -> Command {
        let program = std::env::var_os("CONFORMANCE_ETCD")
            .expect("CONFORMANCE_ETCD must be the path of an etcd: run this by 'make conformance'");
        let (client, peer) = &self.addresses[place];
        let names = self.addresses.iter().enumerate().map(|(place, (_, peer))| format!("member-{place}={peer}"));
        let members = names.collect::<Vec<_>>().join(",");
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(self.file(&format!("log-{place}"))).unwrap();
        // Without anyone to end it, it ends with the thread that started it.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        let name = format!("member-{place}");
        command.arg(format!("--name={name}")).arg(format!("--data-dir={}", self.file(&name).display()));
        command.arg(format!("--listen-client-urls={client}")).arg(format!("--advertise-client-urls={client}"));
        command.arg(format!("--listen-peer-urls={peer}")).arg(format!("--initial-advertise-peer-urls={peer}"));
        command.arg(format!("--initial-cluster={members}")).arg("--initial-cluster-state=new");
        for (flag, name) in [("trusted-ca-file", "ca"), ("cert-file", "certificate"), ("key-file", "key")] {
            let path = self.file(name);
            command.arg(format!("--{flag}={}", path.display())).arg(format!("--peer-{flag}={}", path.display()));
        }
        // Durability isn't what is tested, and a member isn't killed together with its machine here.
        command.args(["--client-cert-auth", "--peer-client-cert-auth", "--unsafe-no-fsync", "--log-level=error"]);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        command
    }

    fn logs(&self) -> String {
        let logs = (0..MEMBERS).map(|place| std::fs::read_to_string(self.file(&format!("log-{place}"))));
        logs.map(Result::unwrap_or_default).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
