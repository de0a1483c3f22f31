//! The only place that reads the wall clock, and durations as milliseconds.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rollout_core::Millis;

/// How far the clock was set wrong, for tests.
static SKEW_MILLIS: AtomicI64 = AtomicI64::new(0);

/// Sets the clock wrong: see `fault`.
pub(crate) fn set_skew(millis: i64) {
    SKEW_MILLIS.store(millis, Ordering::Relaxed);
}

/// Milliseconds since the Unix epoch, by this machine's clock. Decisions never run back behind it: see
/// `Header::decided_at`.
pub(crate) fn now_millis() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX).saturating_add(SKEW_MILLIS.load(Ordering::Relaxed))
}

/// Whole milliseconds of a duration; one of half a billion years is cut to what fits.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
