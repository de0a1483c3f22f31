//! Lines that tell a person what is being done, with the time since the start.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

type Sink = dyn Fn(&str) + Send + Sync;

/// Where progress lines go. Cheap to clone; all clones count from the same start.
#[derive(Clone)]
pub struct Progress {
    started: Instant,
    sink: Arc<Sink>,
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("started", &self.started).finish_non_exhaustive()
    }
}

impl Progress {
    /// Lines go to `sink`, one call each, without a line feed.
    pub fn new(sink: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { started: Instant::now(), sink: Arc::new(sink) }
    }

    /// Lines go to the standard output.
    pub fn stdout() -> Self {
        Self::new(|line| println!("{line}"))
    }

    /// Lines go to the standard error, for programs whose output is an answer, and for tests.
    pub fn stderr() -> Self {
        Self::new(|line| eprintln!("{line}"))
    }

    /// One line, preceded by the time since the start.
    pub fn line(&self, text: impl fmt::Display) {
        (self.sink)(&format!("[{:>8}] {text}", human(self.started.elapsed())));
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// A duration for people: `4.2 s`, `3 m 40 s`.
pub fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{} m {:02} s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_like_speech() {
        assert_eq!(human(Duration::from_millis(4230)), "4.2 s");
        assert_eq!(human(Duration::from_secs(220)), "3 m 40 s");
    }
}
