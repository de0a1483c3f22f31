//! Followers bring what they heard to the leader, and get back when it heard whom.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crds::{Heartbeat, Heartbeats, Inquiry};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::millis;
use crate::world::World;

/// Short against the 15 s after which a member is silent, long against the cost of a request.
const EVERY: Duration = Duration::from_secs(2);
/// A request of some kilobytes to a process nearby.
const DEADLINE: Duration = Duration::from_secs(2);
/// Heartbeats of one request, as the API says.
pub(crate) const MAX_HEARTBEATS: usize = 10_000;

/// What a leader answers to another replica's heartbeats.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ages {
    /// Milliseconds since each member was last heard, by anybody.
    pub age_millis: BTreeMap<String, u64>,
    /// What is to be asked of members whose streams the other replica has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inquiries: BTreeMap<String, Vec<Inquiry>>,
}

/// Forwards until told to stop, while another replica leads.
pub(crate) async fn run(world: Arc<World>, client: reqwest::Client, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        let leadership = world.store.leadership().borrow().clone();
        let Some(url) = leadership.url.filter(|_| leadership.leader.as_deref() != Some(world.id.as_str())) else {
            continue;
        };
        if let Err(error) = exchange(&world, &client, &url).await {
            tracing::debug!(error = crate::logging::with_causes(&error), "the leader did not take the heartbeats");
        }
    }
}

async fn exchange(world: &World, client: &reqwest::Client, leader: &str) -> reqwest::Result<()> {
    let fresh = world.presence().take_fresh(Instant::now());
    for batch in fresh.chunks(MAX_HEARTBEATS) {
        send(world, client, leader, batch).await?;
    }
    if fresh.is_empty() { send(world, client, leader, &[]).await } else { Ok(()) }
}

async fn send(
    world: &World,
    client: &reqwest::Client,
    leader: &str,
    batch: &[(String, Duration)],
) -> reqwest::Result<()> {
    let heartbeats = batch.iter().map(|(member, age)| Heartbeat { member: member.clone(), age_millis: millis(*age) });
    let body = Heartbeats { heartbeats: heartbeats.collect() };
    let url = format!("{}/v1/heartbeats", leader.trim_end_matches('/'));
    let answer = client.post(url).timeout(DEADLINE).json(&body).send().await?.error_for_status()?;
    let Ages { age_millis, inquiries } = answer.json().await?;
    let now = Instant::now();
    for (member, inquiries) in inquiries {
        world.inquiries.put(&member, inquiries, now);
        world.wake(&member);
    }
    let mut presence = world.presence();
    for (member, age) in age_millis {
        if let Some(at) = now.checked_sub(Duration::from_millis(age)) {
            presence.hear(&member, at, now);
        }
    }
    Ok(())
}
