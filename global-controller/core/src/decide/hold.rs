//! While nothing moves until a person decides: reports and silence are noted, claims are kept. The person decides by an
//! action (see `actions`).

use super::{change::Change, claims, late, reports, silence};
use crate::Rollout;
use crate::plan::order;

pub(super) fn watch(change: &mut Change<'_>, rollout: Option<&Rollout>) {
    if let Some(rollout) = rollout {
        // Or another rollout would take members that this one is in the middle of.
        let order = order(rollout, change.observations.members);
        claims::take(change, rollout, &order, false);
    }
    reports::absorb(change);
    silence::heed(change);
    late::note(change);
}
