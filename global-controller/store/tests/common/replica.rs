//! A replica in a process of its own: the test binary, started again, which does what the test asks on its input.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::error::Error;
use std::fmt::Write;
use std::io::BufRead;
use std::path::Path;

use federated_store::{Config, Fence, KeyValue, ReplicaConfig, Store, TxnOutcome, When, WriteError};
use mutual_tls::{Credentials, Role, client, serve};
use tokio_util::sync::CancellationToken;

use super::protocol::{Answer, Ask, Item, Line, MARK, ORDER, Order, replica_id};
use super::put;

/// Becomes a replica if this process was started as one; returns otherwise.
pub async fn run_if_ordered() {
    let Ok(order) = std::env::var(ORDER) else { return };
    let order: Order = serde_json::from_str(&order).unwrap();
    // The test harness doesn't end its last line.
    println!();
    tracing::subscriber::set_global_default(Tell).unwrap();
    run(&order).await;
    std::process::exit(0);
}

async fn run(order: &Order) {
    let credentials = Credentials::from_dir(Path::new(&order.credentials)).unwrap();
    let replicas = order.ports.iter().enumerate().map(|(place, port)| ReplicaConfig {
        id: replica_id(place),
        number: place as u64 + 1,
        url: format!("https://127.0.0.1:{port}"),
    });
    let config = Config {
        cluster: order.cluster.clone(),
        id: replica_id(order.place),
        data_dir: order.folder.clone().into(),
        replicas: replicas.collect(),
        client: Some(client(&credentials, Role::Replica).unwrap()),
        tick: Config::TICK,
        join: false,
    };
    let (store, router) = match Store::open_with(config, order.tuning()).await {
        Ok(opened) => opened,
        Err(error) => {
            say(&Line::Log { text: chain(&error) });
            std::process::exit(1);
        }
    };
    let listener = super::cluster::listen(([127, 0, 0, 1], order.ports[order.place]).into()).await;
    tokio::spawn(async move { serve(listener, &credentials, router, CancellationToken::new()).await.unwrap() });
    say(&Line::Serving);
    let runtime = tokio::runtime::Handle::current();
    let asked = tokio::task::spawn_blocking(move || {
        // The input ends when the test ends, however it does.
        for line in std::io::stdin().lock().lines() {
            let (number, ask): (u64, Ask) = serde_json::from_str(&line.unwrap()).unwrap();
            let store = store.clone();
            runtime.spawn(async move {
                let answer = answer(&store, ask).await;
                say(&Line::Answer { number, answer });
            });
        }
    });
    asked.await.unwrap();
}

/// One system call for each line, which a trace shows.
fn say(line: &Line) {
    println!("{MARK}{}", serde_json::to_string(line).unwrap());
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        write!(text, ": {cause}").unwrap();
        source = cause.source();
    }
    text
}

async fn answer(store: &Store, ask: Ask) -> Answer {
    let failed = |error: federated_store::ReadError| Answer::Failed { reason: error.to_string() };
    match ask {
        Ask::Leadership => {
            let view = store.leadership().borrow().clone();
            Answer::Leadership { leader: view.leader, fence: view.fence.map(|fence| fence.0) }
        }
        Ask::Get { key } => match store.get(&key).await {
            Ok(found) => {
                Answer::Item(found.map(|found| Item { key, value: text(&found.value), revision: found.revision }))
            }
            Err(error) => failed(error),
        },
        Ask::Range { prefix, after } => match store.range(&prefix, after.as_deref(), 10_000).await {
            Ok(page) => Answer::Page { items: page.items.into_iter().map(item).collect(), more: page.more },
            Err(error) => failed(error),
        },
        Ask::Txn { fence, when, then } => {
            let when = when.into_iter().map(|expected| match expected.revision {
                Some(revision) => When::At { key: expected.key, revision },
                None => When::Absent { key: expected.key },
            });
            let then = then.iter().map(|(key, value)| put(key, value)).collect();
            match store.txn(fence.map(Fence), when.collect(), then).await {
                Ok(TxnOutcome::Committed { revision }) => Answer::Committed { revision },
                Ok(TxnOutcome::Conflict { .. }) => Answer::Conflict,
                Ok(TxnOutcome::Fenced) => Answer::Fenced,
                Err(WriteError::Unknown { reason }) => Answer::Unknown { reason },
                Err(error) => Answer::NotApplied { reason: error.to_string() },
            }
        }
    }
}

fn item(KeyValue { key, value, revision }: KeyValue) -> Item {
    Item { key, value: text(&value), revision }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Tells the test what the store logs, from warnings upwards.
struct Tell;

impl tracing::Subscriber for Tell {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN && metadata.target().starts_with("federated_store")
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        say(&Line::Log { text: fields.0 });
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

struct Fields(String);

impl tracing::field::Visit for Fields {
    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        write!(self.0, "{field}: {value} ").unwrap();
    }

    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        write!(self.0, "{field}: {value:?} ").unwrap();
    }
}
