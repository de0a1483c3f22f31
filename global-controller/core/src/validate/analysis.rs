//! `spec.analysis`: queries with placeholders, conditions, and how often.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;

use super::Problems;
use crate::gates::COMPARABLE;
use crate::{
    Address, AlertRule, Analysis, MAX_METRICS, Metric, Pace, RateRule, Rule, SUCCESS_RATE, SUCCESS_RATE_DROP, Template,
    WatchdogRule,
};

/// Labels that an alert must have.
const MAX_MATCH_LABELS: usize = 16;
/// Longest query, in bytes.
const MAX_QUERY_BYTES: usize = 2048;

/// Parses it; what is wrong goes to the problems, and the result is not used then.
pub(super) fn check(analysis: &crds::Analysis, problems: &mut Problems) -> Analysis {
    let crds::Analysis { prometheus, success_rate, compare, metrics, alerts, .. } = analysis;
    let (source, address) =
        prometheus.as_ref().map_or((None, None), |prometheus| check_prometheus(prometheus, problems));
    let count = metrics.len();
    problems.require(count <= MAX_METRICS, "spec.analysis.metrics", &count.to_string(), "must be at most 16 metrics");
    let mut names = BTreeSet::from([SUCCESS_RATE, SUCCESS_RATE_DROP]);
    let mut parsed = Vec::new();
    for (index, metric) in metrics.iter().enumerate() {
        let field = format!("spec.analysis.metrics[{index}]");
        let unique = names.insert(&metric.name);
        problems.require(unique, &format!("{field}.name"), &metric.name, "is taken: choose another name");
        parsed.extend(check_metric(&field, metric, problems));
    }
    let success_rate = success_rate.as_ref().map(|rate| check_rate(rate, problems));
    let max_drop =
        compare.as_ref().map(|crds::Compare { with: crds::ControlGroup::NotYetUpdated, max_drop }| *max_drop);
    if let Some((good, total)) =
        success_rate.as_ref().and_then(|rate| rate.queries.as_ref()).filter(|_| max_drop.is_some())
    {
        for (name, query) in [("good", good), ("total", total)] {
            let field = format!("spec.analysis.successRate.{name}");
            problems.require(query.is_comparable(), &field, query.as_str(), COMPARABLE);
        }
    }
    check_from(analysis, problems);
    let compared_alone = max_drop.is_some() && metrics.is_empty();
    let message =
        "with compare, successRate is measured in pauses alone: give metrics for the background, or leave it out";
    problems.require(!(analysis.background && compared_alone), "spec.analysis.background", "true", message);
    let alerts = alerts.as_ref().map(|alerts| check_alerts(alerts, problems));
    let from = analysis.from;
    Analysis {
        source,
        address,
        from,
        success_rate,
        max_drop,
        metrics: parsed,
        alerts,
        pace: check_pace(analysis, problems),
    }
}

/// Name of a source, or an address.
fn check_prometheus(
    crds::PrometheusRef { source, address }: &crds::PrometheusRef,
    problems: &mut Problems,
) -> (Option<String>, Option<Address>) {
    let field = |name: &str| format!("spec.analysis.prometheus.{name}");
    let given = source.as_deref().unwrap_or_default();
    problems.require(
        source.is_some() != address.is_some(),
        &field("source"),
        given,
        "give source or address, and not both",
    );
    if let Some(source) = source {
        problems.dns_label(&field("source"), source);
    }
    (source.clone(), address.as_ref().and_then(|address| parse(&field("address"), address, problems)))
}

/// What each member's own Prometheus can't be asked.
fn check_from(analysis: &crds::Analysis, problems: &mut Problems) {
    if analysis.from.is_hub() {
        return;
    }
    let source = analysis.prometheus.as_ref().map_or("", |prometheus| named(prometheus));
    let message = "with from: Member the agent's own --prometheus-url is asked: leave prometheus out";
    problems.require(analysis.prometheus.is_none(), "spec.analysis.prometheus", source, message);
    let message = "compare needs one Prometheus that knows both groups: leave it out with from: Member";
    problems.require(analysis.compare.is_none(), "spec.analysis.compare", "NotYetUpdated", message);
    let has_own = analysis.success_rate.as_ref().map_or(!analysis.metrics.is_empty(), |rate| rate.good.is_some());
    let message = "with from: Member give successRate.good and total, or metrics alone: the configured queries may name a label that the member's own Prometheus doesn't have";
    problems.require(has_own, "spec.analysis.from", "Member", message);
}

