//! What only the leader does, for as long as it leads.

use std::sync::Arc;
use std::time::Duration;

use federated_store::Fence;
use kube::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bus::Change;
use crate::driver::EpochKeeper;
use crate::remote::Secrets;
use crate::world::World;
use crate::{act, alerts, driver, measure, presence, publish};

/// Before tasks that ended by themselves are started again, so that a lasting fault doesn't spin.
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// What the leader's tasks need beside the world.
#[derive(Clone)]
pub(crate) struct Tools {
    /// The hub.
    pub hub: Client,
    /// Where the hub keeps the epoch.
    pub epoch: EpochKeeper,
    /// Client for agents' webhooks.
    pub agents: reqwest::Client,
    /// Credentials for Alertmanagers.
    pub secrets: Secrets,
}

/// Follows leadership until told to stop. Tasks of one term end before those of the next begin.
pub(crate) async fn run(world: Arc<World>, tools: Tools, stop: CancellationToken) {
    let mut leadership = world.store.leadership();
    loop {
        let view = leadership.borrow_and_update().clone();
        world.bus.send(Change::Leader);
        let term = CancellationToken::new();
        let mut tasks = JoinSet::new();
        if let Some(fence) = view.fence {
            tracing::info!(term = fence.0, "this replica leads");
            world.metrics.leading.set(1);
            world.begin_term();
            start(&mut tasks, &world, &tools, fence, &term);
        }
        let stopped = tokio::select! {
            () = stop.cancelled() => true,
            () = changed(&mut leadership, view.fence) => false,
            Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                // One that was fenced ends in order, and the leadership follows; one that panicked is started again.
                if let Err(error) = ended {
                    tracing::error!(%error, "a task of the leader panicked; all of them are started again");
                    world.metrics.invariant_violations.inc();
                }
                tokio::time::sleep(RESTART_PAUSE).await;
                false
            }
        };
        term.cancel();
        while tasks.join_next().await.is_some() {}
        if view.fence.is_some() {
            tracing::info!("this replica leads no longer");
            world.metrics.leading.set(0);
        }
        if stopped {
            return;
        }
    }
}

/// Waits until the fence is another; a mere change of what is known of the leader is told and otherwise ignored.
async fn changed(leadership: &mut tokio::sync::watch::Receiver<federated_store::Leadership>, fence: Option<Fence>) {
    let before = leadership.borrow().clone();
    // The sender lives as long as the store's handle, which the world holds.
    let _ = leadership.wait_for(|view| view.fence != fence || (fence.is_none() && *view != before)).await;
}

fn start(tasks: &mut JoinSet<()>, world: &Arc<World>, tools: &Tools, fence: Fence, term: &CancellationToken) {
    tasks.spawn(presence::judge(Arc::clone(world), fence, term.clone()));
    tasks.spawn(driver::run(Arc::clone(world), tools.epoch.clone(), fence, term.clone()));
    tasks.spawn(act::webhook::run(Arc::clone(world), tools.agents.clone(), term.clone()));
    tasks.spawn(measure::measure(Arc::clone(world), fence, term.clone()));
    tasks.spawn(publish::run(Arc::clone(world), tools.hub.clone(), term.clone()));
    tasks.spawn(alerts::run(Arc::clone(world), tools.secrets.clone(), term.clone()));
}
