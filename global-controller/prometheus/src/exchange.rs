//! The exchange of one question and its answer over HTTP.

use std::time::Duration;

use prometheus_http_query::{Client, Error as QueryError, InstantQueryBuilder, RangeQueryBuilder};
use reqwest::header::{AUTHORIZATION, HeaderValue};

use crate::answer::{Failure, Health, Judged, Reply, interpret, shortened, with_causes};

/// Largest answer that is read: one series for each of ten thousand members takes a third of it.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// The server is told to give up so much earlier than we do, so that it is the server who says so.
const EARLIER: Duration = Duration::from_millis(200);

/// Thanos would rather leave out what a store of it didn't say; half an answer could hide the bad half.
const PARTIAL: (&str, &str) = ("partial_response", "false");

/// A query and what it is about.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// `PromQL`.
    pub query: &'a str,
    /// When.
    pub about: Moments,
}

/// The moments that a question is about, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moments {
    /// One.
    At(i64),
    /// Several, evenly spaced, in whole seconds.
    Each {
        /// The first.
        first: i64,
        /// From one to the next; at least 1000.
        step: i64,
        /// How many: at most 11000, which Prometheus answers at once.
        count: i64,
    },
}

impl Moments {
    /// All of them, in order.
    pub fn all(self) -> Vec<i64> {
        match self {
            Self::At(at) => vec![at],
            Self::Each { first, step, count } => (0..count).map(|index| first + index * step).collect(),
        }
    }
}

/// Asks once. A server that says nothing within `limit` is ill. `client` should follow no redirect.
pub async fn ask(
    client: reqwest::Client,
    address: &str,
    authorization: Option<HeaderValue>,
    question: Question<'_>,
    limit: Duration,
) -> Judged {
    let client = match Client::from(client, address) {
        Ok(client) => client,
        Err(error) => {
            return (Reply::failed(Failure::Misconfigured(shortened(&with_causes(&error)))), Health::Unknown);
        }
    };
    let Question { query, about } = question;
    let asked = async {
        match about {
            Moments::At(at) => exchange(instant(&client, query, at), authorization, limit).await,
            Moments::Each { first, step, count } => {
                exchange(range(&client, query, (first, step, count)), authorization, limit).await
            }
        }
    };
    let timeout = (Reply::failed(Failure::Timeout), Health::Ill);
    tokio::time::timeout(limit, asked).await.unwrap_or(timeout)
}

/// What kinds of query have in common.
trait Exchange: Clone {
    fn given_up_after(self, millis: i64) -> Self;
    fn with(self, parameter: (&'static str, &'static str)) -> Self;
    fn authorized(self, value: HeaderValue) -> Self;
    async fn post(self) -> Result<reqwest::Response, QueryError>;
    async fn get(self) -> Result<reqwest::Response, QueryError>;
}

macro_rules! exchange_of {
    ($query:ty) => {
        impl Exchange for $query {
            fn given_up_after(self, millis: i64) -> Self {
                self.timeout(millis)
            }

            fn with(self, (name, value): (&'static str, &'static str)) -> Self {
                self.query(name, value)
            }

            fn authorized(self, value: HeaderValue) -> Self {
                self.header(AUTHORIZATION, value)
            }

            async fn post(self) -> Result<reqwest::Response, QueryError> {
                self.post_raw().await
            }

            async fn get(self) -> Result<reqwest::Response, QueryError> {
                self.get_raw().await
            }
        }
    };
}

exchange_of!(InstantQueryBuilder);
exchange_of!(RangeQueryBuilder);

fn instant(client: &Client, query: &str, at_millis: i64) -> InstantQueryBuilder {
    client.query(query).query("time", format!("{}.{:03}", at_millis.div_euclid(1000), at_millis.rem_euclid(1000)))
}

/// To whole seconds: the client takes no others.
fn range(client: &Client, query: &str, (first, step, count): (i64, i64, i64)) -> RangeQueryBuilder {
    let (first, step) = (first.div_euclid(1000), (step / 1000).max(1));
    let last = first + step * (count - 1).max(0);
    #[allow(clippy::cast_precision_loss)] // A month has less than 2^53 seconds.
    client.query_range(query, first, last, step as f64)
}

/// Milliseconds after which the server is to give up.
fn theirs(limit: Duration) -> i64 {
    i64::try_from(limit.checked_sub(EARLIER).unwrap_or(limit).as_millis()).unwrap_or(i64::MAX)
}

/// Sends the question by POST, as queries may be long, or by GET to servers that take no other; reads the answer whole.
async fn exchange(query: impl Exchange, authorization: Option<HeaderValue>, limit: Duration) -> Judged {
    let query = query.given_up_after(theirs(limit)).with(PARTIAL);
    let query = match authorization {
        Some(value) => query.authorized(value),
        None => query,
    };
    let answer = match query.clone().post().await {
        Ok(refused) if matches!(refused.status().as_u16(), 405 | 501) => query.get().await,
        other => other,
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return broken(&error),
    };
    let status = answer.status().as_u16();
    match read(answer).await {
        Ok(Some(body)) => interpret(status, &body),
        Ok(None) => (Reply::failed(Failure::TooLarge { limit: MAX_ANSWER_BYTES }), Health::Well),
        Err(error) => (Reply::failed(Failure::Unreachable(causes(&error))), Health::Ill),
    }
}

/// The body, unless it is too large.
async fn read(mut answer: reqwest::Response) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

fn broken(error: &QueryError) -> Judged {
    let inner = match error {
        QueryError::Client(error) => error.inner(),
        _ => None,
    };
    let failure = match inner {
        Some(inner) if inner.is_timeout() => Failure::Timeout,
        Some(inner) => Failure::Unreachable(causes(inner)),
        None => Failure::Unreachable(shortened(&error.to_string())),
    };
    (Reply::failed(failure), Health::Ill)
}

/// Only the causes: the error's own words have the whole URL in them.
fn causes(error: &reqwest::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => shortened(&with_causes(cause)),
        None => "the connection broke".to_owned(),
    }
}
