//! Figures about questions to Prometheus servers.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Asked {
    source: String,
    /// "ok", or a word for what went wrong.
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ToSource {
    source: String,
}

/// Figures about questions to Prometheus servers. Clones share them.
#[derive(Clone, Debug)]
pub struct Figures {
    questions: Family<Asked, Counter>,
    duration: Family<ToSource, Histogram, fn() -> Histogram>,
    open: Family<ToSource, Gauge>,
}

/// From 1 ms, an answer on the same node, to 65 s, past the longest deadline of an attempt.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 17))
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            questions: Family::default(),
            duration: Family::new_with_constructor(durations as fn() -> Histogram),
            open: Family::default(),
        }
    }
}

impl Figures {
    /// Adds them to what is shown.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "Questions to Prometheus servers by source and result";
        registry.register("prometheus_questions", help, self.questions.clone());
        let help = "Time of a question to a Prometheus server with its retries, by source";
        registry.register_with_unit("prometheus_question_duration", help, Unit::Seconds, self.duration.clone());
        let help = "1 while a Prometheus server that keeps failing is left alone, by source";
        registry.register("prometheus_circuit_open", help, self.open.clone());
    }

    /// How many questions a source has answered so far.
    pub fn answered(&self, source: &str) -> u64 {
        self.questions.get_or_create(&Asked { source: source.to_owned(), result: "ok" }).get()
    }

    pub(super) fn asked(&self, source: &str, result: &'static str, took: Duration) {
        self.questions.get_or_create(&Asked { source: source.to_owned(), result }).inc();
        self.duration.get_or_create(&ToSource { source: source.to_owned() }).observe(took.as_secs_f64());
    }

    pub(super) fn set_open(&self, source: &str, open: bool) {
        self.open.get_or_create(&ToSource { source: source.to_owned() }).set(i64::from(open));
    }

    /// A source that is no longer configured has no state.
    pub(super) fn forget(&self, source: &str) {
        self.open.remove(&ToSource { source: source.to_owned() });
    }
}
