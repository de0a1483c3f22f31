//! The exchange of one question and its answer over HTTP.

use std::time::Duration;

use prometheus_http_query::{Client, Error as QueryError, InstantQueryBuilder};
use reqwest::header::{AUTHORIZATION, HeaderValue};

use crate::answer::{Answer, Failure, Health, Judged, interpret, shortened, with_causes};

/// Largest answer that is read: one series for each of ten thousand members takes a third of it.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// The server is told to give up so much earlier than we do, so that it is the server who says so.
const EARLIER: Duration = Duration::from_millis(200);

/// An instant query and the moment that it is about.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// `PromQL`.
    pub query: &'a str,
    /// In milliseconds since the Unix epoch.
    pub at_millis: i64,
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
            return (Answer::Failed(Failure::Misconfigured(shortened(&with_causes(&error)))), Health::Unknown);
        }
    };
    let query = request(&client, authorization, question, limit);
    let timeout = (Answer::Failed(Failure::Timeout), Health::Ill);
    tokio::time::timeout(limit, exchange(query)).await.unwrap_or(timeout)
}

fn request(
    client: &Client,
    authorization: Option<HeaderValue>,
    question: Question<'_>,
    limit: Duration,
) -> InstantQueryBuilder {
    let Question { query, at_millis } = question;
    let theirs = limit.checked_sub(EARLIER).unwrap_or(limit).as_millis();
    let query = client
        .query(query)
        .query("time", format!("{}.{:03}", at_millis.div_euclid(1000), at_millis.rem_euclid(1000)))
        .timeout(i64::try_from(theirs).unwrap_or(i64::MAX))
        // Thanos would rather leave out what a store of it didn't say; half an answer could hide the bad half.
        .query("partial_response", "false");
    match authorization {
        Some(value) => query.header(AUTHORIZATION, value),
        None => query,
    }
}

/// Sends the question by POST, as queries may be long, or by GET to servers that take no other; reads the answer whole.
async fn exchange(query: InstantQueryBuilder) -> Judged {
    let answer = match query.clone().post_raw().await {
        Ok(refused) if matches!(refused.status().as_u16(), 405 | 501) => query.get_raw().await,
        other => other,
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return broken(&error),
    };
    let status = answer.status().as_u16();
    match read(answer).await {
        Ok(Some(body)) => interpret(status, &body),
        Ok(None) => (Answer::Failed(Failure::TooLarge { limit: MAX_ANSWER_BYTES }), Health::Well),
        Err(error) => (Answer::Failed(Failure::Unreachable(causes(&error))), Health::Ill),
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
    (Answer::Failed(failure), Health::Ill)
}

/// Only the causes: the error's own words have the whole URL in them.
fn causes(error: &reqwest::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => shortened(&with_causes(cause)),
        None => "the connection broke".to_owned(),
    }
}
