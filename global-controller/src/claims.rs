//! What a rollout is shown of the claims of others, from the pictures of store and hub.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rollout_core::{
    Claim, ClaimTable, Claims, Contender, MemberFacts, MemberStage, Rollout, Target, catch_up_targets, targets,
    wanted_by_older,
};

use crate::hub::{HubRollout, Wanted, raw_targets};
use crate::mirror::Mirror;
use crate::world::World;

impl World {
    /// Uids of the rollouts on the hub that change one of these objects.
    pub fn rollouts_on(&self, targets: &BTreeSet<Target>) -> Vec<String> {
        if targets.is_empty() {
            return Vec::new();
        }
        let hub = self.hub();
        let concerned =
            hub.rollouts().filter(|(_, object)| raw_targets(object).iter().any(|one| targets.contains(one)));
        concerned.filter_map(|(_, object)| object.metadata.uid.clone()).collect()
    }

    /// Completes the claims that the store has by those that older rollouts, which have not started either, are about to
    /// take. It looks at other rollouts, so it is only for one that has not started.
    pub fn with_older(&self, rollout: &Rollout, members: &BTreeMap<String, MemberFacts>, held: ClaimTable) -> Claims {
        let others = self.others_on(rollout);
        let started: Vec<bool> = {
            let mirror = self.mirror();
            others
                .iter()
                .map(|other| {
                    other.metadata.uid.as_ref().and_then(|uid| mirror.runs_started(uid)).is_some_and(|runs| runs > 0)
                })
                .collect()
        };
        let present = others.iter().map(|other| other.wanted().present());
        let contenders: Vec<Contender<'_>> = present
            .zip(started)
            .filter_map(|(rollout, started)| Some(Contender { rollout: rollout?, started }))
            .collect();
        let wanted = wanted_by_older(rollout, &contenders, members, &held);
        Claims { held, wanted }
    }

    /// Other valid rollouts of the hub that change one of this one's objects.
    fn others_on(&self, rollout: &Rollout) -> Vec<Arc<HubRollout>> {
        let targets = targets(rollout);
        let hub = self.hub();
        let others = hub.rollouts().filter(|(_, object)| {
            let other = object.metadata.uid.as_deref() != Some(rollout.uid.as_str());
            other && object.wanted().present().is_some() && raw_targets(object).iter().any(|one| targets.contains(one))
        });
        others.map(|(_, object)| Arc::clone(object)).collect()
    }
}

/// The claims that the store has of a rollout and of the one that it inherits from, and everybody's on its targets.
pub(crate) fn held(mirror: &Mirror, uid: &str, predecessor: Option<&str>, wanted: &Wanted) -> ClaimTable {
    let mut targets = wanted.present().map(targets).unwrap_or_default();
    targets.extend(mirror.rollout(uid).map(|stored| catch_up_targets(&stored.state)).unwrap_or_default());
    let mut table = mirror.claims().table(uid, &targets);
    for (member, claims) in predecessor.map(|uid| mirror.claims().table(uid, &[])).unwrap_or_default() {
        table.entry(member).or_default().extend(claims);
    }
    if mirror.runs_started(uid).is_none_or(|runs| runs == 0) {
        add_implied(&mut table, mirror, uid, &targets);
    }
    table
}

/// Rollouts that started under a version without claims take theirs in their next decision; until then their records say
/// whom they hold. One that is being withdrawn from a member holds it no more.
fn add_implied(table: &mut ClaimTable, mirror: &Mirror, uid: &str, targets: &[Target]) {
    for other in mirror.rollouts().filter(|other| *other != uid) {
        let Some(stored) = mirror.rollout(other) else { continue };
        // Whole objects came later.
        let workload = stored.state.header.run.as_ref().and_then(|run| run.payload.workload());
        let target = workload.map(Target::of_payload);
        let Some(target) = target.filter(|target| targets.contains(target)) else { continue };
        let held = stored.state.members.iter().filter(|(_, record)| record.stage != MemberStage::Withdrawing);
        for (member, _) in held {
            table.entry(member.clone()).or_default().entry(target.clone()).or_insert_with(|| Claim {
                uid: other.clone(),
                rollout: stored.state.header.name.clone(),
                created_at: 0,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use federated_store::Change;
    use serde_json::json;

    use super::*;

    fn put(mirror: &mut Mirror, key: &str, value: &serde_json::Value) {
        let value = Some(serde_json::to_vec(value).unwrap().into());
        let told = mirror.apply(&Change { key: key.to_owned(), value }, 5);
        assert!(!told.is_empty(), "{key} was not taken up");
    }

    fn wanted() -> HubRollout {
        let object = json!({
            "apiVersion": "rollout.example.com/v1alpha1",
            "kind": "ClusterScopeRollout",
            "metadata": {"name": "second", "uid": "u2"},
            "spec": {
                "targetClusters": ["m1", "m2", "m3"],
                "workload": {"kind": "Deployment", "namespace": "shop", "name": "checkout", "images": {"app": "v2"}},
                "rolloutStrategy": {"canary": {"steps": [{"setWeight": 100}]}},
            },
        });
        HubRollout::new(serde_json::from_value(object).unwrap())
    }

    /// Records of rollout u1, as a version without claims wrote them: on m1 it runs, on m2 it is being withdrawn.
    fn old_records() -> Mirror {
        let mut mirror = Mirror::default();
        let run = json!({
            "number": 1, "revision": "r", "startedAt": 1, "step": 0, "stage": {"name": "updating"}, "steps": [],
            "payload": {"kind": "Deployment", "namespace": "shop", "name": "checkout", "images": {"app": "v1"}},
            "soakSeconds": 0, "maxConcurrency": 1, "fluxLimit": 1, "changedMembers": true,
        });
        let header = json!({"version": 1, "name": "first", "uid": "u1", "runsStarted": 1, "decisions": 1, "run": run});
        put(&mut mirror, "rollouts/u1/header", &header);
        let record = |stage| json!({"run": 1, "stage": stage, "touched": "Yes"});
        put(&mut mirror, "rollouts/u1/members/m1", &record(json!({"name": "healthy", "since": 1})));
        put(&mut mirror, "rollouts/u1/members/m2", &record(json!({"name": "withdrawing"})));
        mirror
    }

    fn holders(mirror: &Mirror, uid: &str) -> Vec<(String, String)> {
        let table = held(mirror, uid, None, wanted().wanted());
        table
            .into_iter()
            .flat_map(|(member, claims)| claims.into_values().map(move |one| (member.clone(), one.rollout)))
            .collect()
    }

    #[test]
    fn semantics_07_a_run_of_a_version_without_claims_holds_its_members_until_it_has_taken_them() {
        let mirror = old_records();
        assert_eq!(holders(&mirror, "u2"), [("m1".to_owned(), "first".to_owned())]);
        assert_eq!(holders(&mirror, "u1"), [], "for itself they are free to take");
    }

    #[test]
    fn semantics_07_a_claim_of_the_store_goes_before_what_records_say() {
        let mut mirror = old_records();
        let claim = json!({"uid": "u9", "rollout": "third", "createdAt": 1});
        put(&mut mirror, "claims/m1/Deployment.apps/shop/checkout", &claim);
        assert_eq!(holders(&mirror, "u2"), [("m1".to_owned(), "third".to_owned())]);
    }
}
