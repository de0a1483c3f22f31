//! The log in memory stays bounded: three times what a snapshot covers, and what comes up while one is written.

use super::Check;

/// Entries that a run can produce while a snapshot is being written or a majority is missing: a handful of clients with one
/// operation each, for at most a few seconds.
const MEANWHILE: u64 = 250;

pub struct Bounds {
    most: u64,
}

impl Bounds {
    pub fn new(snapshot_entries: u64) -> Self {
        Self { most: 3 * snapshot_entries + MEANWHILE }
    }

    pub fn check(&self, replica: u64, (first, last): (u64, u64)) -> Check {
        let entries = last + 1 - first;
        if entries <= self.most { Ok(()) } else { Err(format!("replica {replica} holds {entries} entries in memory")) }
    }
}
