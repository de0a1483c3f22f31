//! A circuit breaker: a server that keeps failing is left alone, and asked now and then whether it is back.

use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row after which the server is left alone. Fewer would be one broken connection and its retries.
const FAILURES_TO_OPEN: u32 = 5;
/// How long it is left alone at first; doubled each time that it still fails.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// Longest pause: a gate holds while it lasts, so it is no longer than the default interval of measurements.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Whether a server may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Breaker {
    state: State,
    /// A probe that told nothing for so long is forgotten, and another one may go.
    probe_deadline: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// All may pass.
    Closed { failures: u32 },
    /// Nobody may pass until then; the next pause would be this long.
    Open { until: Instant, pause: Duration },
    /// One was let through to see; nobody else may pass until then.
    Probing { until: Instant, pause: Duration },
}

impl Breaker {
    /// A closed one. No attempt lasts longer than `probe_deadline`.
    pub(super) fn new(probe_deadline: Duration) -> Self {
        Self { state: State::Closed { failures: 0 }, probe_deadline }
    }

    /// Whether somebody may pass now. After a pause the first who asks is the probe.
    pub(super) fn pass(&mut self, now: Instant) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { until, .. } | State::Probing { until, .. } if now < until => false,
            State::Open { pause, .. } | State::Probing { pause, .. } => {
                self.state = State::Probing { until: now + self.probe_deadline, pause };
                true
            }
        }
    }

    /// The server answered.
    pub(super) fn succeeded(&mut self) {
        self.state = State::Closed { failures: 0 };
    }

    /// The server failed.
    pub(super) fn failed(&mut self, now: Instant) {
        self.state = match self.state {
            State::Closed { failures } if failures + 1 < FAILURES_TO_OPEN => State::Closed { failures: failures + 1 },
            State::Closed { .. } => State::Open { until: now + FIRST_PAUSE, pause: FIRST_PAUSE },
            State::Probing { pause, .. } => {
                let pause = (pause * 2).min(LONGEST_PAUSE);
                State::Open { until: now + pause, pause }
            }
            // One that had passed before it opened: no news.
            open @ State::Open { .. } => open,
        };
    }

    /// Whether it lets everybody pass.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBE: Duration = Duration::from_secs(10);

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(PROBE);
        for _ in 0..FAILURES_TO_OPEN {
            assert!(breaker.pass(now));
            breaker.failed(now);
        }
        breaker
    }

    #[test]
    fn it_opens_only_after_failures_in_a_row() {
        let now = Instant::now();
        let mut breaker = Breaker::new(PROBE);
        for _ in 0..3 {
            for _ in 1..FAILURES_TO_OPEN {
                breaker.failed(now);
            }
            breaker.succeeded();
        }
        assert!(breaker.is_closed());
        assert!(!opened(now).is_closed());
        assert!(!opened(now).pass(now + FIRST_PAUSE / 2));
    }

    #[test]
    fn after_the_pause_one_probe_goes_and_its_success_lets_all_pass() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + FIRST_PAUSE;
        assert!(breaker.pass(later));
        assert!(!breaker.pass(later), "a second probe");
        breaker.succeeded();
        assert!(breaker.pass(later) && breaker.pass(later));
    }

    #[test]
    fn each_failed_probe_doubles_the_pause_up_to_a_limit() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        for seconds in [2, 4, 8, 16, 30, 30] {
            let pause = Duration::from_secs(seconds);
            assert!(!breaker.pass(now + pause - Duration::from_millis(1)), "before {pause:?}");
            now += pause;
            assert!(breaker.pass(now), "after {pause:?}");
            breaker.failed(now);
            // Others that were under way bring no news.
            breaker.failed(now + Duration::from_secs(1));
        }
    }

    #[test]
    fn a_probe_that_was_given_up_does_not_block_for_ever() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + FIRST_PAUSE;
        assert!(breaker.pass(later));
        assert!(!breaker.pass(later + PROBE / 2));
        assert!(breaker.pass(later + PROBE));
    }
}
