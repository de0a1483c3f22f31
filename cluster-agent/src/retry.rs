//! How long to wait before trying again: exponential, bounded, and spread by chance.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Waiting times that double from `least` to `most`, each between half of it and all of it by chance, so that
/// ten thousand agents don't come back in the same instant.
#[derive(Clone, Debug)]
pub struct Backoff {
    least: Duration,
    most: Duration,
    attempts: u32,
}

impl Backoff {
    /// For calls to the hub: it may be failing over, which takes a second.
    pub const fn hub() -> Self {
        Self::new(Duration::from_millis(200), Duration::from_secs(5))
    }

    /// Doubles from `least` to `most`.
    pub const fn new(least: Duration, most: Duration) -> Self {
        Self { least, most, attempts: 0 }
    }

    /// Starts over: something worked.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    /// The next waiting time; `chance` is from 0 to 1.
    pub fn next(&mut self, chance: f64) -> Duration {
        let wait = after(self.attempts, self.least, self.most, chance);
        self.attempts = self.attempts.saturating_add(1);
        wait
    }
}

/// The waiting time after so many failures before; `chance` is from 0 to 1.
pub fn after(failures: u32, least: Duration, most: Duration, chance: f64) -> Duration {
    // 2^20 times any least is past any most.
    let full = least.saturating_mul(1 << failures.min(20)).min(most);
    full.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0))
}

/// A number from 0 to 1 by chance. Good for spreading load, not for secrets.
pub fn chance() -> f64 {
    f64::from(random()) / f64::from(u32::MAX)
}

/// One of so many by chance, counted from 0.
pub fn choose(count: usize) -> usize {
    usize::try_from(random()).unwrap_or(0) % count.max(1)
}

fn random() -> u32 {
    // The standard library seeds each of these afresh; the upper half of 64 bits always fits.
    u32::try_from(RandomState::new().build_hasher().finish() >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_doubles_up_to_its_bound_and_starts_over() {
        let mut backoff = Backoff::hub();
        let waits: Vec<u128> = (0..7).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 5000, 5000]);
        backoff.reset();
        assert_eq!(backoff.next(0.0), Duration::from_millis(100));
    }

    #[test]
    fn many_failures_do_not_overflow() {
        assert_eq!(after(u32::MAX, Duration::from_secs(1), Duration::from_secs(30), 1.0), Duration::from_secs(30));
    }

    #[test]
    fn chance_stays_within_its_bounds() {
        assert!((0..100).map(|_| chance()).all(|chance| (0.0..=1.0).contains(&chance)));
    }
}
