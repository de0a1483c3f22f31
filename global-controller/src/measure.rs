//! Asking Prometheus servers, for gates. What an answer means is not decided here.
//!
//! ```text
//! Sources::ask(source, query, at, deadline)
//!   └─ Source: a place among those under way ─▶ attempt ─▶ attempt … ─▶ Answer
//!                breaker ──┘        └─ credentials, TLS: read again when they change
//! ```
//!
//! The moment to which a question refers is an argument, so that all members of one round are asked about the same one
//! however long the round takes. An answer is plain data; every failure is one of a few typed reasons, none of which is
//! ever a number.

mod answer;
mod batch;
mod breaker;
mod figures;
pub(crate) mod promql;
mod questions;
mod rounds;
mod source;
mod sources;

pub use answer::{Answer, Failure, Labels};
pub use figures::Figures;
pub use questions::{Wanted, answers};
pub(crate) use rounds::{plain, run as measure, too_far_back};
pub use source::Moments;
pub use sources::Sources;
