//! One look at one assignment: read what is there, decide, act, answer. Client required; what to do is decided in
//! [`ladder`].

pub mod apply;
pub mod contention;
pub mod deadline;
pub mod drift;
pub mod health;
mod images;
pub mod ladder;
pub mod manifests;
pub mod nodes;
pub mod plan;
mod pods;
pub mod said;
pub mod status;
pub mod stuck;
pub mod workload;

use std::sync::Arc;
use std::time::Instant;

use crds::{AGENT_MANAGER, Intent, Outcome, RolloutAssignment};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, Client, ResourceExt as _};

use self::contention::Repairs;
use self::deadline::Deadlines;
use self::ladder::Answer;
use self::manifests::kinds::Kinds;
use self::manifests::rights::Rights;
use self::manifests::store::Store;
use self::said::Said;
use self::workload::Workload;
use crate::accept::fences::Fences;
use crate::assignment::{Order, Target};
use crate::cluster::{self, call};
use crate::hub::outbox::Outbox;
use crate::hub::resync::Resync;
use crate::lease::Held;
use crate::metrics::Metrics;
use crate::work::cache::Cache;
use crate::work::interests::Interests;
use crate::work::queue::Finish;

/// The watch may lag behind what was read; then the newer assignment is looked at.
const LOOKS: u32 = 3;

/// What came of a look.
enum Looked {
    Done(Finish),
    Newer(Box<RolloutAssignment>),
}

/// What was read of what an assignment is about: nothing where it doesn't matter, else one of the two.
#[derive(Default)]
struct Live {
    /// The workload, if it exists.
    workload: Option<Workload>,
    /// The objects.
    objects: manifests::Read,
}

/// Why a look did not end well. All are tried again, with a waiting time that grows.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server is not there, or somebody else was faster.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// The same, of one of several objects.
    #[error("{object}")]
    Object {
        /// Which one.
        object: String,
        /// Why.
        source: cluster::Error,
    },
    /// The API server refuses what is to be set; that was reported.
    #[error("the API server refuses what is to be set: {0}")]
    Refused(String),
    /// It changed at each look.
    #[error("the assignment changed at each of {LOOKS} looks")]
    Restless,
    /// Somebody changed an object each time that it was to be applied.
    #[error("an object changed at each try to apply it")]
    Unsettled,
    /// Another pod holds the Lease.
    #[error("the Lease is not held")]
    NotHeld,
    /// A higher fence was seen than that of the assignment that is there.
    #[error("the assignment is older than the fence {0} that was seen")]
    Superseded(crds::Fence),
}

impl Error {
    /// Whether somebody else was faster.
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Cluster(error) | Self::Object { source: error, .. } if error.is_conflict())
    }

    fn as_str(&self) -> &'static str {
        match self {
            _ if self.is_conflict() => "conflict",
            Self::Cluster(_) | Self::Object { .. } => "error",
            Self::Refused(_) => "refused",
            Self::Restless => "restless",
            Self::Unsettled => "unsettled",
            Self::NotHeld => "not_held",
            Self::Superseded(_) => "superseded",
        }
    }
}

/// What a look works with.
pub struct Reconciler {
    /// The member's API server.
    pub client: Client,
    /// The local assignments.
    pub cache: Arc<Cache>,
    /// The marks: an assignment below its mark is not acted on.
    pub fences: Fences,
    /// Takes the answers.
    pub outbox: Arc<Outbox>,
    /// Only the holder acts.
    pub held: Held,
    /// Asks for the hub's complete list.
    pub resync: Arc<Resync>,
    /// What this term of the Lease has told the hub.
    pub said: Said,
    /// The deadlines that run.
    pub deadlines: Deadlines,
    /// What was repaired lately.
    pub repairs: Repairs,
    /// What is kept of rollouts of whole objects.
    pub records: Store,
    /// The kinds that the API server has.
    pub kinds: Kinds,
    /// What the agent may make.
    pub rights: Rights,
    /// Where the objects of rollouts are.
    pub interests: Arc<Interests>,
    /// Figures.
    pub metrics: Arc<Metrics>,
}

