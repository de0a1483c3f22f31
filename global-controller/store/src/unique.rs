//! Numbers that have never been used before: incarnations and starts.

use std::hash::{BuildHasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

/// A number in `1..=i64::MAX` (JSON readers agree on those) drawn from the operating system's randomness, which
/// seeds [`RandomState`], mixed with the time and the process.
pub(crate) fn number() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let hash = RandomState::new().hash_one((now, std::process::id()));
    (hash >> 1).max(1)
}
