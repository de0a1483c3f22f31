//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Replaces `path` by `contents`: a temporary file beside it is synced and renamed, then the folder is synced.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(contents)?;
    file.sync_all()?;
    drop(file);
    publish(&temporary, path)
}

/// Gives a synced file its final name, durably, unless a file of that name exists.
pub(crate) fn publish_new(temporary: &Path, path: &Path) -> io::Result<()> {
    // A rename would replace what is there; a link fails, also when the file came up a moment ago.
    fs::hard_link(temporary, path)?;
    fs::remove_file(temporary)?;
    sync_folder_of(path)
}

/// Gives a synced file its final name, durably.
pub(crate) fn publish(temporary: &Path, path: &Path) -> io::Result<()> {
    fs::rename(temporary, path)?;
    sync_folder_of(path)
}

/// Makes a folder and those missing above it, and makes their names durable.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    let missing: Vec<_> = path.ancestors().skip(1).take_while(|above| !is_there(above)).collect();
    fs::create_dir_all(path)?;
    File::open(path)?.sync_all()?;
    sync_folder_of(path)?;
    missing.into_iter().try_for_each(sync_folder_of)
}

/// The empty path above a relative one is the current folder.
fn is_there(path: &Path) -> bool {
    path.as_os_str().is_empty() || path.exists()
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => File::open(".")?.sync_all(),
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}
