//! The part of the configuration about who is told of alerts: checked, every problem named.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;

use super::Problems;
use super::server::{
    BasicSection, Credentials, SecretSection, Server, TlsSection, Written, between, check_credentials,
};

/// Each is told by a task of its own; a highly available Alertmanager is three.
const MAX_RECEIVERS: usize = 16;
/// A region, a team, a few more.
const MAX_LABELS: usize = 16;
/// Bytes of a label's value.
const MAX_VALUE_BYTES: usize = 256;
/// Labels that alerts have by themselves.
const OWN_LABELS: [&str; 7] = ["alertname", "rollout", "severity", "run", "revision", "step", "reason"];

/// Who is told of alerts, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertsConfig {
    /// All of them are told of all alerts.
    pub alertmanagers: Vec<ReceiverConfig>,
    /// Where people find the dashboard; linked in each alert.
    pub external_url: Option<String>,
    /// Labels that each alert gets, such as a name of this hub.
    pub labels: BTreeMap<String, String>,
    /// How often what lasts is told again, 1 to 300 s. Four times as long after it was told last it is over by itself.
    pub resend: Duration,
    /// The bearer token that an Alertmanager must have to tell us of alerts; none: nobody may.
    pub webhook: Option<Credentials>,
}

/// Who gets the same facts as `CloudEvents`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventsConfig {
    /// Each gets all of them, at its address as it is written.
    pub sinks: Vec<ReceiverConfig>,
}

/// Somebody who is told of alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiverConfig {
    /// Where it is, and who we are to it.
    pub server: Server,
    /// How long one attempt may take, 1 to 60 s.
    pub timeout: Duration,
}

impl Default for AlertsConfig {
    fn default() -> Self {
        let resend = Duration::from_secs(default_resend());
        Self { alertmanagers: Vec::new(), external_url: None, labels: BTreeMap::new(), resend, webhook: None }
    }
}

/// `alerts` as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Section {
    #[serde(default)]
    alertmanagers: Vec<ReceiverSection>,
    #[serde(default)]
    external_url: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default = "default_resend")]
    resend_seconds: u64,
    #[serde(default)]
    webhook: Option<WebhookSection>,
}

/// `events` as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsSection {
    #[serde(default)]
    sinks: Vec<ReceiverSection>,
}

