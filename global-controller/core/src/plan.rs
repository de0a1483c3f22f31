//! Which members a rollout means, and in which order.

use std::collections::{BTreeMap, BTreeSet};

use crds::WaveOrder;

use crate::{MemberFacts, Plan, Rollout};

/// The members that a rollout means at present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Named ones in list order, then selected ones by name, or as `order` says.
    pub members: Vec<String>,
    /// Named ones without `MemberCluster`.
    pub missing: Vec<String>,
}

/// The members that `rollout` means among those of the hub.
pub fn order(rollout: &Rollout, members: &BTreeMap<String, MemberFacts>) -> Order {
    let (mut ordered, missing): (Vec<String>, Vec<String>) =
        rollout.targets.iter().cloned().partition(|name| members.contains_key(name));
    if let Some(selector) = &rollout.selector {
        let named: BTreeSet<&str> = rollout.targets.iter().map(String::as_str).collect();
        let selected =
            members.iter().filter(|(name, facts)| !named.contains(name.as_str()) && selector.matches(&facts.labels));
        let mut selected: Vec<(&String, &MemberFacts)> = selected.collect();
        if let Some(order) = &rollout.order {
            arrange(&mut selected, order);
        }
        ordered.extend(selected.into_iter().map(|(name, _)| name.clone()));
    }
    Order { members: ordered, missing }
}

/// Puts members, given by name, in the order of their priority, and with domains those of a priority one domain after the
/// other. The last of each domain comes after all others: the waves before it have no whole domain in them.
fn arrange(members: &mut [(&String, &MemberFacts)], order: &WaveOrder) {
    let priority = |facts: &MemberFacts| {
        let label = order.priority_label.as_ref().map_or("", |key| facts.label(key));
        label.parse::<i64>().unwrap_or(i64::MAX)
    };
    members.sort_by_cached_key(|(_, facts)| priority(facts));
    let Some(key) = &order.spread_by else { return };
    let domain = |facts: &MemberFacts| facts.label(key).to_owned();
    let mut left: BTreeMap<String, usize> = BTreeMap::new();
    for (_, facts) in members.iter() {
        *left.entry(domain(facts)).or_default() += 1;
    }
    // Place of each among those of its domain and priority.
    let mut turns: BTreeMap<(String, i64), usize> = BTreeMap::new();
    let mut places: BTreeMap<&String, (bool, i64, usize, String)> = BTreeMap::new();
    for (name, facts) in members.iter() {
        let (domain, priority) = (domain(facts), priority(facts));
        let is_last = left.get_mut(&domain).is_some_and(|left| {
            *left -= 1;
            *left == 0
        });
        let turn = turns.entry((domain.clone(), priority)).or_default();
        places.insert(name, (is_last, priority, *turn, domain));
        *turn += 1;
    }
    members.sort_by(|(one, _), (other, _)| places.get(one).cmp(&places.get(other)));
}

/// Who may still join a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joiners {
    /// Join the waves that have not begun.
    Welcome,
    /// None joins after the last step began, nor after the end: they would be touched by no canary.
    TooLate,
}

/// The plan after members joined and left: waves that have begun lose those that left and gain nobody, the
/// others are ordered afresh.
pub(crate) fn replan(plan: &Plan, wanted: &[String], joiners: Joiners) -> Plan {
    let still: BTreeSet<&str> = wanted.iter().map(String::as_str).collect();
    let kept = |names: &[String]| -> Vec<String> {
        names.iter().filter(|name| still.contains(name.as_str())).cloned().collect()
    };
    let begun = plan.members.get(..plan.wave_end).unwrap_or(&plan.members);
    let mut members = kept(begun);
    let wave_end = members.len();
    match joiners {
        Joiners::Welcome => {
            let placed: BTreeSet<String> = members.iter().cloned().collect();
            members.extend(wanted.iter().filter(|name| !placed.contains(*name)).cloned());
        }
        Joiners::TooLate => members.extend(kept(plan.members.get(plan.wave_end..).unwrap_or(&[]))),
    }
    Plan { members, wave_end, late: plan.late.clone() }
}
