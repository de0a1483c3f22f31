//! Asking Prometheus servers, for gates. What an answer means is not decided here.
//!
//! ```text
//! Sources::ask(source, query, at, deadline)
//!   └─ Source: a place among those under way ─▶ attempt ─▶ attempt … ─▶ Answer
//!                breaker ──┘        └─ credentials, TLS: read again when they change
//! ```
//!
//! With `analysis.from: Member` the agents ask instead, each the Prometheus beside it ([`inquiries`]).
//!
//! The moment to which a question refers is an argument, so that all members of one round are asked about the same one
//! however long the round takes. An answer is plain data; every failure is one of a few typed reasons, none of which is
//! ever a number.

mod batch;
mod breaker;
mod figures;
mod inquiries;
mod members;
pub(crate) mod promql;
mod questions;
mod rounds;
mod source;
mod sources;

pub use figures::Figures;
pub(crate) use inquiries::Inquiries;
pub use prometheus_asker::{Answer, Failure, Labels, Moments};
pub use questions::{Wanted, answers};
pub(crate) use rounds::{plain, run as measure, too_far_back, wanted};
pub use sources::Sources;
