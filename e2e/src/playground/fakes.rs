//! Fake agents, for scale: each speaks to the controllers as an agent does, and there is no cluster behind it. Whatever it is
//! told is done at once and healthy. They run in this process, and are named so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use crds::{
    AGENT_API_LEVEL, AgentInfo, AssignmentEvent, Connection, Heartbeat, Heartbeats, Intent, MemberCluster,
    MemberClusterSpec, Outcome, Register, Report, Reports, RolloutAssignment, RolloutAssignmentStatus, Upload,
    WorkloadObservation, short_sha256,
};
use reqwest::{Certificate, Client, Identity};
use serde::Serialize;
use tokio::task::JoinHandle;

use super::controllers::Controller;
use super::traffic::Traffic;
use crate::control_plane::ControlPlane;
use crate::pki::{Authority, MEMBER_ORGANIZATION};

/// As real agents do it.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);
/// Before a stream that broke is opened again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Deadline of one post.
const DEADLINE: Duration = Duration::from_secs(15);
/// Objects of one `kubectl apply`.
const APPLIED_AT_ONCE: usize = 250;
/// Pods that each pretends to have.
const PODS: usize = 3;
/// The workload that each pretends to have, and its container.
const WORKLOAD: (&str, &str) = ("checkout", "app");

/// What all of them share.
pub(super) struct Surroundings<'a> {
    pub(super) authority: &'a Authority,
    pub(super) hub: &'a ControlPlane,
    pub(super) controllers: &'a [Controller],
    /// Where they seem to serve requests, if any are simulated.
    pub(super) traffic: Option<&'a Arc<Traffic>>,
}

/// `fake-0001` and so on.
fn name(number: usize) -> String {
    format!("fake-{number:04}")
}

/// Makes so many members known to the hub, with the label `env: fake`, and runs an agent for each until the tasks are
/// aborted.
pub(super) async fn start(count: usize, around: &Surroundings<'_>) -> Result<Vec<JoinHandle<()>>> {
    let names: Vec<String> = (1..=count).map(name).collect();
    for some in names.chunks(APPLIED_AT_ONCE) {
        let objects = some.iter().map(|name| member_cluster(name)).collect::<Result<Vec<_>>>()?;
        around.hub.kubectl().apply_server_side(&format!("---\n{}", objects.join("---\n"))).await?;
    }
    let fakes = names.into_iter().enumerate().map(|(index, name)| Fake::new(name, index, around));
    let fakes = fakes.collect::<Result<Vec<_>>>()?;
    Ok(fakes.into_iter().map(|fake| tokio::spawn(fake.run())).collect())
}

fn member_cluster(name: &str) -> Result<String> {
    let spec = MemberClusterSpec { connection: Connection::default(), cordoned: false };
    let mut object = MemberCluster::new(name, spec);
    object.metadata.labels = Some(BTreeMap::from([("env".to_owned(), "fake".to_owned())]));
    crds::yaml::to_string(&object).context("failed to write a MemberCluster")
}

struct Fake {
    name: String,
    client: Client,
    /// Base URL of the controller that it speaks to.
    hub: String,
    traffic: Option<Arc<Traffic>>,
    images: BTreeMap<String, String>,
    /// Whole objects that it pretends to have: the hash of what was applied, and by snapshot of what was there before.
    objects: String,
    kept: BTreeMap<String, String>,
    generation: i64,
    sequence: i64,
}

impl Fake {
    fn new(name: String, index: usize, around: &Surroundings<'_>) -> Result<Self> {
        let Surroundings { authority, controllers, traffic, .. } = around;
        let controller = controllers.get(index % controllers.len().max(1)).context("there is no controller")?;
        let pair = authority.issue(MEMBER_ORGANIZATION, &name)?;
        let identity = Identity::from_pem(format!("{}{}", pair.key, pair.certificate).as_bytes());
        let authority = Certificate::from_pem(authority.certificate().as_bytes());
        let client = Client::builder()
            .identity(identity.context("a certificate that no client can use")?)
            .tls_certs_only([authority.context("an authority that no client can use")?])
            .build();
        let image = super::samples::image(WORKLOAD.0, "v1");
        Ok(Self {
            client: client.context("failed to make a client")?,
            hub: controller.agents_url.clone(),
            traffic: traffic.cloned(),
            images: BTreeMap::from([(WORKLOAD.1.to_owned(), image)]),
            objects: String::new(),
            kept: BTreeMap::new(),
            generation: 1,
            sequence: 0,
            name,
        })
    }

