//! Applied state: a table in memory, changed only by committed transactions.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;

use crate::membership::{Membership, ReplicaInfo};
use crate::txn::{Change, Changes, KeyValue, Op, Txn, TxnOutcome, Versioned, When};

/// A place in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Term of the entry.
    pub term: u64,
    /// Index of the entry.
    pub index: u64,
}

/// What a snapshot covers, without its contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// The last entry that it covers.
    pub position: Position,
    /// Who votes after that entry.
    pub membership: Membership,
}

/// A committed entry, ready to be applied. `txn` is `None` for the empty entry with which a term starts.
#[derive(Clone, Debug)]
pub struct Command {
    /// Where the entry lies.
    pub position: Position,
    /// What it asks for.
    pub txn: Option<Txn>,
}

/// What became of one [`Command`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The answer for the proposer; `None` for an empty entry.
    pub outcome: Option<TxnOutcome>,
    /// What changed; `None` when nothing did.
    pub changes: Option<Changes>,
}

/// The applied state's engine, as narrow as the node needs it.
pub trait State {
    /// The last entry applied.
    fn applied(&self) -> Position;
    /// Applies committed entries in order and says what became of each.
    fn apply(&mut self, commands: &[Command]) -> Vec<Applied>;
    /// Applies a change of the membership that lies at `position`; `None` when it takes no effect.
    fn reconfigure(&mut self, position: Position, membership: Option<Membership>);
    /// Replaces everything by the contents of a snapshot.
    fn install(&mut self, table: Table);
}

/// Keys, values and revisions in memory.
#[derive(Clone, Debug, Default)]
pub struct Table {
    keys: BTreeMap<Arc<str>, Versioned>,
    revision: u64,
    epoch: u64,
    applied: Position,
    membership: Membership,
}

impl Table {
    /// An empty table of a new store that starts at `applied`.
    pub fn new(applied: Position, membership: Membership) -> Self {
        Self { applied, membership, epoch: 1, ..Self::default() }
    }

    /// An empty table with a snapshot's header, to be filled by [`Table::load`].
    pub fn with_header(meta: SnapshotMeta, revision: u64, epoch: u64) -> Self {
        let SnapshotMeta { position, membership } = meta;
        Self { keys: BTreeMap::new(), revision, epoch, applied: position, membership }
    }

    /// Adds a key of a snapshot.
    pub fn load(&mut self, item: KeyValue) {
        let KeyValue { key, value, revision } = item;
        self.keys.insert(key.into(), Versioned { value, revision });
    }

    /// Revision of the last change, 0 in an empty store.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Rises when a store is restored from a backup or rebuilt; 1 in a new one.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many keys exist.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key exists.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// What a snapshot taken now would cover.
    pub fn meta(&self) -> SnapshotMeta {
        SnapshotMeta { position: self.applied, membership: self.membership.clone() }
    }

    /// Who belongs to the store.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Names replicas of a store that was formed before memberships had names; those that have one keep it.
    pub fn name_replicas(&mut self, names: impl IntoIterator<Item = (u64, ReplicaInfo)>) {
        for (number, info) in names {
            if self.membership.contains(number) {
                self.membership.replicas.entry(number).or_insert(info);
            }
        }
    }

    /// A key's value.
    pub fn get(&self, key: &str) -> Option<&Versioned> {
        self.keys.get(key)
    }

