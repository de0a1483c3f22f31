//! One look at a rollout and at the members' own API servers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use crds::{ClusterScopeRollout, GateStatus, Phase, WorkloadKind, millis_from_time};
use kube::{Api, Client};
use tokio::time::timeout;

use super::scenario::Scenario;
use crate::cluster_client::{WorkloadView, workload};
use crate::playground::{Playground, samples};

/// Longest wait for one server: a stopped one must not freeze the picture.
const LOOK_DEADLINE: Duration = Duration::from_secs(2);

/// A member as its own API server shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) member: String,
    /// None: its API server did not answer.
    pub(super) workload: Option<WorkloadView>,
}

/// What the rollout waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) reason: String,
    pub(super) message: String,
    /// Seconds until the wait ends by itself.
    pub(super) left: Option<i64>,
}

/// Everything that is shown.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) name: String,
    pub(super) elapsed: Duration,
    pub(super) phase: String,
    pub(super) step: String,
    pub(super) weight: i32,
    pub(super) healthy: i32,
    pub(super) total: i32,
    pub(super) waiting: Option<Waiting>,
    pub(super) gate: Option<GateStatus>,
    /// Image that the rollout brings.
    pub(super) image: String,
    pub(super) rows: Vec<Row>,
    over: bool,
}

impl Snapshot {
    /// The rollout has ended.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// It ended as it should, by the hub's word and by that of every member.
    pub(super) fn is_finished_as(&self, scenario: &Scenario) -> bool {
        let runs =
            |row: &Row| row.workload.as_ref().is_some_and(|view| view.image == scenario.image && view.is_rolled_out());
        self.phase == scenario.phase.as_str() && self.rows.iter().all(runs)
    }
}

/// Who looks.
pub(super) struct Observer {
    scenario: Scenario,
    rollouts: Api<ClusterScopeRollout>,
    members: Vec<(String, Client)>,
}

impl Observer {
    pub(super) async fn new(playground: &Playground, scenario: &Scenario) -> Result<Self> {
        let mut clients = playground.member_clients().await?;
        let names = playground.member_names();
        let members = names.into_iter().filter_map(|name| clients.remove(&name).map(|client| (name, client)));
        Ok(Self {
            scenario: scenario.clone(),
            rollouts: Api::all(playground.hub().client().await?),
            members: members.collect(),
        })
    }

    pub(super) async fn look(&self, elapsed: Duration) -> Snapshot {
        let rows = futures::future::join_all(self.members.iter().map(|(name, client)| self.row(name, client)));
        let (rollout, rows) = tokio::join!(timeout(LOOK_DEADLINE, self.rollouts.get(&self.scenario.name)), rows);
        let rollout = rollout.ok().and_then(Result::ok);
        let known = rollout.is_some();
        let generation = rollout.as_ref().and_then(|rollout| rollout.metadata.generation);
        let status = rollout.and_then(|rollout| rollout.status).unwrap_or_default();
        let phase = status.phase.map_or(if known { "Pending" } else { "hub does not answer" }, Phase::as_str);
        Snapshot {
            name: self.scenario.name.clone(),
            elapsed,
            phase: phase.to_owned(),
            step: status.step_summary,
            weight: status.weight,
            healthy: status.counts.healthy,
            total: status.counts.total,
            waiting: status.waiting_on.map(|waiting| Waiting {
                reason: waiting.reason,
                message: waiting.message,
                left: waiting.until.map(|until| seconds_left(millis_from_time(&until))),
            }),
            gate: status.gate,
            image: self.scenario.brings.clone(),
            rows,
            over: known && status.phase.is_some_and(ends) && Some(status.observed_generation) == generation,
        }
    }

    async fn row(&self, name: &str, client: &Client) -> Row {
        let read = workload(client, WorkloadKind::Deployment, samples::NAMESPACE, &self.scenario.workload, "app");
        let workload = timeout(LOOK_DEADLINE, read).await.ok().and_then(Result::ok);
        Row { member: name.to_owned(), workload }
    }
}

/// Whether nothing more comes of it by itself.
fn ends(phase: Phase) -> bool {
    matches!(phase, Phase::Succeeded | Phase::RolledBack | Phase::Failed)
}

fn seconds_left(until_millis: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let left = until_millis - i64::try_from(now).unwrap_or(i64::MAX);
    // Rounded up: "0 s left" while still waiting looks stuck.
    left.max(0).div_euclid(1000) + i64::from(left.max(0) % 1000 > 0)
}

/// A rollout in the pause of its first step.
#[cfg(test)]
pub(super) fn example() -> Snapshot {
    let view = |tag: &str| WorkloadView {
        image: samples::image("checkout", tag),
        generation: 1,
        observed: true,
        desired: 3,
        updated: 3,
        ready: 3,
        total: 3,
    };
    Snapshot {
        name: "checkout".to_owned(),
        elapsed: Duration::from_secs(7),
        phase: "Verifying".to_owned(),
        step: "1/3".to_owned(),
        weight: 10,
        healthy: 1,
        total: 2,
        waiting: Some(Waiting { reason: "Pause".to_owned(), message: "step 1 is healthy".to_owned(), left: Some(12) }),
        gate: None,
        image: samples::image("checkout", "v2"),
        rows: vec![
            Row { member: "member-1".to_owned(), workload: Some(view("v2")) },
            Row { member: "member-2".to_owned(), workload: Some(view("v1")) },
        ],
        over: false,
    }
}
