//! Telling a torn tail from damage.
//!
//! `raft-engine` cuts a broken last file at the first unreadable batch. After a power cut that is right: what was
//! being written had not been acknowledged. After a flipped bit in the middle it silently drops batches that were
//! flushed and promised. So each batch carries a marker with its own number and the number of the last batch known
//! to be flushed before it; a marker found anywhere in the last file that says "flushed up to n", when recovery ends
//! below n, proves that promised batches would be lost. The last flushed batch itself has no later witness.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use store_node::HardState;

const MAGIC: [u8; 16] = *b"fstore-batch-v1\n";
const LENGTH: usize = 16 + 5 * 8 + 4;

/// What the state key of the log holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Marker {
    /// Number of the batch, rising over all starts.
    pub(crate) batch: u64,
    /// The last batch that was flushed when this one was written.
    pub(crate) flushed: u64,
    /// Term, vote and commit index.
    pub(crate) hard_state: HardState,
}

impl Marker {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let HardState { term, vote, commit, .. } = self.hard_state;
        for number in [self.batch, self.flushed, term, vote, commit] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let sum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads a marker from the start of `bytes`; `None` when it isn't whole.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..LENGTH)?;
        let (body, sum) = bytes.split_at_checked(LENGTH - 4)?;
        if !body.starts_with(&MAGIC) || crc32fast::hash(body).to_le_bytes() != *sum {
            return None;
        }
        let number = |place: usize| {
            let start = MAGIC.len() + 8 * place;
            body.get(start..start + 8)?.try_into().ok().map(u64::from_le_bytes)
        };
        let (term, vote, commit) = (number(2)?, number(3)?, number(4)?);
        let hard_state = HardState { term, vote, commit, ..HardState::default() };
        Some(Self { batch: number(0)?, flushed: number(1)?, hard_state })
    }
}

/// The highest "flushed up to" that any whole marker in the last log file bears witness to; 0 without any.
pub(crate) fn witnessed(log: &Path) -> io::Result<u64> {
    let Some(last) = last_file(log)? else { return Ok(0) };
    let bytes = fs::read(last)?;
    let found = find_all(&bytes).filter_map(|start| Marker::decode(&bytes[start..]));
    Ok(found.map(|marker| marker.flushed).max().unwrap_or(0))
}

/// The append file with the highest number; names are padded, so the order of names is that of numbers.
fn last_file(log: &Path) -> io::Result<Option<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(log)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "raftlog") {
            files.push(path);
        }
    }
    Ok(files.into_iter().max())
}

fn find_all(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == MAGIC[0]).map(|(start, _)| start);
    starts.filter(|start| bytes[*start..].starts_with(&MAGIC))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_marker_reads_back_and_a_flipped_bit_makes_it_unreadable() {
        let hard_state = HardState { term: 3, vote: 2, commit: 77, ..HardState::default() };
        let marker = Marker { batch: 9, flushed: 8, hard_state };
        let bytes = marker.encode();
        assert_eq!(Marker::decode(&bytes), Some(marker));
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            assert_eq!(Marker::decode(&damaged), None);
        }
    }
}
