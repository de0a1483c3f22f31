//! Failure domains: how many members of each may be in flux at once.

use std::collections::BTreeMap;

use crds::IntOrPercent;

use super::change::Change;
use crate::Rollout;

/// Members of each domain that are in flux, and how many may be.
pub(super) struct Domains {
    label: String,
    limit: IntOrPercent,
    /// Domain to members of the plan in it, and those in flux.
    counts: BTreeMap<String, Count>,
}

#[derive(Default)]
struct Count {
    planned: usize,
    in_flux: usize,
}

impl Domains {
    /// None if there is no such limit. A silent member keeps its place: it may be down because of what it was told.
    pub(super) fn of(change: &Change<'_>, rollout: &Rollout) -> Option<Self> {
        let order = rollout.order.as_ref()?;
        let (label, limit) = (order.spread_by.clone()?, order.max_per_domain?);
        let mut domains = Self { label, limit, counts: BTreeMap::new() };
        for name in &change.state.plan.members {
            let domain = domains.domain(change, name);
            let count = domains.counts.entry(domain).or_default();
            count.planned += 1;
            count.in_flux += usize::from(change.state.stage_of(name).is_in_flux());
        }
        Some(domains)
    }

    pub(super) fn have_room(&self, change: &Change<'_>, name: &str) -> bool {
        let count = self.counts.get(&self.domain(change, name));
        count.is_none_or(|count| count.in_flux < self.limit.of_rounded_up(count.planned).max(1))
    }

    /// One more is in flux.
    pub(super) fn take(&mut self, change: &Change<'_>, name: &str) {
        self.counts.entry(self.domain(change, name)).or_default().in_flux += 1;
    }

    /// Those without the label are a domain of their own.
    fn domain(&self, change: &Change<'_>, name: &str) -> String {
        let facts = change.observations.members.get(name);
        facts.map_or("", |facts| facts.label(&self.label)).to_owned()
    }
}