impl Default for Section {
    fn default() -> Self {
        let (alertmanagers, labels) = (Vec::new(), BTreeMap::new());
        Self { alertmanagers, external_url: None, labels, resend_seconds: default_resend(), webhook: None }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WebhookSection {
    #[serde(default)]
    bearer_token_file: Option<PathBuf>,
    #[serde(default)]
    secret_ref: Option<SecretSection>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReceiverSection {
    address: String,
    #[serde(default)]
    tls: Option<TlsSection>,
    #[serde(default)]
    bearer_token_file: Option<PathBuf>,
    #[serde(default)]
    basic_auth: Option<BasicSection>,
    #[serde(default)]
    secret_ref: Option<SecretSection>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default = "default_timeout")]
    timeout_seconds: u64,
}

/// Half of what Prometheus takes: the story of a rollout is told in minutes.
fn default_resend() -> u64 {
    30
}

fn default_timeout() -> u64 {
    10
}

/// What the section says.
pub(super) fn check(section: Section, problems: &mut Problems) -> AlertsConfig {
    let Section { alertmanagers, external_url, labels, resend_seconds, webhook } = section;
    between(resend_seconds, 1, 300, "alerts.resendSeconds", problems);
    check_labels(&labels, problems);
    if let Some(url) = &external_url {
        let sound = Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        problems
            .require(sound, "alerts.externalUrl", || "must be a URL such as https://rollouts.example.com".to_owned());
    }
    AlertsConfig {
        alertmanagers: check_receivers(alertmanagers, "alerts.alertmanagers", problems),
        external_url,
        labels,
        resend: Duration::from_secs(resend_seconds),
        webhook: webhook.map(|webhook| check_webhook(webhook, problems)),
    }
}

/// What the section says.
pub(super) fn check_events(EventsSection { sinks }: EventsSection, problems: &mut Problems) -> EventsConfig {
    EventsConfig { sinks: check_receivers(sinks, "events.sinks", problems) }
}

fn check_webhook(section: WebhookSection, problems: &mut Problems) -> Credentials {
    let WebhookSection { bearer_token_file, secret_ref } = section;
    let at = "alerts.webhook";
    let credentials = check_credentials(bearer_token_file, None, secret_ref, at, problems);
    problems.require(credentials != Credentials::None, at, || "must have bearerTokenFile or secretRef".to_owned());
    credentials
}

fn check_receivers(sections: Vec<ReceiverSection>, at: &str, problems: &mut Problems) -> Vec<ReceiverConfig> {
    problems.require(sections.len() <= MAX_RECEIVERS, at, || {
        format!("{} entries: there can be at most {MAX_RECEIVERS}", sections.len())
    });
    let mut addresses = BTreeSet::new();
    let mut receivers = Vec::new();
    for (index, section) in sections.into_iter().enumerate() {
        let at = format!("{at}[{index}]");
        let receiver = check_receiver(section, &at, problems);
        let first = addresses.insert(receiver.server.address.clone());
        problems.require(first, &format!("{at}.address"), || "is used twice".to_owned());
        receivers.push(receiver);
    }
    receivers
}

fn check_receiver(section: ReceiverSection, at: &str, problems: &mut Problems) -> ReceiverConfig {
    let ReceiverSection { address, tls, bearer_token_file, basic_auth, secret_ref, headers, timeout_seconds } = section;
    between(timeout_seconds, 1, 60, &format!("{at}.timeoutSeconds"), problems);
    let written = Written { address, tls, bearer_token_file, basic_auth, secret_ref, headers };
    ReceiverConfig { server: written.check(at, problems), timeout: Duration::from_secs(timeout_seconds) }
}

fn check_labels(labels: &BTreeMap<String, String>, problems: &mut Problems) {
    let field = "alerts.labels";
    problems.require(labels.len() <= MAX_LABELS, field, || {
        format!("{} labels: there can be at most {MAX_LABELS}", labels.len())
    });
    for (name, value) in labels {
        let first = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        let rest = name.chars().all(|one| one.is_ascii_alphanumeric() || one == '_');
        problems.require(first && rest && !name.starts_with("__"), field, || {
            format!("'{name}' is no name of a label: letters, digits and '_'")
        });
        problems.require(!OWN_LABELS.contains(&name.as_str()), field, || format!("alerts have '{name}' by themselves"));
        problems.require(!value.is_empty() && value.len() <= MAX_VALUE_BYTES, field, || {
            format!("the value of '{name}' must have 1 to {MAX_VALUE_BYTES} bytes")
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> (AlertsConfig, String) {
        let mut problems = Problems::default();
        let config = check(crds::yaml::from_str(text).unwrap(), &mut problems);
        (config, problems.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn nobody_is_told_unless_named_and_what_is_left_out_has_a_default() {
        assert_eq!(read("{}"), (AlertsConfig::default(), String::new()));
        let (config, problems) = read("{alertmanagers: [{address: 'http://a:9093/base', bearerTokenFile: /t}]}");
        assert_eq!(problems, "");
        let [receiver] = config.alertmanagers.try_into().unwrap();
        assert_eq!((receiver.timeout, config.resend), (Duration::from_secs(10), Duration::from_secs(30)));
        assert_eq!(receiver.server.credentials, Credentials::BearerFile("/t".into()));
        let (config, problems) = read("{webhook: {secretRef: {name: s, key: k}}}");
        let secret = Credentials::Secret { name: "s".into(), key: "k".into() };
        assert_eq!((config.webhook, problems.as_str()), (Some(secret), ""));
    }

    #[test]
    fn all_problems_are_named_with_their_fields() {
        let (_, problems) = read(
            "resendSeconds: 301
externalUrl: rollouts
webhook: {}
labels: {severity: page, 'a-b': c, team: ''}
alertmanagers:
- {address: 'http://a', timeoutSeconds: 0, tls: {caFile: /ca}}
- {address: 'http://a', secretRef: {name: '', key: k}}
",
        );
        for words in [
            "alerts.resendSeconds: 301: must be 1 to 300",
            "alerts.externalUrl: must be a URL",
            "alerts.webhook: must have bearerTokenFile or secretRef",
            "alerts.labels: alerts have 'severity' by themselves",
            "alerts.labels: 'a-b' is no name of a label",
            "alerts.labels: the value of 'team' must have 1 to 256 bytes",
            "alerts.alertmanagers[0].timeoutSeconds: 0: must be 1 to 60",
            "alerts.alertmanagers[0].tls: 'http://a' is no https address",
            "alerts.alertmanagers[1].address: is used twice",
            "alerts.alertmanagers[1].secretRef: name and key must be set",
        ] {
            assert!(problems.contains(words), "no '{words}' in {problems}");
        }
    }
}
