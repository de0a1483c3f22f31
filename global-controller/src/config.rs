//! The configuration: a YAML file, parsed and checked once; every problem is named, not only the first.

mod alerts;
mod etcd;
mod gates;
mod prometheus;
mod server;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use federated_store::{ReplicaConfig, StateEngine};
use rollout_core::GateSettings;
use serde::Deserialize;

use crate::logging::LogFormat;
pub use alerts::{AlertsConfig, EventsConfig, ReceiverConfig};
pub use etcd::Etcd;
pub use prometheus::SourceConfig;
pub use server::{Credentials, Headers, Server, ServerTls, User};

/// Where the charts install, and so where the epoch's `ConfigMap` is unless told otherwise.
const DEFAULT_NAMESPACE: &str = "rollout-system";
/// A configuration is a page of text.
const MAX_BYTES: u64 = 1024 * 1024;

/// A checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This replica, one of `store.replicas`.
    pub id: String,
    /// Folder of this replica's store; unused with an etcd.
    pub data_dir: PathBuf,
    /// The hub.
    pub hub: Hub,
    /// Addresses to listen on.
    pub listen: Listen,
    /// Folder with `ca.crt`, `tls.crt` and `tls.key`.
    pub tls_dir: PathBuf,
    /// The replicated store.
    pub store: Store,
    /// The command line's word about the store, which a changed file doesn't take back.
    pub store_argument: Option<String>,
    /// What is read again when the file changes.
    pub settings: Settings,
    /// How log lines look.
    pub log_format: LogFormat,
}

/// What a change of the file changes without a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// What decisions about metrics take of it.
    pub gates: GateSettings,
    /// The Prometheus servers that gates may ask. Who names none means the first.
    pub sources: Vec<SourceConfig>,
    /// Who is told of alerts, and how.
    pub alerts: AlertsConfig,
    /// Who gets the same facts as `CloudEvents`.
    pub events: EventsConfig,
}

/// The hub.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hub {
    /// Kubeconfig; absent: the pod's own service account.
    #[serde(default)]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace of the `ConfigMap` `rollout-epoch`.
    #[serde(default = "default_namespace")]
    pub namespace: String,
}

/// Addresses to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Listen {
    /// Agents and other replicas, by mutual TLS.
    pub agents: SocketAddr,
    /// Dashboard and API for people, by plain HTTP.
    pub people: SocketAddr,
    /// `/healthz`, `/readyz` and `/metrics`, by plain HTTP.
    pub operations: SocketAddr,
}

/// The replicated store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Its name.
    pub cluster: String,
    /// All replicas of the controller, this one included.
    pub replicas: Vec<ReplicaConfig>,
    /// Whether this replica waits to be added to a store that exists, if its folder is new.
    pub join: bool,
    /// The etcd that is the store; none: the replicas are.
    pub etcd: Option<Etcd>,
    /// What holds the applied state.
    pub state: State,
}

/// What holds the store's applied state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// A table in memory.
    #[default]
    Memory,
    /// The same, and a copy in `sled` that is written behind it, for tools.
    Sled,
}

impl State {
    /// As the store takes it.
    pub fn engine(self) -> StateEngine {
        match self {
            Self::Memory => StateEngine::Memory,
            Self::Sled => StateEngine::MemoryAndSled,
        }
    }
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// Path of the field, as in `store.replicas[1].url`.
    pub field: String,
    /// What is wrong, with the value, and what it must be.
    pub message: String,
}

impl std::fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file can't be read.
    #[error("failed to read '{path}'")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is larger than any configuration.
    #[error("'{path}' is larger than {MAX_BYTES} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is not the YAML that is expected.
    #[error("failed to parse the configuration")]
    Parse(#[from] crds::yaml::Error),
    /// Values don't fit.
    #[error("unfit configuration: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Unfit(Vec<ConfigProblem>),
}

