//! Figures about alerts and those who are told.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use rollout_core::Alert;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Posted {
    alertmanager: String,
    /// "ok" or "error".
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ToAlertmanager {
    alertmanager: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Sent {
    sink: String,
    /// "ok" or "error".
    result: &'static str,
}

/// Figures about alerts. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    posts: Family<Posted, Counter>,
    up: Family<ToAlertmanager, Gauge>,
    events: Family<Sent, Counter>,
    firing: Gauge,
}

impl Figures {
    /// Adds them to what is shown.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("alert_posts", "Posts of alerts by Alertmanager and result", self.posts.clone());
        let help = "1 if an Alertmanager took the last post of alerts, 0 if it did not, by Alertmanager";
        registry.register("alertmanager_up", help, self.up.clone());
        registry.register("cloudevents", "Posts of CloudEvents by sink and result", self.events.clone());
        registry.register("alerts_firing", "Alerts that last, as the leader tells them", self.firing.clone());
    }

    pub(super) fn posted(&self, alertmanager: &str, taken: bool) {
        let result = if taken { "ok" } else { "error" };
        self.posts.get_or_create(&Posted { alertmanager: alertmanager.to_owned(), result }).inc();
        self.up.get_or_create(&ToAlertmanager { alertmanager: alertmanager.to_owned() }).set(i64::from(taken));
    }

    pub(super) fn sent(&self, sink: &str, taken: bool) {
        let result = if taken { "ok" } else { "error" };
        self.events.get_or_create(&Sent { sink: sink.to_owned(), result }).inc();
    }

    /// One that is no longer configured has no state.
    pub(super) fn forget(&self, alertmanager: &str) {
        self.up.remove(&ToAlertmanager { alertmanager: alertmanager.to_owned() });
    }

    pub(super) fn set_firing(&self, alerts: &[Alert]) {
        let firing = alerts.iter().filter(|alert| alert.until.is_none()).count();
        self.firing.set(i64::try_from(firing).unwrap_or(i64::MAX));
    }
}
