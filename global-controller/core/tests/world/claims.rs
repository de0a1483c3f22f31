//! Claims of this rollout and of others.

use std::collections::BTreeSet;

use rollout_core::{Claim, Claims, Command, Decision, Target};

use super::{World, render::line};

/// Whether a command is about claims, which tests of other things don't look at.
pub fn is_about(command: &Command) -> bool {
    matches!(command, Command::Claim { .. } | Command::Release { .. })
}

/// The claim of another rollout, which is older than the one under test.
pub fn of(rollout: &str) -> Claim {
    Claim { uid: format!("uid-of-{rollout}"), rollout: rollout.to_owned(), created_at: 0 }
}

/// What every fixture rolls out; see `Spec`.
fn target() -> Target {
    let part = str::to_owned;
    Target { kind: part("Deployment.apps"), namespace: part("shop"), name: part("checkout") }
}

impl World {
    /// Another rollout takes the claim on this member, unless somebody has it.
    pub fn claim_for(&mut self, rollout: &str, member: &str) {
        let target = target();
        self.claims.held.entry(member.to_owned()).or_default().entry(target).or_insert_with(|| of(rollout));
    }

    /// An older rollout that has not started either is about to claim this member.
    pub fn wanted_by(&mut self, rollout: &str, member: &str) {
        let target = target();
        self.claims.wanted.entry(member.to_owned()).or_default().insert(target, of(rollout));
    }

    /// The other rollout is gone, or lets go of everything.
    pub fn release_of(&mut self, rollout: &str) {
        for table in [&mut self.claims.held, &mut self.claims.wanted] {
            for claims in table.values_mut() {
                claims.retain(|_, claim| claim.rollout != rollout);
            }
        }
    }

    /// Members that this rollout has a claim on.
    pub fn claimed(&self) -> BTreeSet<String> {
        self.claims.of(&self.state.header.uid).map(|(member, _)| member.clone()).collect()
    }

    /// Decides once as `decide` does, and returns only what is about claims.
    pub fn decide_claims(&mut self) -> Vec<String> {
        let decision = self.propose();
        let lines = decision.commands.iter().filter(|command| is_about(command)).map(line).collect();
        self.commit(decision);
        lines
    }

    /// The claims as the decision's commit leaves them.
    pub fn claims_after(&self, decision: &Decision) -> Claims {
        let mut claims = self.claims.clone();
        for command in &decision.commands {
            match command {
                Command::Claim { member, target, claim } => {
                    assert_eq!(claim.uid, decision.state.header.uid, "claimed for somebody else");
                    let before = claims.held.entry(member.clone()).or_default().insert(target.clone(), claim.clone());
                    let free = before.is_none_or(|claim| self.hub.lost() == Some(claim.uid.as_str()));
                    assert!(free, "{member} was claimed already");
                }
                Command::Release { member, target } => {
                    let before = claims.held.get_mut(member).and_then(|claims| claims.remove(target));
                    let ours = before.is_some_and(|claim| claim.uid == decision.state.header.uid);
                    assert!(ours, "released what is not ours on {member}");
                }
                Command::Assign { .. }
                | Command::TakeUp { .. }
                | Command::AcceptHub
                | Command::Forget { .. }
                | Command::Announce { .. }
                | Command::ReleaseFinalizer => {}
            }
        }
        claims.held.retain(|_, claims| !claims.is_empty());
        claims
    }
}
