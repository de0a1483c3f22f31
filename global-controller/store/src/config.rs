//! What a store is told when it is opened, and how it refuses.

use std::path::PathBuf;
use std::time::Duration;

use store_node::{MAX_MEMBERS, SnapshotPolicy};

use crate::disk::identity::{self, Identity};
use crate::disk::log::LogOptions;
use crate::disk::recover;

/// Replicas with which a store is formed: more than five cost latency and add little.
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
    /// All replicas, this one included: one, three or five that form a new store. Later the store's own membership
    /// holds, and this is where its members are looked for.
    pub replicas: Vec<ReplicaConfig>,
    /// Whether a new folder waits to be added to a store that exists, instead of forming one. Without effect once the
    /// folder belongs to a store, and on one that was restored from a backup: that begins a new store.
    pub join: bool,
    /// Presents this replica's certificate; only a store of one replica needs none.
    pub client: Option<reqwest::Client>,
    /// Length of a tick. An election starts after 10 to 20 ticks without a leader, heartbeats go every second one.
    /// See [`Config::TICK`].
    pub tick: Duration,
}

impl Config {
    /// A tick of 18 ms: another leader within 180 to 360 ms, and a process may be kept from running for 144 ms
    /// before anyone doubts it. Disks were seen to stall for 122 ms, but ticks don't wait for them.
    pub const TICK: Duration = Duration::from_millis(18);
}

/// What holds the applied state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StateEngine {
    /// A table in memory, rebuilt at each start from snapshot and log.
    #[default]
    Memory,
    /// The same, and a copy of it in `sled`, written behind: for tools that read that, never for the store itself.
    MemoryAndSled,
}

/// The engine of the applied state, and sizes that tests make smaller.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// When a snapshot of the state is written.
    pub snapshots: SnapshotPolicy,
    /// Revisions that watchers may lag behind before they have to read again.
    pub history_revisions: usize,
    /// Bytes of keys and values in those revisions.
    pub history_bytes: usize,
    /// What holds the applied state.
    pub state: StateEngine,
    /// The engine of a new log, and the size of its files.
    pub log: LogOptions,
}

impl Default for Tuning {
    /// At 1,000 writes a second a watcher may fall 20 seconds behind, within 64 MiB; what it holds is most of the memory
    /// of a busy store.
    fn default() -> Self {
        let snapshots = SnapshotPolicy::default();
        let (state, log) = (StateEngine::default(), LogOptions::default());
        Self { snapshots, history_revisions: 20_000, history_bytes: 64 * 1024 * 1024, state, log }
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
    /// The replica was restored from a backup, but can't begin from it.
    #[error("the replica can't begin from the backup in the folder '{path}'")]
    Restore {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: crate::restore::Error,
    },
    /// The node refused what was recovered.
    #[error("the replica can't start")]
    Node(#[from] store_node::Error),
    /// The program was built without the second backend.
    #[error("this build has no etcd backend; build it with --features etcd (needs protoc)")]
    NoEtcd,
    /// The etcd can't be used as configured.
    #[error("the etcd can't be used")]
    Etcd(#[source] Box<dyn std::error::Error + Send + Sync>),
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
        if config.replicas.len() > MAX_MEMBERS {
            problems.push(format!("{} replicas, at most {MAX_MEMBERS} are allowed", config.replicas.len()));
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

    /// Whether this replica waits to be added to a store, instead of forming one.
    pub(crate) fn joins(&self, identity: &Identity) -> bool {
        self.config.join && identity.formation.is_none() && identity.restored.is_none()
    }

    /// Whether a replica that belongs to no store yet may join one, or form a new one, of these replicas.
    pub(crate) fn check_formation(&self, identity: &Identity) -> Result<(), OpenError> {
        let count = self.config.replicas.len();
        let problem = if self.joins(identity) {
            (count < 2).then(|| "a replica that joins needs another one to ask".to_owned())
        } else {
            let fits = ALLOWED_REPLICAS.contains(&count);
            (!fits).then(|| format!("{count} replicas, a store is formed of 1, 3 or 5"))
        };
        problem.map_or(Ok(()), |problem| Err(OpenError::Config { problem }))
    }

    /// Ids of all replicas.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.config.replicas.iter().map(|replica| replica.id.clone()).collect()
    }

    /// All replicas but this one.
    pub(crate) fn others(&self) -> impl Iterator<Item = &ReplicaConfig> {
        self.config.replicas.iter().filter(|replica| replica.number != self.own.number)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::identity::Restored;

    fn joining(count: u64) -> Checked {
        let replica = |number| ReplicaConfig {
            id: format!("controller-{number}"),
            number,
            url: format!("https://127.0.0.1:{number}"),
        };
        let config = Config {
            cluster: "test".to_owned(),
            id: "controller-1".to_owned(),
            data_dir: PathBuf::new(),
            replicas: (1..=count).map(replica).collect(),
            join: true,
            client: None,
            tick: Config::TICK,
        };
        Checked { config, own: replica(1) }
    }

    #[test]
    fn a_replica_that_was_restored_forms_a_store_even_when_configured_to_join() {
        let empty = Identity::new("test", "controller-1", 1, 7);
        let mut restored = empty.clone();
        restored.restored = Some(Restored { checksum: "sum".to_owned(), epoch: 5 });
        assert!(joining(4).joins(&empty) && !joining(4).joins(&restored));
        let fits = |count, identity| joining(count).check_formation(identity).is_ok();
        assert_eq!([1, 2, 3, 4].map(|count| fits(count, &empty)), [false, true, true, true]);
        assert_eq!([1, 2, 3, 4].map(|count| fits(count, &restored)), [true, false, true, false]);
    }
}
