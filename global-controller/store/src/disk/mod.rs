//! What lies in a replica's folder: identity, log, snapshots, and the mirror that is never read back.

pub(crate) mod files;
pub(crate) mod identity;
pub(crate) mod log;
pub(crate) mod log_engine;
pub(crate) mod marker;
pub(crate) mod recover;
pub(crate) mod repair;
pub(crate) mod scratch;
pub(crate) mod snapshot;
pub(crate) mod space;
pub(crate) mod wal;

use std::io;
use std::path::{Path, PathBuf};

/// The places in a replica's folder.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: &Path) -> io::Result<Self> {
        let layout = Self { root: root.to_owned() };
        for folder in [layout.root.clone(), layout.log(), layout.snapshots()] {
            files::make_folder(&folder)?;
        }
        Ok(layout)
    }

    /// The places in a folder of which nothing is to be made or changed.
    pub(crate) fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn identity(&self) -> PathBuf {
        self.root.join("identity.json")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    pub(crate) fn repair(&self) -> PathBuf {
        self.root.join("repair.json")
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    /// The backup that a restored replica begins from; gone once the store is formed.
    pub(crate) fn restored(&self) -> PathBuf {
        self.root.join("restored.snapshot")
    }

    pub(crate) fn mirror(&self) -> PathBuf {
        self.root.join("mirror")
    }
}
