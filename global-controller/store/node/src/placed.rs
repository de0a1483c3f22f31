//! Requests on their way through the log: which lies at which place, and what became of that place.

use std::collections::BTreeMap;

use crate::RequestId;
use crate::table::Position;

/// Ticks after which a request is given up: longer than any caller waits, so that it only frees what nobody listens
/// for any more.
pub(crate) const EXPIRY_TICKS: u64 = 1_000;
/// Between two looks for such requests.
const SWEEP_TICKS: u64 = EXPIRY_TICKS / 10;

/// What became of a request's place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Its own entry was applied.
    Applied,
    /// Another leader's entry was applied there: the request never takes effect.
    Replaced,
    /// Passed over. Only a leader's snapshot skips entries, and it doesn't say what became of each.
    Skipped,
}

/// Requests by place. Those of one leader have one place each; one that lost its office and won it again may still wait
/// for older ones.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    requests: BTreeMap<(u64, u64), (RequestId, u64)>,
    now: u64,
}

impl Placed {
    pub(crate) fn place(&mut self, id: RequestId, position: Position) {
        self.requests.insert((position.index, position.term), (id, self.now));
    }

    /// Takes everything placed up to and with `position`, whose entry was applied.
    pub(crate) fn settle(&mut self, position: Position, mut each: impl FnMut(RequestId, Fate)) {
        while let Some(first) = self.requests.first_entry() {
            let (index, term) = *first.key();
            if index > position.index {
                break;
            }
            let (id, _) = first.remove();
            each(
                id,
                match (index == position.index, term == position.term) {
                    (true, true) => Fate::Applied,
                    (true, false) => Fate::Replaced,
                    (false, _) => Fate::Skipped,
                },
            );
        }
    }

    /// Counts a tick, and takes what was placed too long ago.
    pub(crate) fn tick(&mut self, mut each: impl FnMut(RequestId)) {
        self.now += 1;
        if !self.now.is_multiple_of(SWEEP_TICKS) {
            return;
        }
        let now = self.now;
        let expired = self.requests.extract_if(.., |_, (_, placed)| now - *placed >= EXPIRY_TICKS);
        expired.for_each(|(_, (id, _))| each(id));
    }
}
