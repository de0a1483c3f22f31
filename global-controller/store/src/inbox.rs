//! What the node's thread is sent.

use std::path::PathBuf;

use store_node::{
    MembershipChange, MembershipOutcome, PeerMessage, Progress, ProposalOutcome, SnapshotMessage, SnapshotMeta, Table,
    Txn,
};
use tokio::sync::oneshot;

/// Commands that may wait. Callers hold a permit each, peers' messages are dropped when it is full.
pub(crate) const INBOX: usize = 16 * 1024;

/// A transaction or read that the node can't answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost;

/// One command to the node's thread.
#[derive(Debug)]
pub(crate) enum Command {
    Message(PeerMessage),
    Txn { txn: Txn, answer: oneshot::Sender<ProposalOutcome> },
    ChangeMembership { change: MembershipChange, answer: oneshot::Sender<MembershipOutcome> },
    Progress { answer: oneshot::Sender<Vec<Progress>> },
    Read { answer: oneshot::Sender<Result<(), Lost>> },
    Persisted(u64),
    Unreachable(u64),
    SnapshotReceived { message: Box<SnapshotMessage>, table: Box<Table>, file: PathBuf, answer: oneshot::Sender<()> },
    SnapshotSent { peer: u64, delivered: bool },
    SnapshotTaken(SnapshotMeta),
    SnapshotFailed,
    Stand(bool),
    Close,
}
