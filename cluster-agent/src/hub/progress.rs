//! What one stream has brought so far, and when it has to begin anew. Pure: the time is an argument.

use std::time::{Duration, Instant};

use crds::Fence;

use crate::accept::Source;

/// From the first assignment that could not be taken in, or the end of its list, to the next list. The reason is something
/// that a person changes: a CRD, a limit, the number of assignments.
const AGAIN: Duration = Duration::from_secs(30);

/// How an assignment of the stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is taken in, or it is older than what is known, or somebody else's: it does not have to come again.
    Settled,
    /// The API server refuses it. It has its mark.
    Refused,
    /// There is no room for its mark.
    NoRoom,
}

/// What one stream has brought so far.
#[derive(Debug)]
pub(super) struct Progress {
    source: Source,
    highest: Fence,
    is_marked: bool,
    again: Option<Instant>,
}

impl Progress {
    /// Of a stream that was just opened: first comes the list.
    pub(super) fn new() -> Self {
        Self { source: Source::List, highest: Fence::default(), is_marked: true, again: None }
    }

    /// Where the next assignment comes from.
    pub(super) fn source(&self) -> Source {
        self.source
    }

    /// An assignment came.
    pub(super) fn note(&mut self, fence: Fence, taken: Taken, now: Instant) {
        if self.source == Source::List {
            self.highest = self.highest.max(fence);
            self.is_marked &= taken != Taken::NoRoom;
        }
        if taken != Taken::Settled {
            self.again.get_or_insert(now + AGAIN);
        }
    }

    /// The list is complete. What it brought in vain has its pause from now on.
    pub(super) fn synced(&mut self, now: Instant) {
        self.source = Source::Stream;
        self.again = self.again.map(|_| now + AGAIN);
    }

    /// Whether the list is complete. Before that nothing but a failure ends the stream: a long list would never be
    /// taken in to its end.
    pub(super) fn is_synced(&self) -> bool {
        self.source == Source::Stream
    }

    /// The highest fence of the list; the lowest possible one when the list has an assignment without a mark, which
    /// would otherwise be too low for ever.
    pub(super) fn highest(&self) -> Fence {
        if self.is_marked { self.highest } else { Fence::default() }
    }

    /// When the list has to come again, for the sake of what was not taken in.
    pub(super) fn again(&self) -> Option<Instant> {
        self.again.filter(|_| self.is_synced())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fence(generation: i64) -> Fence {
        Fence { epoch: 1, generation }
    }

    #[test]
    fn the_highest_fence_is_that_of_the_list() {
        let (mut progress, now) = (Progress::new(), Instant::now());
        assert_eq!((progress.source(), progress.highest()), (Source::List, Fence::default()));
        for generation in [3, 9, 5] {
            progress.note(fence(generation), Taken::Settled, now);
        }
        progress.synced(now);
        progress.note(fence(12), Taken::Settled, now);
        assert_eq!((progress.source(), progress.highest(), progress.again()), (Source::Stream, fence(9), None));
    }

    #[test]
    fn an_assignment_without_mark_is_not_shut_out_by_the_others_of_its_list() {
        let (mut progress, now) = (Progress::new(), Instant::now());
        progress.note(fence(3), Taken::NoRoom, now);
        progress.note(fence(9), Taken::Settled, now);
        assert_eq!(progress.highest(), Fence::default());
    }

    #[test]
    fn what_is_refused_comes_again_half_a_minute_after_the_first_one() {
        for taken in [Taken::Refused, Taken::NoRoom] {
            let (mut progress, now) = (Progress::new(), Instant::now());
            progress.synced(now);
            progress.note(fence(3), taken, now);
            progress.note(fence(4), taken, now + AGAIN / 2);
            assert_eq!(progress.again(), Some(now + AGAIN), "{taken:?}");
        }
    }

    #[test]
    fn a_list_is_taken_in_to_its_end_however_long_it_takes() {
        let (mut progress, now) = (Progress::new(), Instant::now());
        progress.note(fence(3), Taken::Refused, now);
        assert_eq!((progress.is_synced(), progress.again()), (false, None));
        progress.synced(now + AGAIN * 2);
        assert_eq!((progress.is_synced(), progress.again()), (true, Some(now + AGAIN * 3)));
    }
}
