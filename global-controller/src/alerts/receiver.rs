//! One Alertmanager: what it has taken, and how often one tries.

use std::sync::Arc;
use std::time::Duration;

use rollout_core::Alert;
use tokio::sync::watch;
use tokio::time::Instant;

use super::endpoint::{Endpoint, NotTaken};
use super::outbox::Outbox;
use super::wire::PostableAlert;
use super::{Figures, Told};
use crate::clock;
use crate::config::ReceiverConfig;
use crate::remote::{Purpose, Secrets};

/// Alerts of one post: of a kilobyte or two each.
const BATCH: usize = 256;
/// Before the next attempt after a failure: first, and at most, so that it is told soon after it is back.
pub(super) const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// One Alertmanager.
pub struct Receiver {
    endpoint: Endpoint,
    figures: Figures,
    outbox: Outbox,
    /// Whether the last attempt failed.
    away: bool,
}

impl Receiver {
    /// One that was told nothing yet.
    pub fn new(config: &ReceiverConfig, secrets: Secrets, figures: Figures) -> Self {
        let endpoint = Endpoint::new(config, secrets, Purpose::Alertmanager);
        Self { endpoint, figures, outbox: Outbox::default(), away: false }
    }

    /// Tells it what there is to tell, for as long as anybody says what that is.
    pub async fn run(mut self, mut news: watch::Receiver<Arc<Told>>) {
        let mut pause = PAUSES.0;
        loop {
            let told = Arc::clone(&news.borrow_and_update());
            self.outbox.keep_only(&told);
            let now = Instant::now();
            let due = self.outbox.due(&told, now, clock::now_millis());
            if due.is_empty() {
                let next = self.outbox.next_at(&told, now, clock::now_millis());
                if wait(&mut news, next).await.is_err() {
                    return;
                }
            } else if self.tell(&told, due.get(..BATCH).unwrap_or(&due)).await {
                pause = PAUSES.0;
            } else {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
            }
        }
    }

    /// Whether it has taken them.
    async fn tell(&mut self, told: &Told, alerts: &[&Alert]) -> bool {
        let now = clock::now_millis();
        let batch: Vec<_> = alerts.iter().map(|alert| PostableAlert::new(alert, told, now)).collect();
        // Labels, texts and times are always JSON.
        let body = serde_json::to_vec(&batch).unwrap_or_default();
        let posted = self.endpoint.post("/api/v2/alerts", "application/json", body).await;
        let alertmanager = &self.endpoint.address;
        self.figures.posted(alertmanager, posted.is_ok());
        match (&posted, self.away) {
            (Ok(()), true) => tracing::info!(alertmanager, "the Alertmanager takes alerts again"),
            (Err(NotTaken { reason, .. }), false) => {
                tracing::warn!(alertmanager, reason, "the Alertmanager does not take alerts; trying until it does");
            }
            _ => {}
        }
        self.away = posted.is_err();
        if !self.away {
            self.outbox.take(alerts, Instant::now());
        }
        !self.away
    }
}

/// Until there is news, or that time. An error says that nobody will say anything any more.
pub(super) async fn wait(
    news: &mut watch::Receiver<Arc<Told>>,
    until: Option<Instant>,
) -> Result<(), watch::error::RecvError> {
    let Some(until) = until else { return news.changed().await };
    tokio::select! {
        changed = news.changed() => changed,
        () = tokio::time::sleep_until(until) => Ok(()),
    }
}
