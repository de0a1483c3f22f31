//! An order about whole objects: read them, decide, apply them, answer. Client required; what to do is decided in
//! [`ladder`](super::ladder) and in the pure modules below.

pub mod fields;
pub mod kinds;
pub mod objects;
pub mod path;
pub mod phases;
pub mod readiness;
mod refusals;
mod remove;
mod set;
pub mod sight;
pub mod state;
pub mod store;
mod trial;
pub mod wanted;

use crds::{
    AssignedWorkload, Intent, ObjectRef, OnDrift, Outcome, RolloutAssignment, RolloutAssignmentSpec, WorkloadKind,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::Api;
use serde_json::Value;

use self::sight::{Live, Lives, Seen};
use self::store::Loaded;
use self::trial::Trials;
use self::wanted::{Wanted, wanted};
use super::health::health;
use super::ladder::{self, Answer, Next, PRUNED};
use super::{Error, Reconciler, apply, nodes, now};
use crate::assignment::Order;
use crate::cluster;
use crate::work::interests::Place;
use crate::work::queue::Finish;

/// Objects that are read at once.
const AT_ONCE: usize = 8;

/// What was read for one look.
#[derive(Debug, Default)]
pub(super) struct Read {
    loaded: Loaded,
    lives: Lives,
    /// Why an object could not be read, for people.
    refusal: Option<String>,
}

/// What one look works with, once it is known what is wanted.
struct Look<'a> {
    order: &'a Order,
    manager: String,
    wanted: Wanted,
    loaded: Loaded,
    lives: Lives,
    trials: Trials,
}

impl Look<'_> {
    fn seen(&self) -> Seen<'_> {
        Seen {
            order: self.order,
            wanted: &self.wanted,
            state: &self.loaded.state,
            lives: &self.lives,
            would: &self.trials.would,
            manager: &self.manager,
        }
    }
}

impl Reconciler {
    /// Reads what was kept of a rollout, and all objects that it is, was or will be about.
    pub(super) async fn read_objects(&self, spec: &RolloutAssignmentSpec) -> Result<Read, Error> {
        let rollout = &spec.rollout.name;
        let loaded = self.records.read(rollout).await?;
        let mut objects: Vec<ObjectRef> =
            spec.manifests.iter().flat_map(|all| &all.objects).map(crds::Manifest::object).collect();
        for object in loaded.state.objects() {
            if !objects.iter().any(|known| known.is_same(&object)) {
                objects.push(object);
            }
        }
        let reads: Vec<_> = objects.iter().map(|object| self.read_object(object)).collect();
        let found = stream::iter(reads).buffered(AT_ONCE).try_collect::<Vec<_>>().await;
        let (mut lives, mut places) = (Lives::default(), std::collections::BTreeSet::new());
        match found {
            Ok(found) => {
                for (object, (place, live)) in objects.iter().zip(found) {
                    places.extend(place);
                    lives.put(object, live);
                }
            }
            Err(Halt::Refused(message)) => return Ok(Read { loaded, lives, refusal: Some(message) }),
            Err(Halt::Failed(error)) => return Err(error),
        }
        self.interests.set(rollout, places);
        Ok(Read { loaded, lives, refusal: None })
    }

    async fn read_object(&self, object: &ObjectRef) -> Result<(Option<Place>, Option<Live>), Halt> {
        let Some(kind) = self.kinds.find(&self.client, object).await.map_err(Error::from)? else {
            return Ok((None, None));
        };
        if let Some(message) = kind.misplaced(object) {
            return Err(Halt::Refused(message));
        }
        let place = Place::of(&kind.resource, &object.namespace);
        match objects::read(&self.client, object, &kind).await {
            Ok(None) => Ok((Some(place), None)),
            Ok(Some(value)) => Ok((Some(place), Some(self.judge(value).await?))),
            Err(error) if error.is_forbidden() => Err(Halt::Refused(refusals::refused(object, &error))),
            Err(error) => Err(Halt::Failed(error.into())),
        }
    }

    /// Judges whether an object is ready; a `DaemonSet` without the nodes that don't count.
    async fn judge(&self, value: Value) -> Result<Live, Error> {
        let workload = match readiness::workload(&value) {
            Some(workload) if workload.kind == WorkloadKind::DaemonSet => {
                let namespace = value.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
                Some(nodes::usable(&self.client, namespace, workload, now().0.as_millisecond()).await?)
            }
            workload => workload,
        };
        let readiness = readiness::readiness_of(&value, workload.map(|workload| health(&workload)).as_ref());
        Ok(Live { value, readiness })
    }