    /// All keys in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Versioned)> {
        self.keys.iter().map(|(key, value)| (key.as_ref(), value))
    }

    /// Up to `limit` keys that start with `prefix` and come after `after`, and whether there are more.
    pub fn page(&self, prefix: &str, after: Option<&str>, limit: usize) -> (Vec<KeyValue>, bool) {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut matching =
            self.keys.range::<str, _>((start, Bound::Unbounded)).take_while(|(key, _)| key.starts_with(prefix));
        let items = matching.by_ref().take(limit).map(|(key, found)| KeyValue {
            key: key.to_string(),
            value: found.value.clone(),
            revision: found.revision,
        });
        let items = items.collect();
        (items, matching.next().is_some())
    }

    fn apply_one(&mut self, command: &Command) -> Applied {
        self.applied = command.position;
        let Some(txn) = &command.txn else { return Applied { outcome: None, changes: None } };
        if txn.fence().is_some_and(|fence| fence.0 != command.position.term) {
            return Applied { outcome: Some(TxnOutcome::Fenced), changes: None };
        }
        if !txn.when().iter().all(|when| self.holds(when)) {
            let current = txn.when().iter().map(|when| self.current(when)).collect();
            return Applied { outcome: Some(TxnOutcome::Conflict { current }), changes: None };
        }
        let changes = self.change(txn.then());
        Applied { outcome: Some(TxnOutcome::Committed { revision: self.revision }), changes }
    }

    fn holds(&self, when: &When) -> bool {
        match when {
            When::Absent { key } => !self.keys.contains_key(key.as_str()),
            When::At { key, revision } => self.keys.get(key.as_str()).is_some_and(|found| found.revision == *revision),
        }
    }

    fn current(&self, when: &When) -> (String, Option<u64>) {
        let (When::Absent { key } | When::At { key, .. }) = when;
        (key.clone(), self.keys.get(key.as_str()).map(|found| found.revision))
    }

    fn change(&mut self, operations: &[Op]) -> Option<Changes> {
        let revision = self.revision + 1;
        let mut changes = Vec::with_capacity(operations.len());
        for operation in operations {
            match operation {
                Op::Put { key, value } => {
                    // A copy of its own: a slice would keep the whole entry, up to 1 MiB, in memory for one value.
                    let value = Bytes::copy_from_slice(value);
                    self.keys.insert(key.as_str().into(), Versioned { value: value.clone(), revision });
                    changes.push(Change { key: key.clone(), value: Some(value) });
                }
                Op::Delete { key } => {
                    if self.keys.remove(key.as_str()).is_some() {
                        changes.push(Change { key: key.clone(), value: None });
                    }
                }
            }
        }
        if changes.is_empty() {
            return None;
        }
        self.revision = revision;
        Some(Changes { revision, changes })
    }
}

impl State for Table {
    fn applied(&self) -> Position {
        self.applied
    }

    fn apply(&mut self, commands: &[Command]) -> Vec<Applied> {
        commands.iter().map(|command| self.apply_one(command)).collect()
    }

    fn reconfigure(&mut self, position: Position, membership: Option<Membership>) {
        self.applied = position;
        if let Some(membership) = membership {
            self.membership = membership;
        }
    }

    fn install(&mut self, table: Table) {
        *self = table;
    }
}

/// A table that readers share with the node: the node writes a batch at a time, readers take a page at a time.
#[derive(Clone, Debug)]
pub struct SharedTable {
    table: Arc<RwLock<Table>>,
}

impl SharedTable {
    /// Shares `table`.
    pub fn new(table: Table) -> Self {
        Self { table: Arc::new(RwLock::new(table)) }
    }

    /// Reads the table as it is between two applied batches.
    pub fn read(&self) -> RwLockReadGuard<'_, Table> {
        // Only the node writes, and a panic in the node ends the process: poison can't be seen by a later reader.
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State for SharedTable {
    fn applied(&self) -> Position {
        self.read().applied
    }

    fn apply(&mut self, commands: &[Command]) -> Vec<Applied> {
        self.table.write().unwrap_or_else(PoisonError::into_inner).apply(commands)
    }

    fn reconfigure(&mut self, position: Position, membership: Option<Membership>) {
        self.table.write().unwrap_or_else(PoisonError::into_inner).reconfigure(position, membership);
    }

    fn install(&mut self, table: Table) {
        let mut current = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *current, table);
        drop(current);
        drop(old);
    }
}

#[cfg(test)]
#[path = "table_test.rs"]
mod tests;
