//! A whole fleet on this machine: a hub, members, controllers and agents, all real, as one value.
//!
//! The `playground` program, the demo and the tests use this same code. Controllers and agents run under the
//! service accounts and roles of the charts, never as administrators, so a missing right shows here.

mod agents;
pub mod charts;
mod controllers;
mod fakes;
mod folder;
mod members;
mod metrics;
mod options;
mod programs;
pub mod samples;
mod socket;
mod state;
mod supervise;
mod traffic;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use crds::{Leader, MemberCluster};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use kube::{Api, Client};
use tokio::task::JoinHandle;

pub use options::Options;
pub use socket::{Action, ask};
pub use state::State;
pub use traffic::{EVERYBODY, Rule};

use crate::alertmanager::{self, Alertmanager};
use crate::assets::{Assets, Program};
use crate::control_plane::{ControlPlane, Role, Spec};
use crate::harness::wait_for;
use crate::kubectl::Kubectl;
use crate::part::{Part, http_client};
use crate::pki::Authority;
use crate::progress::Progress;
use crate::prometheus::Prometheus;
use agents::Agent;
use charts::Charts;
use controllers::Controller;
use folder::Folder;
use metrics::Metrics;

/// Clusters that start at the same time: more only wait for each other on a small machine.
const PARALLEL_CLUSTERS: usize = 4;
/// Processes of ours that are started or stopped at the same time.
const PARALLEL_PARTS: usize = 16;
/// How long the controllers may take to agree on a leader, and the agents to be heard of.
const JOIN_DEADLINE: Duration = Duration::from_mins(2);

/// A running fleet. Dropping it kills its processes; `stop` ends them politely.
#[derive(Debug)]
pub struct Playground {
    fleet: Arc<Fleet>,
    tasks: Vec<JoinHandle<()>>,
}

/// What the background tasks share with the owner.
#[derive(Debug)]
struct Fleet {
    folder: Folder,
    progress: Progress,
    programs: programs::Programs,
    kubectl: PathBuf,
    plugin: PathBuf,
    hub: ControlPlane,
    members: Vec<Member>,
    controllers: Vec<Controller>,
    metrics: Option<Metrics>,
    alertmanagers: Vec<Alertmanager>,
    /// Who signs certificates of agents.
    authority: Authority,
    /// Writers of state.json take turns, so that an older picture never overwrites a newer one.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Member {
    plane: ControlPlane,
    agent: Agent,
}

impl Playground {
    /// Starts everything and returns when all is ready and `state.json` is written.
    pub async fn up(options: Options, progress: Progress) -> Result<Self> {
        options.check()?;
        crate::install_crypto_provider();
        let folder = Folder::take(&options.dir)?;
        let programs = programs::build(&folder.logs(), &progress).await?;
        let assets = Assets::ensure(&options.programs(), &progress).await?;
        let charts = Charts::render(&assets, &options.manifests_value()).await?;
        let authority = Authority::new("playground")?;
        let hub_plane = ControlPlane::prepare(&assets, &spec(&folder, "hub", "hub", Role::Hub))?;
        let metrics = options.prometheus.then(|| Metrics::prepare(&assets, &folder)).transpose()?;
        let prometheus = metrics.as_ref().map(|metrics| &metrics.prometheus);
        let alertmanagers = prepare_alertmanagers(&options, &folder, &assets)?;
        let controllers = controllers::prepare(&options, &folder, &programs, &authority, prometheus, &alertmanagers)?;
        let webhooks: Vec<String> = controllers.iter().map(|one| format!("{}/api/v1/alerts", one.url)).collect();
        let token = folder.alert_token();
        let (people, token) = (options.alert_webhooks.as_slice(), Some(token.as_path()));
        for alertmanager in &alertmanagers {
            alertmanager.tells(&alertmanager::Receivers { people, controllers: &webhooks, token })?;
        }
        let hub = agents::HubSide { authority: &authority, controllers: &controllers, prometheus };
        let members = prepare_members(&options, &folder, &assets, &programs, &hub)?;
        let fleet = Arc::new(Fleet {
            kubectl: assets.path(Program::Kubectl).to_path_buf(),
            plugin: programs.plugin.clone(),
            folder,
            progress,
            programs,
            hub: hub_plane,
            members,
            controllers,
            metrics,
            alertmanagers,
            authority,
            writing: tokio::sync::Mutex::new(()),
        });
        let mut playground = Self { fleet, tasks: Vec::new() };
        playground.fleet.start(&options, &charts).await?;
        if let Some(metrics) = &playground.fleet.metrics {
            let clients = playground.member_clients().await?;
            playground.tasks.extend(metrics.start_traffic(clients, &playground.fleet.progress).await?);
            metrics.await_scrape().await?;
        }
        playground.fleet.write_state().await?;
        playground.tasks.push(tokio::spawn(supervise::run(Arc::downgrade(&playground.fleet))));
        playground.tasks.push(socket::serve(&playground.fleet)?);
        Ok(playground)
    }

