//! A member's label and status: coarse, because heartbeats must not write to the hub.

use anyhow::Result;
use crds::{AgentInfo, CONTROLLER_MANAGER, MEMBER_LABEL, MemberCluster, MemberClusterStatus, time_from_millis};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use rollout_core::ConditionFact;
use serde_json::json;

use super::{done, rollouts};
use crate::mirror::StoredMember;
use crate::world::World;

/// Brings one object up to date; false when it was.
pub(super) async fn publish(world: &World, client: &Client, name: &str) -> Result<bool> {
    let Some(object) = world.hub().member(name).cloned() else { return Ok(false) };
    if object.metadata.deletion_timestamp.is_some() {
        return Ok(false);
    }
    let api: Api<MemberCluster> = Api::all(client.clone());
    let labelled = object.labels().get(MEMBER_LABEL).is_some_and(|value| value == name);
    if !labelled {
        let patch = json!({"metadata": {"uid": object.uid(), "labels": {MEMBER_LABEL: name}}});
        let parameters = PatchParams { field_manager: Some(CONTROLLER_MANAGER.to_owned()), ..PatchParams::default() };
        return done(api.patch(name, &parameters, &Patch::Merge(&patch)).await.map(drop));
    }
    let stored = world.mirror().member(name).cloned().unwrap_or_default();
    let before = object.status.clone().unwrap_or_default();
    let after = status(&before, &stored, object.metadata.generation.unwrap_or_default());
    if after == before {
        return Ok(false);
    }
    let patch = rollouts::status_patch::<MemberCluster, _>(name, object.uid().as_deref(), &after);
    let parameters = PatchParams::apply(CONTROLLER_MANAGER).force();
    done(api.patch_status(name, &parameters, &Patch::Apply(&patch)).await.map(drop))
}

fn status(before: &MemberClusterStatus, stored: &StoredMember, generation: i64) -> MemberClusterStatus {
    // What it has told of its orders shows in the rollouts.
    let StoredMember { info, reach, uploaded: _ } = stored;
    let facts = [registered(info.as_ref()), reachable(stored)];
    let heard = reach.as_ref().map(|reach| reach.last_heard).filter(|heard| *heard > 0);
    MemberClusterStatus {
        conditions: rollouts::conditions(&before.conditions, &facts, generation),
        agent_version: info.as_ref().map(|info| info.agent_version.clone()),
        kubernetes_version: info.as_ref().map(|info| info.kubernetes_version.clone()),
        nodes: info.as_ref().map(|info| info.nodes),
        ready_nodes: info.as_ref().map(|info| info.ready_nodes),
        last_heartbeat: heard.map(time_from_millis).or_else(|| before.last_heartbeat.clone()),
    }
}

fn registered(info: Option<&AgentInfo>) -> ConditionFact {
    match info {
        Some(info) => {
            fact("Registered", Some(true), "Registered", &format!("agent {} has introduced itself", info.agent_version))
        }
        None => {
            fact("Registered", Some(false), "NoAgent", "no agent has introduced itself: install rollout-member there")
        }
    }
}

fn reachable(stored: &StoredMember) -> ConditionFact {
    match &stored.reach {
        Some(reach) if reach.reachable => fact("Reachable", Some(true), "Heard", "the agent is heard"),
        Some(_) if stored.info.is_none() => fact("Reachable", Some(false), "NeverHeard", "no agent was ever heard"),
        Some(reach) => {
            let last = time_from_millis(reach.last_heard);
            let text = if reach.last_heard > 0 {
                format!("the agent was last heard at {}: look whether it runs and reaches the hub", last.0)
            } else {
                "the agent is silent: look whether it runs and reaches the hub".to_owned()
            };
            fact("Reachable", Some(false), "Silent", &text)
        }
        None => fact("Reachable", None, "Unknown", "the controller has not judged yet"),
    }
}

fn fact(kind: &'static str, status: Option<bool>, reason: &str, message: &str) -> ConditionFact {
    ConditionFact { kind, status, reason: reason.to_owned(), message: message.to_owned() }
}
