//! Which assignment is worked on next: each at most once at a time, again when it was woken meanwhile, later after an
//! error, and regularly when nothing happens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::retry;

/// Between looks at an assignment about which nothing was heard.
pub const RESYNC: Duration = Duration::from_secs(10);
/// Between two looks at one assignment: news come in bunches, and whoever else keeps setting the same images is not
/// answered faster than this.
const SPACING: Duration = Duration::from_millis(100);
/// News of the many objects of one assignment come one by one, and each look reads all of them.
const BUNCH: Duration = Duration::from_millis(500);
/// After an error: first, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// Names in the queue; fences limit the assignments to half of it.
const MAX_NAMES: usize = 4_096;

/// How a piece of work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Fine: look again after [`RESYNC`].
    Fine,
    /// Fine: look again then, or after [`RESYNC`] if that is sooner.
    At(Instant),
    /// An error: look again after a time that grows.
    Failed,
    /// There is no such assignment.
    Forget,
}

/// The next piece of work.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Now(String),
    At(Instant),
    Never,
}

/// The order of work. Pure: time and chance are arguments.
#[derive(Debug, Default)]
struct Schedule {
    due: BTreeMap<String, Instant>,
    running: BTreeSet<String>,
    failures: BTreeMap<String, u32>,
    /// Before this an assignment is not looked at again.
    rests: BTreeMap<String, Instant>,
}

impl Schedule {
    /// `false`: there is no room.
    fn wake(&mut self, name: &str, now: Instant) -> bool {
        let now = self.rests.get(name).map_or(now, |rest| now.max(*rest));
        if let Some(due) = self.due.get_mut(name) {
            *due = now.min(*due);
            return true;
        }
        let room = self.due.len() < MAX_NAMES;
        if room {
            self.due.insert(name.to_owned(), now);
        }
        room
    }

    fn forget(&mut self, name: &str) {
        self.due.remove(name);
        self.failures.remove(name);
        self.rests.remove(name);
    }

    fn next(&mut self, now: Instant) -> Next {
        let idle = self.due.iter().filter(|(name, _)| !self.running.contains(*name));
        let Some((name, due)) = idle.min_by_key(|(_, due)| **due) else { return Next::Never };
        if *due > now {
            return Next::At(*due);
        }
        let name = name.clone();
        self.due.remove(&name);
        self.running.insert(name.clone());
        Next::Now(name)
    }

    fn finish(&mut self, name: &str, finish: Finish, now: Instant, chance: f64) {
        self.running.remove(name);
        let failures = self.failures.get(name).copied().unwrap_or(0);
        let wait = match finish {
            Finish::Forget => {
                self.failures.remove(name);
                self.rests.remove(name);
                return;
            }
            Finish::Fine => RESYNC,
            Finish::At(then) => then.saturating_duration_since(now).clamp(SPACING, RESYNC),
            Finish::Failed => retry::after(failures, BACKOFF.0, BACKOFF.1, chance),
        };
        if finish == Finish::Failed {
            self.failures.insert(name.to_owned(), failures.saturating_add(1));
        } else {
            self.failures.remove(name);
        }
        let rest = now + SPACING;
        self.rests.insert(name.to_owned(), rest);
        // Woken meanwhile: that comes first.
        self.due.entry(name.to_owned()).and_modify(|due| *due = rest.max(*due)).or_insert(now + wait);
    }
}

/// The queue of work.
#[derive(Debug, Default)]
pub struct Queue {
    schedule: Mutex<Schedule>,
    changed: Notify,
}

impl Queue {
    /// Works on this assignment now. `false`: there is no room, and the next resync of the cache has to bring it.
    pub fn wake(&self, name: &str) -> bool {
        let room = self.lock().wake(name, Instant::now());
        self.changed.notify_one();
        room
    }

    /// Works on this assignment in a moment, in which more may become known.
    pub fn wake_soon(&self, name: &str) -> bool {
        let room = self.lock().wake(name, Instant::now() + BUNCH);
        self.changed.notify_one();
        room
    }

    /// Forgets an assignment that is gone.
    pub fn forget(&self, name: &str) {
        self.lock().forget(name);
    }

    /// Starts over with these assignments: whoever worked before is gone. They are listed under the lock, so whoever
    /// is woken and not among them is woken afterwards.
    pub fn restart(&self, names: impl FnOnce() -> Vec<String>) {
        let mut schedule = self.lock();
        *schedule = Schedule::default();
        let now = Instant::now();
        for name in names() {
            schedule.wake(&name, now);
        }
        drop(schedule);
        self.changed.notify_one();
    }

    /// Waits for the next piece of work; each has to be [finished](Self::finish).
    pub async fn next(&self) -> String {
        loop {
            let next = self.lock().next(Instant::now());
            match next {
                Next::Now(name) => return name,
                Next::At(due) => tokio::select! {
                    () = tokio::time::sleep_until(due.into()) => {}
                    () = self.changed.notified() => {}
                },
                Next::Never => self.changed.notified().await,
            }
        }
    }

