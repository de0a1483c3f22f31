//! A webhook that Alertmanagers and controllers tell, and that counts what it was told.

#![allow(dead_code)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use axum::{Json, Router};
use e2e::harness::wait_for;
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpListener;

use super::PATIENCE;

/// One alert of one notification.
#[derive(Clone, Debug, Deserialize)]
pub struct Notified {
    /// `firing` or `resolved`.
    pub status: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// Base URL of the Alertmanager.
    #[serde(skip)]
    pub by: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Notification {
    #[serde(rename = "externalURL")]
    by: String,
    alerts: Vec<Notified>,
}

#[derive(Clone, Default)]
struct Heard {
    alerts: Arc<Mutex<Vec<Notified>>>,
    events: Arc<Mutex<Vec<Value>>>,
}

/// The webhook, for as long as the test runs.
pub struct Receiver {
    heard: Heard,
    url: String,
}

impl Receiver {
    pub async fn start() -> Self {
        let heard = Heard::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().route("/alerts", post(hear)).route("/events", post(hear_event));
        let router = routes.with_state(heard.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { heard, url }
    }

    /// Where Alertmanagers tell it.
    pub fn alerts(&self) -> String {
        format!("{}/alerts", self.url)
    }

    /// Where `CloudEvents` are posted.
    pub fn events(&self) -> String {
        format!("{}/events", self.url)
    }

    /// Ids of all events of this type that were posted, those that came twice twice.
    pub fn event_ids(&self, kind: &str) -> Vec<String> {
        let events = self.heard.events.lock().unwrap();
        let ids =
            events.iter().filter(|event| event["type"] == kind).map(|event| event["id"].as_str().unwrap().to_owned());
        ids.collect()
    }

    /// How often an Alertmanager said this of an alert with this name in this run.
    pub fn count(&self, by: &str, status: &str, (name, run): (&str, i64)) -> usize {
        let heard = self.heard.alerts.lock().unwrap();
        let run = run.to_string();
        let is = |one: &&Notified| {
            one.by == by
                && one.status == status
                && one.labels["alertname"] == name
                && one.labels.get("run") == Some(&run)
        };
        heard.iter().filter(is).count()
    }

    /// Waits until an Alertmanager has said this of an alert.
    pub async fn until(&self, by: &str, status: &str, (name, run): (&str, i64)) -> Notified {
        let what = format!("{by} to say that {name} of run {run} is {status}");
        let told = wait_for(&what, PATIENCE, || async {
            let heard = self.heard.alerts.lock().unwrap().clone();
            let run = run.to_string();
            let found = heard.iter().find(|one| {
                let same = one.labels["alertname"] == name && one.labels.get("run") == Some(&run);
                one.by == by && one.status == status && same
            });
            let said =
                || heard.iter().map(|one| format!("{} {} {:?}", one.by, one.status, one.labels)).collect::<Vec<_>>();
            Ok(found.cloned().ok_or_else(|| said().join("\n")))
        });
        told.await.unwrap()
    }
}

async fn hear(State(heard): State<Heard>, Json(Notification { by, alerts }): Json<Notification>) {
    heard.alerts.lock().unwrap().extend(alerts.into_iter().map(|one| Notified { by: by.clone(), ..one }));
}

async fn hear_event(State(heard): State<Heard>, headers: HeaderMap, body: Bytes) {
    assert_eq!(headers["content-type"], "application/cloudevents+json; charset=utf-8");
    heard.events.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
}
