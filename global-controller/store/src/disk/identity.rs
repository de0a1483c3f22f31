//! Who a folder belongs to: cluster, replica and incarnation, and with whom the cluster was formed.

use std::collections::BTreeMap;
use std::fs;
use std::io;

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
}

impl Identity {
    /// Reads the folder's identity and checks it, or makes one with a new incarnation.
    pub(crate) fn open(layout: &Layout, cluster: &str, id: &str, number: u64) -> Result<Self, Error> {
        let identity = match fs::read(layout.identity()) {
            Ok(bytes) => serde_json::from_slice::<Self>(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let incarnation = crate::unique::number();
                let (cluster, id) = (cluster.to_owned(), id.to_owned());
                let identity = Self { format: FORMAT, cluster, id, number, incarnation, formation: None };
                identity.save(layout)?;
                identity
            }
            Err(error) => return Err(error.into()),
        };
        identity.check(cluster, id, number)?;
        Ok(identity)
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
