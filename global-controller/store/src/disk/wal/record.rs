//! The bytes of a record: a header of fixed size, the entries, and zeros up to the next multiple of eight.

use bytes::Bytes;
use store_node::{CodecError, Entry, EntryType, HardState, Position, Reader};

/// Begins every record; with the log's own number behind it, nothing that a client writes can look like one.
const MAGIC: [u8; 4] = *b"FWR1";
pub(super) const HEADER_BYTES: usize = 104;
/// Records begin at multiples of it, so that looking for one is cheap.
pub(super) const ALIGNMENT: usize = 8;
/// Where the part of the header begins that the checksum covers.
const CHECKED: usize = 8;
/// Fixed fields of an entry: term, index, kind and two lengths.
const ENTRY_BYTES: usize = 8 + 8 + 1 + 4 + 4;
/// A leader's snapshot replaced the whole log: what was written before is void.
const RESET: u64 = 1;
/// Entries come from messages of at most 1 MiB of data; a bound far above keeps a wrong length from being believed.
const MAX_DATA_BYTES: usize = 64 * 1024 * 1024;

/// All of a record but its entries.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Header {
    /// Drawn when the log was begun.
    pub(super) log: u64,
    /// Number of the file.
    pub(super) segment: u64,
    /// Running number of the record, over all files and starts.
    pub(super) sequence: u64,
    /// The last record that was flushed when this one was written.
    pub(super) flushed: u64,
    pub(super) hard_state: HardState,
    /// End of the log after this record.
    pub(super) last: Position,
    /// Entries below it are no longer needed; 0 when that isn't known.
    pub(super) first_kept: u64,
    /// Whether everything before is void.
    pub(super) reset: bool,
}

/// A record in the bytes of its file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) header: Header,
    /// Entries in it.
    count: usize,
    /// Length of the entries' bytes.
    length: usize,
}

/// Bytes that an entry takes.
pub(super) fn entry_bytes(entry: &Entry) -> usize {
    ENTRY_BYTES + entry.data.len() + entry.context.len()
}

/// Bytes that a record takes whose entries take `length`.
pub(super) fn record_bytes(length: usize) -> usize {
    (HEADER_BYTES + length).next_multiple_of(ALIGNMENT)
}

/// Appends a record to `buffer`, whose length is a multiple of [`ALIGNMENT`].
pub(super) fn push(buffer: &mut Vec<u8>, header: &Header, entries: &[Entry]) {
    let start = buffer.len();
    let Header { log, segment, sequence, flushed, hard_state, last, first_kept, reset } = header;
    let HardState { term, vote, commit, .. } = hard_state;
    buffer.extend_from_slice(&MAGIC);
    buffer.extend_from_slice(&[0; 4]);
    let length: usize = entries.iter().map(entry_bytes).sum();
    push_count(buffer, length);
    push_count(buffer, entries.len());
    let flags = if *reset { RESET } else { 0 };
    for field in [log, segment, sequence, flushed, term, vote, commit, &last.index, &last.term, first_kept, &flags] {
        buffer.extend_from_slice(&field.to_le_bytes());
    }
    for entry in entries {
        buffer.extend_from_slice(&entry.term.to_le_bytes());
        buffer.extend_from_slice(&entry.index.to_le_bytes());
        buffer.push(kind_tag(entry.get_entry_type()));
        for bytes in [&entry.data, &entry.context] {
            push_count(buffer, bytes.len());
            buffer.extend_from_slice(bytes);
        }
    }
    let sum = crc32fast::hash(buffer.get(start + CHECKED..).unwrap_or_default());
    if let Some(place) = buffer.get_mut(start + MAGIC.len()..start + CHECKED) {
        place.copy_from_slice(&sum.to_le_bytes());
    }
    buffer.resize(buffer.len().next_multiple_of(ALIGNMENT), 0);
}

