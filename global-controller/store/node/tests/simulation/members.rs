//! Changes of the membership: replicas join from nothing, get a vote, and leave, while everything else goes wrong.

use store_node::{Input, MembershipChange};

use crate::disk::info;
use crate::replica::Replica;
use crate::world::World;

/// Replicas that join in one run at most.
const JOINERS: u64 = 3;

impl World {
    /// Asks the leader for some change that might be allowed.
    pub fn change_members(&mut self) {
        let Some(leader) = self.leading() else { return };
        let Some(node) = &self.replicas[&leader].node else { return };
        let membership = node.membership().clone();
        let next = self.replicas.keys().max().copied().unwrap_or(0) + 1;
        let change = match (self.draw.below(4), membership.learners.first()) {
            (0..2, Some(learner)) => MembershipChange::Promote { number: *learner },
            // Down to a single voter: it leads without asking anybody, which is a case of its own.
            (2, _) => {
                let members: Vec<_> = membership.members().into_iter().collect();
                MembershipChange::Remove { number: members[self.draw.index(members.len())] }
            }
            _ if next <= self.options.nodes + JOINERS => {
                self.replicas.insert(next, Replica::joining(&self.options));
                self.start(next);
                MembershipChange::AddLearner { number: next, info: info(next) }
            }
            // One that came up before, in case its change was lost.
            _ => {
                let strangers = self.replicas.keys().copied();
                let stranger = strangers.filter(|id| !membership.contains(*id)).max();
                let Some(number) = stranger else { return };
                MembershipChange::AddLearner { number, info: info(number) }
            }
        };
        self.next_request += 1;
        let id = self.next_request;
        self.trace.note(self.now, [7, leader, id, 0], || format!("{leader} is asked for {change:?}"));
        self.input(leader, Input::ChangeMembership { id, change });
    }
}