    /// Adds fake members to the fleet, for scale: agents without clusters, which do at once what they are told. They are named
    /// `fake-0001` and so on and have the label `env: fake`. Returns when all are heard.
    pub async fn add_fakes(&mut self, count: usize) -> Result<()> {
        let fleet = &self.fleet;
        let around = fakes::Surroundings {
            authority: &fleet.authority,
            hub: &fleet.hub,
            controllers: &fleet.controllers,
            traffic: fleet.metrics.as_ref().map(|metrics| &metrics.traffic),
        };
        self.tasks.extend(fakes::start(count, &around).await?);
        fleet.await_reachable(fleet.members.len() + count).await?;
        fleet.progress.line(format!("fake agents heard of: {count}"));
        Ok(())
    }

    /// Ends everything, ours first and the API servers last, and says so.
    pub async fn stop(mut self) {
        self.end_tasks();
        self.fleet.stop().await;
    }

    /// Ends a part, such as `member-2/agent`.
    pub async fn stop_part(&self, name: &str) -> Result<()> {
        self.fleet.act(Action::Stop, name).await
    }

    /// Brings a part back on its old ports and data, and returns when it is ready.
    pub async fn start_part(&self, name: &str) -> Result<()> {
        self.fleet.act(Action::Start, name).await
    }

    /// Brings a part back and does not wait until it is ready.
    pub async fn launch_part(&self, name: &str) -> Result<()> {
        self.fleet.part(name)?.launch().await?;
        self.fleet.write_state().await
    }

    /// Kills a part as `kill -9` does, and returns when it is gone.
    pub async fn kill_part(&self, name: &str) -> Result<()> {
        self.fleet.part(name)?.kill();
        self.fleet.write_state().await
    }

    /// Process id of a part, while it runs.
    pub fn pid(&self, name: &str) -> Result<Option<u32>> {
        Ok(self.fleet.part(name)?.pid())
    }

    /// What a controller or an agent says at `/metrics`.
    pub async fn metrics(&self, name: &str) -> Result<String> {
        self.fleet.part(name)?.metrics().await
    }

    /// What a controller answers at a path of its listener for operations.
    pub async fn ask_operations(&self, controller: &str, path: &str) -> Result<reqwest::Response> {
        self.fleet.part(controller)?.ask(path).await
    }

    /// Names of all parts.
    pub fn part_names(&self) -> Vec<String> {
        self.fleet.parts().iter().map(|part| part.name().to_owned()).collect()
    }

    /// What `state.json` says.
    pub fn state(&self) -> State {
        self.fleet.state()
    }

    /// Folder with data, logs and `state.json`.
    pub fn dir(&self) -> &Path {
        self.fleet.folder.path()
    }

    /// The hub.
    pub fn hub(&self) -> &ControlPlane {
        &self.fleet.hub
    }

    /// kubectl as the hub's administrator.
    pub fn kubectl(&self) -> Kubectl {
        self.fleet.hub.kubectl()
    }

    /// `kubectl clusterrollout` as the hub's administrator.
    pub fn plugin(&self) -> Kubectl {
        self.fleet.hub.kubectl().plugin(&self.fleet.plugin)
    }

    /// Names of the members, in order.
    pub fn member_names(&self) -> Vec<String> {
        self.fleet.members.iter().map(|member| member.plane.name().to_owned()).collect()
    }

    /// A member's cluster.
    pub fn member(&self, name: &str) -> Result<&ControlPlane> {
        let found = self.fleet.members.iter().find(|member| member.plane.name() == name);
        found.map(|member| &member.plane).with_context(|| format!("there is no member \"{name}\""))
    }

    /// A client for each member, with its administrator's rights.
    pub async fn member_clients(&self) -> Result<BTreeMap<String, Client>> {
        let mut clients = BTreeMap::new();
        for member in &self.fleet.members {
            clients.insert(member.plane.name().to_owned(), member.plane.client().await?);
        }
        Ok(clients)
    }

