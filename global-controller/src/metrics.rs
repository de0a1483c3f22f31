//! Figures about this process, for Prometheus.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::alerts;
use crate::measure::Figures;

/// A phase of the loop and how it went.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct PhaseResult {
    /// "decide", "commit", "publish", "webhook".
    pub phase: &'static str,
    /// "ok", or a word for what went wrong.
    pub result: &'static str,
}

/// Figures about this process.
pub(crate) struct Metrics {
    registry: Registry,
    reconcile: Family<PhaseResult, Histogram, fn() -> Histogram>,
    /// Decisions that broke an invariant or panicked: each is a bug of ours.
    pub invariant_violations: Counter,
    /// Broken watches and lists of the hub.
    pub hub_watch_failures: Counter,
    /// Changed configurations that did not fit.
    pub config_reload_failures: Counter,
    /// Events that found no room in the queue.
    pub events_dropped: Counter,
    /// Decisions whose record can't be replayed, as it would be too large.
    pub decisions_not_replayable: Counter,
    /// Alerts that Alertmanagers told of and that are not kept.
    pub alerts_left_out: Counter,
    /// Reports of agents that were written.
    pub reports: Counter,
    /// Times that the store got a new epoch: it was new, restored, or found to have gone back.
    pub recoveries: Counter,
    /// Open streams of agents.
    pub streams: Gauge,
    /// 1 while this replica leads.
    pub leading: Gauge,
    /// By how much the clocks of most replicas are ahead of this one's.
    pub clock_offset_millis: Gauge,
    /// Questions to Prometheus servers.
    pub questions: Figures,
    /// What the latest check for consistency has found.
    pub consistency_faults: Gauge,
    /// Alerts, and those who are told.
    pub alerts: alerts::Figures,
}

/// From 0.5 ms, which a decision takes, to 16 s, which is past every deadline.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 16))
}

impl Metrics {
    pub fn new() -> Self {
        let mut root = Registry::default();
        let registry = root.sub_registry_with_prefix("rollout_controller");
        let reconcile = Family::<PhaseResult, Histogram>::new_with_constructor(durations as fn() -> Histogram);
        let metrics = Self {
            reconcile: reconcile.clone(),
            invariant_violations: Counter::default(),
            hub_watch_failures: Counter::default(),
            config_reload_failures: Counter::default(),
            events_dropped: Counter::default(),
            decisions_not_replayable: Counter::default(),
            alerts_left_out: Counter::default(),
            reports: Counter::default(),
            recoveries: Counter::default(),
            streams: Gauge::default(),
            leading: Gauge::default(),
            clock_offset_millis: Gauge::default(),
            questions: Figures::default(),
            consistency_faults: Gauge::default(),
            alerts: alerts::Figures::default(),
            registry: Registry::default(),
        };
        let help = "Time of one pass by phase and result";
        registry.register_with_unit("reconcile_duration", help, Unit::Seconds, reconcile);
        let counters = [
            ("invariant_violations", "Decisions that broke an invariant or panicked", &metrics.invariant_violations),
            ("hub_watch_failures", "Broken lists and watches of the hub", &metrics.hub_watch_failures),
            ("config_reload_failures", "Changed configurations that did not fit", &metrics.config_reload_failures),
            ("events_dropped", "Events that found no room in the queue", &metrics.events_dropped),
            (
                "decisions_not_replayable",
                "Decisions whose inputs are too large to be recorded",
                &metrics.decisions_not_replayable,
            ),
            ("alerts_left_out", "Alerts told by Alertmanagers and not kept", &metrics.alerts_left_out),
            ("reports", "Reports of agents written to the store", &metrics.reports),
            (
                "store_recoveries",
                "New epochs of the store: it was new, restored, or had gone back",
                &metrics.recoveries,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        registry.register("streams", "Open assignment streams of agents", metrics.streams.clone());
        registry.register(
            "clock_offset_milliseconds",
            "By how much the median of the replicas' clocks is ahead of this one's",
            metrics.clock_offset_millis.clone(),
        );
        registry.register("leading", "1 while this replica leads", metrics.leading.clone());
        metrics.questions.register(registry);
        metrics.alerts.register(registry);
        // Of the product, not of this program: whoever checks, the name is the same.
        let registry = root.sub_registry_with_prefix("clusterrollout");
        let help = "Faults that the latest check at /debug/consistency found; 0 before the first";
        registry.register("consistency_faults", help, metrics.consistency_faults.clone());
        Self { registry: root, ..metrics }
    }

    /// Notes a pass that took from `started` until now.
    pub fn observe(&self, phase: &'static str, result: &'static str, started: std::time::Instant) {
        self.reconcile.get_or_create(&PhaseResult { phase, result }).observe(started.elapsed().as_secs_f64());
    }

    /// The text that Prometheus reads.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
