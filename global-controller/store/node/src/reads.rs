//! Linearizable reads by read index: collected into rounds, each round under a context that is never used again.

use std::collections::{BTreeMap, VecDeque};

use crate::RequestId;
use crate::config::Deviation;

/// Rounds under way at once: a read that arrives during a round starts the next without waiting for the first.
const MAX_ROUNDS: usize = 8;
/// Ticks after which an unanswered round is asked again: messages get lost, and a new leader knows no old rounds.
const RETRY_TICKS: u64 = 5;
/// Ticks after which a read is given up: longer than any caller waits.
const EXPIRY_TICKS: u64 = 1_000;

struct Read {
    id: RequestId,
    born: u64,
}

struct Round {
    context: Vec<u8>,
    reads: Vec<Read>,
    asked: u64,
}

pub(crate) struct Reads {
    node: u64,
    boot: u64,
    counter: u64,
    deviation: Deviation,
    now: u64,
    waiting: Vec<Read>,
    rounds: VecDeque<Round>,
    confirmed: BTreeMap<u64, Vec<Read>>,
}

impl Reads {
    pub(crate) fn new(node: u64, boot: u64, deviation: Deviation) -> Self {
        let (waiting, rounds, confirmed) = (Vec::new(), VecDeque::new(), BTreeMap::new());
        Self { node, boot, counter: 0, deviation, now: 0, waiting, rounds, confirmed }
    }

    pub(crate) fn add(&mut self, id: RequestId) {
        self.waiting.push(Read { id, born: self.now });
    }

    /// Starts a round for all waiting reads, if any, and returns its context.
    pub(crate) fn start_round(&mut self) -> Option<Vec<u8>> {
        if self.waiting.is_empty() || self.rounds.len() >= MAX_ROUNDS {
            return None;
        }
        if self.deviation == Deviation::SkipReadIndex {
            self.confirmed.entry(0).or_default().append(&mut self.waiting);
            return None;
        }
        self.counter += 1;
        let boot = if self.deviation == Deviation::ReusedReadContext { 0 } else { self.boot };
        let context = [self.node, boot, self.counter].map(u64::to_le_bytes).concat();
        let reads = std::mem::take(&mut self.waiting);
        self.rounds.push_back(Round { context: context.clone(), reads, asked: self.now });
        Some(context)
    }

    /// A quorum confirmed the round: its reads may be served once everything up to `index` is applied. Contexts of
    /// rounds that were given up mean nothing any more.
    pub(crate) fn confirm(&mut self, context: &[u8], index: u64) {
        let Some(found) = self.rounds.iter().position(|round| round.context == context) else { return };
        if let Some(round) = self.rounds.remove(found) {
            self.confirmed.entry(index).or_default().extend(round.reads);
        }
    }

    /// The reads that may be served now.
    pub(crate) fn ready(&mut self, applied: u64) -> Vec<RequestId> {
        let mut ready = Vec::new();
        while let Some(first) = self.confirmed.first_entry() {
            if *first.key() > applied {
                break;
            }
            ready.extend(first.remove().into_iter().map(|read| read.id));
        }
        ready
    }

    /// Puts the reads of rounds that nobody answered back, and returns those that are given up.
    pub(crate) fn tick(&mut self) -> Vec<RequestId> {
        self.now += 1;
        while self.rounds.front().is_some_and(|round| self.now - round.asked >= RETRY_TICKS) {
            if let Some(round) = self.rounds.pop_front() {
                self.waiting.extend(round.reads);
                if self.deviation == Deviation::ReusedReadContext {
                    self.counter -= 1;
                }
            }
        }
        let now = self.now;
        let given_up = self.waiting.extract_if(.., |read| now - read.born >= EXPIRY_TICKS);
        given_up.map(|read| read.id).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_retried_round_has_a_new_context_and_the_old_one_confirms_nothing() {
        let mut reads = Reads::new(1, 2, Deviation::None);
        reads.add(10);
        let first = reads.start_round().unwrap();
        assert!(reads.start_round().is_none());
        for _ in 0..RETRY_TICKS {
            assert!(reads.tick().is_empty());
        }
        let second = reads.start_round().unwrap();
        assert_ne!(first, second);
        reads.confirm(&first, 5);
        assert!(reads.ready(9).is_empty());
        reads.confirm(&second, 5);
        assert!(reads.ready(4).is_empty());
        assert_eq!(reads.ready(5), vec![10]);
    }

    #[test]
    fn a_read_that_no_leader_answers_is_given_up() {
        let mut reads = Reads::new(1, 2, Deviation::None);
        reads.add(10);
        let given_up: Vec<_> = (0..2 * EXPIRY_TICKS)
            .flat_map(|_| {
                reads.start_round();
                reads.tick()
            })
            .collect();
        assert_eq!(given_up, vec![10]);
    }
}
