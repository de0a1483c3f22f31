//! Our transactions as etcd's: conditions are compares, and the other branch reads what held instead.

use etcd_client::{Compare, CompareOp, GetOptions, KvClient, Txn as EtcdTxn, TxnOp, TxnOpResponse, TxnResponse};
use store_node::{Fence, Op, Txn, TxnOutcome, When};

use super::failure::Failure;
use super::keys::Keys;
use super::reading::{revision, unsigned};

/// Sends a transaction once. The second number is the revision of the answer.
pub(super) async fn execute(mut client: KvClient, keys: &Keys, txn: &Txn) -> Result<(TxnOutcome, u64), Failure> {
    let answer = client.txn(request(keys, txn)).await?;
    let at = revision(answer.header());
    let outcome = if answer.succeeded() { TxnOutcome::Committed { revision: at } } else { refusal(txn, &answer) };
    Ok((outcome, at))
}

/// At most 101 compares and 101 operations a branch; etcd's default limit is 128.
fn request(keys: &Keys, txn: &Txn) -> EtcdTxn {
    let look = |key: &str| TxnOp::get(key, Some(GetOptions::new().with_keys_only()));
    let mut compares = Vec::with_capacity(txn.when().len() + 1);
    let mut otherwise = Vec::with_capacity(txn.when().len() + 1);
    if let Some(Fence(fence)) = txn.fence() {
        compares.push(Compare::create_revision(keys.leader(), CompareOp::Equal, existing(fence)));
        otherwise.push(look(keys.leader()));
    }
    for when in txn.when() {
        let key = keys.outer(key_of(when));
        otherwise.push(look(&key));
        compares.push(match when {
            When::Absent { .. } => Compare::create_revision(key, CompareOp::Equal, 0),
            When::At { revision, .. } => Compare::mod_revision(key, CompareOp::Equal, existing(*revision)),
        });
    }
    let mut then: Vec<_> = txn.then().iter().map(|op| operation(keys, op)).collect();
    if then.is_empty() {
        // Etcd answers a transaction without operations from the member's own, perhaps old state.
        then.push(look(keys.leader()));
    }
    EtcdTxn::new().when(compares).and_then(then).or_else(otherwise)
}

fn operation(keys: &Keys, op: &Op) -> TxnOp {
    match op {
        Op::Put { key, value } => TxnOp::put(keys.outer(key), value.as_ref(), None),
        Op::Delete { key } => TxnOp::delete(keys.outer(key), None),
    }
}

/// A revision that something existing can have. To etcd zero means absent, to us it is no revision at all.
fn existing(revision: u64) -> i64 {
    if revision == 0 { i64::MAX } else { revision.try_into().unwrap_or(i64::MAX) }
}

fn key_of(when: &When) -> &str {
    let (When::Absent { key } | When::At { key, .. }) = when;
    key
}

/// Why nothing was applied. The fence comes first, as it does in our own table.
fn refusal(txn: &Txn, answer: &TxnResponse) -> TxnOutcome {
    let mut found = answer.op_responses().into_iter().map(|response| match response {
        TxnOpResponse::Get(mut got) => got.take_kvs().into_iter().next(),
        _ => None,
    });
    if let Some(Fence(fence)) = txn.fence() {
        let leader = found.next().flatten().map(|leader| unsigned(leader.create_revision()));
        if leader != Some(fence) {
            return TxnOutcome::Fenced;
        }
    }
    let current = txn.when().iter().zip(found).map(|(when, found)| {
        let revision = found.map(|found| unsigned(found.mod_revision()));
        (key_of(when).to_owned(), revision)
    });
    TxnOutcome::Conflict { current: current.collect() }
}
