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

impl Model {
    /// Whether the call may give this answer now, and the state after it if it changed.
    pub fn allows(&self, call: &Call, answer: &Answer) -> Option<Option<Self>> {
        match (call, answer) {
            (Call::Get { key }, Answer::Value(value)) => (self.get(key) == *value).then_some(None),
            (Call::Range { prefix, after, limit }, Answer::Page { items, revision, more }) => {
                let fits = *revision == self.revision && self.page(prefix, after.as_deref(), *limit) == (items.clone(), *more);
                fits.then_some(None)
            }
            // Terms aren't part of this model: the invariant on fences checks when a transaction may be fenced.
            (Call::Txn(txn), Answer::Txn(TxnOutcome::Fenced)) => txn.fence().is_some().then_some(None),
            (Call::Txn(txn), Answer::Txn(TxnOutcome::Conflict { current })) => {
                let expected: Vec<_> = txn.when().iter().map(|when| self.current(when)).collect();
                (!self.holds(txn) && *current == expected).then_some(None)
            }
            (Call::Txn(txn), Answer::Txn(TxnOutcome::Committed { revision })) => {
                if !self.holds(txn) {
                    return None;
                }
                let after = self.after(txn);
                (after.as_ref().unwrap_or(self).revision == *revision).then_some(after)
            }
            _ => None,
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
