//! What a rollout decided, as the controllers tell it, and changes to members of a playground.

#![allow(dead_code)]

use std::collections::BTreeMap;

use anyhow::Context as _;
use e2e::playground::Playground;
use serde_json::Value;

/// One run's decisions without times, numbers and names of leaders: what has to be the same whoever led.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Story {
    /// What people were told, in order.
    pub reasons: Vec<String>,
    /// What each member was told, in order. Between members the order is that of their reports, which is chance.
    pub orders: BTreeMap<String, Vec<String>>,
}

impl Story {
    /// Of a run, as the store has it.
    pub async fn of(playground: &Playground, rollout: &str, run: i64) -> anyhow::Result<Self> {
        let mut story = Self::default();
        let records = decisions(playground, rollout).await?;
        for record in records.iter().filter(|record| record["run"] == run) {
            for event in record["events"].as_array().into_iter().flatten() {
                story.reasons.push(event["reason"].as_str().unwrap_or_default().to_owned());
            }
            for command in record["commands"].as_array().into_iter().flatten() {
                let (member, order) = command.as_str().and_then(|text| text.split_once(": ")).unwrap_or_default();
                // Claims are taken once and outlive runs.
                if !order.starts_with("claim ") && !order.starts_with("release ") {
                    story.orders.entry(member.to_owned()).or_default().push(order.to_owned());
                }
            }
        }
        Ok(story)
    }
}

/// The latest decisions of a rollout, from the first controller that answers.
pub async fn decisions(playground: &Playground, rollout: &str) -> anyhow::Result<Vec<Value>> {
    ask(playground, &format!("/api/v1/decisions?limit=1000&rollout={rollout}")).await
}

/// What the controllers say about a rollout, also while the hub is away.
pub async fn told(playground: &Playground, rollout: &str) -> anyhow::Result<Value> {
    let all = ask(playground, "/api/v1/rollouts").await?;
    all.into_iter().find(|one| one["name"] == rollout).context("the controllers don't know this rollout")
}

async fn ask(playground: &Playground, path: &str) -> anyhow::Result<Vec<Value>> {
    let mut failure = anyhow::anyhow!("there is no controller");
    for (_, url) in playground.controllers() {
        let answer = async { reqwest::get(format!("{url}{path}")).await?.error_for_status()?.json().await };
        match answer.await {
            Ok(found) => return Ok(found),
            Err(error) => failure = error.into(),
        }
    }
    Err(failure)
}

/// A member's whole cluster goes away, its agent first.
pub async fn lose(playground: &Playground, member: &str) {
    playground.kill_part(&format!("{member}/agent")).await.unwrap();
    playground.member(member).unwrap().stop().await;
}
