//! One sink of `CloudEvents`: each fact is an event when it begins, and another one when it ends.
//!
//! An event is posted until the sink has taken or refused it. The next leader doesn't know which were taken and posts again
//! what its predecessor may have: the id is the same, so the sink can tell.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use rollout_core::{Alert, Millis};
use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;

use super::endpoint::{Endpoint, NotTaken};
use super::receiver::{PAUSES, wait};
use super::{Figures, Told};
use crate::config::ReceiverConfig;
use crate::remote::{Purpose, Secrets};

/// How the attribute `type` begins.
const TYPE: &str = "com.example.rollout";
/// How the attribute `source` begins while no address of ours is configured.
const SOURCE: &str = "urn:rollout.example.com";
/// Labels that tell facts apart, in the order in which they stand in an id.
const IDENTITY: [&str; 5] = ["alertname", "rollout", "run", "step", "reason"];

/// One sink.
pub struct Sink {
    endpoint: Endpoint,
    figures: Figures,
    /// Ids of events that it has taken or refused; of those that there are to tell alone.
    settled: BTreeSet<String>,
    away: bool,
}

/// An event, as `CloudEvents` 1.0 writes it in structured JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct CloudEvent {
    specversion: &'static str,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    subject: String,
    time: String,
    datacontenttype: &'static str,
    data: serde_json::Value,
}

impl Sink {
    /// One that was told nothing yet.
    pub fn new(config: &ReceiverConfig, secrets: Secrets, figures: Figures) -> Self {
        let endpoint = Endpoint::new(config, secrets, Purpose::Events);
        Self { endpoint, figures, settled: BTreeSet::new(), away: false }
    }

    /// Tells it what there is to tell, for as long as anybody says what that is.
    pub async fn run(mut self, mut news: watch::Receiver<Arc<Told>>) {
        let mut pause = PAUSES.0;
        loop {
            let told = Arc::clone(&news.borrow_and_update());
            let moments = moments(&told);
            let ids: BTreeSet<&String> = moments.iter().map(|moment| &moment.id).collect();
            self.settled.retain(|id| ids.contains(id));
            let open: Vec<&Moment<'_>> = moments.iter().filter(|moment| !self.settled.contains(&moment.id)).collect();
            if open.is_empty() && wait(&mut news, None).await.is_err() {
                return;
            }
            for moment in open {
                if !self.tell(moment, &told).await {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                    break;
                }
                pause = PAUSES.0;
                // An error says that nobody will say anything any more: then what is open is told to the end.
                if news.has_changed().unwrap_or(false) {
                    break;
                }
            }
        }
    }

    /// Whether there is nothing more to do about it.
    async fn tell(&mut self, moment: &Moment<'_>, told: &Told) -> bool {
        // Texts and times are always JSON.
        let body = serde_json::to_vec(&moment.event(told)).unwrap_or_default();
        let posted = self.endpoint.post("", "application/cloudevents+json; charset=utf-8", body).await;
        let (sink, id) = (&self.endpoint.address, &moment.id);
        self.figures.sent(sink, posted.is_ok());
        let away = match posted {
            Ok(()) => false,
            Err(NotTaken { refused: true, reason }) => {
                tracing::warn!(sink, id, reason, "the sink refuses an event; it is left out");
                false
            }
            Err(NotTaken { reason, .. }) => {
                if !self.away {
                    tracing::warn!(sink, reason, "the sink does not take events; trying until it does");
                }
                true
            }
        };
        if self.away && !away {
            tracing::info!(sink, "the sink takes events again");
        }
        self.away = away;
        if !away {
            self.settled.insert(moment.id.clone());
        }
        !away
    }
}

/// The beginning or the end of a fact: what an event is about.
#[derive(Debug)]
struct Moment<'a> {
    id: String,
    at: Millis,
    what: &'static str,
    alert: &'a Alert,
}

