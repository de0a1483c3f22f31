//! `analysis`: which metrics are measured at a pause, and what they must show.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What is measured while a step's pause or the soak runs, and what it must show before the run goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.from) && self.from == 'Member' && has(self.prometheus))").message("with from: Member the agent's own --prometheus-url is asked: leave prometheus out").reason(Reason::FieldValueInvalid).field_path(".prometheus"))]
#[x_kube(validation = Rule::new("!(has(self.from) && self.from == 'Member' && has(self.compare))").message("compare needs one Prometheus that knows both groups: leave it out with from: Member").reason(Reason::FieldValueInvalid).field_path(".compare"))]
#[x_kube(validation = Rule::new("!(has(self.from) && self.from == 'Member') || (has(self.successRate) ? has(self.successRate.good) : (has(self.metrics) && size(self.metrics) > 0))").message("with from: Member give successRate.good and total, or metrics alone: the configured queries may name a label that the member's own Prometheus doesn't have").reason(Reason::FieldValueInvalid).field_path(".from"))]
#[x_kube(validation = Rule::new("!(has(self.background) && self.background && has(self.compare) && (!has(self.metrics) || size(self.metrics) == 0))").message("with compare, successRate is measured in pauses alone: give metrics for the background, or leave it out").reason(Reason::FieldValueInvalid).field_path(".background"))]
pub struct Analysis {
    /// Where the metrics are. Without it: the first Prometheus of the controller's configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusRef>,
    /// Who asks the Prometheus. Hub: the controller. Member: the agent of each updated member asks the Prometheus beside it
    /// (--prometheus-url of the agent), where the hub reaches none that knows them; each query is then measured for each
    /// member, successRate needs good and total, as the configured ones may name the member by a label that its own
    /// Prometheus doesn't have, and prometheus and compare must be left out. Default Hub.
    #[serde(default)]
    pub from: MeasuredFrom,
    /// The share of requests that must succeed. Without it, and without metrics, the gate of the controller's
    /// configuration applies (gates.successRate, by default at least 99.5%).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_rate: Option<SuccessRate>,
    /// Judges the updated members against a control group in the same time, by the requests that successRate counts: a
    /// revision that makes things worse fails even above the minimum, and trouble that has come over both groups holds the
    /// run instead of taking it back. It asks for successRate too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare: Option<Compare>,
    /// Further metrics, at most 16, each with a condition. All must pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub metrics: Vec<Metric>,
    /// Alerts that fail the gate while they fire. Without it no alert does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alerts: Option<AlertGate>,
    /// Seconds between two measurements of a metric; the last one is always taken at the end of the pause. 5 to 3600,
    /// default 30.
    #[serde(default = "default_interval")]
    #[schemars(range(min = 5, max = 3600))]
    pub interval: i64,
    /// How many measurements of one metric, of one member where it is measured for each, may fail before the gate has
    /// failed and the rollback begins. They count anew at each pause. 0 to 1000, default 0: the first one that fails.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000))]
    pub failure_limit: i64,
    /// How many measurements of each metric must have passed or failed, on evidence, before the run goes on; never less
    /// than fit into the pause at this interval. 1 to 1000, default 1.
    #[serde(default = "default_min_samples")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_samples: i64,
    /// What happens when a pause is over and the latest measurement found nothing to measure: no series, or fewer
    /// requests than minRequests. Hold: the run waits, and goes on measuring. Rollback: every touched member returns to
    /// what it ran before. Default Hold. Errors and timeouts always hold.
    #[serde(default)]
    pub on_no_data: OnNoData,
    /// Seconds, from the beginning of a pause, for which the run may go on measuring without being said to hold, where the
    /// evidence is not enough yet. 0 to 2592000 (30 days), default 0: it holds as soon as the pause is over.
    #[serde(default)]
    #[schemars(range(min = 0, max = 2_592_000))]
    pub max_pause: i64,
    /// Whether the metrics are also measured while waves go out and between pauses, from the first healthy updated member
    /// until the run ends. One that fails more than failureLimit times there, counted over the whole run, begins the
    /// rollback at once, wherever the run stands. It lets no run go on, and what can't be measured there holds nothing:
    /// that is left to the pauses, and so is successRate where compare is given. Default false.
    #[serde(default)]
    pub background: bool,
}

/// Who asks for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MeasuredFrom {
    /// The controller, a Prometheus of its configuration.
    #[default]
    Hub,
    /// Each member's agent, the Prometheus beside it.
    Member,
}

impl MeasuredFrom {
    /// Whether it is the hub's.
    pub fn is_hub(&self) -> bool {
        *self == Self::Hub
    }
}

