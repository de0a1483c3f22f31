//! The rules of SEMANTICS.md that the crate holds, one test each at least, through its public API.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../world/mod.rs"]
mod world;

mod actions;
mod adoption;
mod alert_gates;
mod alerts;
mod approval;
mod background;
mod budgets;
mod catch_up;
mod claims;
mod compare;
mod concurrency;
mod cordoned;
mod deletion;
mod domains;
mod drift;
mod drift_stories;
mod evidence;
mod failure;
mod from_member;
mod gates;
mod history;
mod hub;
mod late;
mod limits;
mod linting;
mod manifests;
mod membership;
mod metrics;
mod missing;
mod no_pods;
mod on_delete;
mod outage;
mod overrides;
mod own_deadline;
mod partial;
mod pausing;
mod payload;
mod plan;
mod preview;
mod previous;
mod reachability;
mod replaying;
mod returning;
mod rewound;
mod rollback;
mod rollback_ends;
mod status;
mod steps;
mod time;
mod validation;
