//! What is said of images that somebody else has set. Pure.

use std::collections::BTreeMap;

use super::apply;
use super::contention::{MAX_REVERTS, WINDOW};
use super::workload::Workload;
use crate::assignment::Order;

/// Of a workload that is left alone as the order wants it so.
pub fn reported(order: &Order, live: &Workload, wanted: &BTreeMap<String, String>) -> String {
    let (who, what) = changes(order, live, wanted);
    format!("{who} has set {what}")
}

/// Of one that somebody else changes again and again.
pub fn contended(order: &Order, live: &Workload, wanted: &BTreeMap<String, String>) -> String {
    let (who, what) = changes(order, live, wanted);
    let minutes = WINDOW.as_secs() / 60;
    format!("{who} has set other images {MAX_REVERTS} times within {minutes} minutes, the last time {what}")
}

/// Who it was, and which containers have which image instead of the wanted one. Where several were at it, each container
/// but the first says whose it is.
fn changes(order: &Order, live: &Workload, wanted: &BTreeMap<String, String>) -> (String, String) {
    let (ours, there) = (apply::manager(&order.spec.rollout.name), live.images());
    let changed = wanted.iter().filter(|(name, image)| there.get(*name) != Some(*image));
    let (mut first, mut texts) = (None, Vec::new());
    for (name, image) in changed {
        let who = live.set_by(name, &ours).unwrap_or("unknown");
        let now = there.get(name).map_or("", String::as_str);
        let by = if *first.get_or_insert(who) == who { String::new() } else { format!(" (by {who})") };
        texts.push(format!("{name} to {now} instead of {image}{by}"));
    }
    (first.unwrap_or("unknown").to_owned(), texts.join(", "))
}
