//! The counters, in the text format that Prometheus scrapes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::super::samples;
use super::pods::Pods;
use super::rules::{Rules, behaviour};

/// Requests by member and workload.
#[derive(Debug, Default)]
pub(super) struct Counters(BTreeMap<(String, String), Count>);

/// Fractions are kept, so that a slow rate adds up; only whole requests are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Count {
    good: f64,
    bad: f64,
    /// Whether any pod served at the last look. Without one there is nobody who would show a counter.
    serving: bool,
}

impl Counters {
    /// Adds what the ready pods of each member served in this time.
    pub(super) fn advance(&mut self, members: &BTreeMap<String, Pods>, rules: &Rules, elapsed: Duration) {
        for count in self.0.values_mut() {
            count.serving = false;
        }
        for (member, workloads) in members {
            for (workload, tags) in workloads {
                let behaviours = tags.iter().map(|tag| behaviour(rules, member, tag));
                let serving: Vec<_> = behaviours.filter(|pod| !pod.silent).collect();
                if serving.is_empty() {
                    continue;
                }
                let count = self.0.entry((member.clone(), workload.clone())).or_default();
                count.serving = true;
                // Never above a few dozen pods, so the conversion is exact.
                #[allow(clippy::cast_precision_loss)]
                let share = elapsed.as_secs_f64() / serving.len() as f64;
                for pod in serving {
                    let requests = pod.requests_per_second * share;
                    let good = requests * pod.success_ratio;
                    count.good += good;
                    count.bad += requests - good;
                }
            }
        }
    }

    /// Both codes of each series are there from the start: a rate can't see the first value of a new one.
    pub(super) fn render(&self) -> String {
        let mut text = "# HELP http_requests_total Requests that the playground's simulator counts; none is made.\n\
                        # TYPE http_requests_total counter\n"
            .to_owned();
        for ((member, workload), count) in self.0.iter().filter(|(_, count)| count.serving) {
            for (code, requests) in [("200", count.good), ("500", count.bad)] {
                // Writing to a String cannot fail.
                let _ = writeln!(
                    text,
                    "http_requests_total{{cluster=\"{member}\",namespace=\"{}\",workload=\"{workload}\",\
                     code=\"{code}\"}} {}",
                    samples::NAMESPACE,
                    requests.floor()
                );
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::Rule;
    use super::*;

    fn fleet(tags: &[&str]) -> BTreeMap<String, Pods> {
        let pods = Pods::from([("checkout".to_owned(), tags.iter().map(|tag| (*tag).to_owned()).collect())]);
        BTreeMap::from([("member-1".to_owned(), pods)])
    }

    fn shown(counters: &Counters) -> Vec<String> {
        let text = counters.render();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.replace("http_requests_total{cluster=\"member-1\",namespace=\"shop\",", "{")).collect()
    }

    #[test]
    fn ready_pods_share_the_requests_and_fail_by_their_tags() {
        let mut counters = Counters::default();
        counters.advance(&fleet(&["v1-e0", "v1-e100"]), &Rules::new(), Duration::from_secs(20));
        assert_eq!(
            shown(&counters),
            [r#"{workload="checkout",code="200"} 950"#, r#"{workload="checkout",code="500"} 50"#]
        );
    }

    #[test]
    fn a_slow_rate_adds_up_over_short_looks() {
        let mut counters = Counters::default();
        let slow = Rule { rps: Some(1.0), error_permille: Some(0.0), ..Rule::default() };
        let slow = Rules::from([("member-1".to_owned(), slow)]);
        for _ in 0..11 {
            counters.advance(&fleet(&["v1"]), &slow, Duration::from_millis(100));
        }
        assert_eq!(shown(&counters).first().map(String::as_str), Some(r#"{workload="checkout",code="200"} 1"#));
    }

    #[test]
    fn who_is_silent_has_no_series_and_goes_on_counting_later() {
        let mut counters = Counters::default();
        let second = Duration::from_secs(1);
        let silent = Rules::from([("*".to_owned(), Rule { silent: Some(true), ..Rule::default() })]);
        let none = Rules::new();
        counters.advance(&fleet(&["v1-e0"]), &none, second);
        counters.advance(&fleet(&["v1-e0"]), &silent, second);
        assert_eq!(shown(&counters), [""; 0]);
        counters.advance(&fleet(&[]), &none, second);
        assert_eq!(shown(&counters), [""; 0]);
        counters.advance(&fleet(&["v1-e0"]), &none, second);
        assert_eq!(shown(&counters).first().map(String::as_str), Some(r#"{workload="checkout",code="200"} 100"#));
    }
}
