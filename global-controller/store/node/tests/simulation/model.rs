//! What the store promises, as a sequential program of its own: nothing here is shared with the node's table.

use std::collections::BTreeMap;

use bytes::Bytes;
use store_node::{KeyValue, Op, Txn, TxnOutcome, Versioned, When};

use crate::history::{Answer, Call};

/// The state of the whole store. Revisions are part of it, which ties all keys together and leaves the checker hardly a
/// choice: partitioning by key isn't needed to keep it fast.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Model {
    pub revision: u64,
    keys: BTreeMap<String, (Bytes, u64)>,
}

/// What an answer would mean.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// The answer can't be given now.
    Forbidden,
    /// It can, and nothing changes.
    Nothing,
    /// It can, and this is the state afterwards.
    Changes(Model),
}

impl Effect {
    fn none_if(allowed: bool) -> Self {
        if allowed { Self::Nothing } else { Self::Forbidden }
    }
}

impl Model {
    /// Whether the call may give this answer now, and what it does to the state.
    pub fn allows(&self, call: &Call, answer: &Answer) -> Effect {
        match (call, answer) {
            (Call::Get { key }, Answer::Value(value)) => Effect::none_if(self.get(key) == *value),
            (Call::Range { prefix, after, limit }, Answer::Page { items, revision, more }) => {
                let fits =
                    *revision == self.revision && self.page(prefix, after.as_deref(), *limit) == (items.clone(), *more);
                Effect::none_if(fits)
            }
            // Terms aren't part of this model: the invariant on fences checks when a transaction may be fenced.
            (Call::Txn(txn), Answer::Txn(TxnOutcome::Fenced)) => Effect::none_if(txn.fence().is_some()),
            (Call::Txn(txn), Answer::Txn(TxnOutcome::Conflict { current })) => {
                let expected: Vec<_> = txn.when().iter().map(|when| self.current(when)).collect();
                Effect::none_if(!self.holds(txn) && *current == expected)
            }
            (Call::Txn(txn), Answer::Txn(TxnOutcome::Committed { revision })) => {
                match self.after(txn).filter(|_| self.holds(txn)) {
                    Some(after) if after.revision == *revision => Effect::Changes(after),
                    Some(_) => Effect::Forbidden,
                    None => Effect::none_if(self.holds(txn) && self.revision == *revision),
                }
            }
            _ => Effect::Forbidden,
        }
    }

    /// The state after a transaction of unknown outcome, if it would change anything now.
    pub fn perhaps(&self, call: &Call) -> Option<Self> {
        match call {
            Call::Txn(txn) if self.holds(txn) => self.after(txn),
            _ => None,
        }
    }

    fn holds(&self, txn: &Txn) -> bool {
        txn.when().iter().all(|when| match when {
            When::Absent { key } => !self.keys.contains_key(key),
            When::At { key, revision } => self.keys.get(key).is_some_and(|found| found.1 == *revision),
        })
    }

    fn after(&self, txn: &Txn) -> Option<Self> {
        let revision = self.revision + 1;
        let mut next = Self { revision, keys: self.keys.clone() };
        let mut changed = false;
        for op in txn.then() {
            match op {
                Op::Put { key, value } => {
                    next.keys.insert(key.clone(), (value.clone(), revision));
                    changed = true;
                }
                Op::Delete { key } => changed |= next.keys.remove(key).is_some(),
            }
        }
        changed.then_some(next)
    }

    fn current(&self, when: &When) -> (String, Option<u64>) {
        let (When::Absent { key } | When::At { key, .. }) = when;
        (key.clone(), self.keys.get(key).map(|found| found.1))
    }

    fn get(&self, key: &str) -> Option<Versioned> {
        self.keys.get(key).map(|(value, revision)| Versioned { value: value.clone(), revision: *revision })
    }

    fn page(&self, prefix: &str, after: Option<&str>, limit: usize) -> (Vec<KeyValue>, bool) {
        let fits = |key: &str| key.starts_with(prefix) && after.is_none_or(|after| key > after);
        let mut all: Vec<_> = self
            .keys
            .iter()
            .filter(|(key, _)| fits(key))
            .map(|(key, (value, revision))| KeyValue { key: key.clone(), value: value.clone(), revision: *revision })
            .collect();
        let more = all.len() > limit;
        all.truncate(limit);
        (all, more)
    }
}
