//! Actions: created as objects in the user's name, and followed until the controller has said what became of them.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use crds::{
    ActedRollout, ActionKind, ActionOutcome, ClusterScopeRollout, Payload, Revision, RolloutAction, RolloutActionSpec,
    RolloutActionStatus,
};
use kube::ResourceExt as _;
use kube::api::PostParams;
use kube::runtime::wait::await_condition;

use crate::arguments::{Act, Format, Reasoned, Waiting};
use crate::hub::{Hub, answer};
use crate::output;

/// There was no outcome in time.
const UNDECIDED: u8 = 3;

pub(crate) async fn approve(hub: &Hub, name: &str, step: Option<i32>, act: &Act) -> Result<ExitCode> {
    let rollout = hub.rollout(name).await?;
    let (run, at) = position(&rollout)?;
    if let Some(step) = step.filter(|step| *step != at) {
        bail!("step {step} was meant, but run {run} is at step {at}: nothing was approved");
    }
    let revision = revision_of_run(&rollout)?;
    create(hub, &rollout, ActionKind::Approve, revision, &act.why, act.waiting).await
}

pub(crate) async fn abort(hub: &Hub, name: &str, act: &Reasoned) -> Result<ExitCode> {
    let rollout = hub.rollout(name).await?;
    let revision = revision_of_run(&rollout)?;
    create(hub, &rollout, ActionKind::Abort, revision, &act.why, act.waiting).await
}

pub(crate) async fn resume(hub: &Hub, name: &str, act: &Reasoned) -> Result<ExitCode> {
    let rollout = hub.rollout(name).await?;
    let revision = revision_of_run(&rollout)?;
    create(hub, &rollout, ActionKind::Resume, revision, &act.why, act.waiting).await
}

pub(crate) async fn retry(hub: &Hub, name: &str, catch_up: bool, act: &Reasoned) -> Result<ExitCode> {
    let rollout = hub.rollout(name).await?;
    let revision = if catch_up {
        let accepted = rollout.status.as_ref().and_then(|status| status.accepted_revision.clone());
        accepted.with_context(|| format!("no run of {name} has succeeded yet: there is nothing to catch up with"))?
    } else {
        // It is for what the spec wants, which need not be what ran last.
        let payload =
            Payload::of(&rollout.spec).context("there is nothing to roll out: set spec.workload or spec.manifests")?;
        Revision::of(&payload)
    };
    create(hub, &rollout, ActionKind::Retry, revision, &act.why, act.waiting).await
}

pub(crate) async fn accept_hub(hub: &Hub, name: &str, act: &Reasoned) -> Result<ExitCode> {
    let rollout = hub.rollout(name).await?;
    let status = rollout.status.clone().unwrap_or_default();
    // It is about no run: a rollout that was just created again has none.
    let wanted = Payload::of(&rollout.spec).as_ref().map(Revision::of);
    let revision = status.revision.or(wanted).unwrap_or_else(|| Revision("none".to_owned()));
    let at = (status.run.max(1), status.step.max(1));
    create_at(hub, &rollout, ActionKind::AcceptHub, (at, revision), &act.why, act.waiting).await
}

/// Run and step, as the status shows them.
fn position(rollout: &ClusterScopeRollout) -> Result<(i64, i32)> {
    let status = rollout.status.as_ref().filter(|status| status.run > 0);
    let Some(status) = status else { bail!("no run of {} has started yet", rollout.name_any()) };
    Ok((status.run, status.step))
}

fn revision_of_run(rollout: &ClusterScopeRollout) -> Result<Revision> {
    let revision = rollout.status.as_ref().and_then(|status| status.revision.clone());
    revision.with_context(|| format!("no run of {} has started yet", rollout.name_any()))
}

async fn create(
    hub: &Hub,
    rollout: &ClusterScopeRollout,
    action: ActionKind,
    revision: Revision,
    why: &str,
    waiting: Waiting,
) -> Result<ExitCode> {
    let at = position(rollout)?;
    create_at(hub, rollout, action, (at, revision), why, waiting).await
}

