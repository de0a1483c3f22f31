//! A hub that was restored from an older backup: nothing moves and nothing is withdrawn until a person accepts it, and a
//! rollout that was recreated goes on as the one that had its name (SEMANTICS 43).

use crds::{Fence, Payload, Revision};

use super::{Command, Desired, EventKind, actions, change::Change, late, reports, silence};
use crate::history::MAX_PAYLOADS_PER_DECISION;
use crate::hub::generation;
use crate::{Claim, Header, Heir, HubFacts, Predecessor, RolloutState, SeenSpec, Stage, went_back};

/// As many payloads does one of whole objects count for: its 192 KiB are written with it, and a transaction bears 1 MiB.
const WHOLE_OBJECTS: usize = 2;

/// True: everything holds, and that is all that this decision does.
pub(super) fn hold(change: &mut Change<'_>, desired: Desired<'_>) -> bool {
    let hub = change.observations.hub;
    if hub.rewound.is_none() {
        // The driver has yet to write down that the hub went back, for all rollouts at once. What is missing in an old
        // picture may also be too new for it.
        let certain = change.observations.hub_fresh || hub.spec.is_none();
        return certain && went_back(&change.state.header, desired, &hub).is_some();
    }
    actions::take_up_rewound(change);
    if !change.state.header.deleting {
        reports::absorb(change);
        silence::heed(change);
        late::note(change);
    }
    true
}

/// Remembers what is decided on.
pub(super) fn see(change: &mut Change<'_>, desired: Desired<'_>) {
    let HubFacts { spec, accepted, .. } = change.observations.hub;
    if let Some(spec) = spec.filter(|_| change.observations.hub_fresh) {
        let header = &mut change.state.header;
        header.seen = Some(SeenSpec { generation: generation(desired), spec: spec.clone(), accepted });
        if header.deleting && !matches!(desired, Desired::Deleted { .. }) {
            revive(change);
        }
    }
}

/// Its deletion is one of the things that an accepted backup has undone. Members that have forgotten it are told again: the
/// step is taken again, and after a success they catch up.
fn revive(change: &mut Change<'_>) {
    (change.state.header.deleting, change.state.header.finalizer_released) = (false, false);
    let everybody = change.state.plan.wave_end;
    match change.state.header.run.as_mut() {
        Some(run) if run.goes_forward() => run.stage = Stage::Updating,
        Some(run) => run.caught_up = run.caught_up.max(everybody),
        None => {}
    }
}

/// True: something is to be inherited or bequeathed yet, and that is all that this decision does.
pub(super) fn inherit(change: &mut Change<'_>) -> bool {
    let hub = change.observations.hub;
    match (hub.heir, hub.predecessor) {
        (Some(Heir::Expected), _) => true,
        (Some(Heir::Installed), _) => {
            bequeath(change);
            true
        }
        (None, Some(old)) if change.state.header.inherited_from.is_none() => {
            take_over(change, &old);
            true
        }
        (None, _) => false,
    }
}

/// First claims, so that nobody else gets them, and members, then what it ran before; the run in a decision of its own,
/// when they are complete.
fn take_over(change: &mut Change<'_>, old: &Predecessor<'_>) {
    let untold = old.state.members.keys().any(|name| !change.state.members.contains_key(name));
    if untold || change.observations.claims.of(&old.state.header.uid).next().is_some() {
        take_members(change, old);
    } else if !has_history(change, old.state) {
        take_history(change, old.state);
    } else {
        take_run(change, old.state);
    }
    change.more = true;
}

fn take_members(change: &mut Change<'_>, old: &Predecessor<'_>) {
    let (uid, claims) = (change.state.header.uid.clone(), change.observations.claims);
    for (member, target) in claims.of(&old.state.header.uid) {
        let Some(claim) = claims.holder(member, target) else { continue };
        let claim = Claim { uid: uid.clone(), ..claim.clone() };
        change.command_claim(Command::Claim { member: member.clone(), target: target.clone(), claim });
    }
    for (name, record) in &old.state.members {
        if change.state.members.contains_key(name) || !change.claim(name) {
            continue;
        }
        change.state.members.insert(name.clone(), record.clone());
        if let Some(order) = old.assignments.get(name) {
            let mut spec = order.spec.clone();
            spec.rollout.uid.clone_from(&uid);
            spec.fence = Fence::default();
            change.command(Command::Assign { member: name.clone(), spec: Box::new(spec) });
        }
    }
}

fn has_history(change: &Change<'_>, old: &RolloutState) -> bool {
    let has = |revision: &Revision| change.state.history.payloads.contains_key(revision);
    change.state.history.runs == old.history.runs && old.history.payloads.keys().all(has)
}

/// The list, and as many payloads as one decision may add.
fn take_history(change: &mut Change<'_>, old: &RolloutState) {
    // Refers to a payload, which else would be let go.
    change.state.header.accepted_revision.clone_from(&old.header.accepted_revision);
    let history = &mut change.state.history;
    history.runs.clone_from(&old.history.runs);
    let missing = old.history.payloads.iter().filter(|(revision, _)| !history.payloads.contains_key(*revision));
    let mut room = MAX_PAYLOADS_PER_DECISION;
    let fits = |(_, payload): &(&Revision, &Payload)| {
        let left = room.checked_sub(if payload.manifests().is_some() { WHOLE_OBJECTS } else { 1 });
        room = left.unwrap_or(0);
        left.is_some()
    };
    let some: Vec<_> = missing.take_while(fits).map(|(name, one)| (name.clone(), one.clone())).collect();
    history.payloads.extend(some);
}

fn take_run(change: &mut Change<'_>, old: &RolloutState) {
    let RolloutState { header, plan, members: _, history: _ } = old;
    change.state.plan = plan.clone();
    change.state.header = Header {
        run: header.run.clone(),
        runs_started: header.runs_started,
        settled_run: header.settled_run,
        accepted_revision: header.accepted_revision.clone(),
        quarantine: header.quarantine.clone(),
        epoch: header.epoch,
        hold: header.hold,
        inherited_from: Some(header.uid.clone()),
        ..change.state.header.clone()
    };
    let message = format!(
        "the hub was restored and this rollout recreated: it goes on as the one of its name did, after run {}",
        header.runs_started
    );
    change.announce(EventKind::Warning, "Inherited", &message);
}

/// What was inherited is let go; nobody is told anything, since the orders are the heir's.
fn bequeath(change: &mut Change<'_>) {
    change.state.header.deleting = true;
    for name in change.state.members.keys().cloned().collect::<Vec<_>>() {
        if change.claim(&name) {
            change.state.members.remove(&name);
        }
    }
    change.state.header.finalizer_released = change.state.members.is_empty();
}
