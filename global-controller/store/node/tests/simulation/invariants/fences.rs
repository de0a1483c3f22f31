//! A transaction fenced with a term has an effect only as an entry of that term, and is refused only outside of it.

use store_node::TxnOutcome;

use super::Check;
use crate::recorder::{Event, Seen};

pub fn check(seen: &Seen) -> Check {
    let Event::Applied { txn: Some(txn), outcome: Some(outcome), changes } = &seen.event else { return Ok(()) };
    let fits = txn.fence().is_none_or(|fence| fence.0 == seen.position.term);
    let refused = *outcome == TxnOutcome::Fenced;
    if fits == refused || (refused && changes.is_some()) {
        return Err(format!("a transaction with {:?} at {:?} ended as {outcome:?}", txn.fence(), seen.position));
    }
    Ok(())
}
