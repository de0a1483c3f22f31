//! From an answer of Prometheus to a verdict.

use crds::{Confidence, Percentage, Verdict};

use super::{Condition, Metric, Rule, wilson};
use crate::words;

/// Longest text of what was found, in characters.
const MAX_FOUND_CHARS: usize = 200;

/// What Prometheus said to one query.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Values of the series, none at all included.
    Values(Vec<f64>),
    /// Nothing that can be used: why, for people.
    Failed(String),
}

/// What one measurement shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measurement {
    /// In a word.
    pub verdict: Verdict,
    /// For people.
    pub found: String,
}

impl Measurement {
    /// Bounds the text: answers of strangers are repeated in it.
    pub fn new(verdict: Verdict, found: &str) -> Self {
        Self { verdict, found: words::bounded(found, MAX_FOUND_CHARS) }
    }

    /// Where nothing was asked, or no answer could be used.
    pub fn inconclusive(why: &str) -> Self {
        Self::new(Verdict::Inconclusive, why)
    }
}

impl Metric {
    /// What the answers to its queries show: one for values, those to good and total for a success rate.
    pub fn measure(&self, answers: &[Answer]) -> Measurement {
        match (&self.rule, answers) {
            (Rule::SuccessRate { minimum, min_requests, confidence, .. }, [good, total]) => {
                success_rate(good, total, *minimum, *min_requests, *confidence)
            }
            (Rule::Values { condition, .. }, [answer]) => values(answer, condition),
            _ => Measurement::inconclusive("the number of answers is not that of the queries"),
        }
    }
}

fn success_rate(
    good: &Answer,
    total: &Answer,
    minimum: Percentage,
    min_requests: u32,
    confidence: Option<Confidence>,
) -> Measurement {
    let total = match only(total, "total") {
        Ok(total) => total,
        Err(measured) => return measured,
    };
    if total < f64::from(min_requests) {
        let found = format!("{} requests, fewer than minRequests ({min_requests})", number(total.max(0.0)));
        return Measurement::new(Verdict::NoData, &found);
    }
    // Prometheus extrapolates both counts, so the smaller one may come out a little larger.
    let good = match only(good, "good") {
        Ok(good) => good.clamp(0.0, total),
        Err(measured) => return measured,
    };
    let least = f64::from(minimum.millionths()) / 1e6;
    let (low, high) = confidence.map_or((good / total, good / total), |one| wilson::interval(good, total, one));
    let verdict = match (low >= least, high < least) {
        (true, _) => Verdict::Pass,
        (_, true) => Verdict::Fail,
        _ => Verdict::Inconclusive,
    };
    let between = confidence.map_or_else(String::new, |_| format!(" (between {} and {})", share(low), share(high)));
    let found = format!("{}{between} of {} requests succeed, minimum {minimum}", share(good / total), number(total));
    Measurement::new(verdict, &found)
}

fn values(answer: &Answer, condition: &Condition) -> Measurement {
    let values = match answer {
        Answer::Failed(why) => return Measurement::inconclusive(why),
        Answer::Values(values) => values,
    };
    if let Err(measured) = check(values, condition.wants_one_series()) {
        return measured;
    }
    let verdict = if condition.holds(values) { Verdict::Pass } else { Verdict::Fail };
    let shown: Vec<String> = values.iter().take(3).map(|value| number(*value)).collect();
    let more =
        if values.len() > shown.len() { format!(" and {} more", values.len() - shown.len()) } else { String::new() };
    let found = format!("{}{more}, must be {}", shown.join(", "), condition.as_str());
    Measurement::new(verdict, &found)
}

/// The only value of an answer.
pub(super) fn only(answer: &Answer, what: &str) -> Result<f64, Measurement> {
    match answer {
        Answer::Failed(why) => Err(Measurement::inconclusive(&format!("{what}: {why}"))),
        Answer::Values(values) => {
            check(values, true)
                .map_err(|measured| Measurement { found: format!("{what}: {}", measured.found), ..measured })?;
            Ok(values.first().copied().unwrap_or(f64::NAN))
        }
    }
}

/// Whether these can be evidence at all. What is no number comes of dividing by nothing: there was nothing to measure.
fn check(values: &[f64], wants_one: bool) -> Result<(), Measurement> {
    if values.is_empty() {
        return Err(Measurement::new(Verdict::NoData, "no series"));
    }
    if wants_one && values.len() > 1 {
        return Err(Measurement::inconclusive(&format!(
            "{} series where one is meant: aggregate the query",
            values.len()
        )));
    }
    if values.iter().any(|value| value.is_infinite()) {
        return Err(Measurement::inconclusive("an infinite value"));
    }
    if values.iter().any(|value| value.is_nan()) {
        return Err(Measurement::new(Verdict::NoData, "not a number (NaN)"));
    }
    Ok(())
}

/// At most four decimals, so that a share just below a minimum is not shown as the minimum.
pub(super) fn share(share: f64) -> String {
    format!("{}%", trimmed(&format!("{:.4}", (share * 1e6).floor() / 1e4)))
}

fn number(value: f64) -> String {
    if value != 0.0 && !(1e-3..1e15).contains(&value.abs()) {
        return format!("{value:e}");
    }
    trimmed(&format!("{value:.4}"))
}

fn trimmed(decimal: &str) -> String {
    decimal.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
#[path = "measure_test.rs"]
mod tests;
