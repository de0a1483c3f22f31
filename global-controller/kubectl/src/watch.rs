//! Rollouts as they go on: a line for each change that people can see.

use std::collections::BTreeMap;

use anyhow::Result;
use crds::ClusterScopeRollout;
use futures::TryStreamExt as _;
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::{WatchStreamExt as _, watcher};

use crate::arguments::Format;
use crate::hub::Hub;
use crate::output;

/// Follows rollouts, or one, until the process is ended. A hub that is away for a while is waited for.
pub(crate) async fn run(hub: &Hub, name: Option<&str>, format: Format) -> Result<()> {
    if let Some(name) = name {
        // A wrong name would be waited for without end.
        hub.rollout(name).await?;
    }
    let mut settings = watcher::Config::default();
    if let Some(name) = name {
        settings = settings.fields(&format!("metadata.name={name}"));
    }
    let mut changes = std::pin::pin!(watcher(hub.rollouts(), settings).default_backoff().applied_objects());
    let mut shown: BTreeMap<String, String> = BTreeMap::new();
    loop {
        match changes.try_next().await {
            Ok(Some(rollout)) => show(&rollout, format, &mut shown)?,
            Ok(None) => return Ok(()),
            Err(error) => eprintln!("the hub's watch broke, trying again: {error}"),
        }
    }
}

fn show(rollout: &ClusterScopeRollout, format: Format, shown: &mut BTreeMap<String, String>) -> Result<()> {
    if format != Format::Table {
        return output::print(rollout, format);
    }
    let line = line(rollout, Timestamp::now());
    if shown.insert(rollout.name_any(), line.clone()).as_ref() != Some(&line) {
        println!("{line}");
    }
    Ok(())
}

/// "checkout: Holding, run 2, step 1/2 (10%), 1/4 healthy: 1 member healthy; step 1 …".
fn line(rollout: &ClusterScopeRollout, now: Timestamp) -> String {
    let [name, phase, run, step, weight, healthy, ..] = output::row(rollout, now);
    let waiting = rollout.status.as_ref().and_then(|status| status.waiting_on.as_ref());
    let message = waiting.map(|waiting| format!(": {}", waiting.message)).unwrap_or_default();
    if run == "0" {
        return format!("{name}: {phase}{message}");
    }
    format!("{name}: {phase}, run {run}, step {step} ({weight}), {healthy} healthy{message}")
}
