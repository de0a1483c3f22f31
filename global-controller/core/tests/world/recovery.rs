//! A store that is lost or goes back, and what hub and members still know.

use std::collections::BTreeMap;

use crds::ActionKind;
use rollout_core::{Recovery, RolloutState};

use super::World;

/// A store as a backup has it.
#[derive(Clone)]
pub struct Backup {
    state: RolloutState,
    assignments: BTreeMap<String, crds::RolloutAssignment>,
    reports: BTreeMap<String, crds::RolloutAssignmentStatus>,
    claims: rollout_core::Claims,
}

impl World {
    pub fn recovery(&self) -> Option<Recovery<'_>> {
        (self.epoch > 1).then_some(Recovery {
            epoch: self.epoch,
            status: &self.status,
            is_current: self.status.observed_generation == self.spec.generation,
            orders: &self.uploads,
        })
    }

    pub fn backup(&self) -> Backup {
        Backup {
            state: self.state.clone(),
            assignments: self.assignments.clone(),
            reports: self.reports.clone(),
            claims: self.claims.clone(),
        }
    }

    /// All replicas' folders are gone.
    pub fn lose_store(&mut self) {
        let uid = self.state.header.uid.clone();
        let mut claims = self.claims.clone();
        for held in claims.held.values_mut() {
            held.retain(|_, claim| claim.uid != uid);
        }
        claims.held.retain(|_, held| !held.is_empty());
        let state = RolloutState::new(&self.state.header.name, &uid);
        self.restore(Backup { state, assignments: BTreeMap::new(), reports: BTreeMap::new(), claims });
    }

    /// The store is as it was, and the members are asked what they have.
    pub fn restore(&mut self, backup: Backup) {
        let Backup { state, assignments, reports, claims } = backup;
        (self.state, self.assignments, self.reports, self.claims) = (state, assignments, reports, claims);
        self.epoch += 1;
        self.replays = super::replay::Replays::default();
        self.uploads.clear();
        for facts in self.members.values_mut() {
            facts.uploaded = false;
        }
        self.begin_term();
    }

    /// The member is heard, and tells what it was told.
    pub fn upload(&mut self, member: &str) {
        let order = self.agents.get(member).and_then(|agent| agent.order.clone());
        let Some(facts) = self.members.get_mut(member).filter(|facts| !facts.uploaded) else { return };
        facts.uploaded = true;
        if let Some(order) = order {
            self.uploads.insert(member.to_owned(), order);
        }
    }

    /// All that are heard do.
    pub fn upload_all(&mut self) {
        for member in self.members.keys().cloned().collect::<Vec<_>>() {
            if self.members[&member].reachable == rollout_core::Reachability::Reachable {
                self.upload(&member);
            }
        }
    }

    /// A person decides about a run that holds.
    pub fn release(&mut self, action: ActionKind) -> Vec<String> {
        self.publish_outcomes();
        self.act(action);
        self.decide()
    }
}
