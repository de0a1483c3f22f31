//! Which members a rollout means, and in which order.

use std::collections::{BTreeMap, BTreeSet};

use crate::{MemberFacts, Plan, Rollout};

/// The members that a rollout means at present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Named ones in list order, then selected ones by name.
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
        ordered.extend(selected.map(|(name, _)| name.clone()));
    }
    Order { members: ordered, missing }
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
    Plan { members, wave_end }
}
