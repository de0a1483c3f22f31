//! `spec.paused`, by hand.

use anyhow::Result;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::hub::{Hub, answer};
use crate::output::FIELD_MANAGER;

/// Pauses a rollout or lets it go on; says so, also when nothing was to do.
pub(crate) async fn set(hub: &Hub, name: &str, paused: bool) -> Result<()> {
    let rollout = hub.rollout(name).await?;
    let word = if paused { "paused" } else { "resumed" };
    if rollout.spec.paused == paused {
        println!("{name}: nothing to do, spec.paused is {paused} already");
        return Ok(());
    }
    // The uid keeps a recreated rollout of the same name out of it.
    let patch = json!({"metadata": {"uid": rollout.uid()}, "spec": {"paused": paused}});
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    answer(hub.rollouts().patch(name, &parameters, &Patch::Merge(&patch))).await?;
    println!("{name}: {word}");
    Ok(())
}
