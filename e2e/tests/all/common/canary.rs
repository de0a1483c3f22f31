//! One rollout over three members, the canary first: what tests of stores and hubs that are lost or put back tell their story
//! with.

use std::path::Path;

use e2e::playground::{Options, Playground};

use super::{rollout, up};

pub const CANARY: &str = "prod-us-east";
pub const WEST: &str = "prod-us-west";
pub const MARS: &str = "prod-mars";
/// An image that never becomes ready.
pub const BAD: &str = "registry.example.com/checkout:never-ready-3";

/// The three, and three controllers.
pub async fn fleet(folder: &Path) -> Playground {
    up(Options::new(folder.join("playground"), 3, 3).named(&[CANARY, WEST, MARS])).await
}

/// The image over all three, with a pause of so many seconds after the canary.
pub fn checkout(image: &str, pause: u32) -> String {
    let targets = format!("targetClusters: [{CANARY}, {WEST}, {MARS}]");
    let steps = format!("[{{setWeight: 10, pause: {pause}}}]");
    let strategy = format!("{{progressDeadlineSeconds: 10, canary: {{steps: {steps}, soakSeconds: 1}}}}");
    rollout("checkout", &targets, image, &strategy)
}