/// All that there are to tell, the oldest first, so that a story is told in its order.
fn moments(told: &Told) -> Vec<Moment<'_>> {
    let began = told.alerts.iter().map(|alert| Moment::new(alert, "began", alert.since));
    let ended = told.alerts.iter().filter_map(|alert| Some(Moment::new(alert, "ended", alert.until?)));
    let mut all: Vec<Moment<'_>> = began.chain(ended).collect();
    all.sort_by(|one, other| (one.at, &one.id).cmp(&(other.at, &other.id)));
    all
}

impl<'a> Moment<'a> {
    fn new(alert: &'a Alert, what: &'static str, at: Millis) -> Self {
        let label = |name: &str| alert.labels.get(name).map(String::as_str);
        let identity: Vec<&str> = IDENTITY.into_iter().filter_map(label).collect();
        Self { id: format!("{}.{}.{what}", identity.join("."), alert.since), at, what, alert }
    }

    fn event(&self, told: &Told) -> CloudEvent {
        let Alert { kind: _, labels, summary, description, since, until: _ } = self.alert;
        let label = |name: &str| labels.get(name).map_or("", String::as_str);
        let source = match &told.external_url {
            Some(url) => format!("{}/clusterscoperollouts", url.trim_end_matches('/')),
            None => format!("{SOURCE}:clusterscoperollouts"),
        };
        let name = label("alertname");
        let name = name.strip_prefix("Rollout").unwrap_or(name).to_lowercase();
        CloudEvent {
            specversion: "1.0",
            id: self.id.clone(),
            source,
            kind: format!("{TYPE}.{name}.{}", self.what),
            subject: label("rollout").to_owned(),
            time: time(self.at),
            datacontenttype: "application/json",
            data: json!({"labels": labels, "summary": summary, "description": description, "since": time(*since)}),
        }
    }
}

fn time(millis: Millis) -> String {
    Timestamp::from_millisecond(millis).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rollout_core::AlertKind;

    fn told(external_url: Option<&str>, until: Option<Millis>) -> Told {
        let labels =
            [("alertname", "RolloutGateFailed"), ("rollout", "checkout"), ("run", "3"), ("severity", "critical")];
        let alert = Alert {
            kind: AlertKind::GateFailed,
            labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            summary: "rollout checkout: a gate has failed".to_owned(),
            description: "why".to_owned(),
            since: 1_767_323_045_678,
            until,
        };
        Told { alerts: vec![alert], external_url: external_url.map(str::to_owned), ..Told::default() }
    }

    #[test]
    fn a_fact_is_an_event_when_it_begins_and_another_when_it_ends() {
        let told = told(Some("https://r/"), Some(1_767_323_099_000));
        let events: Vec<_> = moments(&told).iter().map(|moment| moment.event(&told)).collect();
        let [began, ended] = events.try_into().unwrap();
        let expected = json!({
            "specversion": "1.0",
            "id": "RolloutGateFailed.checkout.3.1767323045678.began",
            "source": "https://r/clusterscoperollouts",
            "type": "com.example.rollout.gatefailed.began",
            "subject": "checkout",
            "time": "2026-01-02T03:04:05.678Z",
            "datacontenttype": "application/json",
            "data": {
                "labels": {"alertname": "RolloutGateFailed", "rollout": "checkout", "run": "3", "severity": "critical"},
                "summary": "rollout checkout: a gate has failed",
                "description": "why",
                "since": "2026-01-02T03:04:05.678Z",
            },
        });
        assert_eq!(serde_json::to_value(&began).unwrap(), expected);
        assert_eq!(
            (ended.id.as_str(), ended.time.as_str()),
            ("RolloutGateFailed.checkout.3.1767323045678.ended", "2026-01-02T03:04:59Z")
        );
    }

    #[test]
    fn the_id_is_the_same_whatever_the_words_are_and_whoever_tells() {
        let (mut one, other) = (told(None, None), told(None, None));
        one.alerts.iter_mut().for_each(|alert| alert.description = "other words".to_owned());
        assert_eq!(moments(&one)[0].id, moments(&other)[0].id);
        assert_eq!(moments(&one)[0].event(&one).source, "urn:rollout.example.com:clusterscoperollouts");
    }
}
