//! What the tests share: configured sources, and questions with short deadlines.

use std::time::Duration;

use global_controller::measure::{Answer, Failure, Figures, Sources};
use global_controller::remote::Secrets;
use global_controller::{Credentials, Headers, ServerTls, SourceConfig};
use tokio::time::Instant;

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn config(address: &str) -> SourceConfig {
    SourceConfig {
        name: "central".to_owned(),
        address: address.to_owned(),
        tls: ServerTls::default(),
        credentials: Credentials::None,
        headers: Headers::default(),
        timeout: Duration::from_secs(10),
        retries: 0,
        max_concurrent: 8,
    }
}

/// One source named `central`.
pub fn sources(config: SourceConfig) -> Sources {
    sources_with(config, Secrets::none())
}

pub fn sources_with(config: SourceConfig, secrets: Secrets) -> Sources {
    counted(config, secrets).0
}

/// One source, and the figures about it.
pub fn counted(config: SourceConfig, secrets: Secrets) -> (Sources, Figures) {
    e2e::install_crypto_provider();
    let figures = Figures::default();
    (Sources::new(&[config], secrets, figures.clone()), figures)
}

/// Asks about a moment in the past that is always the same.
pub async fn ask(sources: &Sources, query: &str) -> Answer {
    sources.ask("central", query, 1_700_000_000_250, Instant::now() + PATIENCE).await
}

pub async fn failure(sources: &Sources, query: &str) -> Failure {
    match ask(sources, query).await {
        Answer::Failed(failure) => failure,
        answer => panic!("{query} was answered: {answer:?}"),
    }
}

/// Values of a vector, in the order of its labels.
pub fn values(answer: &Answer) -> Vec<f64> {
    match answer {
        Answer::Vector(series) => series.iter().map(|(_, value)| *value).collect(),
        other => panic!("no vector: {other:?}"),
    }
}
