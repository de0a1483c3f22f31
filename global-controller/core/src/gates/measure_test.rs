#![allow(clippy::unwrap_used)]

use crds::{Confidence, Verdict};

use super::*;
use crate::gates::Template;

fn rate(confidence: Option<Confidence>) -> Metric {
    let query: Template = "n".parse().unwrap();
    let rule = Rule::SuccessRate {
        good: query.clone(),
        total: query,
        minimum: "99.5%".parse().unwrap(),
        min_requests: 100,
        confidence,
    };
    Metric { name: "success-rate".to_owned(), rule }
}

fn metric(condition: &str) -> Metric {
    let rule = Rule::Values { query: "n".parse().unwrap(), condition: condition.parse().unwrap() };
    Metric { name: "latency".to_owned(), rule }
}

fn one(value: f64) -> Answer {
    Answer::Values(vec![value])
}

fn shown(metric: &Metric, answers: &[Answer]) -> String {
    let Measurement { verdict, found } = metric.measure(answers);
    format!("{}: {found}", verdict.as_str())
}

#[test]
fn semantics_26_a_success_rate_counts_on_enough_requests_only() {
    let cases = [
        (one(1000.0), one(1000.0), "Pass: 100% of 1000 requests succeed, minimum 99.5%"),
        (one(995.0), one(1000.0), "Pass: 99.5% of 1000 requests succeed, minimum 99.5%"),
        (one(994.999), one(1000.0), "Fail: 99.4999% of 1000 requests succeed, minimum 99.5%"),
        (one(1000.5), one(1000.0), "Pass: 100% of 1000 requests succeed, minimum 99.5%"),
        (one(0.0), one(100.0), "Fail: 0% of 100 requests succeed, minimum 99.5%"),
        (one(0.0), one(99.9), "NoData: 99.9 requests, fewer than minRequests (100)"),
        (one(0.0), one(0.0), "NoData: 0 requests, fewer than minRequests (100)"),
        (Answer::Values(vec![]), one(200.0), "NoData: good: no series"),
        (one(200.0), Answer::Values(vec![]), "NoData: total: no series"),
        (one(f64::NAN), one(200.0), "NoData: good: not a number (NaN)"),
        (one(1.0), one(f64::INFINITY), "Inconclusive: total: an infinite value"),
        (
            one(1.0),
            Answer::Values(vec![1.0, 2.0]),
            "Inconclusive: total: 2 series where one is meant: aggregate the query",
        ),
        (Answer::Failed("timeout after 10 s".to_owned()), one(200.0), "Inconclusive: good: timeout after 10 s"),
    ];
    for (good, total, expected) in cases {
        assert_eq!(shown(&rate(None), &[good, total]), expected);
    }
}

#[test]
fn with_confidence_few_requests_can_neither_pass_nor_fail() {
    let rate = rate(Some(Confidence::P95));
    let of = |good: f64, total: f64| rate.measure(&[one(good), one(total)]).verdict;
    assert_eq!(of(100.0, 100.0), Verdict::Inconclusive, "all of 100 may still be 96.3%");
    assert_eq!(of(764.0, 764.0), Verdict::Inconclusive);
    assert_eq!(of(765.0, 765.0), Verdict::Pass, "so many that all succeed show 99.5%");
    assert_eq!(of(9_990.0, 10_000.0), Verdict::Pass);
    assert_eq!(of(9_950.0, 10_000.0), Verdict::Inconclusive);
    assert_eq!(of(9_900.0, 10_000.0), Verdict::Fail);
    assert_eq!(of(97.0, 100.0), Verdict::Fail, "too few to pass can be enough to fail");
    let found = shown(&rate, &[one(995.0), one(1000.0)]);
    assert_eq!(found, "Inconclusive: 99.5% (between 98.8349% and 99.7862%) of 1000 requests succeed, minimum 99.5%");
}

#[test]
fn semantics_27_only_numbers_pass_or_fail() {
    let value = metric("value < 0.25");
    let cases = [
        (one(0.1), "Pass: 0.1, must be value < 0.25"),
        (one(0.25), "Fail: 0.25, must be value < 0.25"),
        (one(1e-9), "Pass: 1e-9, must be value < 0.25"),
        (one(f64::NAN), "NoData: not a number (NaN)"),
        (one(f64::NEG_INFINITY), "Inconclusive: an infinite value"),
        (Answer::Values(vec![]), "NoData: no series"),
        (Answer::Values(vec![0.1, 0.1]), "Inconclusive: 2 series where one is meant: aggregate the query"),
        (Answer::Failed("HTTP 503".to_owned()), "Inconclusive: HTTP 503"),
    ];
    for (answer, expected) in cases {
        assert_eq!(shown(&value, &[answer]), expected);
    }
}

#[test]
fn conditions_over_several_series_take_all_of_them() {
    let metric = metric("max < 3 && count >= 2");
    assert_eq!(shown(&metric, &[Answer::Values(vec![1.0, 2.0])]), "Pass: 1, 2, must be max < 3 && count >= 2");
    assert_eq!(
        shown(&metric, &[Answer::Values(vec![1.0, 2.0, 2.5, 3.0])]),
        "Fail: 1, 2, 2.5 and 1 more, must be max < 3 && count >= 2"
    );
    assert_eq!(shown(&metric, &[Answer::Values(vec![1.0, f64::NAN])]), "NoData: not a number (NaN)");
}

#[test]
fn what_a_stranger_says_is_bounded() {
    let found = metric("value < 1").measure(&[Answer::Failed("x".repeat(10_000))]).found;
    assert!(found.chars().count() <= 200, "{found}");
}
