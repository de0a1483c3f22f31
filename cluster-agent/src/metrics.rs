//! Figures about this process, for Prometheus.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reconciled {
    intent: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Accepted {
    source: &'static str,
}

/// Figures about this process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: Family<Reconciled, Histogram, fn() -> Histogram>,
    applies: Family<Outcome, Counter>,
    reports: Family<Outcome, Counter>,
    accepted: Family<Accepted, Counter>,
    inquiries: Family<Outcome, Counter>,
    /// 1 while the stream of assignments is open.
    pub stream_connected: Gauge,
    /// 1 while this pod holds the Lease.
    pub lease_held: Gauge,
    /// Assignments that were refused because something newer was seen.
    pub fences_refused: Counter,
    /// Fences of withdrawn assignments that were dropped for want of room.
    pub fences_dropped: Counter,
    /// Wake-ups that found the work queue full.
    pub wakes_dropped: Counter,
}

/// From 1 ms, which a read takes, to 32 s, which is past every deadline.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 16))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("cluster_agent");
        let reconciles = Family::<Reconciled, Histogram>::new_with_constructor(durations as fn() -> Histogram);
        let (applies, reports, accepted) = (Family::default(), Family::default(), Family::default());
        let inquiries = Family::default();
        let (stream_connected, lease_held) = (Gauge::default(), Gauge::default());
        let (fences_refused, fences_dropped) = (Counter::default(), Counter::default());
        let wakes_dropped = Counter::default();
        let help = "Time of one reconcile of an assignment, by its intent and the result";
        registry.register_with_unit("reconcile_duration", help, Unit::Seconds, reconciles.clone());
        registry.register("applies", "Writes of images to workloads, by result", applies.clone());
        registry.register("reports", "Reports to the hub, by result", reports.clone());
        let help = "Assignments that were taken in or were there already, by the way they came";
        registry.register("assignments_accepted", help, accepted.clone());
        let help = "Inquiries of the hub to the Prometheus beside the agent, by what became of the answers";
        registry.register("inquiries", help, inquiries.clone());
        registry.register("stream_connected", "1 while the stream of assignments is open", stream_connected.clone());
        registry.register("lease_held", "1 while this pod holds the Lease", lease_held.clone());
        registry.register("fences_refused", "Assignments with a fence below one seen", fences_refused.clone());
        registry.register("fences_dropped", "Fences dropped for want of room", fences_dropped.clone());
        registry.register("wakes_dropped", "Assignments that found the work queue full", wakes_dropped.clone());
        Self {
            registry,
            reconciles,
            applies,
            reports,
            accepted,
            inquiries,
            stream_connected,
            lease_held,
            fences_refused,
            fences_dropped,
            wakes_dropped,
        }
    }
}

impl Metrics {
    /// Notes a reconcile.
    pub fn reconciled(&self, intent: &'static str, result: &'static str, took: Duration) {
        self.reconciles.get_or_create(&Reconciled { intent, result }).observe(took.as_secs_f64());
    }

    /// Notes a write to a workload: "applied", "repaired", "conflict", "refused", "failed".
    pub fn applied(&self, result: &'static str) {
        self.applies.get_or_create(&Outcome { result }).inc();
    }

    /// Notes reports: "sent", "failed", "refused", "dropped".
    pub fn report(&self, result: &'static str, count: usize) {
        self.reports.get_or_create(&Outcome { result }).inc_by(count as u64);
    }

    /// Notes an assignment that is durable here: from the "webhook", from the "list" at the start of a stream, or from
    /// the "stream" later.
    pub fn accepted(&self, source: &'static str) {
        self.accepted.get_or_create(&Accepted { source }).inc();
    }

    /// Notes an inquiry whose answers were "sent", or not: "failed", "dropped".
    pub fn inquired(&self, result: &'static str) {
        self.inquiries.get_or_create(&Outcome { result }).inc();
    }

    /// The text that Prometheus reads.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::accept::Source;

    #[test]
    fn every_figure_has_its_name() {
        let metrics = Metrics::default();
        metrics.reconciled("Apply", "ok", Duration::from_millis(5));
        metrics.applied("applied");
        metrics.report("sent", 2);
        metrics.accepted(Source::Webhook.as_str());
        metrics.inquired("sent");
        metrics.lease_held.set(1);
        let text = metrics.encode().unwrap();
        for line in [
            "cluster_agent_reconcile_duration_seconds_count{intent=\"Apply\",result=\"ok\"} 1",
            "cluster_agent_applies_total{result=\"applied\"} 1",
            "cluster_agent_reports_total{result=\"sent\"} 2",
            "cluster_agent_assignments_accepted_total{source=\"webhook\"} 1",
            "cluster_agent_inquiries_total{result=\"sent\"} 1",
            "cluster_agent_lease_held 1",
            "cluster_agent_stream_connected 0",
            "cluster_agent_fences_refused_total 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
