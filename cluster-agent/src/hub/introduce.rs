//! Who this is and that it is alive: registration and heartbeats.

use std::sync::Arc;
use std::time::Duration;

use crds::{AgentInfo, Heartbeat, Heartbeats, Register};
use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};

use super::Hub;
use crate::cluster::{Error, call};
use crate::logging::with_causes;
use crate::retry::{Backoff, chance};

/// The hub calls a member unreachable after 15 s of silence: two may be lost.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Between looks at version and nodes: they are for people, and reading 5,000 nodes is some 50 MB from a quorum.
const LOOK: Duration = Duration::from_mins(10);
/// Between looks while they fail, when something is known from before.
const LOOK_AGAIN: Duration = Duration::from_mins(1);
/// Nodes of one page: each has some 10 KiB. Pages are read from a quorum: from its cache (resourceVersion 0) the API
/// server gives all nodes at once, whatever the limit.
const PAGE: u32 = 250;
/// Pages of one look: 50,000 nodes, ten times what Kubernetes bears.
const MAX_PAGES: usize = 200;

/// Says every 5 s that the member is alive, for ever.
pub async fn heartbeat(member: String, hub: Arc<Hub>) {
    let mut ticks = tokio::time::interval(HEARTBEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let body = Heartbeats { heartbeats: vec![Heartbeat { member, age_millis: 0 }] };
    loop {
        ticks.tick().await;
        if let Err(error) = hub.post("/v1/heartbeats", &body).await {
            tracing::warn!(error = with_causes(&error), "failed to send a heartbeat");
        }
    }
}

/// Introduces the agent at its start, after each connection and when what it says changes, for ever.
pub async fn register(member: String, client: Client, hub: Arc<Hub>, asks_prometheus: bool, connected: Arc<Notify>) {
    let mut backoff = Backoff::hub();
    let (mut said, mut known, mut next_look) = (None, None, Instant::now());
    loop {
        if Instant::now() >= next_look {
            match look(&client).await {
                Ok(info) => {
                    let asks_prometheus = Some(asks_prometheus);
                    (known, next_look) = (Some(AgentInfo { asks_prometheus, ..info }), Instant::now() + LOOK);
                }
                Err(error) => {
                    tracing::warn!(error = with_causes(&error), "failed to look at version and nodes");
                    next_look = Instant::now() + if known.is_some() { LOOK_AGAIN } else { backoff.next(chance()) };
                }
            }
        }
        if let Some(info) = known.clone().filter(|info| said.as_ref() != Some(info)) {
            match hub.post("/v1/register", &Register { member: member.clone(), info: info.clone() }).await {
                Ok(()) => {
                    backoff.reset();
                    tracing::info!(version = info.kubernetes_version, nodes = info.nodes, "registered with the hub");
                    said = Some(info);
                }
                Err(error) => {
                    tracing::warn!(error = with_causes(&error), "failed to register, trying again");
                    tokio::select! {
                        () = tokio::time::sleep(backoff.next(chance())) => {}
                        () = connected.notified() => {}
                    }
                    continue;
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep_until(next_look) => {}
            () = connected.notified() => said = None,
        }
    }
}

async fn look(client: &Client) -> Result<AgentInfo, Error> {
    let version = call("read the API server's version", client.apiserver_version()).await?;
    let api: Api<Node> = Api::all(client.clone());
    let mut parameters = ListParams::default().limit(PAGE);
    let (mut nodes, mut ready) = (0, 0);
    for _ in 0..MAX_PAGES {
        let page = call("list the nodes", api.list(&parameters)).await?;
        nodes += page.items.len();
        ready += page.items.iter().filter(|node| is_ready(node)).count();
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => break,
        }
    }
    Ok(AgentInfo {
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        kubernetes_version: version.git_version,
        nodes: i32::try_from(nodes).unwrap_or(i32::MAX),
        ready_nodes: i32::try_from(ready).unwrap_or(i32::MAX),
        api_level: crds::AGENT_API_LEVEL,
        asks_prometheus: None,
    })
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_node_without_a_true_ready_condition_is_not_ready() {
        for (status, ready) in [("True", true), ("False", false), ("Unknown", false)] {
            let text = format!("{{status: {{conditions: [{{type: Ready, status: '{status}'}}]}}}}");
            assert_eq!(is_ready(&crds::yaml::from_str(&text).unwrap()), ready, "{status}");
        }
        assert!(!is_ready(&Node::default()));
    }
}
