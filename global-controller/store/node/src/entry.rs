//! The form of a log entry outside of `raft`: its kind, and then its data or its membership change, never both.

use raft::eraftpb::{Entry, EntryType};

use crate::codec::{Error, Reader, Writer};
use crate::reconfiguration::{MAX_CHANGE_BYTES, Reconfiguration};
use crate::txn::MAX_TXN_BYTES;

const NORMAL: u8 = 0;
const CHANGE: u8 = 1;
const LEAVE_JOINT: u8 = 2;

/// Whether an entry is a change of the membership, by its kind alone.
pub fn changes_membership(entry: &Entry) -> bool {
    entry.get_entry_type() != EntryType::EntryNormal
}

/// Writes term, index, kind, and the data or the change.
pub fn write_entry(writer: &mut Writer, entry: &Entry) {
    writer.u64(entry.term);
    writer.u64(entry.index);
    match entry.get_entry_type() {
        EntryType::EntryNormal => {
            writer.u8(NORMAL);
            writer.bytes(&entry.data);
        }
        EntryType::EntryConfChange => {
            writer.u8(CHANGE);
            writer.bytes(&entry.context);
        }
        EntryType::EntryConfChangeV2 => {
            writer.u8(LEAVE_JOINT);
            writer.bytes(&entry.context);
        }
    }
}

/// Reads what [`write_entry`] wrote.
pub fn read_entry(reader: &mut Reader) -> Result<Entry, Error> {
    let (term, index) = (reader.u64("entry term")?, reader.u64("entry index")?);
    let mut entry = Entry { term, index, ..Entry::default() };
    let kind = match reader.u8("entry kind")? {
        NORMAL => EntryType::EntryNormal,
        CHANGE => EntryType::EntryConfChange,
        LEAVE_JOINT => EntryType::EntryConfChangeV2,
        found => return Err(Error::Unknown { field: "entry kind", found: found.into() }),
    };
    entry.set_entry_type(kind);
    if kind == EntryType::EntryNormal {
        entry.data = reader.bytes("entry data", MAX_TXN_BYTES)?;
    } else {
        entry.context = reader.bytes("entry context", MAX_CHANGE_BYTES)?;
    }
    Ok(entry)
}

/// Whether the entry is one that this version applies: a transaction without a context, or a change without data.
pub(crate) fn fits(entry: &Entry) -> bool {
    match Reconfiguration::of_entry(entry) {
        Ok(None) => entry.context.is_empty(),
        Ok(Some(_)) => true,
        Err(_) => false,
    }
}
