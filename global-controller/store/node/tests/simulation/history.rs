//! What clients asked for and heard, with simulated times.

use store_node::{KeyValue, Txn, TxnOutcome, Versioned};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Get { key: String },
    Range { prefix: String, after: Option<String>, limit: usize },
    Txn(Txn),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Value(Option<Versioned>),
    Page { items: Vec<KeyValue>, revision: u64, more: bool },
    Txn(TxnOutcome),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was heard yet.
    Open,
    /// Answered at this time.
    Returned(u64, Answer),
    /// Perhaps it happened, perhaps it still will.
    Unknown,
    /// It certainly had no effect.
    Failed,
}

#[derive(Clone, Debug)]
pub struct Operation {
    pub client: usize,
    pub call: Call,
    pub invoked: u64,
    pub outcome: Outcome,
}

impl Operation {
    pub fn new(client: usize, call: Call, invoked: u64) -> Self {
        Self { client, call, invoked, outcome: Outcome::Open }
    }
}