/// Alerts that fail the gate. An Alertmanager tells the controller of them, by its webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlertGate {
    /// Labels and the exact values that an alert must have, at least one, at most 16, for example {severity: critical}.
    /// It counts when it names an updated member in clusterLabel and began to fire after that was told to change, or
    /// names this rollout in the label rollout and began to fire after the run did. One that does fails the gate at any
    /// time of the run, whatever failureLimit says.
    #[serde(rename = "match")]
    #[schemars(schema_with = "match_labels")]
    pub labels: BTreeMap<String, String>,
    /// The label of an alert that names the member. 1 to 128 letters, digits and _, default cluster.
    #[serde(default = "default_cluster_label")]
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[a-zA-Z_][a-zA-Z0-9_]*$"))]
    pub cluster_label: String,
    /// An alert that always fires, to tell silence from health. Without it no alert is taken for good news.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watchdog: Option<Watchdog>,
}

/// An alert that always fires. While it was not told for too long, nobody knows whether others fire: the gate is NoData.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Watchdog {
    /// Its label alertname. 1 to 128 characters, default Watchdog.
    #[serde(default = "default_watchdog")]
    #[schemars(length(min = 1, max = 128))]
    pub alertname: String,
    /// After how many seconds without being told it is silent; more than Alertmanager's repeat_interval for it. 30 to
    /// 86400, default 300.
    #[serde(default = "default_silent_seconds")]
    #[schemars(range(min = 30, max = 86_400))]
    pub silent_seconds: i64,
}

/// A Prometheus of the controller's configuration, or one at an address that it allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.source) != has(self.address)").message("give source or address, and not both").reason(Reason::FieldValueInvalid).field_path(".source"))]
pub struct PrometheusRef {
    /// Its name under prometheus.sources in the controller's configuration, where its address and credentials are. One
    /// that is not there keeps the run from starting (SourceMissing).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub source: Option<String>,
    /// Base URL of another one in lower case, http or https, for example "https://prometheus.example.com:9090"; a host name or
    /// IPv4 address, perhaps a port and a path. Its origin (scheme, host and port) must be among
    /// gates.allowedPrometheusOrigins of the controller's configuration, which is empty by default; else the run waits
    /// (AddressNotAllowed). It is asked without credentials, and redirects are not followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 512),
        regex(pattern = "^https?://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$")
    )]
    pub address: Option<String>,
}

/// The share of requests that must succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.good) == has(self.total)").message("give good and total together, or neither, to count with the controller's configured queries").reason(Reason::FieldValueInvalid).field_path(".good"))]
pub struct SuccessRate {
    /// The least share, from "0%" to "100%", with up to four decimals. Default: that of the controller's configuration,
    /// "99.5%" unless it says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<Percentage>,
    /// PromQL that counts requests that succeeded in the window; one series. `{{cluster}}`, `{{namespace}}`,
    /// `{{workload}}`, `{{revision}}`, `{{labels.KEY}}` of the MemberCluster and `{{window}}`, the time since the member
    /// became healthy, are filled in. Default: gates.successRate.good of the controller's configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub good: Option<String>,
    /// PromQL that counts all requests in the same window; one series. Default: gates.successRate.total of the
    /// controller's configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub total: Option<String>,
    /// Fewer requests than this are no evidence. 1 to 1000000000. Default: that of the controller's configuration, 100
    /// unless it says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub min_requests: Option<i64>,
    /// With it, the rate passes only when the lower end of its Wilson score interval is at or above the minimum, fails
    /// only when the upper end is below it, and is inconclusive in between, when so few requests can't tell. Default: the
    /// measured share is taken for the truth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Confidence>,
}

/// What the updated members are judged against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Compare {
    /// The control group. NotYetUpdated: members of the plan that this run has not reached yet, and that still run what they
    /// ran before. When all are updated there is none, and nothing is compared: that is said in status.gate.
    pub with: ControlGroup,
    /// How much less of the requests may succeed on updated members than in the control group, in points: from 99.9%,
    /// a drop of "0.3%" leads to 99.6%. From "0%" to "100%", with up to four decimals. The gate fails when the drop is shown
    /// to be more; of revisions whose drop is just this, at most 5% fail in a pause, however often they are measured.
    pub max_drop: Percentage,
}

/// What the updated members are judged against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ControlGroup {
    /// Members of the plan that this run has not reached yet.
    NotYetUpdated,
}

/// How sure a success rate must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Confidence {
    /// Nine times in ten.
    #[serde(rename = "90%")]
    P90,
    /// Nineteen times in twenty.
    #[serde(rename = "95%")]
    P95,
    /// Ninety-nine times in a hundred.
    #[serde(rename = "99%")]
    P99,
}

impl Confidence {
    /// As it is written in a rollout.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::P90 => "90%",
            Self::P95 => "95%",
            Self::P99 => "99%",
        }
    }
}

