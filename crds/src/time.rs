//! Times as decisions use them (milliseconds since the Unix epoch) and as objects show them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use k8s_openapi::jiff::Timestamp;

/// The time of an object's field for milliseconds since the Unix epoch, cut to whole seconds as the API
/// server does. Times out of range (year 9999) become the epoch.
pub fn time_from_millis(millis: i64) -> Time {
    Time(Timestamp::from_second(millis.div_euclid(1000)).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// The same to the millisecond, for fields where a second is too coarse.
pub fn micro_time_from_millis(millis: i64) -> MicroTime {
    MicroTime(Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// Milliseconds since the Unix epoch.
pub fn millis_from_time(time: &Time) -> i64 {
    time.0.as_millisecond()
}
