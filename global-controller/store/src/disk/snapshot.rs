//! Snapshot files: a header, blocks of keys, and an end, each block with its own checksum.
//!
//! The same bytes lie on disk and travel to a follower.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use store_node::{
    CodecError, KeyValue, MAX_KEY_BYTES, MAX_TXN_BYTES, Membership, Position, Reader, SnapshotMeta, Table, Writer,
};

use super::files;

const MAGIC: [u8; 8] = *b"FSTSNAP1";
/// Keys are collected into blocks of about this many bytes, small enough to checksum and send in one piece.
const BLOCK_BYTES: usize = 256 * 1024;
/// A block may pass [`BLOCK_BYTES`] by one key with the largest value.
const MAX_BLOCK_BYTES: usize = BLOCK_BYTES + MAX_TXN_BYTES + MAX_KEY_BYTES + 64;
const HEADER: u8 = 0;
const KEYS: u8 = 1;
const END: u8 = 2;
/// Only in a backup, before the end: where it comes from. A reader of snapshots passes over it.
const ORIGIN: u8 = 3;
/// Of the name of a cluster or a replica.
const MAX_NAME_BYTES: usize = 4 * 1024;
/// Snapshots kept: the newest, and one before it in case the newest can't be read.
const KEPT: usize = 2;

/// Why a snapshot can't be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file can't be read or written.
    #[error("failed to access the snapshot")]
    Io(#[from] io::Error),
    /// The file isn't a snapshot, or is damaged.
    #[error("the snapshot is damaged: {what}")]
    Damaged {
        /// What doesn't fit.
        what: String,
    },
    /// A block can't be read.
    #[error("failed to read a block of the snapshot")]
    Codec(#[from] CodecError),
}

/// Where a backup comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) cluster: String,
    pub(crate) replica: String,
    pub(crate) taken_seconds: u64,
}

/// What a file holds.
pub(crate) struct Contents {
    pub(crate) table: Table,
    /// `None` in a snapshot that is no backup.
    pub(crate) origin: Option<Origin>,
}

fn damaged(what: impl Into<String>) -> Error {
    Error::Damaged { what: what.into() }
}

/// A snapshot file in its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotFile {
    pub(crate) path: PathBuf,
    pub(crate) position: Position,
}

/// The name of a snapshot's file: the order of names is that of indexes.
pub(crate) fn path_of(folder: &Path, position: Position) -> PathBuf {
    folder.join(format!("{:020}-{:020}.snapshot", position.index, position.term))
}

/// All snapshot files, newest first.
pub(crate) fn list(folder: &Path) -> io::Result<Vec<SnapshotFile>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if let Some(position) = position_of(&path) {
            found.push(SnapshotFile { path, position });
        }
    }
    found.sort_by_key(|file| std::cmp::Reverse(file.position.index));
    Ok(found)
}

fn position_of(path: &Path) -> Option<Position> {
    let name = path.file_name()?.to_str()?.strip_suffix(".snapshot")?;
    let (index, term) = name.split_once('-')?;
    Some(Position { term: term.parse().ok()?, index: index.parse().ok()? })
}

/// Removes all but the newest snapshots, and files that never got their final name.
pub(crate) fn prune(folder: &Path) -> io::Result<()> {
    for file in list(folder)?.iter().skip(KEPT) {
        fs::remove_file(&file.path)?;
    }
    Ok(())
}

/// Removes what an earlier process left half-written.
pub(crate) fn remove_temporary(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "tmp") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Writes the table durably under its final name.
pub(crate) fn save(folder: &Path, table: &Table) -> Result<SnapshotFile, Error> {
    let position = table.meta().position;
    let path = path_of(folder, position);
    let temporary = path.with_extension("tmp");
    let mut output = BufWriter::new(File::create(&temporary)?);
    write(&mut output, table, None)?;
    output.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    files::publish(&temporary, &path)?;
    Ok(SnapshotFile { path, position })
}

/// Reads a whole snapshot file and checks every block.
pub(crate) fn load(path: &Path) -> Result<Table, Error> {
    Ok(read(&mut BufReader::new(File::open(path)?))?.table)
}

