//! The controller on the hub: watch, plan, act, observe, decide, publish.
//!
//! ```text
//! hub ──list+watch──▶ HubCache ─┐                        ┌─▶ act: stream (each replica), webhook (leader)
//!                               ├─▶ driver (leader) ─txn─▶ store ─watch─▶ Mirror (each replica)
//! agents ──reports, heartbeats──┘                        └─▶ publish (leader), dashboard (each replica)
//! ```
//!
//! Every replica keeps the same two pictures in memory, of the hub and of the store; only the leader decides, and only
//! what the store has committed is acted on or published. A replica that takes over therefore starts warm, and a
//! leader that was cut off can at most repeat what was committed.

mod act;
pub mod alerts;
pub mod ask_command;
mod back_test;
mod board;
mod bus;
mod claims;
mod clock;
mod config;
mod consistency;
pub mod decisions_command;
mod driver;
mod fault;
mod http;
mod hub;
mod keys;
mod leader;
mod logging;
mod loss;
pub mod measure;
mod metrics;
mod mirror;
mod notices;
mod past;
mod presence;
mod publish;
mod quorum;
mod records;
mod reload;
pub mod remote;
mod serve;
mod skew;
mod store;
pub mod store_command;
#[cfg(test)]
mod test_story;
mod world;

pub use config::{
    AlertsConfig, Config, ConfigProblem, Credentials, Error as ConfigError, EventsConfig, Headers, ReceiverConfig,
    Server, ServerTls, SourceConfig, User,
};
pub use logging::{LogFormat, init as init_logging};
pub use serve::{Error as ServeError, serve};
pub use store::Error as StoreError;
