//! Backup files: written durably without replacing anything, and read back in full.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read};
use std::path::{Path, PathBuf};

use store_node::{KeyValue, Position, Table, Versioned};

use super::{Error, Origin, Summary};
use crate::disk::{files, snapshot};

/// A backup that was read in full, every checksum of it checked.
pub struct Backup {
    path: PathBuf,
    summary: Summary,
    table: Table,
}

impl Backup {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let failed = |source: io::Error| Error::Io { path: path.to_owned(), source };
        let summing = Summing { file: File::open(path).map_err(failed)?, sum: crc32fast::Hasher::new(), bytes: 0 };
        let mut input = BufReader::new(summing);
        let contents = snapshot::read(&mut input);
        let contents = contents.map_err(|source| Error::Snapshot { path: path.to_owned(), source })?;
        if input.read(&mut [0]).map_err(failed)? > 0 {
            return Err(Error::Trailing { path: path.to_owned() });
        }
        let snapshot::Contents { table, origin } = contents;
        let origin = origin.ok_or_else(|| Error::NoOrigin { path: path.to_owned() })?;
        let Summing { sum, bytes, .. } = input.into_inner();
        let summary = summarize(&table, origin, sum.finalize(), bytes);
        Ok(Self { path: path.to_owned(), summary, table })
    }

    /// A state that was read from a replica's folder.
    pub(crate) fn of_state(folder: &Path, cluster: String, replica: String, table: Table) -> Self {
        let summary = summarize(&table, Origin { cluster, replica, taken_seconds: 0 }, 0, 0);
        Self { path: folder.to_owned(), summary, table }
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// A key's value.
    pub fn get(&self, key: &str) -> Option<&Versioned> {
        self.table.get(key)
    }

    /// Up to `limit` keys that start with `prefix` and come after `after`, and whether there are more.
    pub fn page(&self, prefix: &str, after: Option<&str>, limit: usize) -> (Vec<KeyValue>, bool) {
        self.table.page(prefix, after, limit)
    }

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }
}

fn summarize(table: &Table, origin: Origin, sum: u32, bytes: u64) -> Summary {
    let Position { term, index } = table.meta().position;
    let Origin { cluster, replica, taken_seconds } = origin;
    let revision = table.revision();
    // 32 bits alone would let two of many backups look alike by chance.
    let checksum = format!("{sum:08x}-{bytes:x}-{term:x}-{index:x}-{revision:x}");
    Summary {
        cluster,
        replica,
        taken_seconds,
        term,
        index,
        revision,
        epoch: table.epoch(),
        keys: table.len(),
        bytes,
        checksum,
    }
}

struct Summing {
    file: File,
    sum: crc32fast::Hasher,
    bytes: u64,
}

impl Read for Summing {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(target)?;
        self.sum.update(&target[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}

/// A new file that has no name yet; removed unless it is finished.
pub(super) struct Unnamed {
    temporary: PathBuf,
    path: PathBuf,
    finished: bool,
}

impl Unnamed {
    /// Refuses when there is a file of that name.
    pub(super) fn create(path: &Path) -> Result<(Self, File), Error> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(Error::Exists { path: path.to_owned() });
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.tmp", crate::unique::number()));
        let temporary = path.with_file_name(name);
        let file = File::create_new(&temporary).map_err(|source| Error::Io { path: temporary.clone(), source })?;
        Ok((Self { temporary, path: path.to_owned(), finished: false }, file))
    }

    /// Makes the file durable, reads it back from the disk, and gives it its name.
    pub(super) fn finish(mut self, file: &File) -> Result<Summary, Error> {
        let path = self.path.clone();
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists { path: path.clone() },
            _ => Error::Io { path: path.clone(), source },
        };
        file.sync_all().map_err(failed)?;
        let summary = Backup::read(&self.temporary)?.summary;
        files::publish_new(&self.temporary, &self.path).map_err(failed)?;
        self.finished = true;
        Ok(summary)
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if !self.finished {
            // What failed is reported already; what can't be removed keeps a name that says what it is.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Writes a table as a new backup.
pub(super) fn save(path: &Path, table: &Table, origin: &Origin) -> Result<Summary, Error> {
    let (unnamed, file) = Unnamed::create(path)?;
    let mut output = BufWriter::new(file);
    let written = snapshot::write(&mut output, table, Some(origin));
    written.map_err(|source| Error::Snapshot { path: path.to_owned(), source })?;
    let file = output.into_inner().map_err(io::IntoInnerError::into_error);
    let file = file.map_err(|source| Error::Io { path: path.to_owned(), source })?;
    unnamed.finish(&file)
}
