//! Claims, by object and by holder.

use std::collections::{BTreeMap, BTreeSet};

use rollout_core::{Claim, ClaimTable, Target};

/// A claim with the revision of its key.
#[derive(Clone, Debug, PartialEq)]
struct Stored {
    claim: Claim,
    revision: u64,
}

/// All claims of the store.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ClaimIndex {
    by_target: BTreeMap<Target, BTreeMap<String, Stored>>,
    /// Holder's uid to (member, target).
    by_holder: BTreeMap<String, BTreeSet<(String, Target)>>,
}

impl ClaimIndex {
    /// Sets or removes one.
    pub fn set(&mut self, member: &str, target: &Target, claim: Option<Claim>, revision: u64) {
        self.remove(member, target);
        if let Some(claim) = claim {
            self.by_holder.entry(claim.uid.clone()).or_default().insert((member.to_owned(), target.clone()));
            let stored = Stored { claim, revision };
            self.by_target.entry(target.clone()).or_default().insert(member.to_owned(), stored);
        }
    }

    fn remove(&mut self, member: &str, target: &Target) {
        let Some(members) = self.by_target.get_mut(target) else { return };
        let removed = members.remove(member);
        if members.is_empty() {
            self.by_target.remove(target);
        }
        let Some(Stored { claim, .. }) = removed else { return };
        if let Some(held) = self.by_holder.get_mut(&claim.uid) {
            held.remove(&(member.to_owned(), target.clone()));
            if held.is_empty() {
                self.by_holder.remove(&claim.uid);
            }
        }
    }

    /// Revision of a claim's key.
    pub fn revision(&self, member: &str, target: &Target) -> Option<u64> {
        Some(self.by_target.get(target)?.get(member)?.revision)
    }

    /// The same, if this rollout holds it.
    pub fn revision_of(&self, member: &str, target: &Target, holder: &str) -> Option<u64> {
        let stored = self.by_target.get(target)?.get(member)?;
        (stored.claim.uid == holder).then_some(stored.revision)
    }

    /// All claims that the holder has, and everybody's on these objects.
    pub fn table(&self, holder: &str, targets: &[Target]) -> ClaimTable {
        let mut table = ClaimTable::new();
        let mut add = |member: &String, target: &Target, stored: &Stored| {
            table.entry(member.clone()).or_default().insert(target.clone(), stored.claim.clone());
        };
        for (member, target) in self.by_holder.get(holder).into_iter().flatten() {
            if let Some(stored) = self.by_target.get(target).and_then(|members| members.get(member)) {
                add(member, target, stored);
            }
        }
        for target in targets {
            for (member, stored) in self.by_target.get(target).into_iter().flatten() {
                add(member, target, stored);
            }
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str) -> Target {
        Target { kind: "Deployment.apps".to_owned(), namespace: "shop".to_owned(), name: name.to_owned() }
    }

    fn claim(uid: &str) -> Claim {
        Claim { uid: uid.to_owned(), rollout: format!("{uid}-name"), created_at: 7 }
    }

    #[test]
    fn a_rollout_sees_everybodys_claims_on_its_objects_and_all_of_its_own() {
        let mut index = ClaimIndex::default();
        index.set("m1", &target("checkout"), Some(claim("a")), 3);
        index.set("m2", &target("checkout"), Some(claim("b")), 4);
        index.set("m2", &target("ledger"), Some(claim("a")), 5);
        index.set("m3", &target("ledger"), Some(claim("b")), 6);
        let seen = index.table("a", &[target("checkout")]);
        let seen: Vec<_> = seen
            .iter()
            .flat_map(|(member, claims)| {
                claims.iter().map(move |(on, by)| (member.as_str(), on.name.as_str(), by.uid.as_str()))
            })
            .collect();
        assert_eq!(seen, [("m1", "checkout", "a"), ("m2", "checkout", "b"), ("m2", "ledger", "a")]);
        assert_eq!(index.revision("m2", &target("checkout")), Some(4));
    }

    #[test]
    fn a_claim_that_is_released_or_taken_by_another_leaves_nothing_behind() {
        let mut index = ClaimIndex::default();
        index.set("m1", &target("checkout"), Some(claim("a")), 3);
        index.set("m1", &target("checkout"), Some(claim("b")), 4);
        assert!(index.table("a", &[]).is_empty());
        assert_eq!(index.revision("m1", &target("checkout")), Some(4));
        index.set("m1", &target("checkout"), None, 5);
        assert_eq!(index, ClaimIndex::default());
    }
}
