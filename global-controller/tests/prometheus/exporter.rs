//! A real Prometheus, and a target for it: counters of many members.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::routing::get;
use e2e::assets::{Assets, Program};
use e2e::harness::TestFolder;
use e2e::progress::Progress;
use e2e::prometheus::{Prometheus, Setup};
use tokio::net::TcpListener;

/// Counters of all members, each at its own pace; every tenth fails nothing, every seventh has no traffic at all.
fn exposition(members: usize, tick: u64) -> String {
    let mut text = String::from("# TYPE requests_total counter\n");
    for member in (0..members).filter(|member| !member.is_multiple_of(7)) {
        let pace = 10 + u64::try_from(member).unwrap();
        let _ = writeln!(text, r#"requests_total{{cluster="{}",code="200"}} {}"#, name(member), tick * pace);
        if !member.is_multiple_of(10) {
            let _ = writeln!(text, r#"requests_total{{cluster="{}",code="500"}} {}"#, name(member), tick * pace / 100);
        }
        for (le, share) in [("0.1", 50), ("0.5", 90), ("+Inf", 100)] {
            let count = tick * pace * share / 100;
            let _ = writeln!(text, r#"latency_bucket{{cluster="{}",le="{le}"}} {count}"#, name(member));
        }
    }
    text
}

/// Some with a dot, which a pattern would take for any letter.
pub fn name(member: usize) -> String {
    if member.is_multiple_of(3) { format!("m.{member}") } else { format!("m-{member}") }
}

/// Address of the target; it ends with the runtime.
async fn exporter(members: usize) -> String {
    let tick = Arc::new(AtomicU64::new(0));
    let serve = move || {
        let tick = tick.fetch_add(1, Ordering::Relaxed);
        async move { exposition(members, tick) }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/metrics", get(serve))).await });
    address
}

/// A Prometheus that scrapes such a target.
pub async fn scraping(folder: &TestFolder, members: usize) -> Prometheus {
    let target = exporter(members).await;
    let assets = Assets::ensure(&[Program::Prometheus], &Progress::stderr()).await.unwrap();
    let dir = folder.path().join("prometheus");
    let targets = [("members", target)];
    let setup = Setup { dir: &dir, logs: folder.path(), targets: &targets, web: None };
    let prometheus = Prometheus::prepare(&assets, &setup).unwrap();
    prometheus.part().start().await.unwrap();
    prometheus
}
