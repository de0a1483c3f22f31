//! What people do to the run that the status shows, and what they are told.

use crds::{ActedRollout, ActionKind, ActionOutcome, Revision, RolloutActionSpec};
use rollout_core::{ActionFacts, WaitingOn};

use super::World;

impl World {
    /// Alice does this to the run as it stands, because "of a test"; uid of the action.
    pub fn act(&mut self, action: ActionKind) -> String {
        self.act_with(action, |_| ())
    }

    /// The same, with other words in it.
    pub fn act_with(&mut self, action: ActionKind, edit: impl FnOnce(&mut RolloutActionSpec)) -> String {
        let header = &self.state.header;
        let run = header.run.as_ref();
        let payload = self.rollout().ok().and_then(|rollout| rollout.payload.as_ref());
        let wanted = payload.filter(|_| action == ActionKind::Retry).map(|payload| payload.revision.clone());
        let mut spec = RolloutActionSpec {
            rollout: ActedRollout { name: header.name.clone(), uid: header.uid.clone() },
            run: run.map_or(1, |run| run.number),
            step: run.map_or(1, |run| i32::try_from(run.step_number()).expect("there are at most 33 steps")),
            revision: wanted.or_else(|| run.map(|run| run.revision.clone())).unwrap_or(Revision("none".to_owned())),
            action,
            who: "alice".to_owned(),
            why: "of a test".to_owned(),
        };
        edit(&mut spec);
        self.actions_created += 1;
        let uid = format!("a{:03}", self.actions_created);
        self.actions.push(ActionFacts { uid: uid.clone(), created_at: self.now, spec });
        self.actions.sort_by(|one, other| (one.created_at, &one.uid).cmp(&(other.created_at, &other.uid)));
        uid
    }

    /// What became of an action; "Pending" when nothing has yet.
    pub fn outcome_of(&self, uid: &str) -> String {
        let handled = self.state.header.handled.get(uid);
        let text = handled.map(|action| format!("{}: {}", action.outcome.as_str(), action.message));
        self.named(text.unwrap_or_else(|| ActionOutcome::Pending.as_str().to_owned()))
    }

    /// The hub is told what became of the actions.
    pub fn publish_outcomes(&mut self) {
        let handled = self.state.header.handled.clone();
        self.actions.retain(|action| handled.get(&action.uid).is_none());
    }

    /// Somebody approves what waits for approval; true if something did.
    pub fn approve_if_asked(&mut self) -> bool {
        let asked = matches!(self.waiting_on(), Some(WaitingOn::Approval { .. }));
        if asked {
            self.publish_outcomes();
            self.act(ActionKind::Approve);
        }
        asked
    }
}