/// One metric and what it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metric {
    /// Its name, for messages. A DNS label; "success-rate" and "success-rate-drop" are taken.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    #[x_kube(validation = Rule::new("!(self in ['success-rate', 'success-rate-drop'])").message("success-rate is the name of analysis.successRate, and success-rate-drop that of analysis.compare: choose another").reason(Reason::FieldValueInvalid))]
    pub name: String,
    /// PromQL, with the same placeholders as in successRate. One with `{{cluster}}` or `{{labels.KEY}}` is measured for
    /// each updated member, any other once for all.
    #[schemars(length(min = 1, max = 2048))]
    pub query: String,
    /// What the answer must be, for example "value < 0.25" or "max <= 3 && count >= 2". `value` is that of the only series,
    /// and several series are inconclusive; `min`, `max`, `sum`, `avg` and `count` are over all series. Comparisons
    /// are <, <=, >, >=, == and != with a number; && joins them.
    #[schemars(length(min = 1, max = 256))]
    pub condition: String,
}

/// What happens when a pause is over and there was nothing to measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnNoData {
    /// The run waits and goes on measuring.
    #[default]
    Hold,
    /// Every touched member returns to what it ran before.
    Rollback,
}

fn match_labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "minProperties": 1,
        "maxProperties": 16,
        "additionalProperties": {"type": "string", "minLength": 1, "maxLength": 256},
    })
}

fn default_cluster_label() -> String {
    "cluster".to_owned()
}

fn default_watchdog() -> String {
    "Watchdog".to_owned()
}

fn default_silent_seconds() -> i64 {
    300
}

fn default_interval() -> i64 {
    30
}

fn default_min_samples() -> i64 {
    1
}

/// A share in millionths, written as a percentage: "99.5%".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percentage(u32);

impl Percentage {
    const FULL: u32 = 1_000_000;
    /// The share of requests that must succeed unless somebody says otherwise: 99.5%.
    pub const DEFAULT_MINIMUM: Self = Self(995_000);

    /// That many millionths; none above 1,000,000.
    pub fn from_millionths(millionths: u32) -> Option<Self> {
        (millionths <= Self::FULL).then_some(Self(millionths))
    }

    /// In millionths, 0 to 1,000,000.
    pub fn millionths(self) -> u32 {
        self.0
    }

    /// As a number, 0 to 1.
    pub fn share(self) -> f64 {
        f64::from(self.0) / f64::from(Self::FULL)
    }
}

/// Why a text is not a percentage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsePercentageError(String);

impl fmt::Display for ParsePercentageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is not a percentage from \"0%\" to \"100%\" with at most four decimals", self.0)
    }
}

impl std::error::Error for ParsePercentageError {}

impl std::str::FromStr for Percentage {
    type Err = ParsePercentageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_millionths(text).and_then(Self::from_millionths).ok_or_else(|| ParsePercentageError(text.to_owned()))
    }
}

/// Digits, perhaps a dot and one to four more, and the sign; what is above 100 is left to the caller.
fn parse_millionths(text: &str) -> Option<u32> {
    let number = text.strip_suffix('%')?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let digits =
        |part: &str, most: usize| (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole, 3) || !digits(decimals, 4) {
        return None;
    }
    let scale = 10u32.pow(4 - u32::try_from(decimals.len()).ok()?);
    Some(whole.parse::<u32>().ok()? * 10_000 + decimals.parse::<u32>().ok()? * scale)
}

impl fmt::Display for Percentage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 10_000, self.0 % 10_000);
        let decimals = format!("{rest:04}");
        match decimals.trim_end_matches('0') {
            "" => write!(f, "{whole}%"),
            decimals => write!(f, "{whole}.{decimals}%"),
        }
    }
}

impl Serialize for Percentage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Percentage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Percentage {
    fn schema_name() -> Cow<'static, str> {
        "Percentage".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 9,
            "pattern": "^(100(\\.0{1,4})?|[0-9]{1,2}(\\.[0-9]{1,4})?)%$",
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_percentage_is_exact_to_the_millionth() {
        for (text, millionths) in [
            ("99.5%", 995_000),
            ("0%", 0),
            ("100%", 1_000_000),
            ("0.0001%", 1),
            ("7.25%", 72_500),
            ("99.9999%", 999_999),
        ] {
            let share: Percentage = text.parse().unwrap();
            assert_eq!(share.millionths(), millionths, "{text}");
            assert_eq!(share.to_string(), text);
        }
        assert_eq!("100.0%".parse::<Percentage>().unwrap().to_string(), "100%");
    }

    #[test]
    fn what_is_no_percentage_is_refused() {
        for text in ["", "%", "99.5", "100.0001%", "101%", "-1%", "1e2%", "99.12345%", ".5%", "5.%", " 5%", "٥%"] {
            assert!(text.parse::<Percentage>().is_err(), "{text} was accepted");
        }
    }
}
