//! What a Prometheus server answered, or why there is no answer.

use std::collections::BTreeMap;

use prometheus_http_query::error::{PrometheusError, PrometheusErrorType};
use prometheus_http_query::response::{Data, InstantVector, PromqlResult, RangeVector};
use serde::Deserialize;

use crate::exchange::Moments;

/// Longest part of a server's own words that is kept: it goes into conditions and Events.
const MAX_WORDS_BYTES: usize = 256;

/// Labels of a series.
pub type Labels = BTreeMap<String, String>;

/// The answer to an instant query.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Series, perhaps none, in the order of their labels. Values may be NaN or infinite.
    Vector(Vec<(Labels, f64)>),
    /// A single number without labels; may be NaN or infinite.
    Scalar(f64),
    /// There is no answer.
    Failed(Failure),
}

/// Why there is no answer. None of these says anything about the members.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The server, or the way to it, took too long.
    #[error("no answer in time")]
    Timeout,
    /// The server refused, or failed.
    #[error("the server answered with HTTP {status}{}", said(.words))]
    Http {
        /// HTTP status; 3xx too, as redirects are not followed.
        status: u16,
        /// What it said, shortened; may be empty.
        words: String,
    },
    /// No connection, or one that broke.
    #[error("the server can't be reached: {0}")]
    Unreachable(String),
    /// The query is wrong, or its result is none that can be compared.
    #[error("the query is refused: {0}")]
    BadQuery(String),
    /// The answer is larger than any that can be of use.
    #[error("the answer has more than {limit} bytes")]
    TooLarge {
        /// Most bytes that are read.
        limit: usize,
    },
    /// What came is no answer of a Prometheus.
    #[error("the answer can't be read: {0}")]
    NotUnderstood(String),
    /// The server failed again and again and is left alone for a while.
    #[error("the server failed repeatedly and is not asked for the moment")]
    CircuitOpen,
    /// As many questions as the source allows were under way until the deadline.
    #[error("too many questions to the server at a time")]
    Busy,
    /// Certificates or credentials can't be used.
    #[error("the source can't be used as it is configured: {0}")]
    Misconfigured(String),
    /// The configuration has no source of this name.
    #[error("there is no source '{0}' in the configuration")]
    UnknownSource(String),
}

fn said(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(": {words}") }
}

impl Failure {
    /// A word for figures.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Http { .. } => "http",
            Self::Unreachable(_) => "unreachable",
            Self::BadQuery(_) => "bad_query",
            Self::TooLarge { .. } => "too_large",
            Self::NotUnderstood(_) => "not_understood",
            Self::CircuitOpen => "circuit_open",
            Self::Busy => "busy",
            Self::Misconfigured(_) => "misconfigured",
            Self::UnknownSource(_) => "unknown_source",
        }
    }
}

/// What a server says, to a question about one moment or about several.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// About one; or a failure, which is the answer for all.
    Now(Answer),
    /// About several: series, each with when, in milliseconds since the Unix epoch, it had which value.
    Over(Vec<(Labels, Vec<(i64, f64)>)>),
}

impl Reply {
    /// There is no answer.
    pub fn failed(failure: Failure) -> Self {
        Self::Now(Answer::Failed(failure))
    }

    /// The answer for each of the moments that were asked about.
    pub fn at(self, about: Moments) -> Vec<Answer> {
        let moments = about.all();
        let all = |failure: Failure| vec![Answer::Failed(failure); moments.len()];
        match (about, self) {
            (Moments::At(_), Self::Now(answer)) => vec![answer],
            (Moments::At(_), Self::Over(_)) => {
                all(Failure::BadQuery("it yields ranges, not one value a series".to_owned()))
            }
            (Moments::Each { .. }, Self::Now(Answer::Failed(failure))) => all(failure),
            (Moments::Each { .. }, Self::Now(_)) => {
                all(Failure::NotUnderstood("one moment where several were asked about".to_owned()))
            }
            (Moments::Each { .. }, Self::Over(series)) => {
                vectors(&moments, series).into_iter().map(Answer::Vector).collect()
            }
        }
    }
}

