//! The wire form of Raft messages between replicas.
//!
//! A bounded codec of our own, so that raft's protobuf parser never sees what another process sent. A message is only
//! accepted from the replica its certificate names, of a kind that replicas send each other, with a term, and in
//! a shape that `raft` handles without a panic.

use bytes::Bytes;
use raft::eraftpb::{Entry, Message, MessageType, Snapshot};

use crate::codec::{self, Reader, Writer};
use crate::entry::{changes_membership, fits, read_entry, write_entry};
use crate::log::to_raft_snapshot;
use crate::membership::Membership;
use crate::table::{Position, SnapshotMeta};
use crate::txn::MAX_TXN_BYTES;

/// Largest encoded message in bytes: an append of one message limit, or of one entry that is as large, with room for
/// the fixed fields of its entries.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

const ENCODING_VERSION: u8 = 1;
/// Entries with their kind. Only messages that carry a membership change use it, so that replicas of the version
/// before it understand all others.
const ENTRY_KINDS_VERSION: u8 = 2;
/// A read's context is 24 bytes and a forced election's is 16.
const MAX_CONTEXT_BYTES: usize = 64;
/// 1 MiB of entries of the fixed fields alone.
const MAX_ENTRIES: usize = 64 * 1024;

/// Why a message from another replica was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes aren't a message of a version known here.
    #[error("failed to decode a message")]
    Codec(#[from] codec::Error),
    /// Only local messages have no term.
    #[error("message without a term")]
    NoTerm,
    /// A kind that replicas never send each other.
    #[error("messages of kind {kind:?} are not accepted from a peer")]
    Kind {
        /// The kind.
        kind: MessageType,
    },
    /// Its entries don't fit its kind, or don't follow each other.
    #[error("a message of kind {kind:?} has unfit entries")]
    Entries {
        /// The kind.
        kind: MessageType,
    },
}

/// A checked message from the replica that its certificate names.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerMessage(pub(crate) Message);

/// A checked announcement of a snapshot, whose contents follow beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotMessage(pub(crate) Message, SnapshotMeta);

const KINDS: [(u8, MessageType); 11] = [
    (1, MessageType::MsgAppend),
    (2, MessageType::MsgAppendResponse),
    (3, MessageType::MsgRequestVote),
    (4, MessageType::MsgRequestVoteResponse),
    (5, MessageType::MsgHeartbeat),
    (6, MessageType::MsgHeartbeatResponse),
    (7, MessageType::MsgTimeoutNow),
    (8, MessageType::MsgReadIndex),
    (9, MessageType::MsgReadIndexResp),
    (10, MessageType::MsgRequestPreVote),
    (11, MessageType::MsgRequestPreVoteResponse),
];

/// The bytes of a message. Sender and receiver aren't in them: the connection says who they are.
pub fn encode(message: &Message) -> Result<Vec<u8>, Error> {
    let kind = message.get_msg_type();
    let Some((tag, _)) = KINDS.iter().find(|(_, known)| *known == kind) else { return Err(Error::Kind { kind }) };
    let entries: usize = message.get_entries().iter().map(|entry| 32 + entry.data.len()).sum();
    let kinds = message.get_entries().iter().any(changes_membership);
    let mut writer = Writer::with_capacity(96 + entries);
    writer.u8(if kinds { ENTRY_KINDS_VERSION } else { ENCODING_VERSION });
    writer.u8(*tag);
    writer.flag(message.reject);
    for field in [message.term, message.log_term, message.index, message.commit, message.commit_term] {
        writer.u64(field);
    }
    writer.u64(message.reject_hint);
    writer.u64(message.request_snapshot);
    writer.bytes(&message.context);
    writer.count(message.get_entries().len());
    for entry in message.get_entries() {
        if kinds {
            write_entry(&mut writer, entry);
            continue;
        }
        writer.u64(entry.term);
        writer.u64(entry.index);
        writer.bytes(&entry.data);
    }
    Ok(writer.finish())
}

impl PeerMessage {
    /// Reads and checks a message that `from` sent to `to`.
    pub fn decode(bytes: Bytes, from: u64, to: u64) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        let version = version(&mut reader, ENTRY_KINDS_VERSION)?;
        let mut message = Message::default();
        message.set_msg_type(kind(reader.u8("kind")?)?);
        message.from = from;
        message.to = to;
        message.reject = reader.flag("reject")?;
        message.term = reader.u64("term")?;
        message.log_term = reader.u64("log term")?;
        message.index = reader.u64("index")?;
        message.commit = reader.u64("commit")?;
        message.commit_term = reader.u64("commit term")?;
        message.reject_hint = reader.u64("reject hint")?;
        message.request_snapshot = reader.u64("requested snapshot")?;
        message.context = reader.bytes("context", MAX_CONTEXT_BYTES)?;
        let count = reader.count("entries", MAX_ENTRIES)?;
        let read = if version == ENTRY_KINDS_VERSION { read_entry } else { entry };
        let entries = (0..count).map(|_| read(&mut reader)).collect::<Result<Vec<_>, _>>()?;
        message.set_entries(entries.into());
        reader.finish()?;
        check(&message)?;
        Ok(Self(message))
    }

    /// Takes a message that another node of the same process wrote, for simulations; the same checks apply.
    pub fn from_raft(message: Message) -> Result<Self, Error> {
        check(&message)?;
        Ok(Self(message))
    }

    /// Whether there are entries in it, which need space in the log.
    pub fn carries_entries(&self) -> bool {
        self.0.get_msg_type() == MessageType::MsgAppend && !self.0.get_entries().is_empty()
    }

    /// The sender's Raft id.
    pub fn from(&self) -> u64 {
        self.0.from
    }
}

