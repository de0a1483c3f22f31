//! `spec.analysis`: queries with placeholders, conditions, and how often.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;

use super::Problems;
use crate::{Analysis, MAX_METRICS, Metric, Pace, RateRule, Rule, SUCCESS_RATE, Template};

/// Longest query, in bytes.
const MAX_QUERY_BYTES: usize = 2048;

/// Parses it; what is wrong goes to the problems, and the result is not used then.
pub(super) fn check(analysis: &crds::Analysis, problems: &mut Problems) -> Analysis {
    let crds::Analysis { prometheus, success_rate, metrics, .. } = analysis;
    let source = prometheus.as_ref().map(|prometheus| prometheus.source.clone());
    if let Some(source) = &source {
        problems.dns_label("spec.analysis.prometheus.source", source);
    }
    let count = metrics.len();
    problems.require(count <= MAX_METRICS, "spec.analysis.metrics", &count.to_string(), "must be at most 16 metrics");
    let mut names = BTreeSet::from([SUCCESS_RATE]);
    let mut parsed = Vec::new();
    for (index, metric) in metrics.iter().enumerate() {
        let field = format!("spec.analysis.metrics[{index}]");
        let unique = names.insert(&metric.name);
        problems.require(unique, &format!("{field}.name"), &metric.name, "is taken: choose another name");
        parsed.extend(check_metric(&field, metric, problems));
    }
    let success_rate = success_rate.as_ref().map(|rate| check_rate(rate, problems));
    Analysis { source, success_rate, metrics: parsed, pace: check_pace(analysis, problems) }
}

fn check_metric(field: &str, metric: &crds::Metric, problems: &mut Problems) -> Option<Metric> {
    problems.dns_label(&format!("{field}.name"), &metric.name);
    let query = check_query(&format!("{field}.query"), &metric.query, problems);
    let condition = parse(&format!("{field}.condition"), &metric.condition, problems);
    Some(Metric { name: metric.name.clone(), rule: Rule::Values { query: query?, condition: condition? } })
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
