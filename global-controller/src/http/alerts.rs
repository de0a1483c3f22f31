//! `POST /api/v1/alerts`: an Alertmanager's webhook tells of alerts, which gates heed. Any replica takes it and writes it
//! into the store itself, as it does with reports.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::{MethodRouter, post};
use federated_store::{Op, TxnOutcome, When};
use jiff::Timestamp;
use rollout_core::{HeardAlert, HeardAlerts, Millis};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::refusal::Refusal;
use crate::config::Credentials;
use crate::logging::with_causes;
use crate::records::put;
use crate::remote::{Authorization, Purpose, Secrets};
use crate::world::World;
use crate::{clock, keys};

/// Largest body: a group of a thousand alerts.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;
/// Alerts that are kept. Those that are meant for gates are few; what else is routed here must not fill the store.
const MAX_ALERTS: usize = 1_000;
/// Labels of an alert, and bytes of all of them.
const MAX_LABELS: (usize, usize) = (64, 8 * 1024);
/// Hexadecimal digits of a fingerprint; Alertmanager's have 16.
const MAX_FINGERPRINT: usize = 64;
/// Keys of one transaction, which bears 100 operations.
const AT_ONCE: usize = 90;
/// How long an alert is kept that is over.
const KEPT_ENDED: Millis = 60 * 60 * 1000;
/// How long one is kept that was not told any more: more than any `repeat_interval`.
const KEPT_UNHEARD: Millis = 7 * 24 * 60 * 60 * 1000;
/// What is told again within this time, and is the same, is not written: several Alertmanagers say the same.
const SAME_WITHIN: Millis = 5_000;

/// Where the token is, and who reads it from there.
type Token = (Credentials, Arc<Authorization>);

/// What the route needs.
#[derive(Clone)]
pub(super) struct Webhook {
    world: Arc<World>,
    secrets: Secrets,
    /// The token for the present configuration, kept for a moment.
    token: Arc<Mutex<Option<Token>>>,
}

/// The route.
pub(super) fn route(world: Arc<World>, secrets: Secrets) -> MethodRouter<()> {
    let webhook = Webhook { world, secrets, token: Arc::default() };
    post(receive).layer(DefaultBodyLimit::max(MAX_BODY_BYTES)).with_state(webhook)
}

