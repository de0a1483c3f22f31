//! Claims: taken before a member is told anything, kept until it has forgotten the rollout.

use std::collections::{BTreeMap, BTreeSet};

use crds::Intent;

use super::{Command, EventKind, change::Change};
use crate::claims::{Footing, Target, catch_up_targets, claim_of, targets};
use crate::gates::missing_source;
use crate::plan::Order;
use crate::{MemberStage, Rollout, WaitingOn};

/// Claims that are taken beside all else that a decision does. If more are missing they come first, in decisions of their
/// own, so that the members' turn never waits for the operations that a transaction bears.
const MAX_CLAIMS_BESIDE_ORDERS: usize = 16;

/// Most claims taken or released in one decision: what remains of a transaction lets members that fail return.
const MAX_CLAIMS_PER_DECISION: usize = 40;

/// Other rollouts that are announced, and remembered as such; more of them only show in the status.
const MAX_ANNOUNCED: usize = 16;

/// Whom of the selection the rollout has.
#[derive(Default)]
pub(super) struct Claimed {
    /// Those that it has or had already, with all that it wants there.
    pub members: Vec<String>,
    /// Those that it has, but for an object that is new in the payload and that another rollout has.
    pub contested: Vec<String>,
}

/// Takes what is free, and answers whom this rollout has. A rollout that has not started takes all or none; one that has
/// leaves out those that another holds. `starts`: another payload is wanted than that of the latest run.
pub(super) fn take(change: &mut Change<'_>, rollout: &Rollout, order: &Order, starts: bool) -> Claimed {
    let started = change.state.header.runs_started > 0;
    let own = targets(rollout);
    let mut wanted = own.clone();
    if !starts {
        // Those that catch up with an earlier payload need what that one changes, too.
        let more = catch_up_targets(&change.state);
        wanted.extend(more.into_iter().filter(|target| !own.contains(target)));
    }
    let footing = Footing::on(rollout, &wanted, &order.members, change.observations.claims);
    if started {
        announce_contested(change, &footing.contested);
    } else if !may_start(change, rollout, order) || !footing.contested.is_empty() {
        if change.observations.hub_fresh {
            release(change, |_, _| false);
        }
        return Claimed::default();
    }
    let many = footing.free.len() > MAX_CLAIMS_BESIDE_ORDERS;
    for (member, target) in footing.free.iter().take(MAX_CLAIMS_PER_DECISION) {
        change.command_claim(Command::Claim {
            member: member.clone(),
            target: target.clone(),
            claim: claim_of(rollout),
        });
    }
    change.more |= many;
    let contested = footing.contested_members();
    let unclaimed: BTreeSet<&str> =
        footing.free.iter().skip(MAX_CLAIMS_PER_DECISION).map(|(member, _)| member.as_str()).collect();
    let planned: BTreeSet<&String> = change.state.plan.members.iter().collect();
    // Runs of earlier versions hold no claims: their members stay planned until it is their turn.
    let ours = |name: &&String| !unclaimed.contains(name.as_str()) || planned.contains(name);
    let (held, free): (Vec<&String>, Vec<&String>) =
        order.members.iter().partition(|name| contested.contains(name.as_str()));
    let is_known = |name: &&String| change.state.members.contains_key(*name);
    Claimed {
        members: free.into_iter().filter(ours).cloned().collect(),
        contested: held.into_iter().filter(is_known).cloned().collect(),
    }
}

/// Whether nothing but claims is in the way of the first run.
fn may_start(change: &Change<'_>, rollout: &Rollout, order: &Order) -> bool {
    let there = order.missing.is_empty() && !order.members.is_empty();
    let measurable = missing_source(rollout, change.observations.gates).is_none();
    there && measurable && rollout.payload.is_some() && change.observations.hub_fresh
}

/// A run goes on without those that another rollout holds; people are told once of each such rollout.
fn announce_contested(change: &mut Change<'_>, contested: &BTreeMap<String, Vec<String>>) {
    let mut news: BTreeMap<String, Vec<String>> =
        contested.iter().take(MAX_ANNOUNCED).map(|(holder, members)| (holder.clone(), members.clone())).collect();
    let announced = news.keys().cloned().collect();
    let known = std::mem::replace(&mut change.state.header.contested_with, announced);
    news.retain(|holder, _| !known.contains(holder));
    if !news.is_empty() {
        let wait = WaitingOn::Conflicted { holders: news };
        change.announce(EventKind::Warning, wait.reason(), &wait.message());
    }
}

/// Releases the claims on members that the rollout means no more and that have forgotten it.
pub(super) fn release_leavers(change: &mut Change<'_>, order: &Order) {
    let meant: BTreeSet<&String> = order.members.iter().collect();
    let known: BTreeSet<String> = change.state.members.keys().cloned().collect();
    release(change, |member, _| meant.contains(member) || known.contains(member));
}

/// Releases everything of a rollout that has not started.
pub(super) fn release_unstarted(change: &mut Change<'_>) {
    if change.state.header.runs_started == 0 {
        release(change, |_, _| false);
    }
}

/// Releases the claims of a deleted rollout: of each member whose withdrawal is durable, or that has nothing to withdraw.
/// One that has still to go back to what it ran before would fight with whoever came next.
pub(super) fn release_deleted(change: &mut Change<'_>) {
    if !change.state.header.finalizer_released {
        return;
    }
    let withdrawn = |name: &String| {
        let durable = change.observations.assignments.get(name).is_some_and(|one| one.spec.intent == Intent::Withdraw);
        change.state.stage_of(name) == MemberStage::Withdrawing && durable
    };
    let kept: BTreeSet<String> = change.state.members.keys().filter(|name| !withdrawn(name)).cloned().collect();
    release(change, |member, _| kept.contains(member));
}

fn release(change: &mut Change<'_>, keeps: impl Fn(&String, &Target) -> bool) {
    let claims = change.observations.claims;
    let uid = change.state.header.uid.clone();
    let goes = |member: &String, target: &Target| !keeps(member, target) && !change.releases(member, target);
    let mut gone = claims.of(&uid).filter(|(member, target)| goes(member, target));
    let released = gone.by_ref().take(MAX_CLAIMS_PER_DECISION).collect::<Vec<_>>();
    let more = gone.next().is_some();
    for (member, target) in released {
        change.command_claim(Command::Release { member: member.clone(), target: target.clone() });
    }
    change.more |= more;
}
