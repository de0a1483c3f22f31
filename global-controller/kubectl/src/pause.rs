//! `spec.paused`, by hand.

use anyhow::{Result, bail};
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::hub::{Hub, answer};
use crate::output::FIELD_MANAGER;

/// Takes a pause by hand back. A run whose records were lost is another matter, and needs a reason.
pub(crate) async fn end(hub: &Hub, name: &str) -> Result<()> {
    let rollout = hub.rollout(name).await?;
    let waiting = rollout.status.as_ref().and_then(|status| status.waiting_on.as_ref());
    if waiting.is_some_and(|waiting| waiting.reason == "StoreRebuilt") {
        bail!("{name} waits for StoreRebuilt: say why it is to go on (--why REASON)");
    }
    set(hub, name, false).await
}

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
