//! One Prometheus server: how many may ask it at a time, how often one tries, and when it is left alone.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_http_query::{Client, Error as QueryError, InstantQueryBuilder, RangeQueryBuilder};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::answer::{Answer, Failure, Health, Judged, Reply, interpret, shortened};
use super::breaker::Breaker;
use super::figures::Figures;
use crate::config::SourceConfig;
use crate::logging::with_causes;
use crate::remote::{Authorization, Connection, Purpose, Secrets};

/// Largest answer that is read: one series for each of ten thousand members takes a third of it.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// Pause before the second attempt; doubled before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The server is told to give up so much earlier than we do, so that it is the server who says so.
const EARLIER: Duration = Duration::from_millis(200);
/// Thanos would rather leave out what a store of it didn't say; half an answer could hide the bad half.
const PARTIAL: (&str, &str) = ("partial_response", "false");

/// A configured server.
pub(super) struct Source {
    config: SourceConfig,
    connection: Connection,
    authorization: Authorization,
    places: Semaphore,
    breaker: Mutex<Breaker>,
    figures: Figures,
}

/// A query and what it is about.
#[derive(Clone, Copy)]
struct Question<'a> {
    query: &'a str,
    about: Moments,
}

/// The moments that a question is about, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moments {
    /// One.
    At(i64),
    /// Several, evenly spaced.
    Each {
        /// The first.
        first: i64,
        /// From one to the next; more than 0.
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

impl Source {
    pub(super) fn new(config: SourceConfig, secrets: Secrets, figures: Figures) -> Self {
        figures.set_open(&config.name, false);
        Self {
            connection: Connection::new(&config.address, &config.tls, &config.headers),
            authorization: Authorization::new(config.credentials.clone(), secrets, Purpose::Prometheus),
            places: Semaphore::new(config.max_concurrent),
            breaker: Mutex::new(Breaker::new(config.timeout)),
            config,
            figures,
        }
    }

    pub(super) fn config(&self) -> &SourceConfig {
        &self.config
    }

    /// Asks, until there is an answer or `deadline` has passed.
    pub(super) async fn ask(&self, query: &str, about: Moments, deadline: Instant) -> Reply {
        let started = Instant::now();
        let reply = match tokio::time::timeout_at(deadline, self.places.acquire()).await {
            Ok(_place) => self.try_until(Question { query, about }, deadline).await,
            Err(_) => Reply::failed(Failure::Busy),
        };
        let result = match &reply {
            Reply::Now(Answer::Failed(failure)) => failure.word(),
            Reply::Now(Answer::Vector(_) | Answer::Scalar(_)) | Reply::Over(_) => "ok",
        };
        self.figures.asked(&self.config.name, result, started.elapsed());
        reply
    }

    async fn try_until(&self, question: Question<'_>, deadline: Instant) -> Reply {
        let mut last = Reply::failed(Failure::CircuitOpen);
        let mut pause = FIRST_PAUSE;
        for left in (0..=self.config.retries).rev() {
            // Before the breaker: what is wrong on our side is no news of the server.
            let (client, authorization) = match self.ready().await {
                Ok(ready) => ready,
                Err(failure) => return Reply::failed(failure),
            };
            if !self.breaker(|breaker| breaker.pass(Instant::now())) {
                return last;
            }
            let (reply, health) = self.attempt(&client, authorization, question, deadline).await;
            match health {
                Health::Well => self.breaker(Breaker::succeeded),
                Health::Ill => self.breaker(|breaker| breaker.failed(Instant::now())),
                Health::Unknown => {}
            }
            if health != Health::Ill || left == 0 || Instant::now() + pause >= deadline {
                return reply;
            }
            last = reply;
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        last
    }

    async fn ready(&self) -> Result<(Client, Option<HeaderValue>), Failure> {
        let unfit = |error: &(dyn std::error::Error + 'static)| Failure::Misconfigured(shortened(&with_causes(error)));
        let client = self.connection.client().await.map_err(|error| unfit(&error))?;
        let client = Client::from(client, &self.config.address).map_err(|error| unfit(&error))?;
        let authorization = self.authorization.header(Instant::now()).await.map_err(|error| unfit(&error))?;
        Ok((client, authorization))
    }

    async fn attempt(
        &self,
        client: &Client,
        authorization: Option<HeaderValue>,
        question: Question<'_>,
        deadline: Instant,
    ) -> Judged {
        let limit = self.config.timeout.min(deadline.saturating_duration_since(Instant::now()));
        let asked = async {
            match question.about {
                Moments::At(at) => exchange(instant(client, authorization, question.query, at, limit)).await,
                Moments::Each { first, step, count } => {
                    let over = (first, step, count);
                    exchange(range(client, authorization, question.query, over, limit)).await
                }
            }
        };
        let Ok(judged) = tokio::time::timeout(limit, asked).await else {
            let health = if limit < self.config.timeout { Health::Unknown } else { Health::Ill };
            return (Reply::failed(Failure::Timeout), health);
        };
        if matches!(judged.0, Reply::Now(Answer::Failed(Failure::Http { status: 401 | 403, .. }))) {
            self.authorization.forget().await;
        }
        judged
    }

    /// Does something to the breaker, and shows the outcome.
    fn breaker<T>(&self, act: impl FnOnce(&mut Breaker) -> T) -> T {
        // It is replaced whole: a panic elsewhere can't have left it half done.
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let was_closed = breaker.is_closed();
        let done = act(&mut breaker);
        let is_closed = breaker.is_closed();
        drop(breaker);
        if was_closed != is_closed {
            self.figures.set_open(&self.config.name, !is_closed);
            let source = &self.config.name;
            if is_closed {
                tracing::info!(source, "the Prometheus answers again");
            } else {
                tracing::warn!(source, "the Prometheus failed repeatedly; it is asked seldom until it answers");
            }
        }
        done
    }
}

/// What kinds of query have in common.
trait Exchange: Clone {
    async fn post(self) -> Result<reqwest::Response, QueryError>;
    async fn get(self) -> Result<reqwest::Response, QueryError>;
}

impl Exchange for InstantQueryBuilder {
    async fn post(self) -> Result<reqwest::Response, QueryError> {
        self.post_raw().await
    }

    async fn get(self) -> Result<reqwest::Response, QueryError> {
        self.get_raw().await
    }
}

impl Exchange for RangeQueryBuilder {
    async fn post(self) -> Result<reqwest::Response, QueryError> {
        self.post_raw().await
    }

    async fn get(self) -> Result<reqwest::Response, QueryError> {
        self.get_raw().await
    }
}

fn instant(
    client: &Client,
    authorization: Option<HeaderValue>,
    query: &str,
    at_millis: i64,
    limit: Duration,
) -> InstantQueryBuilder {
    let query = client
        .query(query)
        .query("time", format!("{}.{:03}", at_millis.div_euclid(1000), at_millis.rem_euclid(1000)))
        .timeout(theirs(limit))
        .query(PARTIAL.0, PARTIAL.1);
    match authorization {
        Some(value) => query.header(AUTHORIZATION, value),
        None => query,
    }
}

/// To whole seconds: the client takes no others.
fn range(
    client: &Client,
    authorization: Option<HeaderValue>,
    query: &str,
    (first, step, count): (i64, i64, i64),
    limit: Duration,
) -> RangeQueryBuilder {
    let (first, step) = (first.div_euclid(1000), (step / 1000).max(1));
    let last = first + step * (count - 1).max(0);
    #[allow(clippy::cast_precision_loss)] // A month has less than 2^53 seconds.
    let query = client.query_range(query, first, last, step as f64).timeout(theirs(limit)).query(PARTIAL.0, PARTIAL.1);
    match authorization {
        Some(value) => query.header(AUTHORIZATION, value),
        None => query,
    }
}

/// Milliseconds after which the server is to give up.
fn theirs(limit: Duration) -> i64 {
    i64::try_from(limit.checked_sub(EARLIER).unwrap_or(limit).as_millis()).unwrap_or(i64::MAX)
}

/// Sends the question by POST, as queries may be long, or by GET to servers that take no other; reads the answer whole.
async fn exchange(query: impl Exchange) -> Judged {
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
