//! HTTP over mutual TLS: the server, the client, and who is at the other end.
//!
//! Controllers, their peers and agents all carry certificates of one authority. The subject says who somebody is:
//! the organization is the [`Role`], the common name is the name. Both sides check it: a server hands the caller's
//! [`Peer`] to the routes, and a client refuses a server of another role than it wants, because any certificate of
//! the authority could otherwise pose as a controller.

mod client;
mod credentials;
mod peer;
mod serve;

pub use client::client;
pub use credentials::{Credentials, Error};
pub use peer::{MEMBER_ORGANIZATION, Peer, REPLICA_ORGANIZATION, Role};
pub use serve::serve;
