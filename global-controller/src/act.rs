//! Brings committed assignments to agents. Both ways carry the same message and end in the same upsert, so a member
//! may get one twice; its fence makes that harmless.

pub(crate) mod objects;
pub(crate) mod stream;
pub(crate) mod webhook;
