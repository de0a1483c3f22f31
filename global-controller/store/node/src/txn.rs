//! Transactions: what a caller asks for, its limits, and how it lies in a log entry.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::codec::{self, Reader, Writer};

/// Conditions and operations of one transaction, counted together. Etcd's default is 128; the callers here touch a
/// handful of keys, and a bound keeps the time that one entry holds the table's lock short.
pub const MAX_OPERATIONS: usize = 100;
/// Encoded size of one transaction in bytes: one entry has to fit one message and one log batch.
pub const MAX_TXN_BYTES: usize = 1024 * 1024;
/// Length of a key in bytes: names of objects joined by a slash, with much room.
pub const MAX_KEY_BYTES: usize = 1024;

const ENCODING_VERSION: u8 = 1;

/// The Raft term in which a leader decided; a transaction that names another term than its entry's has no effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
pub struct Fence(pub u64);

/// A condition that must hold for a transaction to have an effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// The key doesn't exist.
    Absent {
        /// The key.
        key: String,
    },
    /// The key exists and was last changed at this revision.
    At {
        /// The key.
        key: String,
        /// Revision of the key's last change.
        revision: u64,
    },
}

impl When {
    fn key(&self) -> &str {
        match self {
            Self::Absent { key } | Self::At { key, .. } => key,
        }
    }
}

/// One change of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Sets the key to the value, whether or not it exists.
    Put {
        /// The key.
        key: String,
        /// The new value.
        value: Bytes,
    },
    /// Removes the key; without effect when it doesn't exist.
    Delete {
        /// The key.
        key: String,
    },
}

impl Op {
    fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// What became of a transaction that went through the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TxnOutcome {
    /// All conditions held and all operations were applied.
    Committed {
        /// Revision of the changes; the store's current one when nothing changed.
        revision: u64,
    },
    /// A condition didn't hold; nothing was applied.
    Conflict {
        /// Each key named in a condition, with the revision of its last change (`None`: absent).
        current: Vec<(String, Option<u64>)>,
    },
    /// The fence named another term than the entry's own; nothing was applied.
    Fenced,
}

/// A value with the revision of its last change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// The value.
    pub value: Bytes,
    /// Revision of the key's last change.
    pub revision: u64,
}

/// A key with its value and the revision of its last change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// Revision of the key's last change.
    pub revision: u64,
}

/// One key's change in a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: String,
    /// The new value; `None` when the key was deleted.
    pub value: Option<Bytes>,
}

/// All changes of one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The revision.
    pub revision: u64,
    /// What changed in it, in the order of the transaction.
    pub changes: Vec<Change>,
}

/// Why a transaction was refused before it was proposed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// More conditions and operations than [`MAX_OPERATIONS`].
    #[error("{found} conditions and operations, at most {MAX_OPERATIONS} are allowed")]
    TooManyOperations {
        /// How many there were.
        found: usize,
    },
    /// Larger than [`MAX_TXN_BYTES`].
    #[error("{found} bytes, at most {MAX_TXN_BYTES} are allowed")]
    TooLarge {
        /// Encoded size in bytes.
        found: usize,
    },
    /// A key is empty or longer than [`MAX_KEY_BYTES`].
    #[error("a key of {found} bytes, 1 to {MAX_KEY_BYTES} are allowed")]
    KeyLength {
        /// The key's length in bytes.
        found: usize,
    },
    /// A key is named by two operations.
    #[error("key '{key}' is changed twice")]
    RepeatedKey {
        /// The key.
        key: String,
    },
    /// The bytes aren't an encoded transaction of a version known here.
    #[error("failed to decode a transaction")]
    Codec(#[from] codec::Error),
}

/// A transaction within the limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Txn {
    fence: Option<Fence>,
    when: Vec<When>,
    then: Vec<Op>,
}

impl Txn {
    /// Checks the limits.
    pub fn new(fence: Option<Fence>, when: Vec<When>, then: Vec<Op>) -> Result<Self, Error> {
        let txn = Self { fence, when, then };
        txn.check()?;
        Ok(txn)
    }

    /// The term in which the proposer believes to lead.
    pub fn fence(&self) -> Option<Fence> {
        self.fence
    }

    /// The conditions.
    pub fn when(&self) -> &[When] {
        &self.when
    }

    /// The operations.
    pub fn then(&self) -> &[Op] {
        &self.then
    }

