//! What people do to a run: each action is taken up once, and is done or refused in the decision that remembers it.

mod abort;
mod accept_hub;
mod approve;
mod resume;
mod retry;

use crds::{ActionKind, ActionOutcome, Revision};

use super::change::Change;
use crate::words::{MAX_MESSAGE_CHARS, bounded};
use crate::{ActionFacts, Desired, HandledAction, Hold, Millis, Observations, Run};

pub(super) use approve::{approve_step, ask};
pub(super) use retry::{proceed as try_again, proceed_late as try_again_late};

/// Actions that are taken up in one decision: their Events and outcomes are part of one record.
const MAX_ACTIONS_PER_DECISION: usize = 16;
/// Characters of a person's reason that an Event repeats; the object has all of it.
const MAX_WHY_CHARS: usize = 200;

/// What an action comes to that fits.
enum Verdict {
    /// It waits for its time.
    Pending,
    /// It is done; what follows.
    Applied(String),
}

/// Why an action does not fit, and what to do instead.
struct Refusal(String);

type Judged = Result<Verdict, Refusal>;

/// Takes up all but approvals, before anything else is decided.
pub(super) fn take_up(change: &mut Change<'_>, desired: Desired<'_>) {
    settle_each(change, |change, action| match action.spec.action {
        ActionKind::Approve => Ok(Verdict::Pending),
        ActionKind::Abort => abort::judge(change, desired, action),
        ActionKind::Retry => retry::judge(change, desired, action),
        ActionKind::Resume => resume::judge(change, desired, action),
        ActionKind::AcceptHub => Err(Refusal("the hub did not go back: there is nothing to accept".to_owned())),
    });
}

/// While it is not known whether the hub still says what people want: it can be accepted, and nothing else be done. What
/// it says that people do may have been done long ago.
pub(super) fn take_up_rewound(change: &mut Change<'_>) {
    settle_each(change, |change, action| {
        match action.spec.action {
        ActionKind::AcceptHub => accept_hub::judge(change, action),
        ActionKind::Approve | ActionKind::Abort | ActionKind::Retry | ActionKind::Resume => Err(Refusal(
            "the hub went back, so this may have been done long ago: accept the hub, look at the run, and create another action"
                .to_owned(),
        )),
    }
    });
}

/// Refuses approvals that can't count any more. It comes last: a step may have gone on in this decision.
pub(super) fn refuse_approvals(change: &mut Change<'_>, desired: Desired<'_>) {
    settle_each(change, |change, action| match action.spec.action {
        ActionKind::Approve => approve::judge(change, desired, action),
        ActionKind::Abort | ActionKind::Retry | ActionKind::Resume | ActionKind::AcceptHub => Ok(Verdict::Pending),
    });
}

fn settle_each(change: &mut Change<'_>, judge: impl Fn(&mut Change<'_>, &ActionFacts) -> Judged) {
    let room = room(change);
    let mut settled = 0;
    for action in change.observations.actions {
        if change.more || settled == room || is_handled(change, action) {
            continue;
        }
        if settled == MAX_ACTIONS_PER_DECISION {
            change.more = true;
            return;
        }
        let (outcome, message) = match judge(change, action) {
            Ok(Verdict::Pending) => continue,
            Ok(Verdict::Applied(message)) => (ActionOutcome::Applied, message),
            Err(Refusal(message)) => (ActionOutcome::Refused, message),
        };
        settled += 1;
        settle(change, action, outcome, &message);
    }
}

/// How many actions can be taken up. While the hub's watch is silent, what it last said may be old: an action may have an
/// outcome there that is not seen here.
fn room(change: &Change<'_>) -> usize {
    let Observations { hub_fresh, actions, .. } = *change.observations;
    if hub_fresh { change.state.header.handled.room(actions) } else { 0 }
}

fn is_handled(change: &Change<'_>, action: &ActionFacts) -> bool {
    change.state.header.handled.get(&action.uid).is_some()
}

fn settle(change: &mut Change<'_>, action: &ActionFacts, outcome: ActionOutcome, message: &str) {
    let message = bounded(message, MAX_MESSAGE_CHARS);
    if outcome == ActionOutcome::Refused {
        let text = format!("{} by {} refused: {message}", action.spec.action.as_str(), action.spec.who);
        change.announce(super::EventKind::Normal, "ActionRefused", &text);
    }
    let (at, untold) = (change.now, change.observations.actions);
    change.state.header.handled.push(HandledAction { uid: action.uid.clone(), outcome, message, at }, untold);
}

/// Whoever created it was asked for rights on the name that it tells.
fn check_name(change: &Change<'_>, action: &ActionFacts) -> Result<(), Refusal> {
    let (told, header) = (&action.spec.rollout.name, &change.state.header);
    if *told == header.name {
        return Ok(());
    }
    Err(Refusal(format!(
        "it names rollout \"{told}\", but uid {} is that of rollout \"{}\": create one with name and uid of the same rollout",
        header.uid, header.name
    )))
}

/// The run that the action is for, if that is the latest of the rollout.
fn fitting_run<'c>(change: &'c Change<'_>, action: &ActionFacts) -> Result<&'c Run, Refusal> {
    check_name(change, action)?;
    let (spec, header) = (&action.spec, &change.state.header);
    match &header.run {
        Some(run) if run.number == spec.run => Ok(run),
        Some(run) => Err(Refusal(format!(
            "it is for run {}, but the latest is run {}: look at that, and create another action for it",
            spec.run, run.number
        ))),
        None => Err(Refusal(format!("it is for run {}, but no run has started: wait for the first", spec.run))),
    }
}

fn check_revision(action: &ActionFacts, revision: &Revision, whose: &str) -> Result<(), Refusal> {
    let meant = &action.spec.revision;
    if meant == revision {
        return Ok(());
    }
    Err(Refusal(format!(
        "it is for revision {meant}, but that of {whose} is {revision}: look at it, and create another action for that"
    )))
}

/// The hold that the action is to end, if there is one. What a person did before it began says nothing about it: perhaps it
/// was done already, which the store that was lost knew.
fn hold_to_end(change: &Change<'_>, action: &ActionFacts) -> Result<Option<Hold>, Refusal> {
    let Some(hold) = change.state.header.hold else { return Ok(None) };
    let Hold::StoreRebuilt { since } = hold;
    if is_before(action, since) {
        return Err(Refusal(
            "it was created before the controller's store was lost, and may have been done then: look at the run, and create another action"
                .to_owned(),
        ));
    }
    Ok(Some(hold))
}

/// Whether the action was created before a moment, in the whole seconds that objects of the hub have.
fn is_before(action: &ActionFacts, since: Millis) -> bool {
    action.created_at < since.div_euclid(1000) * 1000
}

fn check_present(desired: Desired<'_>) -> Result<(), Refusal> {
    match desired {
        Desired::Deleted { .. } => Err(Refusal(
            "the rollout is being deleted: its run goes nowhere any more, so nothing is to be done".to_owned(),
        )),
        Desired::Present(_) | Desired::Invalid { .. } => Ok(()),
    }
}

/// " by alice: the reason", as far as it was given.
fn by(action: &ActionFacts) -> String {
    let (who, why) = (&action.spec.who, bounded(&action.spec.why, MAX_WHY_CHARS));
    if why.is_empty() { format!("by {who}") } else { format!("by {who} ({why})") }
}
