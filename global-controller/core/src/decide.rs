//! One decision: a pure function from (state, what is desired, what is observed, now) to the next state and
//! the commands that bring it about.

mod actions;
mod adopt;
mod advance;
mod catch_up;
mod change;
mod claims;
mod deletion;
mod domains;
mod drift;
mod failure;
mod finish;
mod forward;
mod gate;
mod hold;
mod late;
mod membership;
mod missing;
mod order;
mod reports;
mod rewound;
mod rollback;
mod run;
mod silence;
mod standing;

use std::collections::BTreeSet;

use crds::RolloutAssignmentSpec;
use serde::Serialize;

use change::Change;
pub(crate) use run::new_run;

use crate::plan::order;
use crate::{Claim, Millis, Observations, Problem, Rollout, RolloutState, Target};

/// Most members that change in one decision. A store transaction bears 100 operations, and a member takes up to three,
/// beside header, plan, record and history. Claims, which take two each, leave less for members.
pub const MAX_MEMBERS_PER_DECISION: usize = 30;

/// What the hub says about the rollout.
#[derive(Clone, Copy, Debug)]
pub enum Desired<'a> {
    /// It is there and valid.
    Present(&'a Rollout),
    /// It is there and invalid, which only an object can be that was stored before a schema change. A run
    /// goes on being watched, members that fail return, and it takes no step forward.
    Invalid {
        /// All that is wrong with it; not empty.
        problems: &'a [Problem],
        /// metadata.generation.
        generation: i64,
    },
    /// Its deletion was asked for: a rollback under way is finished, then it is withdrawn from every member, and no
    /// other workload changes. To be passed
    /// also when the object is gone, until [`RolloutState::is_spent`].
    Deleted {
        /// metadata.generation.
        generation: i64,
    },
}

/// The next state and what to do about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// To be committed, with the assignments of `commands`, in one transaction.
    pub state: RolloutState,
    /// In order.
    pub commands: Vec<Command>,
    /// Members whose record differs from that of the state handed in, or is no longer there.
    pub changed_members: BTreeSet<String>,
    /// There is more to change than one decision may: decide again as soon as this one is committed.
    pub more: bool,
    /// When to decide again if nothing is observed until then.
    pub wake_at: Option<Millis>,
}

/// An effect. Each can be repeated without harm.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", tag = "command")]
pub enum Command {
    /// Write this assignment.
    Assign {
        /// The member.
        member: String,
        /// The fence in it is zero: the driver fills it in from the commit.
        spec: Box<RolloutAssignmentSpec>,
    },
    /// Delete the member's assignment and record from the store: it was withdrawn and that was
    /// acknowledged, or its `MemberCluster` is gone.
    Forget {
        /// The member.
        member: String,
    },
    /// Write this claim; nobody has one there, or the rollout that this one inherits from.
    Claim {
        /// The member.
        member: String,
        /// The object.
        target: Target,
        /// What is written.
        claim: Claim,
    },
    /// Delete this claim of ours.
    Release {
        /// The member.
        member: String,
        /// The object.
        target: Target,
    },
    /// Delete what the member has uploaded of this rollout: it is taken up.
    TakeUp {
        /// The member.
        member: String,
    },
    /// Write down that a person accepts the hub as it is.
    AcceptHub,
    /// Tell people.
    Announce {
        /// What happened.
        event: Event,
    },
    /// Let the object go. `header.finalizer_released` says the same and outlives a crash.
    ReleaseFinalizer,
}

/// Something that people want to know; becomes a Kubernetes Event and a line of the decision log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Whether it needs attention.
    pub kind: EventKind,
    /// A word for programs.
    pub reason: &'static str,
    /// The same for people, at most 1024 characters.
    pub message: String,
}

/// Whether an event needs attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum EventKind {
    /// For information.
    Normal,
    /// Needs attention.
    Warning,
}

/// Decides what to do next.
///
/// Deciding again on the outcome with unchanged input changes nothing: the state is equal, there are no
/// commands, and `more` is false. While `more` is true that holds for the last of the decisions.
pub fn decide(state: &RolloutState, desired: Desired<'_>, observations: &Observations<'_>, now: Millis) -> Decision {
    let mut change = Change::new(state, observations, now);
    if rewound::hold(&mut change, desired) {
        return change.finish(state, desired);
    }
    rewound::see(&mut change, desired);
    if rewound::inherit(&mut change) || adopt::proceed(&mut change, desired) {
        return change.finish(state, desired);
    }
    actions::take_up(&mut change, desired);
    let held = change.state.header.hold.is_some();
    match desired {
        Desired::Present(rollout) if held => hold::watch(&mut change, Some(rollout)),
        Desired::Invalid { .. } if held => hold::watch(&mut change, None),
        Desired::Deleted { .. } => {
            deletion::proceed(&mut change);
            claims::release_deleted(&mut change);
        }
        Desired::Invalid { .. } => {
            run::hold_clock(&mut change, true);
            watch(&mut change);
            late::watch(&mut change);
            claims::release_unstarted(&mut change);
            standing::follow(&mut change);
        }
        Desired::Present(rollout) => {
            let order = order(rollout, observations.members);
            let ours = run::follow(&mut change, rollout, &order);
            watch(&mut change);
            actions::try_again(&mut change, rollout);
            advance::proceed(&mut change, rollout);
            catch_up::proceed(&mut change, rollout);
            late::proceed(&mut change, rollout, &ours.members);
            membership::withdraw_leavers(&mut change, &order, &ours.contested);
            late::see_newcomers(&mut change, &ours.members);
            claims::release_leavers(&mut change, &order);
            standing::follow(&mut change);
            forward::assign(&mut change, rollout);
        }
    }
    actions::refuse_approvals(&mut change, desired);
    change.finish(state, desired)
}

/// What nothing stops: reports are taken up, members that fail return, a rollback goes on.
fn watch(change: &mut Change<'_>) {
    reports::absorb(change);
    silence::heed(change);
    failure::judge(change);
    gate::judge(change);
    rollback::proceed(change);
    finish::proceed(change);
}
