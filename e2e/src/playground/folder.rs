//! The playground's folder: whose it is, and what lies where.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// What an earlier playground may have left in its folder. Nothing else in it is ever removed.
const OURS: [&str; 11] = [
    "hub",
    "members",
    "controllers",
    "prometheus",
    "alertmanagers",
    "logs",
    "state.json",
    "state.json.unfinished",
    "traffic.json",
    "traffic.json.unfinished",
    "playground.sock",
];
/// Locked while a playground lives; its presence shows that the folder is a playground's.
const LOCK: &str = "playground.lock";

/// A folder that belongs to this playground alone, until it is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Takes the folder, and clears what an earlier playground left there.
    pub(super) fn take(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("failed to create \"{}\"", dir.display()))?;
        let path = dir.canonicalize().with_context(|| format!("failed to find \"{}\"", dir.display()))?;
        let known = path.join(LOCK).exists();
        if let Some(name) = OURS.iter().find(|name| !known && path.join(name).exists()) {
            bail!("\"{}\" has a \"{name}\" that no playground made: choose another folder", path.display());
        }
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK));
        let lock = file.with_context(|| format!("failed to open \"{LOCK}\" in \"{}\"", path.display()))?;
        if lock.try_lock().is_err() {
            bail!("\"{}\" is in use by another playground: stop that one or choose another folder", path.display());
        }
        for name in OURS {
            remove(&path.join(name))?;
        }
        let folder = Self { path, _lock: lock };
        let logs = folder.logs();
        fs::create_dir_all(&logs).with_context(|| format!("failed to create \"{}\"", logs.display()))?;
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// The token with which Alertmanagers tell the controllers of alerts.
    pub(super) fn alert_token(&self) -> PathBuf {
        self.path.join("controllers").join("alert-token")
    }

    pub(super) fn state(&self) -> PathBuf {
        self.path.join("state.json")
    }

    /// Removes what would tell others that a playground runs here.
    pub(super) fn forget_state(&self) {
        for name in ["state.json", "playground.sock"] {
            // What stays is cleared by the next playground.
            let _ = remove(&self.path.join(name));
        }
    }
}

fn remove(path: &Path) -> Result<()> {
    let result = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove \"{}\"", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_folder_in_use_is_refused_and_later_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let first = Folder::take(dir.path()).unwrap();
        fs::write(first.state(), "{}").unwrap();
        assert!(Folder::take(dir.path()).unwrap_err().to_string().contains("in use"));
        drop(first);
        assert!(!Folder::take(dir.path()).unwrap().state().exists());
    }

    #[test]
    fn a_strangers_files_are_never_removed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("logs")).unwrap();
        assert!(Folder::take(dir.path()).unwrap_err().to_string().contains("no playground made"));
        assert!(dir.path().join("logs").exists());
    }
}
