//! Committed entries never change: whatever is applied at an index, on any replica and at any time, is the same, and so
//! is the whole table after it.

use std::collections::BTreeMap;

use store_node::Txn;

use super::Check;
use crate::recorder::{Event, Seen};

#[derive(Clone, Debug)]
pub struct Fact {
    pub term: u64,
    pub revision: u64,
    pub digest: u64,
    /// `None` until some replica applied the entry itself; empty for an entry that is no transaction.
    txn: Option<Vec<Txn>>,
}

#[derive(Default)]
pub struct Agreement {
    by_index: BTreeMap<u64, Fact>,
    applied: BTreeMap<u64, u64>,
}

impl Agreement {
    pub fn restart(&mut self, replica: u64) {
        self.applied.remove(&replica);
    }

    pub fn check(&mut self, replica: u64, seen: &Seen) -> Check {
        let Seen { position, revision, digest, event } = seen;
        let before = self.applied.insert(replica, position.index);
        let txn = match event {
            Event::Applied { txn, .. } => Some(txn.iter().cloned().collect()),
            Event::Reconfigured => Some(Vec::new()),
            Event::Whole => None,
        };
        if txn.is_some() && before != Some(position.index - 1) {
            return Err(format!("replica {replica} applied {position:?} after index {before:?}"));
        }
        let fact = Fact { term: position.term, revision: *revision, digest: *digest, txn };
        let known = self.by_index.entry(position.index).or_insert_with(|| fact.clone());
        if known.txn.is_none() {
            known.txn.clone_from(&fact.txn);
        }
        let same_txn = fact.txn.is_none() || fact.txn == known.txn;
        let same = (known.term, known.revision, known.digest) == (fact.term, fact.revision, fact.digest);
        if same && same_txn {
            return Ok(());
        }
        Err(format!("replica {replica} has at index {} {fact:?}, others had {known:?}", position.index))
    }

    /// What was agreed on, by index.
    pub fn facts(&self) -> impl Iterator<Item = (&u64, &Fact)> {
        self.by_index.iter()
    }
}
