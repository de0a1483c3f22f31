//! `make demo`: a playground, rollouts, and what a person would like to see of them.

mod scenario;
mod screen;
mod snapshot;
mod view;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use crds::Phase;
use tokio::time::sleep;

pub use scenario::Scenario;
pub use screen::Screen;
pub use view::Colours;

use crate::alertmanager::ActiveAlert;
use crate::harness::wait_for;
use crate::playground::Playground;
use crate::progress::human;
use snapshot::{Observer, Snapshot};

/// How often the picture is taken anew: often enough for a countdown that runs smoothly.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long an alert may take to be at the Alertmanager.
const ALERT_PATIENCE: Duration = Duration::from_secs(15);

/// How a scenario went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Whether it ended as it should, on the hub and on every member's own API server.
    pub as_expected: bool,
    /// From `kubectl apply` to the end.
    pub took: Duration,
}

/// Applies the scenario's rollout, shows its progress until it ends or its deadline passes, and sums up.
pub async fn play(playground: &Playground, scenario: &Scenario, screen: &Screen) -> Result<Outcome> {
    let file = playground.dir().join(format!("{}.yaml", scenario.name));
    std::fs::write(&file, &scenario.manifest).with_context(|| format!("failed to write \"{}\"", file.display()))?;
    introduce(scenario, &file, screen);
    let output = playground.kubectl().apply(&scenario.manifest).await?;
    if !output.success {
        bail!("the API server refused the rollout: {}", output.stderr);
    }
    screen.line(output.stdout.trim());
    screen.line("");
    let observer = Observer::new(playground, scenario).await?;
    let started = Instant::now();
    let last = follow(&observer, scenario, screen, started).await;
    screen.finish();
    let took = started.elapsed();
    let as_expected = last.is_finished_as(scenario);
    sum_up(playground, scenario, &last, took, screen).await?;
    Ok(Outcome { as_expected, took })
}

async fn follow(observer: &Observer, scenario: &Scenario, screen: &Screen, started: Instant) -> Snapshot {
    let mut before: Option<Snapshot> = None;
    loop {
        let snapshot = observer.look(started.elapsed()).await;
        screen.show(&view::table(&snapshot, screen.colours()), &view::changes(before.as_ref(), &snapshot));
        if snapshot.is_over() || started.elapsed() > scenario.deadline {
            return snapshot;
        }
        before = Some(snapshot);
        sleep(LOOK_EVERY).await;
    }
}

fn introduce(scenario: &Scenario, file: &Path, screen: &Screen) {
    screen.line("");
    screen.line(&scenario.explanation);
    screen.line("");
    for line in scenario.manifest.lines() {
        screen.line(&format!("    {line}"));
    }
    screen.line("");
    screen.line(&format!("$ kubectl apply -f {}", file.display()));
}

async fn sum_up(
    playground: &Playground,
    scenario: &Scenario,
    last: &Snapshot,
    took: Duration,
    screen: &Screen,
) -> Result<()> {
    let verdict = if last.is_finished_as(scenario) { "as it should" } else { "NOT as it should" };
    screen.line("");
    screen.line(&format!(
        "{} ended {verdict}: {} after {}, at step {}",
        scenario.name,
        last.phase,
        human(took),
        last.step
    ));
    for change in view::summary(last, scenario) {
        screen.line(&change);
    }
    let path = "jsonpath={.status.waitingOn.message}";
    let why = playground.kubectl().run(&["get", "csro", &scenario.name, "-o", path]).await?;
    if !why.stdout.trim().is_empty() {
        screen.line(&format!("It says: {}", why.stdout.trim()));
    }
    if scenario.phase == Phase::RolledBack {
        for alert in alerts(playground, &scenario.name).await {
            screen.line(&format!("Alertmanager has: {alert}"));
        }
    }
    let table = playground.kubectl().run(&["get", "csro", &scenario.name]).await?;
    screen.line("");
    screen.line("$ kubectl get csro");
    screen.line(table.stdout.trim_end());
    screen.line(table.stderr.trim_end());
    Ok(())
}

/// What the first Alertmanager has about a rollout. The controllers tell it a moment after the status.
async fn alerts(playground: &Playground, rollout: &str) -> Vec<String> {
    let Some(alertmanager) = playground.alertmanagers().first() else { return Vec::new() };
    let has = wait_for("an alert about the rollout", ALERT_PATIENCE, || async {
        let of = |alert: &ActiveAlert| alert.labels.get("rollout").is_some_and(|name| name == rollout);
        let found: Vec<ActiveAlert> = alertmanager.alerts().await?.into_iter().filter(of).collect();
        Ok(if found.is_empty() { Err("none yet".to_owned()) } else { Ok(found) })
    });
    let text = |alert: &ActiveAlert| {
        let get = |map: &BTreeMap<String, String>, key: &str| map.get(key).cloned().unwrap_or_default();
        let (name, severity) = (get(&alert.labels, "alertname"), get(&alert.labels, "severity"));
        format!("{name} ({severity}): {}", get(&alert.annotations, "summary"))
    };
    match has.await {
        Ok(found) => found.iter().map(text).collect(),
        Err(error) => vec![format!("nothing: {error:#}")],
    }
}

/// Says where to find out more, while the playground is up.
pub fn look_further(playground: &Playground, screen: &Screen) {
    let state = playground.state();
    let dir = playground.dir().display();
    let member = state.members.first();
    screen.line("To look further:");
    screen.line(&format!("  dashboard   {}", state.dashboard.unwrap_or_default()));
    if let Some(prometheus) = &state.prometheus {
        screen.line(&format!("  prometheus  {prometheus}"));
    }
    if let Some(alertmanager) = &state.alertmanager {
        screen.line(&format!("  alerts      {alertmanager}"));
    }
    screen.line(&format!("  hub         export KUBECONFIG={}", state.hub.kubeconfig.display()));
    screen.line(&format!("              {} describe csro", state.kubectl.display()));
    if let Some(member) = member {
        let (kubectl, file) = (state.kubectl.display(), member.kubeconfig.display());
        screen.line(&format!("  a member    {kubectl} --kubeconfig {file} get deployments,pods -n shop"));
    }
    screen.line(&format!("  logs        {dir}/logs"));
    // Beside this very program; naming it saves another build.
    let program = std::env::current_exe().map(|demo| demo.with_file_name("playground")).unwrap_or_default();
    screen.line(&format!("  play on     {} stop controller-1 --dir {dir}", program.display()));
    screen.line("");
}
