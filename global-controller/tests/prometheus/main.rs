//! The client of Prometheus servers, against real ones; where a real one can't be made to misbehave, against a fake that
//! says so in its name.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;
mod exporter;
mod fakes;
mod real;
mod secrets;
mod vectors;
