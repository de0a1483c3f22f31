//! One cluster: etcd and a kube-apiserver; in a member also controllers, a scheduler and kwok's nodes.

mod commands;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Node;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

use crate::assets::{Assets, Program};
use crate::cluster_client;
use crate::harness::wait_for;
use crate::kubeconfig::{self, Server, User};
use crate::kubectl::Kubectl;
use crate::part::{Part, Ready};
use crate::pki::{self, Authority, write_secret};
use crate::ports::Port;

/// Stage objects for kwok: how nodes and pods behave.
const STAGES: &str = include_str!("control_plane/stages.yaml");
/// How long kwok may take to make a node ready.
const NODES_DEADLINE: Duration = Duration::from_mins(2);

/// What kind of cluster is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// API objects only: etcd and the API server.
    Hub,
    /// Runs workloads on so many nodes.
    Member {
        /// Nodes, at least 1.
        nodes: u32,
    },
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Name: also the prefix of its parts' names.
    pub name: String,
    /// Its folder; created, and nobody else's.
    pub dir: PathBuf,
    /// Where logs go.
    pub logs: PathBuf,
    /// What kind of cluster.
    pub role: Role,
    /// Whether etcd makes its writes durable (for tests of power cuts); slower.
    pub durable: bool,
}

/// A cluster of our own. Dropping it kills its processes.
#[derive(Debug)]
pub struct ControlPlane {
    name: String,
    role: Role,
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    server: Server,
    parts: Vec<Arc<Part>>,
    _ports: Vec<Port>,
}

impl ControlPlane {
    /// Makes folders, certificates and kubeconfig and takes ports; starts nothing.
    pub fn prepare(assets: &Assets, spec: &Spec) -> Result<Self> {
        for folder in [&spec.dir, &spec.logs] {
            fs::create_dir_all(folder).with_context(|| format!("failed to create \"{}\"", folder.display()))?;
        }
        let [client, peer, secure] = [Port::take()?, Port::take()?, Port::take()?];
        let authority = Authority::new(&format!("{} cluster", spec.name))?;
        let serving = authority.issue_with("kubernetes", "kube-apiserver", &["kubernetes.default.svc"])?;
        authority.write(&serving, &spec.dir.join("tls"))?;
        let (private, public) = pki::signing_key()?;
        write_secret(&spec.dir.join("service-accounts.key"), &private)?;
        write_secret(&spec.dir.join("service-accounts.pub"), &public)?;
        write_secret(&spec.dir.join("stages.yaml"), STAGES)?;
        let server =
            Server { url: format!("https://127.0.0.1:{}", secure.number()), ca: authority.certificate().to_owned() };
        let kubeconfig = spec.dir.join("admin.kubeconfig");
        let admin = User::Certificate(authority.issue("system:masters", "admin")?);
        kubeconfig::write(&kubeconfig, &spec.name, &server, &admin)?;
        let numbers = commands::Ports { client: client.number(), peer: peer.number(), secure: secure.number() };
        Ok(Self {
            name: spec.name.clone(),
            role: spec.role,
            kubectl: assets.path(Program::Kubectl).to_path_buf(),
            parts: parts(assets, spec, &numbers, &server, &kubeconfig),
            kubeconfig,
            server,
            _ports: vec![client, peer, secure],
        })
    }

    /// Starts its parts, those that others need first, and waits until they are ready.
    pub async fn start(&self) -> Result<()> {
        for part in &self.parts {
            part.start().await.with_context(|| format!("failed to start {}", part.name()))?;
        }
        if let Role::Member { nodes } = self.role {
            self.create_nodes(nodes).await?;
        }
        Ok(())
    }

    /// Ends its parts, those that others need last.
    pub async fn stop(&self) {
        for part in self.parts.iter().rev() {
            part.stop().await;
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Kubeconfig of its administrator.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Where its API server is.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Its processes, in the order in which they start.
    pub fn parts(&self) -> &[Arc<Part>] {
        &self.parts
    }

    /// The part with this last name, such as `apiserver`.
    pub fn part(&self, name: &str) -> Option<&Arc<Part>> {
        let full = format!("{}/{name}", self.name);
        self.parts.iter().find(|part| part.name() == full)
    }

    /// kubectl as its administrator.
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(&self.kubectl, &self.kubeconfig)
    }

    /// A client with its administrator's rights.
    pub async fn client(&self) -> Result<Client> {
        cluster_client::client(&self.kubeconfig).await
    }

    async fn create_nodes(&self, count: u32) -> Result<()> {
        let nodes: Api<Node> = Api::all(self.client().await?);
        for number in 1..=count {
            let name = format!("node-{number}");
            let labels = [("kubernetes.io/hostname".to_owned(), name.clone())];
            let node = Node {
                metadata: ObjectMeta { name: Some(name), labels: Some(labels.into()), ..ObjectMeta::default() },
                ..Node::default()
            };
            match nodes.create(&PostParams::default(), &node).await {
                Ok(_) => {}
                // Its data is from an earlier start.
                Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {}
                Err(error) => return Err(error).context("failed to create a node"),
            }
        }
        let what = format!("{} nodes of {} to be ready", count, self.name);
        wait_for(&what, NODES_DEADLINE, || async {
            let list = nodes.list(&kube::api::ListParams::default()).await?;
            let ready = list.items.iter().filter(|node| is_ready(node)).count();
            Ok(if ready >= count as usize { Ok(()) } else { Err(format!("{ready} are ready")) })
        })
        .await
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        for part in self.parts.iter().rev() {
            part.kill();
        }
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}

fn parts(
    assets: &Assets,
    spec: &Spec,
    numbers: &commands::Ports,
    server: &Server,
    kubeconfig: &Path,
) -> Vec<Arc<Part>> {
    let part = |name: &str, launch, ready| Part::new(&format!("{}/{name}", spec.name), launch, &spec.logs, ready);
    let etcd_ready = Ready::Http { url: format!("http://127.0.0.1:{}/readyz", numbers.client), ca: None };
    let api_ready = Ready::Http { url: format!("{}/readyz", server.url), ca: Some(server.ca.clone()) };
    let mut parts = vec![
        part("etcd", commands::etcd(assets, &spec.dir, numbers, spec.durable), etcd_ready),
        part("apiserver", commands::apiserver(assets, &spec.dir, numbers), api_ready),
    ];
    if matches!(spec.role, Role::Member { .. }) {
        // Nothing can be asked of these without ports of their own; nodes and workloads show that they work.
        let kwok = commands::kwok(assets, &spec.dir, kubeconfig);
        parts.push(part("controller-manager", commands::controller_manager(assets, kubeconfig), Ready::AtOnce));
        parts.push(part("scheduler", commands::scheduler(assets, kubeconfig), Ready::AtOnce));
        parts.push(part("kwok", kwok, Ready::AtOnce));
    }
    parts
}
