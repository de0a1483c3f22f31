//! The configuration's second life: when the file changes, what can change without a restart does.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::bus::Change;
use crate::config::{Config, Error, Settings};
use crate::world::World;

/// How often the file is looked at. A kubelet takes up to a minute to bring a changed `ConfigMap` into a pod, and
/// notices by inotify get lost when it swaps the folder's link.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Looks at the file until told to stop. A file that doesn't fit changes nothing and is reported once.
pub(crate) async fn run(world: Arc<World>, path: PathBuf, started_with: Config, stop: CancellationToken) {
    let mut current = started_with;
    let mut reported: Option<String> = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let (file, id, store) = (path.clone(), current.id.clone(), current.store_argument.clone());
        let read = tokio::task::spawn_blocking(move || Config::read(&file, Some(&id), store.as_deref())).await;
        let read = read
            .unwrap_or_else(|stopped| Err(Error::Read { path: path.clone(), source: std::io::Error::other(stopped) }));
        match read {
            Ok(read) if read == current => reported = None,
            Ok(read) => {
                take(&world, &current, &read);
                current = read;
                reported = None;
            }
            Err(error) => {
                let text = crate::logging::with_causes(&error);
                if reported.as_ref() != Some(&text) {
                    tracing::error!(error = text, "the changed configuration does not fit; the old one stays");
                    world.metrics.config_reload_failures.inc();
                    reported = Some(text);
                }
            }
        }
    }
}

fn take(world: &World, before: &Config, now: &Config) {
    let Settings { gates, sources, alerts, events } = &now.settings;
    if before.settings != now.settings {
        let names: Vec<_> = sources.iter().map(|source| source.name.as_str()).collect();
        let (mode, minimum) = (gates.when_unconfigured, gates.success_rate.minimum);
        let (alertmanagers, sinks) = (alerts.alertmanagers.len(), events.sinks.len());
        tracing::info!(?mode, %minimum, sources = names.join(","), alertmanagers, sinks, "configuration reloaded");
        world.set_settings(now.settings.clone());
        world.bus.send(Change::Everything);
    }
    let restart = Config { settings: before.settings.clone(), ..now.clone() };
    if restart != *before {
        tracing::warn!(
            "the configuration changed in fields that need a restart: only gates, prometheus, alerts and events take effect"
        );
    }
}