/// A notification, as Alertmanager's webhook sends it.
#[derive(Deserialize)]
pub(super) struct Notification {
    alerts: Vec<Told>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    status: Status,
    labels: BTreeMap<String, String>,
    starts_at: Timestamp,
    ends_at: Timestamp,
    fingerprint: String,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Status {
    Firing,
    Resolved,
}

async fn receive(
    State(webhook): State<Webhook>,
    headers: HeaderMap,
    body: Result<Json<Notification>, axum::extract::rejection::JsonRejection>,
) -> Result<StatusCode, Refusal> {
    webhook.authorize(&headers).await?;
    let Json(Notification { alerts }) = body.map_err(|error| Refusal::Unfit(error.body_text()))?;
    let world = &webhook.world;
    let (operations, left_out) = changes(world.mirror().alerts(), alerts, clock::now_millis());
    if left_out > 0 {
        world.metrics.alerts_left_out.inc_by(left_out);
        tracing::warn!(left_out, "alerts were told that are too large or too many to be kept");
    }
    for batch in operations.chunks(AT_ONCE) {
        let written = world.store.txn(None, Vec::<When>::new(), batch.to_vec()).await;
        match written.map_err(|error| Refusal::Unavailable(error.to_string()))? {
            TxnOutcome::Committed { .. } => {}
            other => return Err(Refusal::Unavailable(format!("not written: {other:?}"))),
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

impl Webhook {
    /// Only who has the token may say what takes a fleet back.
    async fn authorize(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(credentials) = self.world.settings().alerts.webhook.clone() else {
            return Err(Refusal::Forbidden(
                "alerts.webhook is not configured, so nobody may tell of alerts".to_owned(),
            ));
        };
        let authorization = self.authorization(credentials).await;
        let expected = authorization.header(Instant::now()).await;
        let expected = expected.map_err(|error| Refusal::Unavailable(with_causes(&error)))?;
        let given = headers.get(header::AUTHORIZATION);
        match (expected, given) {
            (Some(expected), Some(given)) if is_same(expected.as_bytes(), given.as_bytes()) => Ok(()),
            _ => Err(Refusal::Unauthorized("the bearer token is not the one that is configured".to_owned())),
        }
    }

    async fn authorization(&self, credentials: Credentials) -> Arc<Authorization> {
        let mut token = self.token.lock().await;
        match &*token {
            Some((known, authorization)) if *known == credentials => Arc::clone(authorization),
            _ => {
                let fresh = Authorization::new(credentials.clone(), self.secrets.clone(), Purpose::Alertmanager);
                let (_, authorization) = token.insert((credentials, Arc::new(fresh)));
                Arc::clone(authorization)
            }
        }
    }
}

/// Whether two texts are equal, in a time that doesn't tell how far they are.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let differing = one.iter().zip(other).fold(0, |differing, (one, other)| differing | (one ^ other));
    one.len() == other.len() && differing == 0
}

/// What is to be written, and how many alerts are left out. What was forgotten makes room for what is new.
fn changes(known: &HeardAlerts, told: Vec<Told>, now: Millis) -> (Vec<Op>, u64) {
    let mut kept = known.clone();
    let (mut changed, mut left_out) = (BTreeMap::new(), 0);
    for (fingerprint, alert) in known.iter().filter(|(_, alert)| is_forgotten(alert, now)) {
        kept.remove(fingerprint);
        changed.insert(fingerprint.clone(), None);
        tracing::debug!(fingerprint, labels = ?alert.labels, "an alert is forgotten");
    }
    for told in told {
        let fingerprint = told.fingerprint.clone();
        let fits = kept.len() < MAX_ALERTS || kept.contains_key(&fingerprint);
        match heard(told, now).filter(|_| fits) {
            Some(alert) if is_news(kept.get(&fingerprint), &alert) => {
                kept.insert(fingerprint.clone(), alert.clone());
                changed.insert(fingerprint, Some(alert));
            }
            Some(_) => {}
            None => left_out += 1,
        }
    }
    let operations = changed.into_iter().filter_map(|(fingerprint, alert)| {
        let key = keys::alert(&fingerprint);
        match alert {
            Some(alert) => put(key, &alert).ok(),
            None => Some(Op::Delete { key }),
        }
    });
    (operations.collect(), left_out)
}

/// As it is kept; none where it is unfit.
fn heard(told: Told, now: Millis) -> Option<HeardAlert> {
    let Told { status, labels, starts_at, ends_at, fingerprint } = told;
    let hexadecimal = fingerprint.bytes().all(|digit| digit.is_ascii_hexdigit());
    let named = hexadecimal && (1..=MAX_FINGERPRINT).contains(&fingerprint.len());
    let bytes: usize = labels.iter().map(|(name, value)| name.len() + value.len()).sum();
    let fits = labels.len() <= MAX_LABELS.0 && bytes <= MAX_LABELS.1;
    let ended_at = (status == Status::Resolved).then(|| ends_at.as_millisecond());
    (named && fits).then(|| HeardAlert { labels, starts_at: starts_at.as_millisecond(), ended_at, heard_at: now })
}

/// Whether it says anything that is not known. What began earlier than what is known is late.
fn is_news(known: Option<&HeardAlert>, alert: &HeardAlert) -> bool {
    let Some(known) = known else { return alert.ended_at.is_none() };
    let same = (known.starts_at, known.ended_at) == (alert.starts_at, alert.ended_at);
    let again = alert.heard_at >= known.heard_at + SAME_WITHIN && alert.ended_at.is_none();
    alert.starts_at >= known.starts_at && (!same || again)
}

fn is_forgotten(alert: &HeardAlert, now: Millis) -> bool {
    let ended = alert.ended_at.is_some_and(|_| alert.heard_at + KEPT_ENDED < now);
    ended || alert.heard_at + KEPT_UNHEARD < now
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NOW: Millis = 1_767_323_100_000;

    fn told(status: &str, fingerprint: &str, starts_at: &str) -> Told {
        let body = serde_json::json!({
            "status": status, "labels": {"alertname": "Errors"}, "annotations": {}, "generatorURL": "",
            "startsAt": starts_at, "endsAt": "0001-01-01T00:00:00Z", "fingerprint": fingerprint,
        });
        serde_json::from_value(body).unwrap()
    }

    fn known(pairs: &[(&str, Millis, Option<Millis>)]) -> HeardAlerts {
        let alert = |heard_at, ended_at| HeardAlert { labels: BTreeMap::new(), starts_at: 0, ended_at, heard_at };
        pairs.iter().map(|(name, heard_at, ended_at)| ((*name).to_owned(), alert(*heard_at, *ended_at))).collect()
    }

    fn keys_of(operations: &[Op]) -> Vec<String> {
        let text = |operation: &Op| match operation {
            Op::Put { key, .. } => format!("put {key}"),
            Op::Delete { key } => format!("delete {key}"),
        };
        operations.iter().map(text).collect()
    }

    #[test]
    fn what_fires_is_kept_and_what_several_say_is_written_once() {
        let began = "2026-01-02T03:00:00.5Z";
        let (operations, left_out) = changes(&HeardAlerts::new(), vec![told("firing", "7a", began)], NOW);
        assert_eq!((keys_of(&operations), left_out), (vec!["put alerts/7a".to_owned()], 0));
        let heard: HeardAlerts = [("7a".to_owned(), heard(told("firing", "7a", began), NOW).unwrap())].into();
        let again =
            |status: &str, began: &str, later| changes(&heard, vec![told(status, "7a", began)], NOW + later).0.len();
        assert_eq!(again("firing", began, 1_000), 0, "another Alertmanager");
        assert_eq!(again("firing", began, 60_000), 1, "it was repeated");
        assert_eq!(again("resolved", began, 1_000), 1);
        assert_eq!(again("resolved", "2026-01-02T02:00:00Z", 1_000), 0, "the end of an earlier one, late");
        assert!(changes(&HeardAlerts::new(), vec![told("resolved", "7a", began)], NOW).0.is_empty());
    }

    #[test]
    fn what_is_over_or_was_not_told_for_long_is_forgotten() {
        let old = known(&[
            ("a", NOW - KEPT_ENDED - 1, Some(1)),
            ("b", NOW - KEPT_ENDED, Some(1)),
            ("c", NOW - KEPT_UNHEARD - 1, None),
            ("d", NOW - KEPT_UNHEARD, None),
        ]);
        assert_eq!(keys_of(&changes(&old, Vec::new(), NOW).0), ["delete alerts/a", "delete alerts/c"]);
    }

    #[test]
    fn what_is_unfit_or_too_much_is_left_out_and_counted() {
        let mut large = told("firing", "7a", "2026-01-02T03:00:00Z");
        large.labels.insert("x".to_owned(), "y".repeat(MAX_LABELS.1));
        let odd = told("firing", "7/a", "2026-01-02T03:00:00Z");
        let (operations, left_out) = changes(&HeardAlerts::new(), vec![large, odd], NOW);
        assert_eq!((operations.len(), left_out), (0, 2));
        let full: Vec<String> = (0..MAX_ALERTS).map(|number| format!("{number:x}")).collect();
        let full = known(&full.iter().map(|name| (name.as_str(), NOW, None)).collect::<Vec<_>>());
        let told = vec![told("firing", "fffff", "2026-01-02T03:00:00Z"), told("firing", "1", "2026-01-02T03:00:00Z")];
        let (operations, left_out) = changes(&full, told, NOW);
        assert_eq!((keys_of(&operations), left_out), (vec!["put alerts/1".to_owned()], 1));
    }

    #[test]
    fn tokens_are_compared_whole() {
        assert!(is_same(b"Bearer a", b"Bearer a"));
        for other in ["Bearer b", "Bearer", "Bearer a ", ""] {
            assert!(!is_same(b"Bearer a", other.as_bytes()), "{other}");
        }
    }
}