impl SnapshotMessage {
    /// The announcement of a snapshot for the wire: everything but the contents.
    pub fn encode(term: u64, meta: &SnapshotMeta) -> Vec<u8> {
        let mut writer = Writer::with_capacity(128);
        writer.u8(ENCODING_VERSION);
        writer.u64(term);
        writer.u64(meta.position.term);
        writer.u64(meta.position.index);
        meta.membership.encode(&mut writer);
        writer.finish()
    }

    /// Reads and checks an announcement that `from` sent to `to`.
    pub fn decode(bytes: Bytes, from: u64, to: u64) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        version(&mut reader, ENCODING_VERSION)?;
        let term = reader.u64("term")?;
        let position = Position { term: reader.u64("snapshot term")?, index: reader.u64("snapshot index")? };
        let membership = Membership::decode(&mut reader)?;
        reader.finish()?;
        Self::new(from, to, term, SnapshotMeta { position, membership })
    }

    /// An announcement of `meta` by `from`, the leader of `term`.
    pub fn new(from: u64, to: u64, term: u64, meta: SnapshotMeta) -> Result<Self, Error> {
        if term == 0 || meta.position.index == 0 || meta.position.term == 0 || meta.position.term > term {
            return Err(Error::NoTerm);
        }
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgSnapshot);
        message.from = from;
        message.to = to;
        message.term = term;
        message.set_snapshot(to_raft_snapshot(&meta));
        Ok(Self(message, meta))
    }

    /// What the snapshot covers.
    pub fn meta(&self) -> &SnapshotMeta {
        &self.1
    }
}

/// What a snapshot message of `raft` covers, without names: `raft` knows only numbers.
pub(crate) fn snapshot_meta(snapshot: &Snapshot) -> SnapshotMeta {
    let source = snapshot.get_metadata();
    SnapshotMeta {
        position: Position { term: source.term, index: source.index },
        membership: Membership::from_raft(source.get_conf_state()),
    }
}

fn version(reader: &mut Reader, newest: u8) -> Result<u8, codec::Error> {
    match reader.u8("message version")? {
        known if (ENCODING_VERSION..=newest).contains(&known) => Ok(known),
        found => Err(codec::Error::Unknown { field: "message version", found: found.into() }),
    }
}

fn kind(tag: u8) -> Result<MessageType, codec::Error> {
    let known = KINDS.iter().find(|(known, _)| *known == tag);
    known.map(|(_, kind)| *kind).ok_or(codec::Error::Unknown { field: "kind", found: tag.into() })
}

fn entry(reader: &mut Reader) -> Result<Entry, codec::Error> {
    let (term, index) = (reader.u64("entry term")?, reader.u64("entry index")?);
    let data = reader.bytes("entry data", MAX_TXN_BYTES)?;
    Ok(Entry { term, index, data, ..Entry::default() })
}

fn check(message: &Message) -> Result<(), Error> {
    let kind = message.get_msg_type();
    if !KINDS.iter().any(|(_, known)| *known == kind) {
        return Err(Error::Kind { kind });
    }
    if message.term == 0 {
        return Err(Error::NoTerm);
    }
    let fit = match kind {
        MessageType::MsgAppend => follow_each_other(message),
        MessageType::MsgReadIndex | MessageType::MsgReadIndexResp => one_context(message.get_entries()),
        _ => message.get_entries().is_empty(),
    };
    if fit { Ok(()) } else { Err(Error::Entries { kind }) }
}

fn follow_each_other(message: &Message) -> bool {
    let mut index = message.index;
    let mut term = message.log_term;
    message.get_entries().iter().all(|entry| {
        let fit = entry.index.checked_sub(1) == Some(index)
            && entry.term > 0
            && entry.term >= term
            && entry.term <= message.term
            && fits(entry);
        index = entry.index;
        term = entry.term;
        fit
    })
}

fn one_context(entries: &[Entry]) -> bool {
    matches!(entries, [only] if !only.data.is_empty() && only.data.len() <= MAX_CONTEXT_BYTES)
}

#[cfg(test)]
#[path = "message_test.rs"]
mod tests;
