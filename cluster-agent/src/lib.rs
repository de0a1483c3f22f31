//! The agent of a member cluster.
//!
//! The hub's assignments come in through [`accept`], over the stream ([`hub::stream`]) or the webhook
//! ([`accept::webhook`]), and become local objects. From these alone [`work`] and [`reconcile`] set images, watch health
//! and write statuses, so an agent without a hub carries on. Statuses leave through [`hub::outbox`]. Every pod takes
//! assignments in; the holder of the [`lease`] does the rest.

pub mod accept;
pub mod agent;
pub mod assignment;
pub mod cluster;
pub mod hub;
pub mod lease;
pub mod logging;
pub mod metrics;
pub mod operations;
pub mod options;
pub mod prometheus;
pub mod reconcile;
pub mod retry;
pub mod work;