    /// Ids and base URLs (for people) of the controllers.
    pub fn controllers(&self) -> Vec<(String, String)> {
        self.fleet.controllers.iter().map(|one| (one.id.clone(), one.url.clone())).collect()
    }

    /// The controllers' program, for its commands.
    pub fn controller_program(&self) -> &Path {
        &self.fleet.programs.controller
    }

    /// The leader that the controllers agree on, as soon as one answers with one.
    pub async fn leader(&self) -> Result<Leader> {
        self.fleet.leader().await
    }

    /// The Prometheus, if one was asked for.
    pub fn prometheus(&self) -> Result<&Prometheus> {
        Ok(&self.fleet.metrics()?.prometheus)
    }

    /// The Alertmanagers, as many as were asked for.
    pub fn alertmanagers(&self) -> &[Alertmanager] {
        &self.fleet.alertmanagers
    }

    /// Writes `traffic.json`: from now on the simulated traffic of these members, [`EVERYBODY`] for all others, is as said
    /// here, and nowhere else.
    pub fn shape_traffic(&self, rules: &[(&str, Rule)]) -> Result<()> {
        let rules = rules.iter().map(|(member, rule)| ((*member).to_owned(), *rule)).collect();
        self.fleet.metrics()?.traffic.write_rules(&rules)
    }

    fn end_tasks(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
        }
    }
}

impl Drop for Playground {
    fn drop(&mut self) {
        self.end_tasks();
        for part in self.fleet.parts().iter().rev() {
            part.kill();
        }
    }
}

fn spec(folder: &Folder, name: &str, dir: &str, role: Role) -> Spec {
    Spec { name: name.to_owned(), dir: folder.path().join(dir), logs: folder.logs(), role, durable: false }
}

fn prepare_alertmanagers(options: &Options, folder: &Folder, assets: &Assets) -> Result<Vec<Alertmanager>> {
    let prepare = |number: usize| {
        let name = format!("alertmanager-{number}");
        let (dir, logs) = (folder.path().join("alertmanagers").join(&name), folder.logs());
        Alertmanager::prepare(assets, &alertmanager::Setup { name: &name, dir: &dir, logs: &logs })
    };
    (1..=options.alertmanagers).map(prepare).collect()
}

fn prepare_members(
    options: &Options,
    folder: &Folder,
    assets: &Assets,
    programs: &programs::Programs,
    hub: &agents::HubSide<'_>,
) -> Result<Vec<Member>> {
    let prepare = |name: &String| {
        let dir = format!("members/{name}");
        let plane = ControlPlane::prepare(assets, &spec(folder, name, &dir, Role::Member { nodes: options.nodes }))?;
        let webhook = !options.no_webhook.contains(name);
        let agent = agents::prepare(&plane, &folder.path().join(dir), folder, programs, hub, webhook)?;
        Ok(Member { plane, agent })
    };
    options.members.iter().map(prepare).collect()
}

impl Fleet {
    async fn start(&self, options: &Options, charts: &Charts) -> Result<()> {
        // Each cluster is started and filled in one go; the hub is first in line.
        let hub = async {
            self.hub.start().await?;
            members::fill_hub(&self.hub, &self.members, charts, &self.controllers).await?;
            self.progress.line("hub: API server is up, CRDs, roles and members are applied");
            anyhow::Ok(())
        };
        let members = self.members.iter().map(|member| async move {
            member.plane.start().await?;
            members::fill_member(&member.plane, &member.agent, charts).await?;
            self.progress.line(format!("{}: cluster is up, workloads run", member.plane.name()));
            anyhow::Ok(())
        });
        let members = stream::iter(members).buffer_unordered(PARALLEL_CLUSTERS).try_collect::<Vec<()>>();
        let metrics = self.start_all(self.observers());
        futures::future::try_join3(hub, members, metrics).await?;
        self.start_all(self.controllers.iter().map(|controller| &controller.part)).await?;
        let leader = self.leader().await?;
        self.progress.line(format!(
            "controllers ready: {}, {} leads",
            self.controllers.len(),
            leader.id.unwrap_or_default()
        ));
        self.start_all(self.members.iter().map(|member| &member.agent.part)).await?;
        self.await_reachable(options.members.len()).await?;
        self.progress.line(format!("agents ready and heard of: {}", self.members.len()));
        Ok(())
    }

