//! One Prometheus server: how many may ask it at a time, how often one tries, and when it is left alone.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_asker::{Answer, Failure, Health, Judged, Moments, Question, Reply, ask, shortened};
use reqwest::Client;
use reqwest::header::HeaderValue;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::breaker::Breaker;
use super::figures::Figures;
use crate::config::SourceConfig;
use crate::logging::with_causes;
use crate::remote::{Authorization, Connection, Purpose, Secrets};

/// Pause before the second attempt; doubled before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// A configured server.
pub(super) struct Source {
    config: SourceConfig,
    connection: Connection,
    authorization: Authorization,
    places: Semaphore,
    breaker: Mutex<Breaker>,
    figures: Figures,
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
        let mut judged = ask(client.clone(), &self.config.address, authorization, question, limit).await;
        if limit < self.config.timeout && judged == (Reply::failed(Failure::Timeout), Health::Ill) {
            // It had less time than it is due.
            judged.1 = Health::Unknown;
        }
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
