//! The command line, checked once.

use std::net::SocketAddr;
use std::path::PathBuf;

use crds::{MAX_NAME_BYTES, is_dns_label};
use reqwest::Url;

use crate::logging::LogFormat;

/// More than any number of controller replicas; the chart allows as many.
const MAX_HUB_URLS: usize = 16;
/// Longest name of a pod.
const MAX_IDENTITY_BYTES: usize = 253;

/// The agent of one member cluster: takes the hub's assignments, sets images, watches health, reports.
#[derive(Debug, clap::Parser)]
#[command(version, about)]
pub struct Options {
    /// Name of this cluster: that of its `MemberCluster` on the hub and of the certificate.
    #[arg(long, value_name = "NAME")]
    pub member: String,
    /// Base URLs of the controllers' agents listener, separated by commas.
    #[arg(long, value_name = "URL[,URL…]", value_delimiter = ',', required = true)]
    pub hub: Vec<String>,
    /// Folder with ca.crt, tls.crt and tls.key.
    #[arg(long, value_name = "DIR")]
    pub tls_dir: PathBuf,
    /// Address of the webhook /reconcile, over mutual TLS.
    #[arg(long, value_name = "ADDR")]
    pub listen: String,
    /// Address of /healthz, /readyz and /metrics, over plain HTTP.
    #[arg(long, value_name = "ADDR")]
    pub operations: String,
    /// Kubeconfig of this cluster. Default: the service account of the pod.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace of the Lease and of the `ConfigMap` with the fences.
    #[arg(long, value_name = "NS")]
    pub namespace: String,
    /// Name of this process among the agents of this cluster: the pod's name.
    #[arg(long, value_name = "ID")]
    pub identity: String,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t)]
    pub log_format: LogFormat,
}

/// The same, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of this cluster.
    pub member: String,
    /// At least one; each an https URL without path.
    pub hub: Vec<Url>,
    /// Folder of the certificate.
    pub tls_dir: PathBuf,
    /// Address of the webhook.
    pub listen: SocketAddr,
    /// Address of the operations server.
    pub operations: SocketAddr,
    /// Kubeconfig, or in-cluster.
    pub kubeconfig: Option<PathBuf>,
    /// Namespace of Lease and `ConfigMap`.
    pub namespace: String,
    /// Name of this process.
    pub identity: String,
}

/// What is wrong with the command line: everything, not only the first.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Problems(pub Vec<String>);

impl Options {
    /// Checks everything.
    pub fn validate(self) -> Result<Settings, Problems> {
        let mut problems = Vec::new();
        let Self { member, hub, tls_dir, listen, operations, kubeconfig, namespace, identity, log_format: _ } = self;
        for (flag, name) in [("--member", &member), ("--namespace", &namespace)] {
            if !is_dns_label(name) {
                problems.push(format!("{flag} '{name}' is no DNS label of at most {MAX_NAME_BYTES} characters"));
            }
        }
        if identity.is_empty() || identity.len() > MAX_IDENTITY_BYTES {
            problems.push(format!("--identity must have 1 to {MAX_IDENTITY_BYTES} characters"));
        }
        if hub.len() > MAX_HUB_URLS {
            problems.push(format!("--hub has {} URLs, at most {MAX_HUB_URLS}", hub.len()));
        }
        let mut keep = |parsed: Result<Url, String>| parsed.map_err(|problem| problems.push(problem)).ok();
        let hub: Vec<Url> = hub.iter().filter_map(|text| keep(hub_url(text))).collect();
        let mut address = |flag: &str, text: &str| {
            let address = text.parse::<SocketAddr>().ok();
            if address.is_none() {
                problems.push(format!("{flag} '{text}' is no address like 0.0.0.0:9443"));
            }
            address
        };
        let addresses = (address("--listen", &listen), address("--operations", &operations));
        match addresses {
            (Some(listen), Some(operations)) if problems.is_empty() => {
                Ok(Settings { member, hub, tls_dir, listen, operations, kubeconfig, namespace, identity })
            }
            _ => Err(Problems(problems)),
        }
    }
}

fn hub_url(text: &str) -> Result<Url, String> {
    let wrong = |why: &str| format!("--hub '{text}' {why}");
    let url: Url = text.parse().map_err(|error| wrong(&format!("is no URL: {error}")))?;
    if url.scheme() != "https" {
        return Err(wrong("is no https URL"));
    }
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let anonymous = url.username().is_empty() && url.password().is_none();
    if bare && anonymous { Ok(url) } else { Err(wrong("must be scheme, host and port only")) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser as _;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Settings, Problems> {
        let rest = ["--tls-dir", "/tls", "--operations", "127.0.0.1:8081", "--identity", "pod-1"];
        Options::try_parse_from(["cluster-agent"].iter().chain(&rest).chain(arguments)).unwrap().validate()
    }

    #[test]
    fn several_hub_urls_are_separated_by_commas() {
        let hub = "https://127.0.0.1:7443,https://controller-2:7443/";
        let settings =
            parse(&["--member", "east", "--namespace", "rollout-system", "--listen", "0.0.0.0:9443", "--hub", hub]);
        assert_eq!(settings.unwrap().hub.len(), 2);
    }

    #[test]
    fn all_mistakes_are_named_at_once() {
        let problems = parse(&[
            "--member",
            "East",
            "--namespace",
            "-",
            "--listen",
            "9443",
            "--hub",
            "http://hub,https://hub/path",
        ])
        .unwrap_err();
        insta::assert_snapshot!(problems.to_string(), @r"
        --member 'East' is no DNS label of at most 63 characters
        --namespace '-' is no DNS label of at most 63 characters
        --hub 'http://hub' is no https URL
        --hub 'https://hub/path' must be scheme, host and port only
        --listen '9443' is no address like 0.0.0.0:9443
        ");
    }
}
