//! Applying entries outside of a node: for tools that read a stopped replica's folder.

use raft::eraftpb::{Entry, EntryType};

use crate::node::Error;
use crate::table::{Command, Position, State, Table};
use crate::txn::Txn;

/// Applies one entry of the log to the state before it. A change of the membership only moves the position on: whoever
/// starts a store from such a state says who belongs to it.
pub fn replay(table: &mut Table, entry: Entry) -> Result<(), Error> {
    let position = Position { term: entry.term, index: entry.index };
    let carries_txn = entry.get_entry_type() == EntryType::EntryNormal && !entry.data.is_empty();
    let txn = carries_txn.then(|| Txn::decode(entry.data)).transpose();
    let txn = txn.map_err(|source| Error::Entry { index: position.index, source })?;
    table.apply(&[Command { position, txn }]);
    Ok(())
}
