//! What is promised (DESIGN section 6), told from what truly happens and not from what the leader believes.

use rollout_core::{Command, RolloutState, Stage};
use stateright::{Model as _, Path, Property};

use super::fair;
use super::setup::{Fleet, PAUSE_UNITS};
use super::state::{Proposal, State};
use super::step::Action;

/// A promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guarantee {
    Committed,
    Fences,
    OneLeader,
    Steps,
    Budgets,
    Refused,
    Sound,
}

pub const COMMITTED: &str = "guarantee 1: no member hears of an order that is not committed";
pub const FENCES: &str = "guarantee 2: no member obeys a lower fence than it has seen";
pub const ONE_LEADER: &str = "guarantee 4: only the present leader's decisions are committed";
pub const STEPS: &str = "guarantee 5: no step ends without its members' health and its pause";
pub const BUDGETS: &str = "guarantee 6: no more members fail than the budget bears";
pub const REFUSED: &str = "what was refused is never ordered, and what was given up never applied again";
pub const SOUND: &str = "every decision is sound";
pub const ENDS: &str = "from everywhere a fair future leads to an end, or to a reason for people to act";

pub const SUCCEEDS: &str = "a run succeeds";
pub const ROLLS_BACK: &str = "a run is rolled back";
pub const GIVES_UP: &str = "a member goes back by itself";
pub const OWES: &str = "a return is owed to a silent member";
pub const REFUSES: &str = "a refused revision is asked for again";

pub fn properties() -> Vec<Property<Fleet>> {
    vec![
        Property::always(COMMITTED, |_, state| holds(state, Guarantee::Committed)),
        Property::always(FENCES, |_, state| holds(state, Guarantee::Fences)),
        Property::always(ONE_LEADER, |_, state| holds(state, Guarantee::OneLeader)),
        Property::always(STEPS, |_, state| holds(state, Guarantee::Steps)),
        Property::always(BUDGETS, |fleet, state| holds(state, Guarantee::Budgets) && within_budget(fleet, state)),
        Property::always(REFUSED, |_, state| holds(state, Guarantee::Refused)),
        Property::always(SOUND, |_, state| holds(state, Guarantee::Sound)),
        Property::always(ENDS, fair::ends),
        Property::sometimes(SUCCEEDS, |_, state| stage(state) == Some(&Stage::Succeeded)),
        Property::sometimes(ROLLS_BACK, |_, state| stage(state) == Some(&Stage::RolledBack)),
        Property::sometimes(GIVES_UP, |_, state: &State| state.members.iter().any(|member| member.agent.gave_up > 0)),
        Property::sometimes(OWES, |_, state| owes(state)),
        Property::sometimes(REFUSES, |fleet: &Fleet, state: &State| {
            let payload = fleet.rollouts[state.asked].payload.as_ref();
            let asked = payload.is_some_and(|one| state.committed.state.header.quarantine.contains(&one.revision));
            asked && state.asked > 0
        }),
    ]
}

fn stage(state: &State) -> Option<&Stage> {
    state.committed.state.header.run.as_ref().map(|run| &run.stage)
}

fn owes(state: &State) -> bool {
    let mut records = state.committed.state.members.values();
    records.any(|record| record.stage == rollout_core::MemberStage::Owed)
}

fn holds(state: &State, guarantee: Guarantee) -> bool {
    state.broken.as_ref().is_none_or(|(broken, _)| *broken != guarantee)
}

/// Members that have ever run an image that never becomes ready. Strict: those that may fail, and the one that ends the
/// run. Soft: those, and as many as were in flux besides.
fn within_budget(fleet: &Fleet, state: &State) -> bool {
    let setup = &fleet.setup;
    let touched = state.members.iter().filter(|member| member.agent.ran_bad).count();
    let more = if setup.strict { 1 } else { setup.max_concurrency };
    touched <= usize::from(setup.max_failures + more)
}

/// What a commit breaks, by what was true when it was decided.
pub fn committed_break(fleet: &Fleet, before: &RolloutState, proposal: &Proposal) -> Option<(Guarantee, String)> {
    let after = &proposal.decision.state;
    let refused = proposal.decision.commands.iter().find_map(|command| match command {
        Command::Assign { member, spec } => {
            let forward = matches!(spec.intent, crds::Intent::Apply | crds::Intent::Observe);
            let quarantined = before.header.quarantine.contains(&spec.revision);
            (forward && quarantined).then(|| format!("{member} is told to {} it", spec.intent.as_str()))
        }
        _ => None,
    });
    let refused = refused.map(|what| (Guarantee::Refused, what));
    refused.or_else(|| step_break(fleet, before, after, proposal).map(|what| (Guarantee::Steps, what)))
}

/// A pause begins, and a step ends, when each member of the waves begun has been healthy under its present order, has
/// failed, or is silent, as many as the budgets bear; and a pause has lasted.
fn step_break(fleet: &Fleet, before: &RolloutState, after: &RolloutState, proposal: &Proposal) -> Option<String> {
    let (old, new) = (before.header.run.as_ref()?, after.header.run.as_ref()?);
    let goes_on =
        matches!(new.stage, Stage::Pausing(_) | Stage::Soaking(_) | Stage::Succeeded) && old.stage != new.stage;
    if old.number != new.number || !(goes_on || new.step > old.step) {
        return None;
    }
    let paused = matches!(old.stage, Stage::Pausing(_)) && old.steps.get(old.step).is_some();
    if paused && proposal.stage_age < PAUSE_UNITS {
        return Some(format!("a pause of {} units ended after {}", PAUSE_UNITS, proposal.stage_age));
    }
    if !paused && new.step > old.step && old.steps[old.step].pause_seconds > 0 {
        return Some("a step ended without its pause".to_owned());
    }
    let (mut healthy, mut failed, mut silent) = (0, 0, 0);
    for name in before.begun() {
        let member = fleet.names.iter().position(|known| known == name)?;
        let facts = proposal.facts[member];
        let given_back = after.members.get(name).is_some_and(|record| record.failed_in == new.number);
        match (given_back, facts.silent, facts.proven) {
            (true, ..) => failed += 1,
            (false, true, _) => silent += 1,
            (false, false, true) => healthy += 1,
            (false, false, false) => return Some(format!("{name} is neither healthy nor failed nor silent")),
        }
    }
    let setup = &fleet.setup;
    let borne = failed <= usize::from(setup.max_failures) && silent <= usize::from(setup.max_unreachable);
    (healthy == 0 || !borne).then(|| format!("{healthy} healthy, {failed} failed, {silent} silent"))
}

/// A path in words.
pub fn story(fleet: &Fleet, path: &Path<State, Action>) -> String {
    let mut lines = Vec::new();
    for (state, action) in path.clone().into_vec() {
        let broken = state.broken.as_ref().map(|(guarantee, what)| format!("  {guarantee:?} is broken: {what}"));
        lines.extend(broken);
        lines.extend(action.map(|action| fleet.format_action(&action)));
    }
    lines.push(format!("{:#?}", path.last_state().committed.state));
    lines.push(format!("{:#?}", path.last_state().members));
    lines.join("\n")
}
