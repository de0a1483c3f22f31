//! What a test and the replicas in processes of their own say to each other: one line of JSON a message.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use federated_store::{SnapshotPolicy, Tuning};
use serde::{Deserialize, Serialize};

/// Begins a replica's lines; the test harness prints others.
pub const MARK: &str = "@";
/// In the replica's environment: its [`Order`].
pub const ORDER: &str = "FEDERATED_STORE_TEST_ORDER";

/// What a replica's process is to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    pub cluster: String,
    pub place: usize,
    pub ports: Vec<u16>,
    /// The folder to use.
    pub folder: String,
    /// Where `ca.crt`, `tls.crt` and `tls.key` lie.
    pub credentials: String,
    /// Entries between two snapshots.
    pub snapshot_entries: u64,
}

impl Order {
    pub fn tuning(&self) -> Tuning {
        let snapshots = SnapshotPolicy { entries: self.snapshot_entries, bytes: u64::MAX };
        Tuning { snapshots, ..Tuning::default() }
    }
}

pub fn replica_id(place: usize) -> String {
    format!("controller-{}", place + 1)
}

/// What a replica is asked, under a number that the answer repeats.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Ask {
    Leadership,
    Get { key: String },
    Range { prefix: String, after: Option<String> },
    Txn { fence: Option<u64>, when: Vec<Expected>, then: Vec<(String, String)> },
}

/// A key's last revision; `None` for a key that must be absent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Expected {
    pub key: String,
    pub revision: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    pub key: String,
    pub value: String,
    pub revision: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    Leadership {
        leader: Option<String>,
        fence: Option<u64>,
    },
    Item(Option<Item>),
    Page {
        items: Vec<Item>,
        more: bool,
    },
    Committed {
        revision: u64,
    },
    Conflict,
    Fenced,
    NotApplied {
        reason: String,
    },
    Unknown {
        reason: String,
    },
    /// A read failed, or the process is gone; the latter makes a write unknown.
    Failed {
        reason: String,
    },
}

/// A line of a replica.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Line {
    /// Its listener is open.
    Serving,
    /// It answers what it was asked under this number.
    Answer { number: u64, answer: Answer },
    /// It logged something of level warning or above.
    Log { text: String },
}
