//! Asking for the hub's complete list: it heals local assignments that somebody edited or deleted.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// From one list that was asked for to the next. What a list does not heal (a CRD that prunes), the next one does not
/// heal either, and each is a new connection and a read from the hub's quorum.
const SPACING: Duration = Duration::from_mins(1);

/// Whether and when. Pure: the time is an argument.
#[derive(Debug, Default)]
struct Schedule {
    wanted: bool,
    last: Option<Instant>,
}

impl Schedule {
    /// When the list that is wanted is due.
    fn due(&self, now: Instant) -> Option<Instant> {
        self.wanted.then(|| self.last.map_or(now, |last| now.max(last + SPACING)))
    }

    /// The list is fetched because it was asked for.
    fn take(&mut self, now: Instant) {
        *self = Self { wanted: false, last: Some(now) };
    }

    /// A list begins that nobody had to ask for; it is as good.
    fn begin(&mut self) {
        self.wanted = false;
    }
}

/// Carries the wish for the complete list to the stream.
#[derive(Debug, Default)]
pub struct Resync {
    schedule: Mutex<Schedule>,
    asked: Notify,
}

impl Resync {
    /// Asks for the list: it comes at once, or a minute after the last one that was asked for.
    pub fn ask(&self) {
        self.lock().wanted = true;
        self.asked.notify_one();
    }

    /// A list begins: it answers all that was asked until now.
    pub fn begin(&self) {
        self.lock().begin();
    }

    /// Waits until a list is wanted and due. Nothing is lost when this future is dropped.
    pub async fn due(&self) {
        loop {
            let now = Instant::now();
            let due = self.lock().due(now);
            match due {
                None => self.asked.notified().await,
                Some(due) if due > now => tokio::time::sleep_until(due.into()).await,
                Some(_) => return self.lock().take(now),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Schedule> {
        // A panic can't leave two fields out of step that matter to each other.
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn a_list_is_fetched_at_once_and_then_at_most_once_a_minute() {
        let (mut schedule, start) = (Schedule::default(), Instant::now());
        assert_eq!(schedule.due(start), None);
        schedule.wanted = true;
        assert_eq!(schedule.due(start), Some(start));
        schedule.take(start);
        assert_eq!(schedule.due(start), None);
        schedule.wanted = true;
        assert_eq!(schedule.due(start + SPACING / 2), Some(start + SPACING));
        assert_eq!(schedule.due(start + SPACING * 2), Some(start + SPACING * 2));
    }

    #[test]
    fn a_list_that_comes_anyway_answers_what_was_asked() {
        let (mut schedule, start) = (Schedule::default(), Instant::now());
        schedule.wanted = true;
        schedule.begin();
        assert_eq!(schedule.due(start), None);
    }

    #[test]
    fn a_wish_outlives_whoever_waited_for_it() {
        let resync = Resync::default();
        assert_eq!(resync.due().now_or_never(), None);
        resync.ask();
        drop(resync.due());
        assert_eq!(resync.due().now_or_never(), Some(()));
        assert_eq!(resync.due().now_or_never(), None);
    }
}
