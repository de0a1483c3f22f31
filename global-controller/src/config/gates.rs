//! The part of the configuration about gates: what is checked where a rollout says nothing of its own.

use std::str::FromStr;

use crds::{GateMode, Percentage};
use rollout_core::{DefaultRate, GateSettings, Origin, Template};
use serde::Deserialize;

use super::Problems;
use crate::measure::promql;

/// Most requests that may be asked for before a rate counts.
const MAX_MIN_REQUESTS: u32 = 1_000_000_000;
/// Origins of servers that rollouts may name by address; who has more wants a proxy.
const MAX_ORIGINS: usize = 64;

/// `gates` as it is written.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Section {
    #[serde(default)]
    when_unconfigured: GateMode,
    #[serde(default)]
    success_rate: Rate,
    #[serde(default)]
    allowed_prometheus_origins: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rate {
    minimum: Option<String>,
    good: Option<String>,
    total: Option<String>,
    min_requests: Option<u32>,
}

/// What decisions take of it. What is not given is as [`GateSettings::default`] says.
pub(super) fn check(section: Section, sources: Vec<String>, problems: &mut Problems) -> GateSettings {
    let Section { when_unconfigured, success_rate, allowed_prometheus_origins } = section;
    let Rate { minimum, good, total, min_requests } = success_rate;
    let default = DefaultRate::default();
    problems.require(good.is_some() == total.is_some(), "gates.successRate", || {
        "must have good and total together, or neither".to_owned()
    });
    let min_requests = min_requests.unwrap_or(default.min_requests);
    problems.require((1..=MAX_MIN_REQUESTS).contains(&min_requests), "gates.successRate.minRequests", || {
        format!("{min_requests}: must be 1 to {MAX_MIN_REQUESTS}")
    });
    let success_rate = DefaultRate {
        minimum: parse::<Percentage>("minimum", minimum.as_deref(), problems).unwrap_or(default.minimum),
        good: query("good", good.as_deref(), problems).unwrap_or(default.good),
        total: query("total", total.as_deref(), problems).unwrap_or(default.total),
        min_requests,
    };
    let allowed_origins = check_origins(&allowed_prometheus_origins, problems);
    GateSettings { when_unconfigured, sources, allowed_origins, success_rate }
}

fn check_origins(texts: &[String], problems: &mut Problems) -> Vec<Origin> {
    let field = "gates.allowedPrometheusOrigins";
    problems.require(texts.len() <= MAX_ORIGINS, field, || format!("{}: at most {MAX_ORIGINS}", texts.len()));
    let mut origin = |(index, text): (usize, &String)| {
        let parsed = text.parse::<Origin>();
        problems.require(parsed.is_ok(), &format!("{field}[{index}]"), || {
            format!("'{text}': must be scheme, host and perhaps a port in lower case, as in https://prometheus.example.com:9090")
        });
        parsed.ok()
    };
    texts.iter().enumerate().filter_map(&mut origin).collect()
}

fn query(name: &str, text: Option<&str>, problems: &mut Problems) -> Option<Template> {
    let query = parse::<Template>(name, text, problems)?;
    let problem = promql::problem(name, &query);
    problems.require(problem.is_none(), &format!("gates.successRate.{name}"), || {
        problem.map(|problem| format!("'{}' {}", problem.value, problem.message)).unwrap_or_default()
    });
    Some(query)
}

fn parse<T>(name: &str, text: Option<&str>, problems: &mut Problems) -> Option<T>
where
    T: FromStr<Err: std::fmt::Display>,
{
    let parsed = text?.parse::<T>();
    let why = parsed.as_ref().err().map(ToString::to_string);
    problems.require(why.is_none(), &format!("gates.successRate.{name}"), || why.unwrap_or_default());
    parsed.ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> (GateSettings, String) {
        let mut problems = Problems::default();
        let section: Section = crds::yaml::from_str(text).unwrap();
        let settings = check(section, vec!["central".to_owned()], &mut problems);
        (settings, problems.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn the_default_gate_is_995_in_1000_of_100_requests() {
        let (settings, problems) = read("{}");
        assert_eq!(problems, "");
        let DefaultRate { minimum, min_requests, good, total } = settings.success_rate;
        assert_eq!((minimum.to_string().as_str(), min_requests), ("99.5%", 100));
        assert!(good.names_member() && total.names_member());
        assert_eq!((promql::problem("good", &good), promql::problem("total", &total)), (None, None));
    }

    #[test]
    fn what_is_given_replaces_the_default() {
        let (settings, problems) = read("{successRate: {minimum: '99%', good: a, total: b, minRequests: 7}}");
        assert_eq!(problems, "");
        let DefaultRate { minimum, min_requests, good, total } = settings.success_rate;
        assert_eq!((minimum.to_string().as_str(), min_requests), ("99%", 7));
        assert_eq!((good.as_str(), total.as_str()), ("a", "b"));
    }

    #[test]
    fn semantics_46_by_default_no_address_is_allowed_and_an_origin_has_no_path() {
        assert_eq!(read("{}").0.allowed_origins, []);
        let (settings, problems) = read("{allowedPrometheusOrigins: ['https://a:443', 'http://10.0.0.1:9090']}");
        let origins: Vec<String> = settings.allowed_origins.iter().map(ToString::to_string).collect();
        assert_eq!(
            (origins, problems),
            (vec!["https://a".to_owned(), "http://10.0.0.1:9090".to_owned()], String::new())
        );
        let (_, problems) = read("{allowedPrometheusOrigins: ['https://a/base', '*']}");
        for index in [0, 1] {
            assert!(problems.contains(&format!("gates.allowedPrometheusOrigins[{index}]: '")), "{problems}");
        }
    }

    #[test]
    fn all_problems_are_named() {
        let (_, problems) = read("{successRate: {minimum: '99.5', good: 'sum(', minRequests: 0}}");
        for words in [
            "gates.successRate: must have good and total together",
            "gates.successRate.minimum: \"99.5\" is not a percentage",
            "gates.successRate.minRequests: 0: must be 1 to",
            "gates.successRate.good: 'sum(' must be PromQL",
        ] {
            assert!(problems.contains(words), "no '{words}' in {problems}");
        }
        assert!(read("{successRate: {good: 'x{{clutser}}', total: y}}").1.contains("{{clutser}} is no placeholder"));
    }
}