    /// Takes the next step of an order about objects, which were read before the order was.
    pub(super) async fn step_objects(
        &self,
        api: &Api<RolloutAssignment>,
        order: &Order,
        current: RolloutAssignment,
        read: Read,
    ) -> Result<Finish, Error> {
        let rollout = &order.spec.rollout.name;
        if order.spec.intent == Intent::Withdraw {
            self.check_lease()?;
            self.records.delete(rollout).await?;
            return self.withdraw(api, order, current).await;
        }
        match self.next_answer(order, read).await {
            Ok(answer) => self.answer(api, order, current, answer).await,
            Err(Halt::Refused(message)) => {
                self.metrics.applied("refused");
                let answer = ladder::answer(order, None, Outcome::Refused, message.clone());
                self.answer(api, order, current, answer).await?;
                Err(Error::Refused(message))
            }
            Err(Halt::Failed(error)) => Err(error),
        }
    }

    async fn next_answer(&self, order: &Order, read: Read) -> Result<Answer, Halt> {
        if !order.intact {
            return Ok(ladder::answer(order, None, Outcome::Refused, PRUNED.to_owned()));
        }
        let rollout = &order.spec.rollout.name;
        let Read { mut loaded, lives, refusal } = read;
        let wanted = wanted(order, &loaded.state, &self.records.place(rollout)).map_err(Halt::Refused)?;
        if let Some(message) = refusal.or_else(|| wanted::unfit(&wanted, rollout)) {
            return Err(Halt::Refused(message));
        }
        let manager = apply::manager(rollout);
        loaded.state.catch_up(&manager, |object| lives.value(object));
        let mut look = Look { order, manager, wanted, loaded, lives, trials: Trials::default() };
        look.trials = self.tried(&look).await?;
        let observes = order.spec.intent == Intent::Observe;
        if let Some(message) = look.trials.refusal().filter(|_| observes) {
            return Err(Halt::Refused(message));
        }
        match ladder::next(order, &look.seen()) {
            Next::Answer(answer) => self.settle(&mut look, answer).await,
            Next::Set { drifted } => {
                if let Some(waiting) = self.set(&mut look, drifted).await? {
                    let workload = Some(ladder::Sight::health(&look.seen()).observation);
                    return Ok(ladder::answer(order, workload, Outcome::Progressing, waiting));
                }
                match ladder::next(order, &look.seen()) {
                    Next::Answer(answer) => self.settle(&mut look, answer).await,
                    // The next look tells what has become of it.
                    Next::Set { .. } => Err(Halt::Failed(Error::Restless)),
                }
            }
        }
    }

    /// What is left to do when all is as it is to be: objects of earlier revisions go once those of this one are ready, and pods
    /// that a `StatefulSet` would leave behind go after a return.
    async fn settle(&self, look: &mut Look<'_>, answer: Answer) -> Result<Answer, Halt> {
        let order = look.order;
        let is_surplus = !look.wanted.is_return && !look.wanted.gone.is_empty();
        if answer.outcome == Outcome::Healthy && is_surplus && order.spec.on_drift == OnDrift::Repair {
            self.remove_all(look).await?;
            return Ok(match ladder::next(order, &look.seen()) {
                Next::Answer(answer) => answer,
                Next::Set { .. } => answer,
            });
        }
        let mut answer = answer;
        for target in look.wanted.objects.iter().filter(|_| look.wanted.is_return) {
            let live = look.lives.value(&target.object).and_then(readiness::workload);
            let Some(live) = live.filter(|live| live.kind == WorkloadKind::StatefulSet) else { continue };
            let named = AssignedWorkload {
                kind: live.kind,
                namespace: target.object.namespace.clone(),
                name: target.object.name.clone(),
                images: live.images(),
            };
            answer = self.unstick(order, (&named, Some(&live)), Some(live.images()), answer).await?;
        }
        Ok(answer)
    }
}

/// Why a look ends early.
#[derive(Debug)]
enum Halt {
    /// It is of no use to try the same again until somebody changes something; for people, what.
    Refused(String),
    /// It is tried again.
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<cluster::Error> for Halt {
    fn from(error: cluster::Error) -> Self {
        Self::Failed(error.into())
    }
}
