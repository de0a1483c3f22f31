//! Tells Alertmanagers, and sinks of `CloudEvents`, what people are alerted of. The leader's job.
//!
//! ```text
//! store ─▶ mirror ─▶ Picture: rollout_core::alerts ─▶ Told ─┬─▶ Receiver: Outbox ─POST─▶ Alertmanager
//!                                                           └─▶ Sink ─POST─▶ who takes CloudEvents
//! ```
//!
//! What is told follows from what the store has committed, so whoever leads tells the same: a fact that lasts is repeated
//! every now and then, one that is over is told until each has taken it, and by the next leader once more. What a leader
//! told that is gone, and nobody repeats, is over by itself after a while ([ADR 17](../docs/adr/0017-alerts.md)).

mod endpoint;
mod figures;
mod outbox;
mod picture;
mod receiver;
mod sink;
mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rollout_core::Alert;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use figures::Figures;
pub use receiver::Receiver;
pub use sink::Sink;

use crate::bus::Dirty;
use crate::config::ReceiverConfig;
use crate::fault;
use crate::remote::Secrets;
use crate::world::World;
use picture::Picture;

/// Facts that come together are told together.
const GATHER: Duration = Duration::from_millis(100);
/// How long a new leader waits for the hub's lists. Without them an alert says what is the matter, but not why.
const LIST_PATIENCE: Duration = Duration::from_secs(5);
/// While they are not complete.
const INCOMPLETE_PAUSE: Duration = Duration::from_millis(100);

/// Before one that panicked begins anew, so that a lasting fault doesn't spin.
const PANIC_PAUSE: Duration = Duration::from_secs(1);

/// What all receivers are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What lasts, and what was lately.
    pub alerts: Vec<Alert>,
    /// Where people find the dashboard.
    pub external_url: Option<String>,
    /// How often what lasts is told again.
    pub resend: Duration,
}

/// Tells while this replica leads.
pub(crate) async fn run(world: Arc<World>, secrets: Secrets, stop: CancellationToken) {
    let (told, _) = watch::channel(Arc::new(Told::default()));
    let picture = Picture::default();
    let figures = world.metrics.alerts.clone();
    let teller = Teller { world, secrets, picture, told, listeners: Vec::new(), tasks: JoinSet::new() };
    tokio::select! {
        () = stop.cancelled() => {}
        () = teller.run() => {}
    }
    figures.set_firing(&[]);
}

/// How somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Alertmanager,
    Sink,
}

struct Teller {
    world: Arc<World>,
    secrets: Secrets,
    picture: Picture,
    told: watch::Sender<Arc<Told>>,
    /// Who is told, each by a task of its own.
    listeners: Vec<((Kind, ReceiverConfig), AbortHandle)>,
    tasks: JoinSet<()>,
}

impl Teller {
    async fn run(mut self) {
        let mut changes = self.world.bus.subscribe();
        // What was over for the leader before must not be told as if it lasted.
        self.world.catch_up().await;
        self.await_hub().await;
        let mut refresh_at = Instant::now();
        loop {
            let dirty = tokio::select! {
                dirty = changes.next(GATHER, Some(refresh_at)) => dirty,
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    self.ended(ended).await;
                    Dirty::default()
                }
            };
            let now = Instant::now();
            let refresh = refresh_at <= now;
            if refresh {
                refresh_at = now + self.world.settings().alerts.resend;
            }
            self.follow_settings();
            if self.picture.update(&self.world, &dirty, refresh) || dirty.everything {
                self.tell();
            }
        }
    }

    async fn await_hub(&self) {
        let patience = Instant::now() + LIST_PATIENCE;
        while !self.world.hub().is_complete() && Instant::now() < patience {
            tokio::time::sleep(INCOMPLETE_PAUSE).await;
        }
    }

    /// Begins to tell those that are new in the configuration, or changed in it, and leaves the others alone.
    fn follow_settings(&mut self) {
        let settings = self.world.settings();
        let alertmanagers = settings.alerts.alertmanagers.iter().map(|config| (Kind::Alertmanager, config.clone()));
        let sinks = settings.events.sinks.iter().map(|config| (Kind::Sink, config.clone()));
        let wanted: Vec<(Kind, ReceiverConfig)> = alertmanagers.chain(sinks).collect();
        let (figures, tasks) = (&self.world.metrics.alerts, &mut self.tasks);
        self.listeners.retain(|(listener, task)| {
            let stays = wanted.contains(listener) && !task.is_finished();
            if !stays {
                task.abort();
                figures.forget(&listener.1.server.address);
            }
            stays
        });
        for listener in wanted {
            if self.listeners.iter().any(|(known, _)| *known == listener) {
                continue;
            }
            let (secrets, news) = (self.secrets.clone(), self.told.subscribe());
            let (kind, config) = &listener;
            let task = match kind {
                Kind::Alertmanager => tasks.spawn(Receiver::new(config, secrets, figures.clone()).run(news)),
                Kind::Sink => tasks.spawn(Sink::new(config, secrets, figures.clone()).run(news)),
            };
            self.listeners.push((listener, task));
        }
    }

    /// One that is no longer in the configuration was ended by us; one that panicked begins anew.
    async fn ended(&self, ended: Result<(), tokio::task::JoinError>) {
        if let Err(error) = ended
            && error.is_panic()
        {
            tracing::error!(%error, "telling somebody of alerts panicked; it begins anew");
            self.world.metrics.invariant_violations.inc();
            tokio::time::sleep(PANIC_PAUSE).await;
        }
    }

    fn tell(&self) {
        let settings = self.world.settings();
        let told = Told {
            alerts: self.picture.alerts(&settings.alerts.labels),
            external_url: settings.alerts.external_url.clone(),
            resend: settings.alerts.resend,
        };
        let before = Arc::clone(&self.told.borrow());
        if *before == told {
            return;
        }
        self.world.metrics.alerts.set_firing(&told.alerts);
        let fact = |alert: &Alert| (alert.labels.clone(), alert.since, alert.until);
        let known: BTreeSet<_> = before.alerts.iter().map(fact).collect();
        if told.alerts.iter().any(|alert| !known.contains(&fact(alert))) {
            fault::pass(&self.world, fault::Stage::Tell);
        }
        self.told.send_replace(Arc::new(told));
    }
}