    async fn run(mut self) {
        self.serve();
        let info = AgentInfo {
            agent_version: "fake".to_owned(),
            kubernetes_version: "v1.37.0".to_owned(),
            nodes: 1,
            ready_nodes: 1,
            api_level: AGENT_API_LEVEL,
            ..AgentInfo::default()
        };
        let beats = tokio::spawn(beat(self.client.clone(), self.hub.clone(), self.name.clone()));
        let _ended_with_us = AbortOnDrop(beats);
        loop {
            let register = Register { member: self.name.clone(), info: info.clone() };
            let Err(error) = async {
                post(&self.client, &self.hub, "/v1/register", &register).await?;
                self.follow().await
            }
            .await;
            tracing::debug!(fake = self.name, error = format!("{error:#}"), "the stream ended");
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn follow(&mut self) -> Result<std::convert::Infallible> {
        let url = format!("{}/v1/assignments", self.hub);
        let mut stream = self.client.get(url).send().await?.error_for_status()?;
        let mut rest: Vec<u8> = Vec::new();
        while let Some(chunk) = stream.chunk().await? {
            rest.extend_from_slice(&chunk);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                if !line.trim_ascii().is_empty() {
                    self.hear(serde_json::from_slice(&line).context("a line that is no event")?).await?;
                }
            }
        }
        bail!("the hub closed the stream")
    }

    async fn hear(&mut self, event: AssignmentEvent) -> Result<()> {
        match event {
            AssignmentEvent::Assign(order) => {
                let reports = Reports { reports: vec![self.obey(&order)] };
                post(&self.client, &self.hub, "/v1/reports", &reports).await
            }
            AssignmentEvent::Upload => {
                let upload = Upload { member: self.name.clone(), complete: true, ..Upload::default() };
                post(&self.client, &self.hub, "/v1/uploads", &upload).await
            }
            // Synced, and what only real agents can do.
            _ => Ok(()),
        }
    }

    /// Name of what the objects are.
    fn snapshot(&self) -> String {
        short_sha256(&self.objects)
    }

    /// Makes the objects what they are to be.
    fn make(&mut self, intent: Intent, hash: &str) {
        if intent == Intent::Return {
            self.objects = self.kept.get(hash).cloned().unwrap_or_default();
            return;
        }
        if self.objects != hash {
            let before = std::mem::replace(&mut self.objects, hash.to_owned());
            self.kept = BTreeMap::from([(short_sha256(&before), before)]);
        }
    }

    fn obey(&mut self, order: &RolloutAssignment) -> Report {
        let spec = &order.spec;
        let wanted = spec.images();
        let changes = matches!(spec.intent, Intent::Apply | Intent::Return);
        if changes && wanted.iter().any(|(container, image)| self.images.get(container) != Some(image)) {
            self.images.extend(wanted.clone());
            self.generation += 1;
            self.serve();
        }
        if let Some(manifests) = spec.manifests.as_ref().filter(|_| changes) {
            self.make(spec.intent, &manifests.hash);
        }
        self.sequence += 1;
        let outcome = match spec.intent {
            Intent::Observe => Outcome::Observed,
            Intent::Apply | Intent::Return => Outcome::Healthy,
            Intent::Withdraw => Outcome::Withdrawn,
        };
        let pods = i32::try_from(PODS).unwrap_or(i32::MAX);
        let status = RolloutAssignmentStatus {
            fence: spec.fence,
            sequence: self.sequence,
            outcome,
            applied_hash: spec.content_hash().filter(|_| changes),
            workload: Some(WorkloadObservation {
                uid: format!("{}-uid", self.name),
                generation: self.generation,
                observed_generation: self.generation,
                images: self.images.clone(),
                desired: pods,
                updated: pods,
                ready: pods,
                available: pods,
                healthy: true,
                partial: false,
                snapshot: spec.manifests.as_ref().map(|_| self.snapshot()),
            }),
            message: "done, by a fake agent without a cluster".to_owned(),
            ..RolloutAssignmentStatus::default()
        };
        Report {
            member: self.name.clone(),
            rollout: spec.rollout.name.clone(),
            rollout_uid: spec.rollout.uid.clone(),
            status,
        }
    }

    /// Its pods seem to serve requests with the image that it runs.
    fn serve(&self) {
        let image = self.images.get(WORKLOAD.1).map_or("", String::as_str);
        let tag = image.rsplit_once(':').map_or("latest", |(_, tag)| tag);
        if let Some(traffic) = &self.traffic {
            traffic.serve(&self.name, BTreeMap::from([(WORKLOAD.0.to_owned(), vec![tag.to_owned(); PODS])]));
        }
    }
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn beat(client: Client, hub: String, member: String) {
    let beats = Heartbeats { heartbeats: vec![Heartbeat { member, age_millis: 0 }] };
    loop {
        // One that gets lost shows as silence, as it would of a real agent.
        let _ = post(&client, &hub, "/v1/heartbeats", &beats).await;
        tokio::time::sleep(HEARTBEAT_EVERY).await;
    }
}

async fn post(client: &Client, hub: &str, path: &str, body: &(impl Serialize + Sync + ?Sized)) -> Result<()> {
    let answer = client.post(format!("{hub}{path}")).timeout(DEADLINE).json(body).send().await?;
    let status = answer.status();
    if !status.is_success() {
        bail!("{path} answered {status}: {}", answer.text().await.unwrap_or_default());
    }
    Ok(())
}
