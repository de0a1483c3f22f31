//! Whether to take the Lease. Pure: time is an argument, and only this process's own clock counts.

use std::time::{Duration, Instant};

/// How long a Lease counts after its holder's last renewal.
pub const DURATION: Duration = Duration::from_secs(15);
/// Between renewals by the holder.
pub const RENEW: Duration = Duration::from_secs(5);
/// Without a renewal for so long the holder stops acting: 5 s before anybody else may begin.
pub const GIVE_UP: Duration = Duration::from_secs(10);

/// The Lease as it was read: what matters of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Who holds it; empty when nobody does.
    pub holder: String,
    /// Time of the renewal by the holder's clock: only whether it changes is looked at.
    pub renewed: String,
    /// How long it counts, as its holder says.
    pub duration: Duration,
}

/// What to do about the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Write our name, or a new time, into it.
    Take,
    /// Somebody else holds it.
    Wait,
}

/// What was seen of other holders, and since when.
#[derive(Debug, Default)]
pub struct Observer {
    last: Option<(Seen, Instant)>,
}

impl Observer {
    /// Decides on what was just read.
    pub fn decide(&mut self, seen: &Seen, own: &str, now: Instant) -> Decision {
        let since = match &self.last {
            Some((last, since)) if last == seen => *since,
            _ => {
                self.last = Some((seen.clone(), now));
                now
            }
        };
        // The same name is this pod before its restart: there is nobody to wait for.
        let free = seen.holder.is_empty() || seen.holder == own;
        let expired = now.saturating_duration_since(since) >= seen.duration.max(DURATION);
        if free || expired { Decision::Take } else { Decision::Wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(holder: &str, renewed: &str) -> Seen {
        Seen { holder: holder.to_owned(), renewed: renewed.to_owned(), duration: DURATION }
    }

    #[test]
    fn a_free_lease_and_an_own_one_are_taken_at_once() {
        let now = Instant::now();
        assert_eq!(Observer::default().decide(&seen("", "1"), "pod-1", now), Decision::Take);
        assert_eq!(Observer::default().decide(&seen("pod-1", "1"), "pod-1", now), Decision::Take);
        // A prefix proves nothing.
        assert_eq!(Observer::default().decide(&seen("pod-11", "1"), "pod-1", now), Decision::Wait);
    }

    #[test]
    fn a_lease_of_another_is_taken_when_it_was_not_renewed_for_its_duration() {
        let start = Instant::now();
        let mut observer = Observer::default();
        for second in 0..15 {
            let now = start + Duration::from_secs(second);
            assert_eq!(observer.decide(&seen("pod-2", "1"), "pod-1", now), Decision::Wait, "{second}");
        }
        assert_eq!(observer.decide(&seen("pod-2", "1"), "pod-1", start + DURATION), Decision::Take);
    }

    #[test]
    fn each_renewal_starts_the_wait_again_whatever_the_clocks_say() {
        let start = Instant::now();
        let mut observer = Observer::default();
        observer.decide(&seen("pod-2", "1999-01-01"), "pod-1", start);
        let later = start + Duration::from_secs(14);
        assert_eq!(observer.decide(&seen("pod-2", "1999-01-02"), "pod-1", later), Decision::Wait);
        assert_eq!(observer.decide(&seen("pod-2", "1999-01-02"), "pod-1", later + DURATION / 2), Decision::Wait);
    }

    #[test]
    fn a_holder_stops_before_anybody_else_begins() {
        // The last renewal that others saw was sent after the moment from which GIVE_UP counts.
        assert!(GIVE_UP < DURATION);
        assert!(RENEW * 2 <= GIVE_UP);
    }
}
