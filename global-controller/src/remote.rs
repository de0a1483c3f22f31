//! Servers that the controller asks or tells: connections whose certificates may change, and who we are to them.

mod connection;
mod credentials;

pub(crate) use connection::Connection;
pub(crate) use credentials::{Authorization, Purpose};
pub use credentials::{SECRET_LABEL, Secrets};
