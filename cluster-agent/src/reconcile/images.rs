//! An order about images of a workload: read it, decide, set them, answer. Client required; what to do is decided in
//! [`plan`].

use std::collections::BTreeMap;
use std::time::Instant;

use crds::{AssignedWorkload, Outcome, RolloutAssignment};
use kube::Api;

use super::ladder::{Answer, deed};
use super::plan::{self, Images, Step, plan};
use super::workload::{self, Workload};
use super::{Error, Reconciler, apply, nodes, now, stuck};
use crate::assignment::Order;
use crate::cluster;
use crate::work::queue::Finish;

impl Reconciler {
    /// Reads the workload, without the nodes that don't count.
    pub(super) async fn read_workload(&self, target: &AssignedWorkload) -> Result<Option<Workload>, Error> {
        let Some(live) = workload::read(&self.client, target).await? else { return Ok(None) };
        Ok(Some(nodes::usable(&self.client, &target.namespace, live, now().0.as_millisecond()).await?))
    }

    /// Takes the next step of an order about this workload, of which `live` was read before the order was.
    pub(super) async fn step_images(
        &self,
        api: &Api<RolloutAssignment>,
        order: &Order,
        current: RolloutAssignment,
        (target, live): (&AssignedWorkload, Option<Workload>),
    ) -> Result<Finish, Error> {
        match plan(order, live.as_ref()) {
            Step::Withdraw => self.withdraw(api, order, current).await,
            Step::Answer(answer) => {
                let answer = self.unstick(order, (target, live.as_ref()), plan::wanted(order), answer).await?;
                self.answer(api, order, current, answer).await
            }
            Step::Apply(images) => match live {
                Some(live) => self.apply(api, order, current, (target, &live), images).await,
                // What is not there is never planned to be changed.
                None => Ok(Finish::Failed),
            },
        }
    }

    /// After a return: deletes a pod that the `StatefulSet` would leave behind for ever, and says so (SEMANTICS 18).
    /// None of `images`: nothing is known to have failed; an empty map: see [`stuck::next`].
    pub(super) async fn unstick(
        &self,
        order: &Order,
        (target, live): (&AssignedWorkload, Option<&Workload>),
        images: Option<BTreeMap<String, String>>,
        mut answer: Answer,
    ) -> Result<Answer, Error> {
        let healthy = answer.workload.as_ref().is_some_and(|workload| workload.healthy);
        let is_waiting = matches!(answer.outcome, Outcome::Progressing | Outcome::Reverted) && !healthy;
        let Some(live) = live.filter(|live| is_waiting && stuck::possible(order, live)) else { return Ok(answer) };
        let note = match self.delete_stuck(order, (target, live), images).await {
            Ok(None) => return Ok(answer),
            Ok(Some(pod)) => format!("deleted pod '{pod}' of the failed revision, which was not ready"),
            Err(Error::Cluster(error)) if error.refusal().is_some() && !error.is_missing() => {
                format!(
                    "NeedsPodDeletion: pods of the failed revision may be left that never become ready, and the agent may \
                     not delete pods in '{}' ({error}); delete them, or set stuckPods.delete in its chart",
                    target.namespace
                )
            }
            Err(error) => return Err(error),
        };
        answer.message = format!("{}; {note}", answer.message);
        Ok(answer)
    }

    /// Deletes the next stuck pod, if there is one, and returns its name.
    async fn delete_stuck(
        &self,
        order: &Order,
        (target, live): (&AssignedWorkload, &Workload),
        images: Option<BTreeMap<String, String>>,
    ) -> Result<Option<String>, Error> {
        let pods = stuck::pods_of(&self.client, target, live).await?;
        let Some(pod) = images.and_then(|images| stuck::next(&images, live, &pods)) else {
            return Ok(None);
        };
        self.check_mark(order).await?;
        self.check_lease()?;
        match stuck::delete(&self.client, target, pod).await {
            // It is gone, or another pod has its name.
            Err(error) if error.is_missing() || error.is_conflict() => return Ok(None),
            result => result?,
        }
        tracing::info!(rollout = order.spec.rollout.name, pod = pod.name, "deleted a pod that was stuck");
        Ok(Some(pod.name.clone()))
    }

    async fn apply(
        &self,
        api: &Api<RolloutAssignment>,
        order: &Order,
        current: RolloutAssignment,
        (target, live): (&AssignedWorkload, &Workload),
        images: Images,
    ) -> Result<Finish, Error> {
        self.check_mark(order).await?;
        let manager = apply::manager(&order.spec.rollout.name);
        let body = apply::body(target, live, &images.images, &manager);
        self.check_lease()?;
        let applied = match apply::apply(&self.client, target, &body, &manager).await {
            Ok(applied) => applied,
            Err(error) => return self.not_applied(api, order, current, live, error).await,
        };
        self.metrics.applied(deed(order, images.drifted));
        let (rollout, intent) = (&order.spec.rollout.name, order.spec.intent.as_str());
        tracing::info!(rollout, intent, fence = %order.spec.fence, drifted = images.drifted, "set the images");
        if applied.runs(&images.images) {
            if images.drifted {
                self.repairs.note(order, Instant::now());
            }
            let Step::Answer(answer) = plan(order, Some(&applied)) else { return Ok(Finish::Failed) };
            return self.answer(api, order, current, answer).await;
        }
        let message = "something in the member changes the images while they are set: look at its mutating webhooks";
        let mut answer = plan::answer(order, Some(&applied), Outcome::Refused, message.to_owned());
        answer.applied_hash = Some(images.hash());
        self.answer(api, order, current, answer).await?;
        Err(Error::Refused(message.to_owned()))
    }

    /// What the API server refuses as such is reported; everything else starts over.
    async fn not_applied(
        &self,
        api: &Api<RolloutAssignment>,
        order: &Order,
        current: RolloutAssignment,
        live: &Workload,
        error: cluster::Error,
    ) -> Result<Finish, Error> {
        let Some(message) = error.refusal().filter(|_| !error.is_missing()).map(ToOwned::to_owned) else {
            self.metrics.applied(if error.is_conflict() { "conflict" } else { "failed" });
            return Err(error.into());
        };
        self.metrics.applied("refused");
        let answer = plan::answer(order, Some(live), Outcome::Refused, message.clone());
        self.answer(api, order, current, answer).await?;
        Err(Error::Refused(message))
    }
}
