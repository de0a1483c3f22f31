//! Who a folder belongs to: cluster, replica and incarnation, and with whom the cluster was formed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Layout, files};

const FORMAT: u32 = 1;

/// Why a folder can't be used by this replica.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file can't be read or written.
    #[error("failed to access the identity file")]
    Io(#[from] io::Error),
    /// The file isn't an identity of a version known here.
    #[error("failed to read the identity file")]
    Format(#[from] serde_json::Error),
    /// The folder was made by a later version.
    #[error("the folder has format {found}, this version knows format {FORMAT}")]
    Version {
        /// Format number found.
        found: u32,
    },
    /// There is a replica's state, and nothing that says whose.
    #[error(
        "the folder has no 'identity.json', but '{found}' of a replica: put that file back, or empty the folder and add \
         this replica under a new id"
    )]
    Lost {
        /// What was found.
        found: String,
    },
    /// The folder belongs to another cluster.
    #[error("the folder belongs to cluster '{found}', not to '{wanted}'")]
    Cluster {
        /// Name found.
        found: String,
        /// Name configured.
        wanted: String,
    },
    /// The folder belongs to another replica.
    #[error("the folder belongs to replica '{found}' (number {found_number}), not to '{wanted}' (number {number})")]
    Replica {
        /// Id found.
        found: String,
        /// Raft id found.
        found_number: u64,
        /// Id configured.
        wanted: String,
        /// Raft id configured.
        number: u64,
    },
}

/// The incarnations with which a cluster was formed, by replica id; those of replicas that join later lie in the
/// state, and their folders hold this as the mark of the store they belong to. A replica whose folder was lost comes back with
/// another incarnation, and is not let in under its old id: it no longer knows how it voted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Formation {
    pub(crate) members: BTreeMap<String, u64>,
    /// What all of them were restored from, with the highest of their epochs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) restored: Option<Restored>,
}

/// The mark of a folder that was prepared from a backup. It counts until the store is formed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Restored {
    /// Names the backup: replicas restored from different ones must not form a store.
    pub(crate) checksum: String,
    /// The epoch that this replica asks for; the highest of all replicas' is taken.
    pub(crate) epoch: u64,
}

impl Restored {
    /// What two replicas without a formation would begin from together, or why they can't.
    pub(crate) fn agree(own: Option<&Self>, theirs: Option<&Self>) -> Result<Option<Self>, String> {
        let advice = "every replica must be restored from the same file, each into an empty folder";
        match (own, theirs) {
            (None, None) => Ok(None),
            (Some(own), Some(theirs)) if own.checksum == theirs.checksum => {
                Ok(Some(Self { checksum: own.checksum.clone(), epoch: own.epoch.max(theirs.epoch) }))
            }
            (Some(own), Some(theirs)) => Err(format!(
                "it was restored from the backup {}, this replica from {}: {advice}",
                theirs.checksum, own.checksum
            )),
            (Some(own), None) => {
                Err(format!("it is empty, but this replica was restored from the backup {}: {advice}", own.checksum))
            }
            (None, Some(theirs)) => {
                Err(format!("it was restored from the backup {}, but this replica is empty: {advice}", theirs.checksum))
            }
        }
    }
}

/// What the identity file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    format: u32,
    pub(crate) cluster: String,
    pub(crate) id: String,
    pub(crate) number: u64,
    pub(crate) incarnation: u64,
    pub(crate) formation: Option<Formation>,
    /// The folder was prepared from a backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) restored: Option<Restored>,
}

impl Identity {
    /// Reads the folder's identity and checks it, or makes one with a new incarnation.
    pub(crate) fn open(layout: &Layout, cluster: &str, id: &str, number: u64) -> Result<Self, Error> {
        let identity = match fs::read(layout.identity()) {
            Ok(bytes) => serde_json::from_slice::<Self>(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                refuse_used(layout)?;
                let incarnation = crate::unique::number();
                let identity = Self::new(cluster, id, number, incarnation);
                identity.save(layout)?;
                identity
            }
            Err(error) => return Err(error.into()),
        };
        identity.check(cluster, id, number)?;
        Ok(identity)
    }

    /// The identity of a new folder.
    pub(crate) fn new(cluster: &str, id: &str, number: u64, incarnation: u64) -> Self {
        let (cluster, id) = (cluster.to_owned(), id.to_owned());
        Self { format: FORMAT, cluster, id, number, incarnation, formation: None, restored: None }
    }

    /// Reads a folder's identity, whoever it belongs to.
    pub(crate) fn peek(layout: &Layout) -> Result<Self, Error> {
        let identity: Self = serde_json::from_slice(&fs::read(layout.identity())?)?;
        if identity.format == FORMAT { Ok(identity) } else { Err(Error::Version { found: identity.format }) }
    }

    fn check(&self, cluster: &str, id: &str, number: u64) -> Result<(), Error> {
        if self.format != FORMAT {
            return Err(Error::Version { found: self.format });
        }
        if self.cluster != cluster {
            return Err(Error::Cluster { found: self.cluster.clone(), wanted: cluster.to_owned() });
        }
        if self.id != id || self.number != number {
            let (found, found_number) = (self.id.clone(), self.number);
            return Err(Error::Replica { found, found_number, wanted: id.to_owned(), number });
        }
        Ok(())
    }

    /// Writes the file durably.
    pub(crate) fn save(&self, layout: &Layout) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(self)?;
        Ok(files::replace(&layout.identity(), &text)?)
    }
}

/// The identity is the first thing written into a new folder: without it there must be nothing else. Whoever began
/// again over an old log would forget its votes and take up terms that were used before.
fn refuse_used(layout: &Layout) -> Result<(), Error> {
    let lone = [layout.repair(), layout.restored(), layout.root().join("log-damaged")];
    let used = lone.into_iter().find(|path| path.exists());
    let used = match used {
        None => first_in(&layout.log())?.or(first_in(&layout.snapshots())?),
        used => used,
    };
    match used {
        None => Ok(()),
        Some(path) => {
            let found = path.strip_prefix(layout.root()).unwrap_or(&path).display().to_string();
            Err(Error::Lost { found })
        }
    }
}

fn first_in(folder: &Path) -> io::Result<Option<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().transpose()?.map(|entry| entry.path())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
