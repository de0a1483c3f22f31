//! Alerts as Alertmanager's API v2 takes them.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use rollout_core::{Alert, Millis};
use serde::Serialize;

use super::Told;

/// An alert that nobody repeats any more is over after so many times the pause between two repetitions. Three may be lost;
/// a change of the leader takes less than one.
const EXPIRES_AFTER: u32 = 4;

/// One alert of `POST /api/v2/alerts`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PostableAlert<'a> {
    labels: &'a BTreeMap<String, String>,
    annotations: BTreeMap<&'static str, &'a str>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    generator_url: Option<&'a str>,
}

impl<'a> PostableAlert<'a> {
    pub fn new(alert: &'a Alert, told: &'a Told, now: Millis) -> Self {
        let expires = now.max(alert.since) + millis(told.resend * EXPIRES_AFTER);
        let texts = [("summary", alert.summary.as_str()), ("description", alert.description.as_str())];
        Self {
            labels: &alert.labels,
            annotations: texts.into_iter().filter(|(_, text)| !text.is_empty()).collect(),
            starts_at: time(alert.since),
            ends_at: time(alert.until.unwrap_or(expires)),
            generator_url: told.external_url.as_deref(),
        }
    }
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

/// To the millisecond: what lasted less than a second has two times.
fn time(millis: Millis) -> String {
    Timestamp::from_millisecond(millis).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rollout_core::AlertKind;

    #[test]
    fn what_lasts_expires_by_itself_and_what_is_over_has_its_end() {
        let alert = |until| Alert {
            kind: AlertKind::Held,
            labels: [("alertname".to_owned(), "RolloutHeld".to_owned())].into(),
            summary: "rollout checkout: it does not go on by itself".to_owned(),
            description: String::new(),
            since: 1_767_323_045_678,
            until,
        };
        let told =
            Told { external_url: Some("https://r".to_owned()), resend: Duration::from_secs(30), ..Told::default() };
        let json = |alert: &Alert| serde_json::to_value(PostableAlert::new(alert, &told, 1_767_323_100_000)).unwrap();
        let expected = serde_json::json!({
            "labels": {"alertname": "RolloutHeld"},
            "annotations": {"summary": "rollout checkout: it does not go on by itself"},
            "startsAt": "2026-01-02T03:04:05.678Z",
            "endsAt": "2026-01-02T03:07:00Z",
            "generatorURL": "https://r",
        });
        assert_eq!(json(&alert(None)), expected);
        assert_eq!(json(&alert(Some(1_767_323_099_000)))["endsAt"], "2026-01-02T03:04:59Z");
    }
}
