//! One question to a Prometheus, or what speaks its API, and what its answer is. The controller asks its sources so, and an
//! agent the one beside it; whom to ask, how often and what an answer means is theirs.
//!
//! An answer is plain data; every failure is one of a few typed reasons, none of which is ever a number.

mod answer;
mod exchange;

pub use answer::{Answer, Failure, Health, Judged, Labels, Reply, shortened, with_causes};
pub use exchange::{Moments, Question, ask};