    /// A piece of work ended.
    pub fn finish(&self, name: &str, finish: Finish) {
        self.lock().finish(name, finish, Instant::now(), retry::chance());
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Schedule> {
        // Each change is a few map operations; a panic in between can at worst lose a wake-up, and resync heals it.
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Next {
        Next::Now(name.to_owned())
    }

    #[test]
    fn an_assignment_is_worked_on_once_at_a_time_and_again_when_woken_meanwhile() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        schedule.wake("a", now);
        schedule.wake("a", now);
        assert_eq!(schedule.next(now), name("a"));
        assert_eq!(schedule.next(now), Next::Never);
        schedule.wake("a", now);
        assert_eq!(schedule.next(now), Next::Never);
        schedule.finish("a", Finish::Fine, now, 1.0);
        assert_eq!(schedule.next(now), Next::At(now + SPACING));
        assert_eq!(schedule.next(now + SPACING), name("a"));
        schedule.finish("a", Finish::Fine, now, 1.0);
        assert_eq!(schedule.next(now), Next::At(now + RESYNC));
    }

    #[test]
    fn an_assignment_that_is_woken_all_the_time_is_looked_at_with_pauses() {
        let (mut schedule, start) = (Schedule::default(), Instant::now());
        let mut looks = 0;
        for milli in 0..1_000 {
            let now = start + Duration::from_millis(milli);
            schedule.wake("a", now);
            if schedule.next(now) == name("a") {
                looks += 1;
                schedule.finish("a", Finish::Fine, now, 1.0);
            }
        }
        assert_eq!(looks, 10);
    }

    #[test]
    fn errors_wait_longer_each_time_up_to_a_bound_and_success_starts_over() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        let mut waits = Vec::new();
        let mut now = now;
        for _ in 0..9 {
            now += SPACING;
            schedule.wake("a", now);
            assert_eq!(schedule.next(now), name("a"));
            schedule.finish("a", Finish::Failed, now, 1.0);
            let Next::At(due) = schedule.next(now) else { continue };
            waits.push((due - now).as_millis());
        }
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        schedule.wake("a", now + SPACING);
        assert_eq!(schedule.next(now + SPACING), name("a"));
        schedule.finish("a", Finish::Fine, now, 1.0);
        assert!(schedule.failures.is_empty());
    }

    #[test]
    fn a_deadline_is_looked_at_when_it_is_over() {
        for (seconds, wait) in [(0, SPACING), (3, Duration::from_secs(3)), (600, RESYNC)] {
            let (mut schedule, now) = (Schedule::default(), Instant::now());
            schedule.wake("a", now);
            schedule.next(now);
            schedule.finish("a", Finish::At(now + Duration::from_secs(seconds)), now, 1.0);
            assert_eq!(schedule.next(now), Next::At(now + wait), "{seconds}");
        }
    }

    #[test]
    fn news_that_come_one_by_one_are_looked_at_once_and_not_put_off() {
        let (mut schedule, start) = (Schedule::default(), Instant::now());
        let mut looks = 0;
        for milli in 0..1_000 {
            let now = start + Duration::from_millis(milli);
            schedule.wake("a", now + BUNCH);
            if schedule.next(now) == name("a") {
                looks += 1;
                schedule.finish("a", Finish::Fine, now, 1.0);
            }
        }
        assert_eq!(looks, 1);
        assert_eq!(schedule.next(start + Duration::from_secs(1) + SPACING), name("a"));
    }

    #[test]
    fn the_longest_due_comes_first() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        schedule.wake("b", now);
        schedule.wake("a", now + RESYNC);
        assert_eq!(schedule.next(now + RESYNC), name("b"));
        assert_eq!(schedule.next(now + RESYNC), name("a"));
    }

    #[test]
    fn nobody_is_woken_between_the_listing_and_the_start() {
        let queue = Queue::default();
        queue.wake("gone");
        queue.restart(|| {
            assert!(queue.schedule.try_lock().is_err());
            vec!["a".to_owned()]
        });
        let now = Instant::now();
        assert_eq!(queue.lock().next(now), name("a"));
        assert_eq!(queue.lock().next(now), Next::Never);
    }

    #[test]
    fn an_assignment_that_is_listed_while_it_is_looked_for_is_not_forgotten() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        schedule.wake("a", now);
        schedule.next(now);
        schedule.wake("a", now);
        schedule.finish("a", Finish::Forget, now, 1.0);
        assert_eq!(schedule.next(now), name("a"));
    }

    #[test]
    fn what_is_gone_does_not_come_back() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        schedule.wake("a", now);
        schedule.next(now);
        schedule.finish("a", Finish::Forget, now, 1.0);
        assert_eq!(schedule.next(now), Next::Never);
        schedule.wake("b", now);
        schedule.forget("b");
        assert_eq!(schedule.next(now), Next::Never);
    }
}
