//! The configured Prometheus servers, by name, and those at allowed addresses. A changed configuration replaces those that
//! changed, and no others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use prometheus_asker::{Answer, Failure, Moments, Reply};
use rollout_core::{Address, Origin};
use tokio::time::Instant;

use super::figures::Figures;
use super::source::Source;
use crate::config::SourceConfig;
use crate::remote::Secrets;

/// Servers at addresses that are kept. Their origins are few; paths are what rollouts make of them.
const MAX_ADDRESSES: usize = 256;

/// The configured servers.
pub struct Sources {
    current: ArcSwap<BTreeMap<String, Arc<Source>>>,
    allowed: ArcSwap<Vec<Origin>>,
    /// Those at addresses, as they were asked.
    addressed: Mutex<BTreeMap<String, Arc<Source>>>,
    secrets: Secrets,
    figures: Figures,
}

impl Sources {
    /// Those of the configuration. Nothing is asked yet.
    pub fn new(configs: &[SourceConfig], secrets: Secrets, figures: Figures) -> Self {
        let (current, allowed, addressed) = (ArcSwap::default(), ArcSwap::default(), Mutex::default());
        let sources = Self { current, allowed, addressed, secrets, figures };
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

    /// From now on servers of these origins may be asked by their addresses, and no others.
    pub fn allow(&self, origins: &[Origin]) {
        self.allowed.store(Arc::new(origins.to_vec()));
    }

    /// The server at an address, if it is allowed now.
    fn at(&self, address: &str) -> Result<Arc<Source>, Failure> {
        let parsed = address.parse::<Address>();
        if !parsed.is_ok_and(|address| address.is_among(&self.allowed.load())) {
            let why = format!("'{address}' is not of an origin in gates.allowedPrometheusOrigins");
            return Err(Failure::Misconfigured(why));
        }
        // A source is made whole before it gets in.
        let mut addressed = self.addressed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(source) = addressed.get(address) {
            return Ok(Arc::clone(source));
        }
        if addressed.len() >= MAX_ADDRESSES {
            // Connections and what is known of health are made anew where they are still needed.
            for gone in std::mem::take(&mut *addressed).into_keys() {
                self.figures.forget(&gone);
            }
        }
        let config = SourceConfig::of_address(address);
        let source = Arc::new(Source::new(config, self.secrets.clone(), self.figures.clone()));
        addressed.insert(address.to_owned(), Arc::clone(&source));
        Ok(source)
    }

    fn keep(&self, before: &BTreeMap<String, Arc<Source>>, config: &SourceConfig) -> Arc<Source> {
        match before.get(&config.name) {
            Some(source) if source.config() == config => Arc::clone(source),
            _ => Arc::new(Source::new(config.clone(), self.secrets.clone(), self.figures.clone())),
        }
    }

    /// Asks a server, by its name or address, an instant query about the moment `at_millis` (since the Unix epoch), with
    /// retries, until `deadline` at most. It never waits longer, and never panics on what a server says.
    pub async fn ask(&self, source: &str, query: &str, at_millis: i64, deadline: Instant) -> Answer {
        let answer = self.ask_about(source, query, Moments::At(at_millis), deadline).await.pop();
        // One moment has one answer.
        answer.unwrap_or(Answer::Failed(Failure::Timeout))
    }

    /// The same about any moments: as many answers.
    pub async fn ask_about(&self, source: &str, query: &str, about: Moments, deadline: Instant) -> Vec<Answer> {
        // No name has a colon.
        let found = if source.contains("://") {
            self.at(source)
        } else {
            let named = self.current.load().get(source).cloned();
            named.ok_or_else(|| Failure::UnknownSource(source.to_owned()))
        };
        let reply = match found {
            Ok(source) => source.ask(query, about, deadline).await,
            Err(failure) => Reply::failed(failure),
        };
        reply.at(about)
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

    #[tokio::test]
    async fn semantics_46_an_address_is_asked_only_while_its_origin_is_allowed() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let sources = Sources::new(&[], Secrets::none(), Figures::default());
        let ask = || sources.ask("http://127.0.0.1:1/base", "up", 0, Instant::now());
        assert!(matches!(ask().await, Answer::Failed(Failure::Misconfigured(why)) if why.contains("127.0.0.1:1")));
        sources.allow(&["http://127.0.0.1:1".parse().unwrap()]);
        assert!(matches!(ask().await, Answer::Failed(Failure::Timeout | Failure::Unreachable(_))));
        sources.allow(&["http://127.0.0.1:2".parse().unwrap()]);
        assert!(matches!(ask().await, Answer::Failed(Failure::Misconfigured(_))), "although it was asked before");
    }

    #[tokio::test]
    async fn only_so_many_addresses_are_kept() {
        let sources = Sources::new(&[], Secrets::none(), Figures::default());
        sources.allow(&["http://127.0.0.1:1".parse().unwrap()]);
        for number in 0..=MAX_ADDRESSES {
            assert!(sources.at(&format!("http://127.0.0.1:1/{number}")).is_ok());
        }
        assert_eq!(sources.addressed.lock().unwrap().len(), 1);
    }
}
