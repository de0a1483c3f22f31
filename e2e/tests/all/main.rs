//! Everything on real control planes, one test after the other: a fleet takes all of a small machine. One program, since each
//! of its own would take a minute more to build.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, missing_docs)]

mod common;

mod actions;
mod alert_gates;
mod alerts;
mod api_validation;
mod bad_image;
mod changing_fleet;
mod clock;
mod compare;
mod conflicts;
mod control_planes;
mod cut_off;
mod dashboard;
mod deploy_charts;
mod drift;
mod fault_points;
mod gates;
mod hub_rewound;
mod manifests;
mod metrics;
mod on_delete;
mod overrides;
mod playground;
mod recovery;
mod rollback;
mod ten_members;
mod two_members;
mod unreachable;
mod unruly;