impl Reconciler {
    /// Looks at the assignment of one rollout.
    pub async fn reconcile(&self, rollout: &str) -> Result<Finish, Error> {
        let Some(known) = self.cache.get(rollout) else {
            self.forget(rollout);
            return Ok(Finish::Forget);
        };
        let started = Instant::now();
        let mut result = self.look(&known).await;
        for _ in 1..LOOKS {
            let Ok(Looked::Newer(newer)) = &result else { break };
            let newer = newer.clone();
            result = self.look(&newer).await;
        }
        let result = match result {
            Ok(Looked::Done(finish)) => Ok(finish),
            Ok(Looked::Newer(_)) => Err(Error::Restless),
            Err(error) => Err(error),
        };
        if matches!(result, Ok(Finish::Forget)) {
            self.forget(rollout);
        }
        let word = result.as_ref().map_or_else(Error::as_str, |_| "ok");
        self.metrics.reconciled(known.spec.intent.as_str(), word, started.elapsed());
        result
    }

    fn forget(&self, rollout: &str) {
        self.said.forget(rollout);
        self.deadlines.forget(rollout);
        self.repairs.forget(rollout);
        self.interests.forget(rollout);
    }

    /// The order matters (SEMANTICS 15): first the workload, then the assignment from a quorum, then the mark, then the
    /// Lease. Whoever was overtaken after that fails on the workload's resourceVersion.
    async fn look(&self, known: &RolloutAssignment) -> Result<Looked, Error> {
        let mut live = Live::default();
        match &known.spec.workload {
            None if known.spec.intent == Intent::Withdraw => live.objects = self.read_record(&known.spec).await?,
            Some(_) if known.spec.intent == Intent::Withdraw => {}
            Some(target) => live.workload = self.read_workload(target).await?,
            None => live.objects = Box::pin(self.read_objects(&known.spec)).await?,
        }
        let api: Api<RolloutAssignment> = Api::all(self.client.clone());
        // By the object's own name: somebody may have edited the rollout's.
        let found = call("read the assignment", api.get_opt(&known.name_any())).await?;
        let Some(current) = found else {
            // A look before may have deleted it and not been told so.
            if known.spec.intent == Intent::Withdraw && self.held.now() {
                self.forget_objects(&known.spec.rollout.name, &live.objects).await;
            }
            return Ok(Looked::Done(Finish::Forget));
        };
        if is_outdated(known, &current) {
            return Ok(Looked::Newer(Box::new(current)));
        }
        let mut order = Order::of(&current);
        order.overdue = self.deadlines.passed(&order);
        order.contested = self.repairs.are_used_up(&order, Instant::now());
        if !order.intact {
            // The hub's list writes it anew.
            self.resync.ask();
        }
        let finish = match &known.spec.workload {
            Some(target) => self.step_images(&api, &order, current, (target, live.workload)).await,
            // Boxed, as it holds many more calls than the other, which need not be as large for it.
            None => Box::pin(self.step_objects(&api, &order, current, live.objects)).await,
        };
        finish.map(Looked::Done)
    }

    async fn withdraw(
        &self,
        api: &Api<RolloutAssignment>,
        order: &Order,
        current: RolloutAssignment,
    ) -> Result<Finish, Error> {
        self.check_lease()?;
        let name = &order.spec.rollout.name;
        let parameters = DeleteParams::default().preconditions(Preconditions {
            uid: current.metadata.uid,
            resource_version: current.metadata.resource_version,
        });
        match call("delete the assignment", api.delete(name, &parameters)).await {
            Ok(_) => {}
            Err(error) if error.is_missing() => {}
            Err(error) if error.is_conflict() => return Err(error.into()),
            Err(error) => {
                // It may be gone all the same, and then nobody would say so.
                self.resync.ask();
                return Err(error.into());
            }
        }
        tracing::info!(rollout = name, fence = %order.spec.fence, "withdrew the assignment");
        let answer = ladder::answer(order, None, Outcome::Withdrawn, "the assignment is withdrawn".to_owned());
        if let Some(status) = status::next(order, answer, now()) {
            self.outbox.put(status::report(order, status));
        }
        Ok(Finish::Forget)
    }