/// What there was at each of the moments.
fn vectors(moments: &[i64], series: Vec<(Labels, Vec<(i64, f64)>)>) -> Vec<Vec<(Labels, f64)>> {
    let place: BTreeMap<i64, usize> = moments.iter().enumerate().map(|(index, at)| (*at, index)).collect();
    let mut vectors = vec![Vec::new(); moments.len()];
    for (labels, values) in series {
        for (at, value) in values {
            if let Some(vector) = place.get(&at).and_then(|index| vectors.get_mut(*index)) {
                vector.push((labels.clone(), value));
            }
        }
    }
    vectors
}

/// How an attempt went, beside its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// The server works, whatever it thinks of the question.
    Well,
    /// The server, or the way to it, failed: another attempt may do better, and many of these mean that it is ill.
    Ill,
    /// Nothing was learned: the asker gave up before the server's time was over.
    Unknown,
}

/// A reply as it came, and what it says about the server.
pub type Judged = (Reply, Health);

/// Reads an HTTP answer that has come whole.
pub(crate) fn interpret(status: u16, body: &[u8]) -> Judged {
    let parsed = serde_json::from_slice::<Envelope>(body);
    match parsed {
        Ok(Envelope::Success { data }) if (200..300).contains(&status) => (of_data(data), Health::Well),
        Ok(Envelope::Error(error)) => of_error(status, &error),
        _ if !(200..300).contains(&status) => of_status(status, String::new()),
        Ok(Envelope::Success { .. }) => of_status(status, String::new()),
        Err(error) => (Reply::failed(Failure::NotUnderstood(shortened(&error.to_string()))), Health::Well),
    }
}

/// As Prometheus wraps every answer.
#[derive(Deserialize)]
#[serde(tag = "status")]
enum Envelope {
    #[serde(rename = "success")]
    Success { data: PromqlResult },
    #[serde(rename = "error")]
    Error(PrometheusError),
}

fn of_data(result: PromqlResult) -> Reply {
    match result.into_inner().0 {
        Data::Vector(series) => {
            let mut series: Vec<_> = series.into_iter().map(of_series).collect();
            series.sort_by(|(one, _), (other, _)| one.cmp(other));
            Reply::Now(Answer::Vector(series))
        }
        Data::Scalar(sample) => Reply::Now(Answer::Scalar(sample.value())),
        Data::Matrix(series) => Reply::Over(series.into_iter().map(of_range).collect()),
    }
}

fn of_series(series: InstantVector) -> (Labels, f64) {
    let (labels, sample) = series.into_inner();
    (labels.into_iter().collect(), sample.value())
}

#[allow(clippy::cast_possible_truncation)] // Seconds since 1970, in milliseconds: far below 2^53.
fn of_range(series: RangeVector) -> (Labels, Vec<(i64, f64)>) {
    let (labels, samples) = series.into_inner();
    let at = |seconds: f64| (seconds * 1000.0).round() as i64;
    (labels.into_iter().collect(), samples.iter().map(|sample| (at(sample.timestamp()), sample.value())).collect())
}

fn of_error(status: u16, error: &PrometheusError) -> Judged {
    let words = || shortened(error.message());
    match error.error_type() {
        PrometheusErrorType::BadData | PrometheusErrorType::Execution => {
            (Reply::failed(Failure::BadQuery(words())), Health::Well)
        }
        // The server gave up by itself, at the limit that we sent: it lives, and would do so again.
        PrometheusErrorType::Timeout => (Reply::failed(Failure::Timeout), Health::Well),
        _ => of_status(status, words()),
    }
}

fn of_status(status: u16, words: String) -> Judged {
    let health = if status >= 500 { Health::Ill } else { Health::Well };
    (Reply::failed(Failure::Http { status, words }), health)
}

/// At most so many bytes, without half a letter at the end.
pub fn shortened(text: &str) -> String {
    if text.len() <= MAX_WORDS_BYTES {
        return text.to_owned();
    }
    let end = (0..=MAX_WORDS_BYTES).rev().find(|index| text.is_char_boundary(*index)).unwrap_or(0);
    format!("{}…", &text[..end])
}

