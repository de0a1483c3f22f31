//! What a playground consists of.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use crds::{GateMode, is_dns_label};
use serde_json::json;

use crate::assets::Program;

/// What to bring up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder for everything; created when missing.
    pub dir: PathBuf,
    /// Names of the members: DNS labels.
    pub members: Vec<String>,
    /// Number of controllers: 1, 3 or 5.
    pub controllers: usize,
    /// Members whose agent gets no webhook endpoint: all goes over the stream that it opens.
    pub no_webhook: Vec<String>,
    /// Nodes of each member, at least 1.
    pub nodes: u32,
    /// Whether a Prometheus runs, and simulated traffic that it scrapes.
    pub prometheus: bool,
    /// How many Alertmanagers run, each alone; the controllers tell all of them.
    pub alertmanagers: usize,
    /// Webhooks that each of them tells.
    pub alert_webhooks: Vec<String>,
    /// Who gets the controllers' `CloudEvents`.
    pub event_sinks: Vec<String>,
    /// What the controllers do at the end of a pause without a metric source.
    pub gates: GateMode,
    /// Further variables of the controllers' environment.
    pub controller_environment: Vec<(String, String)>,
    /// Namespaces, and rules of a Role without verbs: what rollouts may apply in them, in each member.
    pub manifests: Vec<(String, serde_json::Value)>,
    /// The same for all namespaces, and for kinds that are in none.
    pub cluster_manifests: serde_json::Value,
}

impl Options {
    /// `members` members named member-1 …, and so many controllers. A pause is a timer only.
    pub fn new(dir: impl Into<PathBuf>, members: usize, controllers: usize) -> Self {
        Self {
            dir: dir.into(),
            members: (1..=members).map(|number| format!("member-{number}")).collect(),
            controllers,
            no_webhook: Vec::new(),
            nodes: 2,
            prometheus: false,
            alertmanagers: 0,
            alert_webhooks: Vec::new(),
            event_sinks: Vec::new(),
            gates: GateMode::TimerOnly,
            controller_environment: Vec::new(),
            manifests: Vec::new(),
            cluster_manifests: json!([]),
        }
    }

    /// The same with these members.
    #[must_use]
    pub fn named(mut self, names: &[&str]) -> Self {
        self.members = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// The same without a webhook for these members.
    #[must_use]
    pub fn without_webhook(mut self, names: &[&str]) -> Self {
        self.no_webhook = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// The same with a Prometheus, and simulated traffic that it scrapes.
    #[must_use]
    pub fn with_prometheus(mut self) -> Self {
        self.prometheus = true;
        self
    }

    /// The same with so many Alertmanagers, which tell these webhooks.
    #[must_use]
    pub fn with_alertmanagers(mut self, count: usize, webhooks: &[String]) -> Self {
        (self.alertmanagers, self.alert_webhooks) = (count, webhooks.to_vec());
        self
    }

    /// The same with a sink of `CloudEvents` at this address.
    #[must_use]
    pub fn with_event_sink(mut self, address: String) -> Self {
        self.event_sinks.push(address);
        self
    }

    /// The same with a further variable in the controllers' environment.
    #[must_use]
    pub fn with_controller_variable(mut self, key: &str, value: &str) -> Self {
        self.controller_environment.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The same with rollouts that may apply objects of these kinds in a namespace of each member; `rules` is what the
    /// agent's chart takes, for example `[{"apiGroups": ["apps"], "resources": ["deployments"]}]`.
    #[must_use]
    pub fn with_manifests(mut self, namespace: &str, rules: serde_json::Value) -> Self {
        self.manifests.push((namespace.to_owned(), rules));
        self
    }

    /// The same with rollouts that may apply objects of these kinds wherever they are.
    #[must_use]
    pub fn with_cluster_manifests(mut self, rules: serde_json::Value) -> Self {
        self.cluster_manifests = rules;
        self
    }

    /// The `manifests` of the agent's chart.
    pub(super) fn manifests_value(&self) -> serde_json::Value {
        let of = |(namespace, rules): &(String, serde_json::Value)| json!({"namespace": namespace, "rules": rules});
        let namespaced: Vec<serde_json::Value> = self.manifests.iter().map(of).collect();
        json!({"namespaced": namespaced, "cluster": {"rules": self.cluster_manifests}})
    }

    /// Programs that it needs.
    pub(super) fn programs(&self) -> Vec<Program> {
        let metrics = self.prometheus.then_some(Program::Prometheus);
        let alerts = (self.alertmanagers > 0).then_some(Program::Alertmanager);
        Program::CLUSTERS.into_iter().chain(metrics).chain(alerts).collect()
    }

    pub(super) fn check(&self) -> Result<()> {
        ensure!(matches!(self.controllers, 1 | 3 | 5), "there can be 1, 3 or 5 controllers, not {}", self.controllers);
        ensure!(!self.members.is_empty(), "there must be at least one member");
        ensure!(self.nodes > 0, "a member needs at least one node");
        let mut seen = BTreeSet::new();
        for name in &self.members {
            ensure!(is_dns_label(name), "\"{name}\" is no name for a member: it must be a DNS label");
            // Parts are called hub/…, controller-1 and alertmanager-1, so these names are taken.
            let taken = ["controller-", "alertmanager-"].iter().any(|prefix| name.starts_with(prefix));
            ensure!(name != "hub" && !taken, "a member can't be named \"{name}\"");
            ensure!(seen.insert(name), "there are two members named \"{name}\"");
        }
        match self.no_webhook.iter().find(|name| !self.members.contains(name)) {
            Some(name) => bail!("no webhook for \"{name}\", but there is no such member"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(names: &[&str]) -> Result<()> {
        Options::new("x", 0, 3).named(names).check()
    }

    #[test]
    fn names_of_members_must_be_distinct_labels() {
        assert!(with(&["prod-us-east", "prod-us-west"]).is_ok());
        for bad in [&[][..], &["a", "a"], &["A"], &["-a"], &["hub"], &["controller-1"], &[""]] {
            assert!(with(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn controllers_are_an_odd_few() {
        assert!(Options::new("x", 1, 2).check().is_err());
        assert!(Options::new("x", 1, 5).check().is_ok());
    }

    #[test]
    fn a_missing_member_cannot_lose_its_webhook() {
        assert!(Options::new("x", 2, 1).without_webhook(&["member-3"]).check().is_err());
    }
}
