//! A rollout's finalizer, status and conditions.

use std::collections::BTreeMap;

use anyhow::Result;
use crds::{
    CONTROLLER_MANAGER, ClusterScopeRollout, ClusterScopeRolloutStatus, FINALIZER, WaitingOnStatus, time_from_millis,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use rollout_core::{ConditionFact, Desired, MemberFacts, Observations, is_recovering};
use serde::Serialize;
use serde_json::json;

use super::done;
use crate::clock;
use crate::fault;
use crate::hub::has_finalizer;
use crate::loss::Loss;
use crate::world::{Known, World};

/// Brings one object up to date; false when it was.
pub(super) async fn publish(
    world: &World,
    client: &Client,
    uid: &str,
    facts: &BTreeMap<String, MemberFacts>,
) -> Result<bool> {
    let Some(object) = world.hub().rollout_by_uid(uid).cloned() else { return Ok(false) };
    let api: Api<ClusterScopeRollout> = Api::all(client.clone());
    if object.metadata.deletion_timestamp.is_some() {
        let released = world.mirror().rollout(uid).is_some_and(|stored| stored.state.header.finalizer_released);
        if released && has_finalizer(&object) {
            return set_finalizer(&api, &object, false).await;
        }
    } else if !has_finalizer(&object) {
        return set_finalizer(&api, &object, true).await;
    }
    let before = object.status.clone().unwrap_or_default();
    if is_unknown(world, uid, &before, facts) {
        // By what the hub knows the run is adopted: it is not overwritten.
        let after = ClusterScopeRolloutStatus { waiting_on: Some(learning()), ..before.clone() };
        return if after == before { Ok(false) } else { write_status(&api, &object, &after).await };
    }
    let summary = world.summary(uid, facts);
    let mut after = summary.status;
    after.conditions = conditions(&before.conditions, &summary.conditions, after.observed_generation);
    if after == before {
        return Ok(false);
    }
    fault::pass(world, fault::Stage::Publish);
    write_status(&api, &object, &after).await
}

/// Whether the hub tells more of a rollout than the store knows yet.
fn is_unknown(
    world: &World,
    uid: &str,
    told: &ClusterScopeRolloutStatus,
    facts: &BTreeMap<String, MemberFacts>,
) -> bool {
    let lost = Loss::of(told, world.mirror().rollout(uid).map(|stored| &stored.state.header)).is_some();
    let recovering = |known: &Known, _: Desired<'_>, seen: &Observations<'_>| is_recovering(&known.state, seen);
    lost || (told.run > 0 && world.look(uid, facts, recovering))
}

fn learning() -> WaitingOnStatus {
    WaitingOnStatus {
        reason: "StoreRebuilt".to_owned(),
        message:
            "the controller's store was lost or went back: nothing is decided until members have told what they have"
                .to_owned(),
        until: None,
    }
}

/// Server-side apply: what a status no longer says is taken away at any depth, where a merge patch would keep it. The
/// uid keeps a recreated object of the same name from getting the old one's status.
async fn write_status(
    api: &Api<ClusterScopeRollout>,
    object: &ClusterScopeRollout,
    status: &ClusterScopeRolloutStatus,
) -> Result<bool> {
    let name = object.name_any();
    let patch = status_patch::<ClusterScopeRollout, _>(&name, object.uid().as_deref(), status);
    let parameters = PatchParams::apply(CONTROLLER_MANAGER).force();
    done(api.patch_status(&name, &parameters, &Patch::Apply(&patch)).await.map(drop))
}

/// The body that applies a whole status.
pub(super) fn status_patch<K: Resource<DynamicType = ()>, S: Serialize>(
    name: &str,
    uid: Option<&str>,
    status: &S,
) -> serde_json::Value {
    json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": name, "uid": uid},
        "status": status,
    })
}

async fn set_finalizer(api: &Api<ClusterScopeRollout>, object: &ClusterScopeRollout, wanted: bool) -> Result<bool> {
    let mut finalizers: Vec<String> = object.metadata.finalizers.clone().unwrap_or_default();
    finalizers.retain(|name| name != FINALIZER);
    if wanted {
        finalizers.push(FINALIZER.to_owned());
    }
    // A list is replaced whole, so another's change of it in between must not be lost.
    let version = object.resource_version();
    let patch = json!({"metadata": {"uid": object.uid(), "resourceVersion": version, "finalizers": finalizers}});
    let parameters = PatchParams { field_manager: Some(CONTROLLER_MANAGER.to_owned()), ..PatchParams::default() };
    done(api.patch(&object.name_any(), &parameters, &Patch::Merge(&patch)).await.map(drop))
}

/// Conditions with their times: that of the last change of status is kept, as Kubernetes means it.
pub(super) fn conditions(before: &[Condition], facts: &[ConditionFact], generation: i64) -> Vec<Condition> {
    let now = time_from_millis(clock::now_millis());
    let worded = facts.iter().map(|ConditionFact { kind, status, reason, message }| {
        let status = match status {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        let old = before.iter().find(|old| old.type_ == *kind && old.status == status);
        Condition {
            type_: (*kind).to_owned(),
            status: status.to_owned(),
            reason: reason.clone(),
            message: message.clone(),
            observed_generation: Some(generation),
            last_transition_time: old.map_or_else(|| now.clone(), |old| old.last_transition_time.clone()),
        }
    });
    worded.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(status: Option<bool>, message: &str) -> ConditionFact {
        ConditionFact { kind: "Ready", status, reason: "R".to_owned(), message: message.to_owned() }
    }

    #[test]
    fn a_condition_keeps_its_time_until_its_status_changes() {
        let mut before = conditions(&[], &[fact(Some(false), "a")], 1);
        for condition in &mut before {
            condition.last_transition_time = time_from_millis(1_000);
        }
        let reworded = conditions(&before, &[fact(Some(false), "b")], 2);
        let times = |all: &[Condition]| all.iter().map(|one| one.last_transition_time.clone()).collect::<Vec<_>>();
        assert_eq!(times(&reworded), times(&before));
        let changed = conditions(&before, &[fact(None, "c")], 2);
        assert_ne!(times(&changed), times(&before));
        assert!(changed.iter().all(|one| one.status == "Unknown" && one.observed_generation == Some(2)));
    }
}
