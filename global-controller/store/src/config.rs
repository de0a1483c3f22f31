//! What a store is told when it is opened, and how it refuses.

use std::path::PathBuf;
use std::time::Duration;

use store_node::SnapshotPolicy;

use crate::disk::log::LogOptions;
use crate::disk::{identity, recover};

/// Replicas of one store: more than five cost latency and add little.
const ALLOWED_REPLICAS: [usize; 3] = [1, 3, 5];

/// One replica of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaConfig {
    /// Its name, also the common name of its certificate.
    pub id: String,
    /// Its Raft id, above zero, never used again for another replica.
    pub number: u64,
    /// Where its listener is: `https://host:port`.
    pub url: String,
}

/// What a store is told when it is opened.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the store; folders of other names are refused.
    pub cluster: String,
    /// This replica's id, one of `replicas`.
    pub id: String,
    /// The folder for this replica alone.
    pub data_dir: PathBuf,
    /// All replicas, this one included: one, three or five.
    pub replicas: Vec<ReplicaConfig>,
    /// Presents this replica's certificate; only a store of one replica needs none.
    pub client: Option<reqwest::Client>,
    /// Length of a tick. An election starts after 10 to 20 ticks without a leader, heartbeats go every second one.
    /// See [`Config::TICK`].
    pub tick: Duration,
}

impl Config {
    /// A tick of 20 ms: another leader within 200 to 400 ms, and a process may be kept from running for 160 ms
    /// before anyone doubts it. Disks were seen to stall for 122 ms, but ticks don't wait for them.
    pub const TICK: Duration = Duration::from_millis(20);
}

/// Sizes that tests make smaller.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// When a snapshot of the state is written.
    pub snapshots: SnapshotPolicy,
    /// Revisions that watchers may lag behind before they have to read again.
    pub history_revisions: usize,
    /// Bytes of keys and values in those revisions.
    pub history_bytes: usize,
    /// The engine of a new log, and the size of its files.
    pub log: LogOptions,
}

impl Default for Tuning {
    /// At 1,000 writes a second a watcher may fall 50 seconds behind, within 64 MiB.
    fn default() -> Self {
        let snapshots = SnapshotPolicy::default();
        Self { snapshots, history_revisions: 50_000, history_bytes: 64 * 1024 * 1024, log: LogOptions::default() }
    }
}

/// Why a store can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration contradicts itself.
    #[error("unfit store configuration: {problem}")]
    Config {
        /// What is wrong.
        problem: String,
    },
    /// The folder can't be used.
    #[error("failed to prepare the folder '{path}'")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The folder belongs to someone else.
    #[error("the folder '{path}' can't be used by this replica")]
    Identity {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: identity::Error,
    },
    /// What lies in the folder can't be trusted; this replica doesn't start and doesn't vote.
    #[error("the replica can't be recovered from the folder '{path}'")]
    Recover {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: recover::Error,
    },
    /// The node refused what was recovered.
    #[error("the replica can't start")]
    Node(#[from] store_node::Error),
    /// A thread can't be started.
    #[error("failed to start a thread")]
    Thread(#[source] std::io::Error),
}

/// A checked configuration.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    pub(crate) config: Config,
    pub(crate) own: ReplicaConfig,
}

impl Checked {
    pub(crate) fn new(config: Config) -> Result<Self, OpenError> {
        let mut problems = Vec::new();
        if !ALLOWED_REPLICAS.contains(&config.replicas.len()) {
            problems.push(format!("{} replicas, 1, 3 or 5 are allowed", config.replicas.len()));
        }
        if config.cluster.is_empty() {
            problems.push("the cluster has no name".to_owned());
        }
        if config.tick.is_zero() {
            problems.push("the tick is zero".to_owned());
        }
        if config.replicas.len() > 1 && config.client.is_none() {
            problems.push("several replicas need a client".to_owned());
        }
        problems.extend(replica_problems(&config.replicas));
        let own = config.replicas.iter().find(|replica| replica.id == config.id).cloned();
        if own.is_none() {
            problems.push(format!("'{}' is not among the replicas", config.id));
        }
        match own {
            Some(own) if problems.is_empty() => Ok(Self { config, own }),
            _ => Err(OpenError::Config { problem: problems.join("; ") }),
        }
    }

    /// Ids of all replicas.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.config.replicas.iter().map(|replica| replica.id.clone()).collect()
    }

    /// All replicas but this one.
    pub(crate) fn others(&self) -> impl Iterator<Item = &ReplicaConfig> {
        self.config.replicas.iter().filter(|replica| replica.number != self.own.number)
    }

    /// The replica of a Raft id.
    pub(crate) fn by_number(&self, number: u64) -> Option<&ReplicaConfig> {
        self.config.replicas.iter().find(|replica| replica.number == number)
    }

    /// The replica of a name.
    pub(crate) fn by_id(&self, id: &str) -> Option<&ReplicaConfig> {
        self.config.replicas.iter().find(|replica| replica.id == id)
    }
}

fn replica_problems(replicas: &[ReplicaConfig]) -> Vec<String> {
    let mut problems = Vec::new();
    for (place, replica) in replicas.iter().enumerate() {
        let ReplicaConfig { id, number, url } = replica;
        if id.is_empty() || *number == 0 {
            problems.push(format!("replica '{id}' needs a name and a number above zero"));
        }
        if replicas.len() > 1 && !url.starts_with("https://") {
            problems.push(format!("the url '{url}' of replica '{id}' is not https"));
        }
        let earlier = &replicas[..place];
        if earlier.iter().any(|other| other.id == *id || other.number == *number) {
            problems.push(format!("the name or number of replica '{id}' is used twice"));
        }
    }
    problems
}
