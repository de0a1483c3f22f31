//! Is there an order of all operations that respects real time and that the model allows?
//!
//! Wing and Gong's search with Lowe's memoization of (operations done, state). Two observations keep it small without
//! losing an answer: an operation that changes nothing and fits now may always go first, as it takes no choice from
//! the others; and an operation of unknown outcome is only worth placing where it changes something, as having no effect
//! is the same as never having happened. And where a read saw a value that only one operation wrote, the revision that it saw with
//! it is the only one which that operation can have taken.

use std::collections::{HashMap, HashSet};

use store_node::{Op, TxnOutcome};

use crate::history::{Answer, Call, Operation, Outcome};
use crate::model::{Effect, Model};

/// States looked at before the search gives up. The largest history seen needs a few thousand.
const MAX_STATES: usize = 300_000;

#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Linearizable,
    /// The longest order found places this many operations; the rest starts with these.
    Violation {
        placed: usize,
        stuck: Vec<String>,
    },
    /// Too many states.
    Undecided,
}

struct Known<'a> {
    call: &'a Call,
    answer: &'a Answer,
    invoked: u64,
    returned: u64,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Node {
    /// Every known operation before this one is done.
    first: usize,
    /// Further known operations that are done.
    ahead: Vec<usize>,
    unknown_done: Vec<usize>,
    model: Model,
}

struct Search<'a> {
    known: Vec<Known<'a>>,
    unknown: Vec<(&'a Call, u64)>,
    /// Revisions that known operations took: no operation of unknown outcome can have taken one.
    told: HashSet<u64>,
    /// Operations of unknown outcome whose revision was seen, and the other way round.
    seen: HashMap<usize, u64>,
    taker: HashMap<u64, usize>,
}

/// Checks a history that began with an empty store.
pub fn check(history: &[Operation]) -> Verdict {
    let search = Search::new(history);
    let start = Node { first: 0, ahead: Vec::new(), unknown_done: Vec::new(), model: Model::default() };
    let mut stack = vec![start];
    let mut seen = HashSet::new();
    let (mut best, mut stuck) = (0, Vec::new());
    while let Some(mut node) = stack.pop() {
        search.absorb(&mut node);
        let placed = node.first + node.ahead.len();
        if placed == search.known.len() {
            return Verdict::Linearizable;
        }
        if placed >= best {
            (best, stuck) = (placed, search.candidates(&node));
        }
        if seen.len() >= MAX_STATES {
            return Verdict::Undecided;
        }
        if seen.insert(node.clone()) {
            search.branch(&node, &mut stack);
        }
    }
    let stuck = stuck.iter().map(|place| search.known[*place].describe()).collect();
    Verdict::Violation { placed: best, stuck }
}

/// The revision that an operation certainly took: one that only deletes may have found nothing to delete.
fn taken(call: &Call, answer: &Answer) -> Option<u64> {
    match (call, answer) {
        (Call::Txn(txn), Answer::Txn(TxnOutcome::Committed { revision })) => {
            txn.then().iter().any(|op| matches!(op, Op::Put { .. })).then_some(*revision)
        }
        _ => None,
    }
}

