//! The only place that reads the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

use rollout_core::Millis;

/// Milliseconds since the Unix epoch, by this machine's clock. Decisions never run back behind it: see
/// `Header::decided_at`.
pub(crate) fn now_millis() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