    async fn start_all<'a>(&self, parts: impl Iterator<Item = &'a Arc<Part>>) -> Result<()> {
        let starts = parts
            .map(|part| async move { part.start().await.with_context(|| format!("failed to start {}", part.name())) });
        stream::iter(starts).buffer_unordered(PARALLEL_PARTS).try_collect::<Vec<()>>().await.map(drop)
    }

    async fn stop(&self) {
        self.progress.line("stopping");
        let ours = self.controllers.iter().map(|one| &one.part).chain(self.members.iter().map(|one| &one.agent.part));
        let ours = ours.chain(self.observers());
        stream::iter(ours.map(|part| part.stop())).buffer_unordered(PARALLEL_PARTS).collect::<Vec<()>>().await;
        let planes = self.members.iter().map(|member| &member.plane).chain([&self.hub]);
        stream::iter(planes.map(ControlPlane::stop)).buffer_unordered(PARALLEL_PARTS).collect::<Vec<()>>().await;
        self.folder.forget_state();
        let left: Vec<_> = self.parts().into_iter().filter(|part| part.pid().is_some()).collect();
        if left.is_empty() {
            let logs = self.folder.logs();
            self.progress.line(format!("all processes have ended, none is left; logs stay in {}", logs.display()));
        }
        for part in left {
            self.progress.line(format!("{} could not be ended: process {:?}", part.name(), part.pid()));
        }
    }

    fn parts(&self) -> Vec<&Arc<Part>> {
        let members = self.members.iter().flat_map(|one| one.plane.parts().iter().chain([&one.agent.part]));
        let controllers = self.controllers.iter().map(|one| &one.part);
        self.hub.parts().iter().chain(members).chain(controllers).chain(self.observers()).collect()
    }

    /// Prometheus and the Alertmanagers, as far as they were asked for.
    fn observers(&self) -> impl Iterator<Item = &Arc<Part>> {
        let metrics = self.metrics.iter().map(|metrics| metrics.prometheus.part());
        metrics.chain(self.alertmanagers.iter().map(Alertmanager::part))
    }

    fn metrics(&self) -> Result<&Metrics> {
        self.metrics.as_ref().context("this playground was started without a Prometheus")
    }

    fn part(&self, name: &str) -> Result<&Arc<Part>> {
        let parts = self.parts();
        let Some(part) = parts.iter().find(|part| part.name() == name) else {
            let names: Vec<&str> = parts.iter().map(|part| part.name()).collect();
            bail!("there is no part \"{name}\"; there are: {}", names.join(", "));
        };
        Ok(part)
    }

    async fn act(&self, action: Action, name: &str) -> Result<()> {
        let part = self.part(name)?;
        let result = match action {
            Action::Stop => {
                part.stop().await;
                Ok(())
            }
            Action::Start => part.start().await,
        };
        self.write_state().await?;
        if result.is_ok() {
            self.progress.line(match part.pid() {
                Some(pid) => format!("{name}: runs as process {pid}"),
                None => format!("{name}: stopped, as told"),
            });
        }
        result
    }

    async fn leader(&self) -> Result<Leader> {
        let client = http_client(None)?;
        wait_for("the controllers to name a leader", JOIN_DEADLINE, || async {
            let mut said = Vec::new();
            for controller in &self.controllers {
                let answer = client.get(format!("{}/api/v1/leader", controller.url)).send().await;
                match answer.and_then(reqwest::Response::error_for_status) {
                    Ok(response) => match response.json::<Leader>().await {
                        Ok(leader) if leader.id.is_some() => return Ok(Ok(leader)),
                        Ok(_) => said.push(format!("{}: no leader", controller.id)),
                        Err(error) => said.push(format!("{}: {error}", controller.id)),
                    },
                    Err(error) => said.push(format!("{}: {error}", controller.id)),
                }
            }
            Ok(Err(said.join("; ")))
        })
        .await
    }

    async fn await_reachable(&self, count: usize) -> Result<()> {
        let members: Api<MemberCluster> = Api::all(self.hub.client().await?);
        let result = wait_for("every member to be reachable", JOIN_DEADLINE, || async {
            let list = members.list(&kube::api::ListParams::default()).await?;
            let silent: Vec<String> =
                list.items.iter().filter(|one| !is_reachable(one)).map(kube::ResourceExt::name_any).collect();
            let enough = silent.is_empty() && list.items.len() >= count;
            Ok(if enough { Ok(()) } else { Err(format!("not reachable: {}", silent.join(", "))) })
        });
        result.await.map_err(|error| match self.members.first() {
            Some(member) => {
                error.context(format!("the agent of the first one says:\n{}", member.agent.part.log_tail()))
            }
            None => error,
        })
    }
}

fn is_reachable(member: &MemberCluster) -> bool {
    let conditions = member.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Reachable" && condition.status == "True")
}