impl Config {
    /// Reads and checks a file; `id` and `store` are the command line's and win over the file's own.
    pub fn read(path: &Path, id: Option<&str>, store: Option<&str>) -> Result<Self, Error> {
        let unreadable = |source| Error::Read { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_BYTES {
            return Err(Error::TooLarge { path: path.to_owned() });
        }
        Self::parse(&std::fs::read_to_string(path).map_err(unreadable)?, id, store)
    }

    /// Parses and checks a text.
    pub fn parse(text: &str, id: Option<&str>, store_argument: Option<&str>) -> Result<Self, Error> {
        let File { id: own, data_dir, hub, listen, tls, store, gates, prometheus, alerts, events, log } =
            crds::yaml::from_str(text)?;
        let id = id.map(str::to_owned).or(own).unwrap_or_default();
        let replicas: Vec<_> = store.replicas.into_iter().map(Replica::into_config).collect();
        let mut problems = Problems::default();
        problems.require(!id.is_empty(), "id", || "must be set here or by --id".to_owned());
        let known: Vec<&str> = replicas.iter().map(|replica| replica.id.as_str()).collect();
        problems.require(id.is_empty() || known.contains(&id.as_str()), "id", || {
            format!("'{id}' is not one of store.replicas: {}", known.join(", "))
        });
        let etcd = etcd::check(store.etcd, store_argument, &mut problems);
        problems
            .require(etcd.is_some() || !data_dir.as_os_str().is_empty(), "dataDir", || "must be a folder".to_owned());
        problems.require(!tls.dir.as_os_str().is_empty(), "tls.dir", || "must be a folder".to_owned());
        problems.require(!store.cluster.is_empty(), "store.cluster", || "must be a name".to_owned());
        problems.require(!hub.namespace.is_empty(), "hub.namespace", || "must be a namespace".to_owned());
        check_replicas(&replicas, store.join, etcd.is_some(), &mut problems);
        let sources = prometheus::check(prometheus, &mut problems);
        let names = sources.iter().map(|source| source.name.clone()).collect();
        let gates = gates::check(gates, names, &mut problems);
        let events = alerts::check_events(events, &mut problems);
        let alerts = alerts::check(alerts, &mut problems);
        problems.into_result(Self {
            id,
            data_dir,
            hub,
            listen,
            tls_dir: tls.dir,
            store: Store { cluster: store.cluster, replicas, join: store.join, etcd, state: store.state },
            store_argument: store_argument.map(str::to_owned),
            settings: Settings { gates, sources, alerts, events },
            log_format: log.format,
        })
    }
}

fn check_replicas(replicas: &[ReplicaConfig], join: bool, etcd: bool, problems: &mut Problems) {
    let count = replicas.len();
    // One that joins lists itself beside a store's members, however many these are; beside an etcd they don't vote.
    let fits = matches!(count, 1 | 3 | 5) || (join && count > 1) || (etcd && count > 0);
    problems.require(fits, "store.replicas", || format!("{count} replicas: must be 1, 3 or 5, or with join several"));
    let (mut ids, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (index, ReplicaConfig { id, number, url }) in replicas.iter().enumerate() {
        let field = |name: &str| format!("store.replicas[{index}].{name}");
        problems.require(!id.is_empty(), &field("id"), || "must be a name".to_owned());
        problems.require(ids.insert(id), &field("id"), || format!("'{id}' is used twice"));
        problems.require(*number > 0, &field("number"), || "0: must be 1 or more".to_owned());
        problems.require(numbers.insert(number), &field("number"), || format!("{number} is used twice"));
        let sound = url.strip_prefix("https://").is_some_and(|rest| !rest.is_empty());
        problems.require(sound, &field("url"), || format!("'{url}' must be https://host:port"));
    }
}

#[derive(Default)]
struct Problems(Vec<ConfigProblem>);

impl Problems {
    fn require(&mut self, holds: bool, field: &str, message: impl FnOnce() -> String) {
        if !holds {
            self.0.push(ConfigProblem { field: field.to_owned(), message: message() });
        }
    }

    fn into_result<T>(self, value: T) -> Result<T, Error> {
        if self.0.is_empty() { Ok(value) } else { Err(Error::Unfit(self.0)) }
    }
}

/// The file as it is written. Unknown fields are refused: a misspelt one would be a setting ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    data_dir: PathBuf,
    #[serde(default = "in_cluster")]
    hub: Hub,
    listen: Listen,
    tls: Tls,
    store: StoreSection,
    #[serde(default)]
    gates: gates::Section,
    #[serde(default)]
    prometheus: prometheus::Section,
    #[serde(default)]
    alerts: alerts::Section,
    #[serde(default)]
    events: alerts::EventsSection,
    #[serde(default)]
    log: Log,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Tls {
    dir: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StoreSection {
    cluster: String,
    replicas: Vec<Replica>,
    #[serde(default)]
    join: bool,
    #[serde(default)]
    etcd: Option<etcd::Section>,
    #[serde(default)]
    state: State,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Replica {
    id: String,
    number: u64,
    url: String,
}

impl Replica {
    fn into_config(self) -> ReplicaConfig {
        let Self { id, number, url } = self;
        ReplicaConfig { id, number, url }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Log {
    #[serde(default)]
    format: LogFormat,
}

fn default_namespace() -> String {
    DEFAULT_NAMESPACE.to_owned()
}

fn in_cluster() -> Hub {
    Hub { kubeconfig: None, namespace: default_namespace() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GOOD: &str = "
id: controller-1
dataDir: /data
listen: {agents: '127.0.0.1:1', people: '127.0.0.1:2', operations: '127.0.0.1:3'}
tls: {dir: /tls}
store:
  cluster: playground
  replicas:
  - {id: controller-1, number: 1, url: 'https://127.0.0.1:1'}
";

    fn problems(text: &str) -> String {
        Config::parse(text, None, None).unwrap_err().to_string()
    }

    #[test]
    fn what_is_left_out_has_the_safe_default() {
        let config = Config::parse(GOOD, None, None).unwrap();
        assert_eq!(config.settings.gates.when_unconfigured, crds::GateMode::Hold);
        assert_eq!(config.log_format, LogFormat::Json);
        assert_eq!(config.hub, in_cluster());
    }

    #[test]
    fn the_command_line_names_the_replica_in_a_shared_file() {
        let shared = GOOD.replace("id: controller-1\ndata", "data");
        assert!(problems(&shared).contains("id: must be set here or by --id"));
        assert_eq!(Config::parse(&shared, Some("controller-1"), None).unwrap().id, "controller-1");
        let wrong = Config::parse(GOOD, Some("controller-9"), None).unwrap_err().to_string();
        assert!(wrong.contains("'controller-9' is not one of store.replicas: controller-1"), "{wrong}");
    }

    #[test]
    fn all_problems_are_named_with_their_fields() {
        let spoilt =
            GOOD.replace("number: 1", "number: 0").replace("https://127", "http://127").replace("playground", "''");
        let text = problems(&spoilt);
        for words in ["store.replicas[0].number: 0", "store.replicas[0].url: 'http://127.0.0.1:1'", "store.cluster"] {
            assert!(text.contains(words), "no '{words}' in {text}");
        }
    }

    #[test]
    fn beside_an_etcd_any_number_of_replicas_will_do_and_no_folder_is_needed() {
        let second = "  - {id: controller-2, number: 2, url: 'https://127.0.0.1:9'}\n";
        let two = format!("{}{second}", GOOD.replace("dataDir: /data\n", ""));
        let text = problems(&two);
        assert!(text.contains("dataDir: must") && text.contains("2 replicas: must be 1, 3 or 5"), "{text}");
        let parsed = Config::parse(&two, None, Some("etcd://127.0.0.1:2379"));
        if cfg!(feature = "etcd") {
            assert_eq!(parsed.unwrap().store.etcd.unwrap().endpoints, ["127.0.0.1:2379"]);
        } else {
            let text = parsed.unwrap_err().to_string();
            let built_without = "store.etcd: this build has no etcd backend; build it with --features etcd";
            assert!(text.contains(built_without), "{text}");
            assert!(!text.contains("dataDir") && !text.contains("replicas"), "{text}");
        }
    }

    #[test]
    fn the_state_lies_in_memory_unless_sled_is_asked_for_and_nothing_else_is_known() {
        let with = |state: &str| {
            Config::parse(&GOOD.replace("playground", &format!("playground\n  state: {state}")), None, None)
        };
        assert_eq!(Config::parse(GOOD, None, None).unwrap().store.state, State::Memory);
        assert_eq!(with("memory").unwrap().store.state, State::Memory);
        assert_eq!(with("sled").unwrap().store.state.engine(), StateEngine::MemoryAndSled);
        let error = with("redb").unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("redb") && cause.contains("`memory` or `sled`"), "{cause}");
    }

    #[test]
    fn a_misspelt_field_is_refused_and_not_ignored() {
        let error = Config::parse(&format!("{GOOD}gates: {{whenUnconfigurd: TimerOnly}}\n"), None, None).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("whenUnconfigurd"), "{cause}");
    }
}