/// Who wrote a value: an operation of unknown outcome if it alone did, else `None`.
fn writers<'a>(history: &'a [Operation], unknown: &[(&'a Call, u64)]) -> HashMap<&'a [u8], Option<usize>> {
    let mut writers: HashMap<&[u8], Option<usize>> = HashMap::new();
    for call in history.iter().map(|operation| &operation.call) {
        let place = unknown.iter().position(|(other, _)| std::ptr::eq(*other, call));
        for value in written(call) {
            writers.entry(value).and_modify(|writer| *writer = None).or_insert(place);
        }
    }
    writers
}

fn written(call: &Call) -> impl Iterator<Item = &[u8]> {
    let then = if let Call::Txn(txn) = call { txn.then() } else { &[] };
    then.iter().filter_map(|op| if let Op::Put { value, .. } = op { Some(value.as_ref()) } else { None })
}

/// Values that an answer shows, with their revisions.
fn values(answer: &Answer) -> Vec<(&[u8], u64)> {
    match answer {
        Answer::Value(found) => found.iter().map(|found| (found.value.as_ref(), found.revision)).collect(),
        Answer::Page { items, .. } => items.iter().map(|item| (item.value.as_ref(), item.revision)).collect(),
        Answer::Txn(_) => Vec::new(),
    }
}

impl<'a> Search<'a> {
    fn new(history: &'a [Operation]) -> Self {
        let (mut known, mut unknown, mut told) = (Vec::new(), Vec::new(), HashSet::new());
        for Operation { client: _, call, invoked, outcome } in history {
            match outcome {
                Outcome::Returned(returned, answer) => {
                    told.extend(taken(call, answer));
                    known.push(Known { call, answer, invoked: *invoked, returned: *returned });
                }
                Outcome::Unknown | Outcome::Open => unknown.push((call, *invoked)),
                Outcome::Failed => {}
            }
        }
        known.sort_by_key(|operation| operation.invoked);
        let writers = writers(history, &unknown);
        let (mut seen, mut taker) = (HashMap::new(), HashMap::new());
        for (value, revision) in known.iter().flat_map(|operation| values(operation.answer)) {
            if let Some(Some(place)) = writers.get(value) {
                seen.insert(*place, revision);
                taker.insert(revision, *place);
            }
        }
        Self { known, unknown, told, seen, taker }
    }

    /// Known operations that may come next: no other one that isn't done returned before they were invoked.
    fn candidates(&self, node: &Node) -> Vec<usize> {
        let mut deadline = u64::MAX;
        let mut found = Vec::new();
        for (place, operation) in self.known.iter().enumerate().skip(node.first) {
            if operation.invoked > deadline {
                break;
            }
            if !node.ahead.contains(&place) {
                deadline = deadline.min(operation.returned);
                found.push(place);
            }
        }
        found.retain(|place| self.known[*place].invoked <= deadline);
        found
    }

    /// Places everything that fits and changes nothing.
    fn absorb(&self, node: &mut Node) {
        loop {
            let found = self.candidates(node);
            let fits = |place: &usize| {
                let operation = &self.known[*place];
                node.model.allows(operation.call, operation.answer) == Effect::Nothing
            };
            let Some(place) = found.into_iter().find(fits) else { return };
            node.place(place);
        }
    }

    fn branch(&self, node: &Node, stack: &mut Vec<Node>) {
        let candidates = self.candidates(node);
        let deadline = candidates.iter().map(|place| self.known[*place].returned).min().unwrap_or(u64::MAX);
        for place in candidates {
            let operation = &self.known[place];
            if let Effect::Changes(model) = node.model.allows(operation.call, operation.answer) {
                let mut next = Node { model, ..node.clone() };
                next.place(place);
                stack.push(next);
            }
        }
        if self.told.contains(&(node.model.revision + 1)) {
            return;
        }
        for (place, (call, invoked)) in self.unknown.iter().enumerate() {
            let next = node.model.revision + 1;
            let elsewhere = self.seen.get(&place).is_some_and(|revision| *revision != next)
                || self.taker.get(&next).is_some_and(|taker| *taker != place);
            if *invoked > deadline || elsewhere || node.unknown_done.contains(&place) {
                continue;
            }
            if let Some(model) = node.model.perhaps(call) {
                let mut next = Node { model, ..node.clone() };
                next.unknown_done.push(place);
                next.unknown_done.sort_unstable();
                stack.push(next);
            }
        }
    }
}

impl Node {
    fn place(&mut self, place: usize) {
        self.ahead.push(place);
        self.ahead.sort_unstable();
        while self.ahead.first() == Some(&self.first) {
            self.ahead.remove(0);
            self.first += 1;
        }
    }
}

impl Known<'_> {
    fn describe(&self) -> String {
        format!("[{}..{}] {:?} -> {:?}", self.invoked, self.returned, self.call, self.answer)
    }
}

#[cfg(test)]
#[path = "linearizability_test.rs"]
mod tests;
