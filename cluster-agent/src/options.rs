//! The command line, checked once.

use std::net::SocketAddr;
use std::path::PathBuf;

use crds::{MAX_NAME_BYTES, is_dns_label};
use reqwest::Url;

use crate::logging::LogFormat;
use crate::prometheus::Beside;

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
    /// Namespace of the Lease and of the `ConfigMap`s that the agent keeps.
    #[arg(long, value_name = "NS")]
    pub namespace: String,
    /// Name of this process among the agents of this cluster: the pod's name.
    #[arg(long, value_name = "ID")]
    pub identity: String,
    /// Base URL of this cluster's Prometheus, which is asked for rollouts with analysis.from: Member. Default: none, and such
    /// rollouts hold at their pauses.
    #[arg(long, value_name = "URL")]
    pub prometheus_url: Option<String>,
    /// File with a bearer token for it; may change.
    #[arg(long, value_name = "FILE", requires = "prometheus_url")]
    pub prometheus_token_file: Option<PathBuf>,
    /// File with the certificates (PEM) that its own may be signed by; may change. Default: those of the system.
    #[arg(long, value_name = "FILE", requires = "prometheus_url")]
    pub prometheus_ca_file: Option<PathBuf>,
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
    /// This cluster's Prometheus.
    pub prometheus: Option<Beside>,
}

/// What is wrong with the command line: everything, not only the first.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Problems(pub Vec<String>);

impl Options {
    /// Checks everything.
    pub fn validate(self) -> Result<Settings, Problems> {
        let mut problems = Vec::new();
        let Self {
            member,
            hub,
            tls_dir,
            listen,
            operations,
            kubeconfig,
            namespace,
            identity,
            prometheus_url,
            prometheus_token_file: token_file,
            prometheus_ca_file: ca_file,
            log_format: _,
        } = self;
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
        let prometheus = prometheus_url.as_deref().and_then(|text| keep(prometheus_url_of(text)));
        let prometheus = prometheus.map(|url| Beside { url, token_file, ca_file });
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
                Ok(Settings { member, hub, tls_dir, listen, operations, kubeconfig, namespace, identity, prometheus })
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

/// It may have a path, as behind a proxy. Credentials are in a file, so that no list of processes shows them.
fn prometheus_url_of(text: &str) -> Result<Url, String> {
    let wrong = |why: &str| format!("--prometheus-url '{text}' {why}");
    let url: Url = text.parse().map_err(|error| wrong(&format!("is no URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("is no http or https URL"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("--prometheus-url must have no credentials in it: use --prometheus-token-file".to_owned());
    }
    let bare = url.query().is_none() && url.fragment().is_none();
    if bare { Ok(url) } else { Err(wrong("must have no query and no fragment")) }
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
    fn the_prometheus_may_have_a_path_and_no_credentials() {
        let with = |url: &str| {
            let rest = ["--member", "east", "--namespace", "n", "--listen", "0.0.0.0:9443", "--hub", "https://hub"];
            parse(&[&rest[..], &["--prometheus-url", url, "--prometheus-token-file", "/token"]].concat())
        };
        let beside = with("https://prometheus.monitoring:9090/base").unwrap().prometheus.unwrap();
        assert_eq!((beside.url.path(), beside.token_file), ("/base", Some("/token".into())));
        let refused = with("http://me:secret@prometheus").unwrap_err().to_string();
        assert!(refused.contains("no credentials") && !refused.contains("secret"), "{refused}");
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
            "--prometheus-url",
            "ftp://prometheus",
        ])
        .unwrap_err();
        insta::assert_snapshot!(problems.to_string(), @r"
        --member 'East' is no DNS label of at most 63 characters
        --namespace '-' is no DNS label of at most 63 characters
        --hub 'http://hub' is no https URL
        --hub 'https://hub/path' must be scheme, host and port only
        --prometheus-url 'ftp://prometheus' is no http or https URL
        --listen '9443' is no address like 0.0.0.0:9443
        ");
    }
}
