//! The hub's `RolloutAction` objects, by the rollout that each is about.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::{ActionOutcome, RolloutAction, millis_from_time};
use kube::ResourceExt as _;
use rollout_core::ActionFacts;

type ByName = BTreeMap<String, Arc<RolloutAction>>;

/// All actions of the hub. One look at a rollout costs no more than its own actions.
#[derive(Debug, Default)]
pub(crate) struct Actions {
    /// uid of the rollout, as the action says, to name of the action.
    of_rollout: BTreeMap<String, ByName>,
    /// Name of the action to uid of the rollout.
    rollouts: BTreeMap<String, String>,
}

impl Actions {
    /// Takes up one object, in the place of that of the same name.
    pub fn put(&mut self, action: RolloutAction) {
        let name = action.name_any();
        self.remove(&name);
        let rollout = action.spec.rollout.uid.clone();
        self.rollouts.insert(name.clone(), rollout.clone());
        self.of_rollout.entry(rollout).or_default().insert(name, Arc::new(action));
    }

    /// Takes one away.
    pub fn remove(&mut self, name: &str) {
        let Some(rollout) = self.rollouts.remove(name) else { return };
        if let Some(actions) = self.of_rollout.get_mut(&rollout) {
            actions.remove(name);
            if actions.is_empty() {
                self.of_rollout.remove(&rollout);
            }
        }
    }

    /// An action by its name.
    pub fn get(&self, name: &str) -> Option<&Arc<RolloutAction>> {
        self.of_rollout.get(self.rollouts.get(name)?)?.get(name)
    }

    /// Uids of the rollouts that any action is about.
    pub fn rollouts(&self) -> impl Iterator<Item = &String> {
        self.of_rollout.keys()
    }

    /// The actions about a rollout, by name.
    pub fn of(&self, rollout: &str) -> impl Iterator<Item = &Arc<RolloutAction>> {
        self.of_rollout.get(rollout).into_iter().flat_map(BTreeMap::values)
    }

    /// Those of them that have no outcome on the hub yet, in the order in which they were created.
    pub fn open(&self, rollout: &str) -> Vec<ActionFacts> {
        let open = self.of(rollout).filter(|action| !is_settled(action));
        let mut facts: Vec<ActionFacts> = open
            .map(|action| ActionFacts {
                uid: action.uid().unwrap_or_default(),
                created_at: created_at(action),
                spec: action.spec.clone(),
            })
            .collect();
        facts.sort_by(|one, other| (one.created_at, &one.uid).cmp(&(other.created_at, &other.uid)));
        facts
    }
}

/// Whether the hub has been told what became of it.
pub(crate) fn is_settled(action: &RolloutAction) -> bool {
    action.status.as_ref().is_some_and(|status| status.outcome != ActionOutcome::Pending)
}

/// Milliseconds since the Unix epoch; 0 when the object has no time.
pub(crate) fn created_at(action: &RolloutAction) -> i64 {
    action.metadata.creation_timestamp.as_ref().map_or(0, millis_from_time)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn action(name: &str, rollout: &str, second: u8, outcome: Option<&str>) -> RolloutAction {
        let status = outcome.map(|outcome| json!({"outcome": outcome}));
        let object = json!({
            "apiVersion": "rollout.example.com/v1alpha1",
            "kind": "RolloutAction",
            "metadata": {"name": name, "uid": format!("uid-{name}"), "creationTimestamp": format!("2026-01-01T00:00:{second:02}Z")},
            "spec": {"rollout": {"name": "checkout", "uid": rollout}, "run": 1, "step": 1, "revision": "r",
                     "action": "Approve", "who": "alice"},
            "status": status,
        });
        serde_json::from_value(object).unwrap()
    }

    fn open(actions: &Actions, rollout: &str) -> Vec<String> {
        actions.open(rollout).into_iter().map(|facts| facts.uid).collect()
    }

    #[test]
    fn semantics_44_open_actions_come_by_creation_and_those_of_a_second_by_uid() {
        let mut actions = Actions::default();
        for (name, second) in [("c", 1), ("b", 1), ("a", 2)] {
            actions.put(action(name, "u1", second, None));
        }
        actions.put(action("other", "u2", 0, Some("Pending")));
        actions.put(action("done", "u1", 0, Some("Refused")));
        assert_eq!(open(&actions, "u1"), ["uid-b", "uid-c", "uid-a"]);
        assert_eq!(open(&actions, "u2"), ["uid-other"]);
    }

    #[test]
    fn an_action_that_is_gone_or_recreated_leaves_nothing_behind() {
        let mut actions = Actions::default();
        actions.put(action("a", "u1", 1, None));
        actions.put(action("a", "u2", 1, None));
        assert_eq!((open(&actions, "u1").len(), open(&actions, "u2").len()), (0, 1));
        actions.remove("a");
        actions.remove("a");
        assert_eq!((actions.rollouts().count(), actions.get("a")), (0, None));
    }
}