async fn create_at(
    hub: &Hub,
    rollout: &ClusterScopeRollout,
    action: ActionKind,
    ((run, step), revision): ((i64, i32), Revision),
    why: &str,
    waiting: Waiting,
) -> Result<ExitCode> {
    let name = rollout.name_any();
    let spec = RolloutActionSpec {
        rollout: ActedRollout { name: name.clone(), uid: rollout.uid().unwrap_or_default() },
        run,
        step,
        revision,
        action,
        who: hub.who().await?,
        why: why.to_owned(),
    };
    let mut object = RolloutAction::new("", spec);
    object.metadata.name = None;
    object.metadata.generate_name = Some(format!("{name}-{}-", action.verb()));
    let parameters = PostParams { field_manager: Some(output::FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let created = answer(hub.actions().create(&parameters, &object)).await?;
    let seen = follow(hub, created, Duration::from_secs(waiting.seconds)).await?;
    report(&seen, waiting.output)
}

/// The action with its outcome, or as it was when the time was over.
async fn follow(hub: &Hub, created: RolloutAction, patience: Duration) -> Result<RolloutAction> {
    let name = created.name_any();
    if patience.is_zero() {
        return Ok(created);
    }
    let settled =
        |action: Option<&RolloutAction>| action.is_none_or(|action| outcome(action).0 != ActionOutcome::Pending);
    match tokio::time::timeout(patience, await_condition(hub.actions(), &name, settled)).await {
        Ok(Ok(Some(action))) => Ok(action),
        Ok(Ok(None)) => bail!("somebody has deleted the action {name}"),
        Ok(Err(error)) => Err(anyhow::Error::from(error).context(format!("failed to follow the action {name}"))),
        Err(_) => answer(hub.actions().get(&name)).await,
    }
}

fn outcome(action: &RolloutAction) -> (ActionOutcome, &str) {
    let none = (ActionOutcome::Pending, "");
    action.status.as_ref().map_or(none, |RolloutActionStatus { outcome, message, at: _ }| (*outcome, message.as_str()))
}

fn report(action: &RolloutAction, format: Format) -> Result<ExitCode> {
    if format == Format::Table {
        let line = words(action);
        if outcome(action).0 == ActionOutcome::Refused { eprintln!("{line}") } else { println!("{line}") }
    } else {
        output::print(action, format)?;
    }
    Ok(match outcome(action).0 {
        ActionOutcome::Applied => ExitCode::SUCCESS,
        ActionOutcome::Refused => ExitCode::FAILURE,
        ActionOutcome::Pending => ExitCode::from(UNDECIDED),
    })
}

fn words(action: &RolloutAction) -> String {
    let spec = &action.spec;
    let what = format!("{} of {}, run {}, step {}", spec.action.verb(), spec.rollout.name, spec.run, spec.step);
    match outcome(action) {
        (ActionOutcome::Applied, message) => format!("{what}: done: {message}"),
        (ActionOutcome::Refused, message) => format!("{what}: refused: {message}"),
        (ActionOutcome::Pending, message) => {
            let why = if message.is_empty() { "the controller has not taken it up yet" } else { message };
            format!("{what}: pending: {why}; follow it with: kubectl get ra {}", action.name_any())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn action(status: &serde_json::Value) -> RolloutAction {
        let object = json!({
            "apiVersion": "rollout.example.com/v1alpha1",
            "kind": "RolloutAction",
            "metadata": {"name": "checkout-approve-x7"},
            "spec": {"rollout": {"name": "checkout", "uid": "u"}, "run": 2, "step": 1, "revision": "r",
                     "action": "Approve", "who": "alice"},
            "status": status,
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn an_outcome_is_told_in_a_sentence() {
        let said = |status| words(&action(&status));
        assert_eq!(
            said(json!({"outcome": "Applied", "message": "step 1 goes on"})),
            "approve of checkout, run 2, step 1: done: step 1 goes on"
        );
        assert_eq!(
            said(json!({"outcome": "Refused", "message": "it is for run 2"})),
            "approve of checkout, run 2, step 1: refused: it is for run 2"
        );
        assert_eq!(
            said(json!(null)),
            "approve of checkout, run 2, step 1: pending: the controller has not taken it up yet; follow it with: kubectl get ra checkout-approve-x7"
        );
    }
}
