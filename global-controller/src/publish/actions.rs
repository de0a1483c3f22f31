//! What became of people's actions, and the end of those that are old.

use anyhow::Result;
use crds::{
    ActionKind, ActionOutcome, CONTROLLER_MANAGER, ClusterScopeRollout, RolloutAction, RolloutActionStatus,
    millis_from_time, time_from_millis,
};
use futures::StreamExt as _;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, ResourceExt as _};
use rollout_core::Millis;
use tokio::time::timeout;

use super::{AT_ONCE, DEADLINE, done, rollouts};
use crate::clock;
use crate::hub::actions::{created_at, is_settled};
use crate::world::World;

/// Actions with an outcome that are kept of each rollout: the newest.
const KEPT: usize = 200;
/// How long an action with an outcome is kept.
const KEPT_MILLIS: Millis = 30 * 86_400_000;
/// Actions that are deleted in one pass; the next is a minute later.
const DELETED_AT_ONCE: usize = 50;

/// Brings one object up to date; false when it was.
pub(super) async fn publish(world: &World, client: &Client, name: &str) -> Result<bool> {
    let Some(action) = world.hub().actions().get(name).filter(|action| !is_settled(action)).cloned() else {
        return Ok(false);
    };
    let status = match committed(world, &action) {
        Some(status) => Some(status),
        None if is_known(world, &action) => waiting(&action),
        None => stranger(world, client, &action).await?,
    };
    let Some(status) = status.filter(|status| action.status.as_ref() != Some(status)) else { return Ok(false) };
    let patch = rollouts::status_patch::<RolloutAction, _>(name, action.uid().as_deref(), &status);
    let parameters = PatchParams::apply(CONTROLLER_MANAGER).force();
    let api: Api<RolloutAction> = Api::all(client.clone());
    done(api.patch_status(name, &parameters, &Patch::Apply(&patch)).await.map(drop))
}

/// What the store says.
fn committed(world: &World, action: &RolloutAction) -> Option<RolloutActionStatus> {
    let mirror = world.mirror();
    let handled = mirror.rollout(&action.spec.rollout.uid)?.state.header.handled.get(action.uid()?.as_str())?;
    Some(RolloutActionStatus {
        outcome: handled.outcome,
        message: handled.message.clone(),
        at: Some(time_from_millis(handled.at)),
    })
}

/// Whether the driver is to decide about it.
fn is_known(world: &World, action: &RolloutAction) -> bool {
    let uid = &action.spec.rollout.uid;
    let on_hub = world.hub().rollout_by_uid(uid).is_some();
    on_hub || world.mirror().rollout(uid).is_some()
}

/// An approval may wait for long; the others are taken up at once.
fn waiting(action: &RolloutAction) -> Option<RolloutActionStatus> {
    let message = "it counts when the members of the step are healthy and its pause is over".to_owned();
    let waits = action.spec.action == ActionKind::Approve;
    waits.then_some(RolloutActionStatus { outcome: ActionOutcome::Pending, message, at: None })
}

/// Nobody knows the rollout. The watches of rollouts and actions are not in step, so the hub is asked first.
async fn stranger(world: &World, client: &Client, action: &RolloutAction) -> Result<Option<RolloutActionStatus>> {
    let (name, meant) = (&action.spec.rollout.name, &action.spec.rollout.uid);
    let api: Api<ClusterScopeRollout> = Api::all(client.clone());
    let found = api.get_opt(name).await?.and_then(|rollout| rollout.uid());
    if found.as_ref() == Some(meant) || !world.hub().is_fresh(tokio::time::Instant::now()) {
        return Ok(None);
    }
    let message = match found {
        Some(uid) => format!(
            "it is for rollout \"{name}\" of uid {meant}, but the one of that name has uid {uid}: look at that, and create another action for it"
        ),
        None => format!("there is no rollout \"{name}\" of uid {meant}: look which there are (kubectl get csro)"),
    };
    let at = Some(time_from_millis(clock::now_millis()));
    Ok(Some(RolloutActionStatus { outcome: ActionOutcome::Refused, message, at }))
}

/// Deletes actions that nobody will ask for any more.
pub(super) async fn retire(world: &World, client: &Client) {
    let spent: Vec<(String, Option<String>)> = {
        let hub = world.hub();
        let now = clock::now_millis();
        let all = hub.actions().rollouts().flat_map(|rollout| spent(hub.actions().of(rollout).map(AsRef::as_ref), now));
        all.take(DELETED_AT_ONCE).collect()
    };
    let api: Api<RolloutAction> = Api::all(client.clone());
    let deletions = spent.into_iter().map(|(name, uid)| {
        let api = &api;
        async move {
            let parameters = DeleteParams::default().preconditions(Preconditions { uid, resource_version: None });
            match timeout(DEADLINE, api.delete(&name, &parameters)).await.map(|result| done(result.map(drop))) {
                Ok(Ok(_)) => {}
                // The next pass finds it again.
                Ok(Err(error)) => tracing::warn!(name, error = format!("{error:#}"), "failed to delete an old action"),
                Err(_) => tracing::warn!(name, "the hub did not answer in time; an old action stays for now"),
            }
        }
    });
    futures::stream::iter(deletions).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

/// Name and uid of the actions about one rollout that are too old or too many, the oldest first. One without an outcome
/// never is.
fn spent<'a>(actions: impl Iterator<Item = &'a RolloutAction>, now: Millis) -> Vec<(String, Option<String>)> {
    let mut settled: Vec<&RolloutAction> = actions.filter(|action| is_settled(action)).collect();
    settled.sort_by_key(|action| (created_at(action), action.uid()));
    let surplus = settled.len().saturating_sub(KEPT);
    let settled_at = |action: &RolloutAction| {
        let at = action.status.as_ref().and_then(|status| status.at.as_ref());
        at.map_or_else(|| created_at(action), millis_from_time)
    };
    let numbered = settled.into_iter().enumerate();
    let spent = numbered.filter(|(number, action)| *number < surplus || settled_at(action) + KEPT_MILLIS < now);
    spent.map(|(_, action)| (action.name_any(), action.uid())).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    const DAY: Millis = 86_400_000;

    fn action(number: usize, day: Millis, outcome: &str) -> RolloutAction {
        let at = time_from_millis(day * DAY);
        let object = json!({
            "apiVersion": "rollout.example.com/v1alpha1",
            "kind": "RolloutAction",
            "metadata": {"name": format!("a{number:03}"), "uid": number.to_string(), "creationTimestamp": at},
            "spec": {"rollout": {"name": "checkout", "uid": "u1"}, "run": 1, "step": 1, "revision": "r",
                     "action": "Approve", "who": "alice"},
            "status": {"outcome": outcome, "at": at},
        });
        serde_json::from_value(object).unwrap()
    }

    fn names(actions: &[RolloutAction], day: Millis) -> Vec<String> {
        spent(actions.iter(), day * DAY).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn semantics_44_actions_with_an_outcome_go_after_30_days() {
        let actions = [action(1, 10, "Applied"), action(2, 11, "Refused"), action(3, 1, "Pending")];
        assert_eq!(names(&actions, 40), [""; 0]);
        assert_eq!(names(&actions, 41), ["a001"]);
        assert_eq!(names(&actions, 50), ["a001", "a002"]);
    }

    #[test]
    fn semantics_44_of_each_rollout_the_newest_200_with_an_outcome_stay() {
        let mut actions: Vec<RolloutAction> = (0..203).map(|number| action(number, 1, "Applied")).collect();
        actions.push(action(900, 0, "Pending"));
        assert_eq!(names(&actions, 2).len(), 3);
    }
}