fn named(prometheus: &crds::PrometheusRef) -> &str {
    prometheus.source.as_deref().or(prometheus.address.as_deref()).unwrap_or_default()
}

fn check_metric(field: &str, metric: &crds::Metric, problems: &mut Problems) -> Option<Metric> {
    problems.dns_label(&format!("{field}.name"), &metric.name);
    let query = check_query(&format!("{field}.query"), &metric.query, problems);
    let condition = parse(&format!("{field}.condition"), &metric.condition, problems);
    Some(Metric { name: metric.name.clone(), rule: Rule::Values { query: query?, condition: condition? } })
}

fn check_alerts(alerts: &crds::AlertGate, problems: &mut Problems) -> AlertRule {
    let crds::AlertGate { labels, cluster_label, watchdog } = alerts;
    let field = |name: &str| format!("spec.analysis.alerts.{name}");
    let count = labels.len();
    let message = "must be 1 to 16 labels";
    problems.require((1..=MAX_MATCH_LABELS).contains(&count), &field("match"), &count.to_string(), message);
    for (name, value) in labels {
        let length = value.len();
        problems.require((1..=256).contains(&length), &field("match"), name, "must have a value of 1 to 256 bytes");
    }
    for (name, text) in
        [("clusterLabel", Some(cluster_label)), ("watchdog.alertname", watchdog.as_ref().map(|one| &one.alertname))]
    {
        let Some(text) = text else { continue };
        problems.require((1..=128).contains(&text.len()), &field(name), text, "must be 1 to 128 characters");
    }
    let watchdog = watchdog.as_ref().map(|crds::Watchdog { alertname, silent_seconds }| {
        problems.range(&field("watchdog.silentSeconds"), *silent_seconds, 30, 86_400);
        // Out of range is reported above, and the result is never used then.
        let silent_seconds = u32::try_from(*silent_seconds).unwrap_or_default();
        WatchdogRule { alertname: alertname.clone(), silent_seconds }
    });
    AlertRule { labels: labels.clone(), cluster_label: cluster_label.clone(), watchdog }
}

fn check_rate(rate: &crds::SuccessRate, problems: &mut Problems) -> RateRule {
    let field = |name: &str| format!("spec.analysis.successRate.{name}");
    let crds::SuccessRate { minimum, good, total, min_requests, confidence } = rate;
    let message = "give good and total together, or neither, to count with the controller's configured queries";
    problems.require(good.is_some() == total.is_some(), &field("good"), good.as_deref().unwrap_or(""), message);
    let mut query =
        |name: &str, text: &Option<String>| text.as_ref().and_then(|text| check_query(&field(name), text, problems));
    let queries = query("good", good).zip(query("total", total));
    if let Some(requests) = *min_requests {
        problems.range(&field("minRequests"), requests, 1, 1_000_000_000);
    }
    let min_requests = min_requests.and_then(|requests| u32::try_from(requests).ok());
    RateRule { minimum: *minimum, queries, min_requests, confidence: *confidence }
}

fn check_pace(analysis: &crds::Analysis, problems: &mut Problems) -> Pace {
    let mut number = |name: &str, value: i64, least: i64, most: i64| {
        problems.range(&format!("spec.analysis.{name}"), value, least, most);
        // Out of range is reported above, and the result is never used then.
        u32::try_from(value).unwrap_or_default()
    };
    Pace {
        interval_seconds: number("interval", analysis.interval, 5, 3600),
        failure_limit: number("failureLimit", analysis.failure_limit, 0, 1000),
        min_samples: number("minSamples", analysis.min_samples, 1, 1000),
        on_no_data: analysis.on_no_data,
        max_pause_seconds: number("maxPause", analysis.max_pause, 0, super::MAX_PAUSE_SECONDS),
        background: analysis.background,
    }
}

fn check_query(field: &str, text: &str, problems: &mut Problems) -> Option<Template> {
    let length = text.len();
    problems.require((1..=MAX_QUERY_BYTES).contains(&length), field, text, "must be a query of 1 to 2048 bytes");
    parse(field, text, problems)
}

fn parse<T: FromStr<Err: Display>>(field: &str, text: &str, problems: &mut Problems) -> Option<T> {
    match text.parse() {
        Ok(parsed) => Some(parsed),
        Err(error) => {
            problems.require(false, field, text, &error.to_string());
            None
        }
    }
}
