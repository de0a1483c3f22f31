//! Objects as tables for people, and as JSON or YAML for programs.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use crds::{ClusterScopeRollout, ClusterScopeRolloutStatus, Content, Payload, Phase};
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::ListParams;
use serde::Serialize;

use crate::arguments::Format;
use crate::hub::{Hub, answer};

/// By whom fields that this program writes are owned.
pub(crate) const FIELD_MANAGER: &str = "kubectl-clusterrollout";
/// Rollouts of one answer of the hub.
const PAGE: u32 = 500;
const HEADER: [&str; 8] = ["NAME", "PHASE", "RUN", "STEP", "WEIGHT", "HEALTHY", "WAITING", "AGE"];

/// Prints all rollouts, or one.
pub(crate) async fn get(hub: &Hub, name: Option<&str>, format: Format) -> Result<()> {
    let rollouts = match name {
        Some(name) => vec![hub.rollout(name).await?],
        None => all(hub).await?,
    };
    match (format, name, rollouts.as_slice()) {
        (Format::Table, _, []) => println!("there is no rollout"),
        (Format::Table, _, rollouts) => print!("{}", table(rollouts, Timestamp::now())),
        (format, Some(_), [one]) => print(one, format)?,
        (format, _, rollouts) => print(rollouts, format)?,
    }
    Ok(())
}

async fn all(hub: &Hub) -> Result<Vec<ClusterScopeRollout>> {
    let mut rollouts = Vec::new();
    let mut parameters = ListParams::default().limit(PAGE);
    loop {
        let page = answer(hub.rollouts().list(&parameters)).await?;
        rollouts.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(rollouts),
        }
    }
}

/// Prints something for programs.
pub(crate) fn print<T: Serialize + ?Sized>(value: &T, format: Format) -> Result<()> {
    match format {
        Format::Yaml => print!("---\n{}", crds::yaml::to_string(&value).context("failed to write YAML")?),
        Format::Json | Format::Table => {
            println!("{}", serde_json::to_string_pretty(value).context("failed to write JSON")?);
        }
    }
    Ok(())
}

/// A table with a header.
pub(crate) fn table(rollouts: &[ClusterScopeRollout], now: Timestamp) -> String {
    let mut lines = vec![HEADER.map(str::to_owned)];
    lines.extend(rollouts.iter().map(|rollout| row(rollout, now)));
    aligned(&lines)
}

pub(crate) fn row(rollout: &ClusterScopeRollout, now: Timestamp) -> [String; 8] {
    let unknown = ClusterScopeRolloutStatus::default();
    let status = rollout.status.as_ref().unwrap_or(&unknown);
    let created = rollout.metadata.creation_timestamp.as_ref().map(|time| time.0);
    [
        rollout.name_any(),
        status.phase.map_or("-", Phase::as_str).to_owned(),
        status.run.to_string(),
        status.step_summary.clone(),
        format!("{}%", status.weight),
        status.healthy_summary.clone(),
        status.waiting_on.as_ref().map_or("-", |waiting| &waiting.reason).to_owned(),
        created.map_or_else(|| "-".to_owned(), |created| age(now.as_second() - created.as_second())),
    ]
}

/// What a payload delivers: "app=shop:v2,proxy=envoy:1", or "5 objects".
pub(crate) fn content(payload: &Payload) -> String {
    match &payload.content {
        Content::Images(workload) => images(&workload.images),
        Content::Manifests(manifests) => manifests.to_string(),
    }
}

/// "app=shop:v2,proxy=envoy:1".
pub(crate) fn images(images: &BTreeMap<String, String>) -> String {
    images.iter().map(|(container, image)| format!("{container}={image}")).collect::<Vec<_>>().join(",")
}

/// Columns are as wide as their widest text.
pub(crate) fn aligned<const COLUMNS: usize>(lines: &[[String; COLUMNS]]) -> String {
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    });
    let mut text = String::new();
    for line in lines {
        let cells: Vec<String> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("   ").trim_end());
        text.push('\n');
    }
    text
}

/// As kubectl has it, coarser: "42s", "5m", "3h", "12d".
fn age(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7_200 => format!("{}m", seconds / 60),
        seconds @ 7_200..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_lines_its_columns_up() {
        let object = json!({
            "apiVersion": "rollout.example.com/v1alpha1",
            "kind": "ClusterScopeRollout",
            "metadata": {"name": "checkout", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"targetClusters": ["east"], "rolloutStrategy": {"canary": {"steps": [{"setWeight": 10}]}}},
            "status": {"phase": "Holding", "run": 2, "step": 1, "stepSummary": "1/2", "weight": 10,
                       "healthySummary": "1/4", "waitingOn": {"reason": "Approval", "message": "m"}},
        });
        let mut fresh = object.clone();
        fresh["status"] = json!(null);
        let rollouts: Vec<ClusterScopeRollout> = serde_json::from_value(json!([object, fresh])).unwrap();
        let text = table(&rollouts, "2026-01-01T00:02:05Z".parse().unwrap());
        assert_eq!(
            text,
            "NAME       PHASE     RUN   STEP   WEIGHT   HEALTHY   WAITING    AGE\n\
             checkout   Holding   2     1/2    10%      1/4       Approval   2m\n\
             checkout   -         0            0%                 -          2m\n"
        );
    }

    #[test]
    fn ages_read_like_those_of_kubectl() {
        let ages = [-3, 119, 120, 7_199, 7_200, 172_799, 172_800].map(age);
        assert_eq!(ages, ["0s", "119s", "2m", "119m", "2h", "47h", "2d"]);
    }
}
