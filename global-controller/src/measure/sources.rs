//! The configured Prometheus servers, by name. A changed configuration replaces those that changed, and no others.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus_asker::{Answer, Failure};
use tokio::time::Instant;

use super::figures::Figures;
use super::source::Source;
use crate::config::SourceConfig;
use crate::remote::Secrets;

/// The configured servers.
pub struct Sources {
    current: ArcSwap<BTreeMap<String, Arc<Source>>>,
    secrets: Secrets,
    figures: Figures,
}

impl Sources {
    /// Those of the configuration. Nothing is asked yet.
    pub fn new(configs: &[SourceConfig], secrets: Secrets, figures: Figures) -> Self {
        let sources = Self { current: ArcSwap::default(), secrets, figures };
        sources.replace(configs);
        sources
    }

    /// Takes up a changed configuration. A server whose configuration stayed keeps its connections, and what is known
    /// of its health; questions that are under way end as they began.
    pub fn replace(&self, configs: &[SourceConfig]) {
        let before = self.current.load_full();
        let after: BTreeMap<_, _> =
            configs.iter().map(|config| (config.name.clone(), self.keep(&before, config))).collect();
        for gone in before.keys().filter(|name| !after.contains_key(*name)) {
            self.figures.forget(gone);
        }
        self.current.store(Arc::new(after));
    }

    fn keep(&self, before: &BTreeMap<String, Arc<Source>>, config: &SourceConfig) -> Arc<Source> {
        match before.get(&config.name) {
            Some(source) if source.config() == config => Arc::clone(source),
            _ => Arc::new(Source::new(config.clone(), self.secrets.clone(), self.figures.clone())),
        }
    }

    /// Asks a server an instant query about the moment `at_millis` (since the Unix epoch), with retries, until
    /// `deadline` at most. It never waits longer, and never panics on what a server says.
    pub async fn ask(&self, source: &str, query: &str, at_millis: i64, deadline: Instant) -> Answer {
        let found = self.current.load().get(source).cloned();
        match found {
            Some(source) => source.ask(query, at_millis, deadline).await,
            None => Answer::Failed(Failure::UnknownSource(source.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::{Credentials, Headers, ServerTls};

    fn config(name: &str, address: &str) -> SourceConfig {
        SourceConfig {
            name: name.to_owned(),
            address: address.to_owned(),
            tls: ServerTls::default(),
            credentials: Credentials::None,
            headers: Headers::default(),
            timeout: std::time::Duration::from_secs(1),
            retries: 0,
            max_concurrent: 1,
        }
    }

    #[tokio::test]
    async fn a_reload_keeps_what_did_not_change() {
        let configs = [config("a", "http://a"), config("b", "http://b")];
        let sources = Sources::new(&configs, Secrets::none(), Figures::default());
        let get = |name: &str| sources.current.load().get(name).cloned();
        let (a, b) = (get("a").unwrap(), get("b").unwrap());
        sources.replace(&[config("a", "http://a"), config("b", "http://other")]);
        assert!(Arc::ptr_eq(&a, &get("a").unwrap()));
        assert!(!Arc::ptr_eq(&b, &get("b").unwrap()));
        sources.replace(&[]);
        let answer = sources.ask("a", "up", 0, Instant::now()).await;
        assert_eq!(answer, Answer::Failed(Failure::UnknownSource("a".to_owned())));
    }
}