/// Writes the table as a snapshot; with an origin it is a backup.
pub(crate) fn write(output: &mut impl Write, table: &Table, origin: Option<&Origin>) -> Result<(), Error> {
    output.write_all(&MAGIC)?;
    write_block(output, header(table))?;
    let mut block = new_block();
    for (key, value) in table.iter() {
        block.bytes(key.as_bytes());
        block.u64(value.revision);
        block.bytes(&value.value);
        if block.len() >= BLOCK_BYTES {
            write_block(output, std::mem::replace(&mut block, new_block()))?;
        }
    }
    write_block(output, block)?;
    if let Some(Origin { cluster, replica, taken_seconds }) = origin {
        let mut block = Writer::with_capacity(256);
        block.u8(ORIGIN);
        block.bytes(cluster.as_bytes());
        block.bytes(replica.as_bytes());
        block.u64(*taken_seconds);
        write_block(output, block)?;
    }
    let mut end = Writer::with_capacity(16);
    end.u8(END);
    end.u64(table.len() as u64);
    write_block(output, end)
}

fn new_block() -> Writer {
    let mut block = Writer::with_capacity(BLOCK_BYTES + 4096);
    block.u8(KEYS);
    block
}

fn header(table: &Table) -> Writer {
    let mut header = Writer::with_capacity(256);
    let SnapshotMeta { position, membership } = table.meta();
    header.u8(HEADER);
    header.u64(position.term);
    header.u64(position.index);
    header.u64(table.revision());
    header.u64(table.epoch());
    membership.encode(&mut header);
    header
}

fn write_block(output: &mut impl Write, block: Writer) -> Result<(), Error> {
    let bytes = block.finish();
    let mut head = Writer::with_capacity(8);
    head.count(bytes.len());
    head.u32(crc32fast::hash(&bytes));
    output.write_all(&head.finish())?;
    output.write_all(&bytes)?;
    Ok(())
}

/// Reads a whole snapshot and checks every block.
pub(crate) fn read(input: &mut impl Read) -> Result<Contents, Error> {
    let mut magic = [0; MAGIC.len()];
    input.read_exact(&mut magic)?;
    if magic != MAGIC {
        return Err(damaged("it doesn't begin like a snapshot"));
    }
    let mut table = read_header(read_block(input)?)?;
    let mut origin = None;
    loop {
        let mut block = Reader::new(read_block(input)?);
        match block.u8("block kind")? {
            KEYS => read_keys(block, &mut table)?,
            ORIGIN => origin = Some(read_origin(block)?),
            END => {
                let count = block.u64("key count")?;
                block.finish()?;
                let found = table.len() as u64;
                if count != found {
                    return Err(damaged(format!("{found} keys, not {count}")));
                }
                return Ok(Contents { table, origin });
            }
            kind => return Err(damaged(format!("a block of the unknown kind {kind}"))),
        }
    }
}

fn read_block(input: &mut impl Read) -> Result<Bytes, Error> {
    let mut head = [0; 8];
    input.read_exact(&mut head)?;
    let mut head = Reader::new(Bytes::copy_from_slice(&head));
    let length = head.count("block length", MAX_BLOCK_BYTES)?;
    let sum = head.u32("block checksum")?;
    let mut bytes = vec![0; length];
    input.read_exact(&mut bytes)?;
    if crc32fast::hash(&bytes) == sum { Ok(bytes.into()) } else { Err(damaged("a block has a wrong checksum")) }
}

fn read_header(block: Bytes) -> Result<Table, Error> {
    let mut header = Reader::new(block);
    if header.u8("block kind")? != HEADER {
        return Err(damaged("the first block is no header"));
    }
    let position = Position { term: header.u64("term")?, index: header.u64("index")? };
    let (revision, epoch) = (header.u64("revision")?, header.u64("epoch")?);
    let membership = Membership::decode(&mut header)?;
    header.finish()?;
    Ok(Table::with_header(SnapshotMeta { position, membership }, revision, epoch))
}

