//! One Prometheus server: how many may ask it at a time, how often one tries, and when it is left alone.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_http_query::{Client, Error as QueryError, InstantQueryBuilder};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::answer::{Answer, Failure, Health, Judged, interpret, shortened};
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

/// A configured server.
pub(super) struct Source {
    config: SourceConfig,
    connection: Connection,
    authorization: Authorization,
    places: Semaphore,
    breaker: Mutex<Breaker>,
    figures: Figures,
}

/// An instant query and the moment that it is about.
#[derive(Clone, Copy)]
struct Question<'a> {
    query: &'a str,
    at_millis: i64,
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
    pub(super) async fn ask(&self, query: &str, at_millis: i64, deadline: Instant) -> Answer {
        let started = Instant::now();
        let answer = match tokio::time::timeout_at(deadline, self.places.acquire()).await {
            Ok(_place) => self.try_until(Question { query, at_millis }, deadline).await,
            Err(_) => Answer::Failed(Failure::Busy),
        };
        let result = match &answer {
            Answer::Failed(failure) => failure.word(),
            Answer::Vector(_) | Answer::Scalar(_) => "ok",
        };
        self.figures.asked(&self.config.name, result, started.elapsed());
        answer
    }

    async fn try_until(&self, question: Question<'_>, deadline: Instant) -> Answer {
        let mut last = Answer::Failed(Failure::CircuitOpen);
        let mut pause = FIRST_PAUSE;
        for left in (0..=self.config.retries).rev() {
            // Before the breaker: what is wrong on our side is no news of the server.
            let (client, authorization) = match self.ready().await {
                Ok(ready) => ready,
                Err(failure) => return Answer::Failed(failure),
            };
            if !self.breaker(|breaker| breaker.pass(Instant::now())) {
                return last;
            }
            let (answer, health) = self.attempt(&client, authorization, question, deadline).await;
            match health {
                Health::Well => self.breaker(Breaker::succeeded),
                Health::Ill => self.breaker(|breaker| breaker.failed(Instant::now())),
                Health::Unknown => {}
            }
            if health != Health::Ill || left == 0 || Instant::now() + pause >= deadline {
                return answer;
            }
            last = answer;
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
        let query = request(client, authorization, question, limit);
        let Ok(judged) = tokio::time::timeout(limit, exchange(query)).await else {
            let health = if limit < self.config.timeout { Health::Unknown } else { Health::Ill };
            return (Answer::Failed(Failure::Timeout), health);
        };
        if matches!(judged.0, Answer::Failed(Failure::Http { status: 401 | 403, .. })) {
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