    /// Writes the status, if it is new, and then reports it.
    async fn answer(
        &self,
        api: &Api<RolloutAssignment>,
        order: &Order,
        mut current: RolloutAssignment,
        answer: Answer,
    ) -> Result<Finish, Error> {
        let gives_up = answer.gives_up;
        let Some(status) = status::next(order, answer, now()) else { return self.repeat(order) };
        self.check_lease()?;
        let name = order.spec.rollout.name.clone();
        // Without an answer from the API server it may be written and never told.
        self.said.forget(&name);
        current.status = Some(status.clone());
        let parameters = PostParams { field_manager: Some(AGENT_MANAGER.to_owned()), ..PostParams::default() };
        // With the resourceVersion that was read: a sequence is never given twice.
        call("write the status", api.replace_status(&name, &parameters, &current)).await?;
        if order.answered() != Some(status.outcome) {
            let (outcome, said) = (status.outcome.as_str(), &status.message);
            tracing::info!(rollout = name, fence = %order.spec.fence, outcome, said, "answered");
        }
        let end = self.deadlines.end(order, &status);
        self.outbox.put(status::report(order, status));
        self.said.note(&name);
        if gives_up {
            tracing::warn!(rollout = name, fence = %order.spec.fence, "not healthy in time: goes back");
            return Ok(Finish::At(Instant::now()));
        }
        Ok(end.map_or(Finish::Fine, Finish::At))
    }

    /// Says once in each term what is there: a holder before may have written it and not lived to tell the hub. Twice
    /// does no harm, as the hub knows the sequence.
    fn repeat(&self, order: &Order) -> Result<Finish, Error> {
        let name = &order.spec.rollout.name;
        if let Some(status) = order.status.clone().filter(|_| !self.said.knows(name)) {
            self.check_lease()?;
            self.outbox.put(status::report(order, status));
            self.said.note(name);
        }
        let end = order.status.as_ref().and_then(|status| self.deadlines.end(order, status));
        Ok(end.map_or(Finish::Fine, Finish::At))
    }

    /// Two rollouts may have assignments for one object for a moment, and a pod that was paused may have written an old
    /// one: only the highest acts. Without marks (they were lost, and the hub is away) the last known state goes on.
    async fn check_mark(&self, order: &Order) -> Result<(), Error> {
        let marks = self.fences.read().await?.marks.unwrap_or_default();
        let mark = marks.of(&Target::from(&order.spec)).filter(|mark| mark.fence > order.spec.fence);
        let Some(mark) = mark else { return Ok(()) };
        if mark.rollout == order.spec.rollout.name {
            self.resync.ask();
        }
        Err(Error::Superseded(mark.fence))
    }

    fn check_lease(&self) -> Result<(), Error> {
        if self.held.now() { Ok(()) } else { Err(Error::NotHeld) }
    }
}

/// Whether an assignment says something else by now. Under the same fence, too: its objects, or what it was about, may
/// be written anew, and what was read was not read for that.
fn is_outdated(known: &RolloutAssignment, current: &RolloutAssignment) -> bool {
    current.spec != known.spec
}

fn now() -> k8s_openapi::apimachinery::pkg::apis::meta::v1::Time {
    crds::time_from_millis(Timestamp::now().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assignment::fixtures::assignment;

    #[test]
    fn semantics_15_an_order_that_was_written_anew_is_looked_at_anew_also_under_the_same_fence() {
        let known = assignment(5);
        let mut rewritten = assignment(5);
        rewritten.spec.deadline_seconds += 1;
        let mut answered = known.clone();
        answered.metadata.resource_version = Some("42".to_owned());
        answered.status = Some(crds::RolloutAssignmentStatus::default());
        let all = [assignment(6), rewritten, answered];
        assert_eq!(all.map(|current| is_outdated(&known, &current)), [true, true, false]);
    }
}
