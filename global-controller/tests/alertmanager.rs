//! Telling a real Alertmanager.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use e2e::alertmanager::{ActiveAlert, Alertmanager, Setup};
use e2e::assets::{Assets, Program};
use e2e::harness::{TestFolder, wait_for};
use e2e::progress::Progress;
use global_controller::alerts::{Figures, Receiver, Told};
use global_controller::remote::Secrets;
use global_controller::{Credentials, Headers, ReceiverConfig, Server, ServerTls};
use rollout_core::{Alert, AlertKind};
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_mins(1);
const RESEND: Duration = Duration::from_secs(1);

async fn start(folder: &Path) -> Alertmanager {
    let assets = Assets::ensure(&[Program::Alertmanager], &Progress::stderr()).await.unwrap();
    let setup = Setup { name: "alertmanager", dir: &folder.join("alertmanager"), logs: folder };
    let alertmanager = Alertmanager::prepare(&assets, &setup).unwrap();
    alertmanager.part().start().await.unwrap();
    alertmanager
}

fn receiver(alertmanager: &Alertmanager) -> Receiver {
    e2e::install_crypto_provider();
    let server = Server {
        address: alertmanager.url().to_owned(),
        tls: ServerTls::default(),
        credentials: Credentials::None,
        headers: Headers::default(),
    };
    let config = ReceiverConfig { server, timeout: Duration::from_secs(5) };
    Receiver::new(&config, Secrets::none(), Figures::default())
}

fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn alert(rollout: &str, since: i64, until: Option<i64>) -> Alert {
    let labels = [("alertname", "RolloutHeld"), ("rollout", rollout), ("severity", "warning")];
    Alert {
        kind: AlertKind::Held,
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        summary: format!("rollout {rollout}: it does not go on by itself"),
        description: "why".to_owned(),
        since,
        until,
    }
}

fn told(alerts: Vec<Alert>) -> Arc<Told> {
    Arc::new(Told { alerts, external_url: Some("http://rollouts.example.com".to_owned()), resend: RESEND })
}

async fn until_rollouts(alertmanager: &Alertmanager, wanted: &[&str]) -> Vec<ActiveAlert> {
    let what = format!("alerts of {wanted:?}");
    let found = wait_for(&what, PATIENCE, || async {
        let mut alerts = alertmanager.alerts().await?;
        alerts.sort_by(|one, other| one.labels["rollout"].cmp(&other.labels["rollout"]));
        let rollouts: Vec<_> = alerts.iter().map(|alert| alert.labels["rollout"].as_str()).collect();
        Ok(if rollouts == wanted { Ok(alerts) } else { Err(format!("{alerts:?}")) })
    });
    found.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lasts_is_there_once_what_is_over_goes_and_one_that_was_away_hears_all_of_it() {
    let folder = TestFolder::new("telling").unwrap();
    let alertmanager = start(folder.path()).await;
    let began = now() - 60_000;
    let (news, heard) = watch::channel(told(vec![alert("a", began, None)]));
    let telling = tokio::spawn(receiver(&alertmanager).run(heard));
    let first = until_rollouts(&alertmanager, &["a"]).await.remove(0);
    assert_eq!(first.annotations["summary"], "rollout a: it does not go on by itself");
    assert_eq!(first.annotations["description"], "why");
    let repeated = wait_for("it to be repeated", PATIENCE, || async {
        let alert = alertmanager.alerts().await?.remove(0);
        Ok(if alert.updated_at > first.updated_at { Ok(alert) } else { Err(format!("{alert:?}")) })
    });
    let repeated = repeated.await.unwrap();
    assert_eq!((&repeated.fingerprint, &repeated.starts_at), (&first.fingerprint, &first.starts_at));

    alertmanager.part().stop().await;
    news.send_replace(told(vec![alert("a", began, Some(now())), alert("b", began, None), alert("c", began, None)]));
    alertmanager.part().start().await.unwrap();
    until_rollouts(&alertmanager, &["b", "c"]).await;
    news.send_replace(told(vec![alert("b", began, Some(now())), alert("c", began, None)]));
    until_rollouts(&alertmanager, &["c"]).await;

    // Who tells is gone, and nobody takes over: it is over by itself.
    telling.abort();
    until_rollouts(&alertmanager, &[]).await;
    alertmanager.part().stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_one_post_bears_are_all_told() {
    let folder = TestFolder::new("many").unwrap();
    let alertmanager = start(folder.path()).await;
    let began = now() - 1_000;
    let names: Vec<String> = (0..700).map(|number| format!("rollout-{number:03}")).collect();
    let (_news, heard) = watch::channel(told(names.iter().map(|name| alert(name, began, None)).collect()));
    let telling = tokio::spawn(receiver(&alertmanager).run(heard));
    until_rollouts(&alertmanager, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    telling.abort();
    alertmanager.part().stop().await;
}
