//! The part of the configuration about gates: what is checked where a rollout says nothing of its own.

use crds::GateMode;
use serde::Deserialize;

use super::Problems;

/// What a pause checks unless the rollout says otherwise.
const DEFAULT_MINIMUM: &str = "99.5%";
/// Fewer requests than this say nothing about a ratio of 99.5 %.
const DEFAULT_MIN_REQUESTS: u64 = 100;
/// A query is a line or two.
const MAX_QUERY_BYTES: usize = 4096;

/// The default gate: the part of the requests that succeeds, as two queries of the first source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuccessRate {
    /// Least part that must succeed, in percent above 0 and up to 100, as in `99.5%`.
    pub minimum: String,
    /// Query for the number of requests that succeeded, with `{{…}}` to be filled in.
    pub good: String,
    /// Query for the number of all requests, likewise.
    pub total: String,
    /// With fewer requests in all, nothing is said.
    pub min_requests: u64,
}

/// `gates` as it is written.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Section {
    #[serde(default)]
    pub(super) when_unconfigured: GateMode,
    #[serde(default)]
    pub(super) success_rate: Option<SuccessRateSection>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SuccessRateSection {
    #[serde(default = "default_minimum")]
    minimum: String,
    good: String,
    total: String,
    #[serde(default = "default_min_requests")]
    min_requests: u64,
}

fn default_minimum() -> String {
    DEFAULT_MINIMUM.to_owned()
}

fn default_min_requests() -> u64 {
    DEFAULT_MIN_REQUESTS
}

/// The default gate, if there is one. It needs a source to ask.
pub(super) fn check(
    section: Option<SuccessRateSection>,
    has_source: bool,
    problems: &mut Problems,
) -> Option<SuccessRate> {
    let SuccessRateSection { minimum, good, total, min_requests } = section?;
    problems.require(has_source, "gates.successRate", || "needs one of prometheus.sources to ask".to_owned());
    problems.require(is_percentage(&minimum), "gates.successRate.minimum", || {
        format!("'{minimum}' must be above 0% and at most 100%, as in {DEFAULT_MINIMUM}")
    });
    problems.require(min_requests > 0, "gates.successRate.minRequests", || "0: must be 1 or more".to_owned());
    for (field, query) in [("good", &good), ("total", &total)] {
        let sound = !query.trim().is_empty() && query.len() <= MAX_QUERY_BYTES;
        problems.require(sound, &format!("gates.successRate.{field}"), || {
            format!("{} bytes: must be a query of 1 to {MAX_QUERY_BYTES}", query.len())
        });
    }
    Some(SuccessRate { minimum, good, total, min_requests })
}

/// Digits, perhaps a point and up to three more, and a percent sign.
fn is_percentage(text: &str) -> bool {
    let Some(number) = text.strip_suffix('%') else { return false };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    let value: f64 = number.parse().unwrap_or(0.0);
    digits(whole) && digits(fraction) && value > 0.0 && value <= 100.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str, has_source: bool) -> (Option<SuccessRate>, String) {
        let mut problems = Problems::default();
        let section: Section = crds::yaml::from_str(text).unwrap();
        let rate = check(section.success_rate, has_source, &mut problems);
        (rate, problems.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn the_default_gate_is_995_in_1000_of_100_requests() {
        let (rate, problems) = read("{successRate: {good: g, total: t}}", true);
        assert_eq!(problems, "");
        let expected = SuccessRate { minimum: "99.5%".into(), good: "g".into(), total: "t".into(), min_requests: 100 };
        assert_eq!(rate, Some(expected));
        assert_eq!(read("{whenUnconfigured: TimerOnly}", true).0, None);
    }

    #[test]
    fn all_problems_are_named() {
        let (_, problems) = read("{successRate: {minimum: '99.5', good: ' ', total: t, minRequests: 0}}", false);
        for words in [
            "gates.successRate: needs one of",
            "minimum: '99.5' must be above",
            "minRequests: 0",
            "gates.successRate.good: 1 bytes",
        ] {
            assert!(problems.contains(words), "no '{words}' in {problems}");
        }
    }

    #[test]
    fn a_minimum_is_a_percentage_with_at_most_three_decimals() {
        for good in ["99.5%", "100%", "0.001%", "99.999%"] {
            assert!(is_percentage(good), "{good}");
        }
        for bad in ["0%", "100.1%", "99.5", "%", ".5%", "99.%", "1e1%", "-1%", "99.9999%", " 99%", "NaN%"] {
            assert!(!is_percentage(bad), "{bad}");
        }
    }
}