    fn check(&self) -> Result<(), Error> {
        let found = self.when.len() + self.then.len();
        if found > MAX_OPERATIONS {
            return Err(Error::TooManyOperations { found });
        }
        for key in self.when.iter().map(When::key).chain(self.then.iter().map(Op::key)) {
            if key.is_empty() || key.len() > MAX_KEY_BYTES {
                return Err(Error::KeyLength { found: key.len() });
            }
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = self.then.iter().map(Op::key).find(|key| !seen.insert(*key)) {
            return Err(Error::RepeatedKey { key: twice.to_owned() });
        }
        let found = self.encoded_bytes();
        if found > MAX_TXN_BYTES { Err(Error::TooLarge { found }) } else { Ok(()) }
    }

    fn encoded_bytes(&self) -> usize {
        // Version, fence and two counts, then per item a tag, a length and at most one further number or length.
        const HEAD: usize = 1 + 1 + 8 + 4 + 4;
        const ITEM: usize = 1 + 4 + 8;
        let when: usize = self.when.iter().map(|when| ITEM + when.key().len()).sum();
        let then: usize = self.then.iter().map(|op| ITEM + op.key().len() + value_bytes(op)).sum();
        HEAD + when + then
    }

    /// The bytes of a log entry.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(self.encoded_bytes());
        writer.u8(ENCODING_VERSION);
        writer.flag(self.fence.is_some());
        writer.u64(self.fence.map_or(0, |fence| fence.0));
        writer.count(self.when.len());
        for when in &self.when {
            encode_when(&mut writer, when);
        }
        writer.count(self.then.len());
        for op in &self.then {
            encode_op(&mut writer, op);
        }
        writer.finish()
    }

    /// Reads [`Txn::encode`]'s bytes and checks the limits again, as they may come from another replica.
    pub fn decode(bytes: Bytes) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        match reader.u8("transaction version")? {
            ENCODING_VERSION => {}
            found => return Err(codec::Error::Unknown { field: "transaction version", found: found.into() }.into()),
        }
        let fenced = reader.flag("fence flag")?;
        let term = reader.u64("fence")?;
        let count = reader.count("conditions", MAX_OPERATIONS)?;
        let when = (0..count).map(|_| decode_when(&mut reader)).collect::<Result<Vec<_>, _>>()?;
        let count = reader.count("operations", MAX_OPERATIONS)?;
        let then = (0..count).map(|_| decode_op(&mut reader)).collect::<Result<Vec<_>, _>>()?;
        reader.finish()?;
        Self::new(fenced.then_some(Fence(term)), when, then)
    }
}

fn value_bytes(op: &Op) -> usize {
    match op {
        Op::Put { value, .. } => value.len(),
        Op::Delete { .. } => 0,
    }
}

fn encode_when(writer: &mut Writer, when: &When) {
    match when {
        When::Absent { key } => {
            writer.u8(0);
            writer.bytes(key.as_bytes());
        }
        When::At { key, revision } => {
            writer.u8(1);
            writer.bytes(key.as_bytes());
            writer.u64(*revision);
        }
    }
}

fn decode_when(reader: &mut Reader) -> Result<When, codec::Error> {
    match reader.u8("condition")? {
        0 => Ok(When::Absent { key: reader.text("key", MAX_KEY_BYTES)? }),
        1 => Ok(When::At { key: reader.text("key", MAX_KEY_BYTES)?, revision: reader.u64("revision")? }),
        found => Err(codec::Error::Unknown { field: "condition", found: found.into() }),
    }
}

fn encode_op(writer: &mut Writer, op: &Op) {
    match op {
        Op::Put { key, value } => {
            writer.u8(0);
            writer.bytes(key.as_bytes());
            writer.bytes(value);
        }
        Op::Delete { key } => {
            writer.u8(1);
            writer.bytes(key.as_bytes());
        }
    }
}

fn decode_op(reader: &mut Reader) -> Result<Op, codec::Error> {
    match reader.u8("operation")? {
        0 => Ok(Op::Put { key: reader.text("key", MAX_KEY_BYTES)?, value: reader.bytes("value", MAX_TXN_BYTES)? }),
        1 => Ok(Op::Delete { key: reader.text("key", MAX_KEY_BYTES)? }),
        found => Err(codec::Error::Unknown { field: "operation", found: found.into() }),
    }
}

#[cfg(test)]
#[path = "txn_test.rs"]
mod tests;