fn read_origin(mut block: Reader) -> Result<Origin, Error> {
    let cluster = block.text("cluster", MAX_NAME_BYTES)?;
    let replica = block.text("replica", MAX_NAME_BYTES)?;
    let taken_seconds = block.u64("time")?;
    block.finish()?;
    Ok(Origin { cluster, replica, taken_seconds })
}

fn read_keys(mut block: Reader, table: &mut Table) -> Result<(), Error> {
    while block.remaining() > 0 {
        let key = block.text("key", MAX_KEY_BYTES)?;
        let revision = block.u64("revision")?;
        // A copy of its own: a slice would keep the whole block in memory as long as one of its values lives.
        let value = Bytes::copy_from_slice(&block.bytes("value", MAX_TXN_BYTES)?);
        table.load(KeyValue { key, value, revision });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use store_node::ReplicaInfo;

    use super::*;

    fn table(keys: u64) -> Table {
        let position = Position { term: 3, index: 90 };
        let info = |number: u64| ReplicaInfo {
            name: format!("controller-{number}"),
            url: format!("https://controller-{number}:9443"),
            incarnation: 1000 + number,
        };
        let mut membership = Membership::of_replicas((1..=3).map(|number| (number, info(number))).collect());
        membership.retired.insert(4, "controller-4".to_owned());
        let meta = SnapshotMeta { position, membership };
        let mut table = Table::with_header(meta, 77, 2);
        for n in 0..keys {
            let value = Bytes::from(vec![7; 300]);
            table.load(KeyValue { key: format!("key-{n:06}"), value, revision: n });
        }
        table
    }

    #[test]
    fn a_table_reads_back_from_its_snapshot() {
        let folder = tempfile::tempdir().unwrap();
        for keys in [0, 1, 5000] {
            let table = table(keys);
            let file = save(folder.path(), &table).unwrap();
            let back = load(&file.path).unwrap();
            assert!(back.iter().eq(table.iter()));
            assert_eq!((back.meta(), back.revision(), back.epoch()), (table.meta(), 77, 2));
        }
    }

    /// The bytes of a file by the version before memberships had names: voters 1, 2 and 3, and the key 'a'.
    const BEFORE_NAMES: &str = "465354534e4150314a000000bfc4a55e0003000000000000005a000000000000004d0000000000000002000000\
                                000000000300000001000000000000000200000000000000030000000000000000000000000000000000000000\
                                13000000100bfb820101000000610500000000000000010000003109000000b63c5504020100000000000000";

    #[test]
    fn a_snapshot_written_before_memberships_had_names_is_still_read() {
        let digit = |byte: u8| char::from(byte).to_digit(16).unwrap();
        let pairs = BEFORE_NAMES.as_bytes().chunks(2);
        let bytes: Vec<u8> = pairs.map(|pair| u8::try_from(digit(pair[0]) * 16 + digit(pair[1])).unwrap()).collect();
        let table = read(&mut bytes.as_slice()).unwrap().table;
        assert_eq!(table.membership(), &Membership::of_voters(vec![1, 2, 3]));
        assert_eq!((table.meta().position, table.revision()), (Position { term: 3, index: 90 }, 77));
        assert_eq!(table.get("a").map(|found| found.revision), Some(5));
    }

    #[test]
    fn any_flipped_byte_and_any_cut_is_found() {
        let mut bytes = Vec::new();
        let (cluster, replica) = ("a".to_owned(), "b".to_owned());
        write(&mut bytes, &table(20), Some(&Origin { cluster, replica, taken_seconds: 1 })).unwrap();
        for place in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[place] ^= 4;
            assert!(read(&mut flipped.as_slice()).is_err(), "byte {place}");
            assert!(read(&mut &bytes[..place]).is_err(), "cut at {place}");
        }
    }

    #[test]
    fn only_the_two_newest_snapshots_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        for index in 1..=5 {
            let meta = SnapshotMeta { position: Position { term: 1, index }, membership: Membership::default() };
            save(folder.path(), &Table::with_header(meta, 0, 1)).unwrap();
        }
        prune(folder.path()).unwrap();
        let kept: Vec<_> = list(folder.path()).unwrap().iter().map(|file| file.position.index).collect();
        assert_eq!(kept, vec![5, 4]);
    }
}
