//! Reading a replica's folder without changing anything in it.
//!
//! Opening a log repairs it: engines cut torn tails and begin new files. So the log is copied, which its bound on disk
//! allows, and opened as a copy; snapshots are only ever read and are linked.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::{Layout, snapshot};

/// Folders within the log's folder that are followed.
const MAX_DEPTH: u32 = 3;

/// A copy of a replica's folder, removed when it is dropped.
pub(crate) struct Scratch {
    layout: Layout,
    root: PathBuf,
}

impl Scratch {
    /// Copies what is needed to recover from `folder` into a new folder under `place`.
    pub(crate) fn of(folder: &Path, place: &Path) -> io::Result<Self> {
        let original = Layout::at(&fs::canonicalize(folder)?);
        let root = place.join(format!("store-reading-{}", crate::unique::number()));
        let scratch = Self { layout: Layout::new(&root)?, root };
        copy_files(&original.log(), &scratch.layout.log(), MAX_DEPTH)?;
        // Without the note, what is left in a folder in repair would be taken for a whole replica.
        match fs::copy(original.repair(), scratch.layout.repair()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        for file in snapshot::list(&original.snapshots())? {
            symlink(&file.path, snapshot::path_of(&scratch.layout.snapshots(), file.position))?;
        }
        Ok(scratch)
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.root) {
            tracing::warn!(%error, folder = %self.root.display(), "failed to remove a temporary folder");
        }
    }
}

fn copy_files(from: &Path, to: &Path, depth: u32) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() && depth > 0 {
            fs::create_dir(&target)?;
            copy_files(&entry.path(), &target, depth - 1)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