fn push_count(buffer: &mut Vec<u8>, count: usize) {
    // A segment is far smaller than 4 GiB, and the writer refuses what doesn't fit into one.
    buffer.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

fn kind_tag(kind: EntryType) -> u8 {
    match kind {
        EntryType::EntryNormal => 0,
        EntryType::EntryConfChange => 1,
        EntryType::EntryConfChangeV2 => 2,
    }
}

impl Found {
    /// The record at the start of `bytes`, if it is whole and its checksum holds.
    pub(super) fn at(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(HEADER_BYTES)?;
        if !head.starts_with(&MAGIC) {
            return None;
        }
        let (sum, length, count) = (u32_at(head, 4)?, u32_at(head, 8)? as usize, u32_at(head, 12)? as usize);
        let entries = rest.get(..length)?;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(head.get(CHECKED..)?);
        hasher.update(entries);
        if hasher.finalize() != sum {
            return None;
        }
        let field = |place: usize| u64_at(head, 16 + 8 * place);
        let hard_state = HardState { term: field(4)?, vote: field(5)?, commit: field(6)?, ..HardState::default() };
        let header = Header {
            log: field(0)?,
            segment: field(1)?,
            sequence: field(2)?,
            flushed: field(3)?,
            hard_state,
            last: Position { index: field(7)?, term: field(8)? },
            first_kept: field(9)?,
            reset: field(10)? & RESET != 0,
        };
        Some(Self { header, count, length })
    }

    /// Bytes from its start to the next record.
    pub(super) fn bytes(&self) -> usize {
        record_bytes(self.length)
    }

    /// Its entries; `bytes` are those it was found at the start of.
    pub(super) fn entries(&self, bytes: &[u8]) -> Result<Vec<Entry>, CodecError> {
        // A copy of its own: a slice would keep the whole file in memory as long as one of its entries lives.
        let own = bytes.get(HEADER_BYTES..HEADER_BYTES + self.length).unwrap_or_default();
        let mut reader = Reader::new(Bytes::copy_from_slice(own));
        let entries = (0..self.count).map(|_| read_entry(&mut reader)).collect::<Result<Vec<_>, _>>()?;
        reader.finish()?;
        Ok(entries)
    }
}

/// Whether a record of this file seems to begin at the start of `bytes`, readable or not.
pub(super) fn begins_one(bytes: &[u8], segment: u64) -> bool {
    bytes.starts_with(&MAGIC) && u64_at(bytes, 24) == Some(segment)
}

/// Places from `from` on where a record could begin; pages of zeros are passed over.
pub(super) fn candidates(bytes: &[u8], from: usize) -> impl Iterator<Item = usize> + '_ {
    const PAGE: usize = 4096;
    const ZEROS: [u8; PAGE] = [0; PAGE];
    let first = from / PAGE;
    let pages = bytes.chunks(PAGE).enumerate().skip(first).filter(|(_, page)| *page != &ZEROS[..page.len()]);
    let words = pages.flat_map(|(number, page)| {
        page.chunks_exact(ALIGNMENT).enumerate().map(move |(word, bytes)| (number * PAGE + word * ALIGNMENT, bytes))
    });
    words.filter(move |(place, word)| *place >= from && word.starts_with(&MAGIC)).map(|(place, _)| place)
}

fn read_entry(reader: &mut Reader) -> Result<Entry, CodecError> {
    let (term, index) = (reader.u64("term")?, reader.u64("index")?);
    let mut entry = Entry { term, index, ..Entry::default() };
    entry.set_entry_type(match reader.u8("entry kind")? {
        0 => EntryType::EntryNormal,
        1 => EntryType::EntryConfChange,
        2 => EntryType::EntryConfChangeV2,
        found => return Err(CodecError::Unknown { field: "entry kind", found: found.into() }),
    });
    entry.data = reader.bytes("data", MAX_DATA_BYTES)?;
    entry.context = reader.bytes("context", MAX_DATA_BYTES)?;
    Ok(entry)
}

fn u32_at(bytes: &[u8], place: usize) -> Option<u32> {
    bytes.get(place..place + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], place: usize) -> Option<u64> {
    bytes.get(place..place + 8)?.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_record_reads_back_and_any_flipped_byte_makes_it_unreadable() {
        let hard_state = HardState { term: 3, vote: 2, commit: 77, ..HardState::default() };
        let last = Position { term: 3, index: 9 };
        let header =
            Header { log: 5, segment: 4, sequence: 8, flushed: 7, hard_state, last, first_kept: 2, reset: true };
        let mut entry =
            Entry { term: 3, index: 9, data: vec![1; 13].into(), context: vec![2; 5].into(), ..Entry::default() };
        entry.set_entry_type(EntryType::EntryConfChangeV2);
        let mut bytes = Vec::new();
        push(&mut bytes, &header, std::slice::from_ref(&entry));
        let found = Found::at(&bytes).unwrap();
        assert_eq!((&found.header, found.bytes()), (&header, bytes.len()));
        assert_eq!(found.entries(&bytes).unwrap(), vec![entry.clone()]);
        let used = HEADER_BYTES + entry_bytes(&entry);
        for place in 0..used {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1;
            assert_eq!(Found::at(&flipped), None, "byte {place}");
        }
        assert!((0..used).all(|length| Found::at(&bytes[..length]).is_none()));
    }
}
