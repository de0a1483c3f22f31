//! Which programs there are, and how each is built.

use std::fmt::Write as _;

/// A program that control planes, metrics or tests need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The API server's database.
    Etcd,
    /// The API server.
    KubeApiserver,
    /// The controllers of workloads.
    KubeControllerManager,
    /// Binds pods to nodes.
    KubeScheduler,
    /// The command line.
    Kubectl,
    /// Plays nodes whose pods run without a container.
    Kwok,
    /// Renders charts.
    Helm,
    /// Collects metrics and answers queries about them.
    Prometheus,
    /// Takes alerts and passes them on.
    Alertmanager,
}

impl Program {
    /// What clusters and the charts need, the quickest to build first.
    pub const CLUSTERS: [Self; 7] = [
        Self::Etcd,
        Self::Kwok,
        Self::KubeApiserver,
        Self::KubeControllerManager,
        Self::KubeScheduler,
        Self::Kubectl,
        Self::Helm,
    ];

    /// All programs; those of metrics are built only for who asks for them.
    pub const ALL: [Self; 9] = {
        let [etcd, kwok, apiserver, controller_manager, scheduler, kubectl, helm] = Self::CLUSTERS;
        let (alertmanager, prometheus) = (Self::Alertmanager, Self::Prometheus);
        [etcd, kwok, apiserver, controller_manager, scheduler, kubectl, helm, alertmanager, prometheus]
    };

    /// File name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::KubeScheduler => "kube-scheduler",
            Self::Kubectl => "kubectl",
            Self::Kwok => "kwok",
            Self::Helm => "helm",
            Self::Prometheus => "prometheus",
            Self::Alertmanager => "alertmanager",
        }
    }

    /// Folder of its Go module in `e2e/tools`. Programs whose dependencies disagree have a module each.
    pub(super) fn module(self) -> &'static str {
        match self {
            Self::Helm => "helm",
            Self::Prometheus => "prometheus",
            Self::Alertmanager => "alertmanager",
            _ => "kubernetes",
        }
    }

    pub(super) fn package(self) -> String {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3".to_owned(),
            Self::Kwok => "sigs.k8s.io/kwok/cmd/kwok".to_owned(),
            Self::Helm => "helm.sh/helm/v4/cmd/helm".to_owned(),
            Self::Prometheus => "github.com/prometheus/prometheus/cmd/prometheus".to_owned(),
            Self::Alertmanager => "github.com/prometheus/alertmanager/cmd/alertmanager".to_owned(),
            kubernetes => format!("k8s.io/kubernetes/cmd/{}", kubernetes.name()),
        }
    }

    /// The module that gives the program its version, as `go.mod` names it.
    pub(super) fn versioned_by(self) -> &'static str {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::Kwok => "sigs.k8s.io/kwok",
            Self::Helm => "helm.sh/helm/v4",
            Self::Prometheus => "github.com/prometheus/prometheus",
            Self::Alertmanager => "github.com/prometheus/alertmanager",
            _ => "k8s.io/kubernetes",
        }
    }

    /// Build tags. Prometheus without its discovery of targets in clouds compiles a third fewer packages.
    pub(super) fn tags(self) -> &'static str {
        match self {
            Self::Prometheus => "remove_all_sd",
            _ => "",
        }
    }

    /// Linker flags: small, and with the version set where clients look at it; they would see v0.0.0.
    pub(super) fn linker_flags(self, version: &str) -> String {
        let mut flags = "-s -w".to_owned();
        if self.versioned_by() == "k8s.io/kubernetes" {
            let mut numbers = version.trim_start_matches('v').split('.');
            let (major, minor) = (numbers.next().unwrap_or("0"), numbers.next().unwrap_or("0"));
            for (name, value) in [("gitVersion", version), ("gitMajor", major), ("gitMinor", minor)] {
                // Writing to a String cannot fail.
                let _ = write!(flags, " -X k8s.io/component-base/version.{name}={value}");
            }
        }
        flags
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_see_the_version_of_kubernetes() {
        let flags = Program::KubeApiserver.linker_flags("v1.37.2");
        assert!(flags.contains("version.gitVersion=v1.37.2"), "{flags}");
        assert!(flags.contains("version.gitMinor=37"), "{flags}");
        assert_eq!(Program::Etcd.linker_flags("v3.7.0"), "-s -w");
    }
}
