//! One replica of the store as a synchronous function: inputs in, outputs out.
//!
//! [`Node`] wraps the `raft` crate's `RawNode`. It owns no thread, socket, clock, file or source of randomness, so
//! a whole cluster runs in one thread from one seed. What needs the outside is an output: messages that may leave
//! *now*, batches that must reach the disk, answers to requests. What a batch promises is held back inside the node
//! until the shell says [`Input::Persisted`], so a caller can't send it too early by mistake.

mod codec;
mod config;
mod election;
mod entry;
mod log;
mod membership;
mod message;
mod node;
mod placed;
mod proposals;
mod reads;
mod ready;
mod reconfiguration;
mod reconfigure;
mod repair;
mod replay;
mod table;
mod txn;

pub use codec::{Error as CodecError, Reader, Writer};
#[doc(hidden)]
pub use config::Deviation;
pub use config::{Config, SnapshotPolicy};
pub use entry::{changes_membership, read_entry, write_entry};
pub use log::{Batch, DurableLog, LogMirror};
pub use membership::{MAX_MEMBERS, MAX_NAME_BYTES, MAX_RETIRED, MAX_URL_BYTES, Membership, ReplicaInfo, Role};
pub use message::{Error as MessageError, MAX_MESSAGE_BYTES, PeerMessage, SnapshotMessage, encode as encode_message};
pub use node::{Counters, Error, Input, Node, Outputs, ReplicaView, SnapshotOrder};
pub use proposals::ProposalOutcome;
pub use raft::eraftpb::{Entry, EntryType, HardState, Message, MessageType};
pub use reconfiguration::{MembershipChange, MembershipOutcome, Refusal};
pub use reconfigure::Progress;
pub use repair::Repair;
pub use replay::replay;
pub use table::{Applied, Command, Position, SharedTable, SnapshotMeta, State, Table};
pub use txn::{
    Change, Changes, Error as TxnError, Fence, KeyValue, MAX_KEY_BYTES, MAX_OPERATIONS, MAX_TXN_BYTES, Op, Txn,
    TxnOutcome, Versioned, When,
};

/// Names one proposal or read of one process; chosen by the shell, never sent to another replica.
pub type RequestId = u64;