/// An error and its causes, in one line.
pub fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use super::*;

    fn vector(series: &str) -> Judged {
        let body = format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{series}]}}}}"#);
        interpret(200, body.as_bytes())
    }

    fn failed(status: u16, body: &str) -> (Failure, Health) {
        match interpret(status, body.as_bytes()) {
            (Reply::Now(Answer::Failed(failure)), health) => (failure, health),
            (reply, _) => panic!("{reply:?}"),
        }
    }

    #[test]
    fn series_come_in_the_order_of_their_labels() {
        let (answer, health) =
            vector(r#"{"metric":{"cluster":"b"},"value":[1.5,"0.25"]},{"metric":{"cluster":"a"},"value":[1.5,"1"]}"#);
        let of = |cluster: &str| Labels::from([("cluster".to_owned(), cluster.to_owned())]);
        assert_eq!(answer, Reply::Now(Answer::Vector(vec![(of("a"), 1.0), (of("b"), 0.25)])));
        assert_eq!(health, Health::Well);
        assert_eq!(vector("").0, Reply::Now(Answer::Vector(Vec::new())));
    }

    #[test]
    fn what_is_asked_about_several_moments_has_an_answer_for_each() {
        let body = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"2"],[61,"3"]]}]}}"#;
        let (reply, _) = interpret(200, body.as_bytes());
        let about = Moments::Each { first: 1_000, step: 30_000, count: 3 };
        let of = |value: Option<f64>| Answer::Vector(value.map(|value| (Labels::new(), value)).into_iter().collect());
        assert_eq!(reply.clone().at(about), [of(Some(2.0)), of(None), of(Some(3.0))]);
        assert!(matches!(reply.at(Moments::At(1_000)).as_slice(), [Answer::Failed(Failure::BadQuery(_))]));
        let failed = Reply::failed(Failure::Timeout).at(about);
        assert_eq!(failed, vec![Answer::Failed(Failure::Timeout); 3]);
    }

    #[test]
    fn numbers_that_are_none_stay_what_they_are() {
        for (text, wanted) in [("+Inf", f64::INFINITY), ("-Inf", f64::NEG_INFINITY)] {
            let (answer, _) = vector(&format!(r#"{{"metric":{{}},"value":[1,"{text}"]}}"#));
            assert_eq!(answer, Reply::Now(Answer::Vector(vec![(Labels::new(), wanted)])));
        }
        let body = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"NaN"]}}"#;
        assert!(matches!(interpret(200, body.as_bytes()).0, Reply::Now(Answer::Scalar(value)) if value.is_nan()));
    }

    #[test]
    fn what_is_wrong_with_the_query_says_nothing_of_the_server() {
        let body = r#"{"status":"error","errorType":"bad_data","error":"parse error: no"}"#;
        assert_eq!(failed(400, body), (Failure::BadQuery("parse error: no".into()), Health::Well));
        let body = r#"{"status":"error","errorType":"execution","error":"many-to-many"}"#;
        assert_eq!(failed(422, body), (Failure::BadQuery("many-to-many".into()), Health::Well));
        let body = r#"{"status":"error","errorType":"timeout","error":"query timed out"}"#;
        assert_eq!(failed(503, body), (Failure::Timeout, Health::Well));
    }

    #[test]
    fn a_status_of_500_and_more_is_an_ill_server() {
        let http = |status, words: &str| Failure::Http { status, words: words.into() };
        assert_eq!(failed(502, "<html>"), (http(502, ""), Health::Ill));
        assert_eq!(failed(401, "no"), (http(401, ""), Health::Well));
        assert_eq!(failed(302, ""), (http(302, ""), Health::Well));
        let body = r#"{"status":"error","errorType":"internal","error":"tsdb is not there"}"#;
        assert_eq!(failed(500, body), (http(500, "tsdb is not there"), Health::Ill));
    }

    #[test]
    fn what_is_no_prometheus_is_not_understood() {
        for body in ["<html>log in</html>", "{}", r#"{"status":"success","data":{"resultType":"vector","result":[1]}}"#]
        {
            assert!(matches!(failed(200, body), (Failure::NotUnderstood(_), Health::Well)), "{body}");
        }
    }

    #[test]
    fn long_words_are_cut_between_letters() {
        let text = shortened(&"ä".repeat(1000));
        assert!(text.len() <= MAX_WORDS_BYTES + '…'.len_utf8() && text.ends_with("ä…"), "{}", text.len());
        assert_eq!(shortened("short"), "short");
    }
}
