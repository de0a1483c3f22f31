//! An order about whole objects: read them, decide, apply them, answer. Client required; what to do is decided in
//! [`ladder`](super::ladder) and in the pure modules below.

pub mod fields;
#[cfg(test)]
mod fixtures;
mod hitches;
pub mod kinds;
pub mod objects;
pub mod path;
pub mod phases;
pub mod readiness;
mod refusals;
mod remove;
pub mod rights;
mod set;
pub mod sight;
pub mod state;
pub mod store;
mod trial;
pub mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crds::{
    AssignedWorkload, Intent, ObjectRef, OnDrift, Outcome, RolloutAssignment, RolloutAssignmentSpec, WorkloadKind,
    WorkloadObservation,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::Api;
use serde_json::Value;

use self::readiness::Readiness;
use self::sight::{Live, Lives, Seen};
use self::store::Loaded;
use self::trial::Trials;
use self::wanted::{Wanted, wanted};
use super::health::health;
use super::ladder::{self, Answer, Next, PRUNED, Sight as _};
use super::{Error, Reconciler, apply, nodes, now};
use crate::assignment::Order;
use crate::cluster;
use crate::logging::with_causes;
use crate::work::interests::Place;
use crate::work::queue::Finish;

/// Objects that are read, or tried, at once.
const AT_ONCE: usize = 8;
/// Until the next look while a kind is being defined: the API server serves it a moment later, and tells nobody.
const SOON: Duration = Duration::from_secs(1);
/// Until objects that could not be removed are tried again: nobody waits for that.
const LATER: Duration = Duration::from_secs(30);

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
    /// Reads what was kept of a rollout that is withdrawn.
    pub(super) async fn read_record(&self, spec: &RolloutAssignmentSpec) -> Result<Read, Error> {
        Ok(Read { loaded: self.records.read(&spec.rollout.name).await?, ..Read::default() })
    }

    /// Deletes the record of a rollout whose assignment is withdrawn and gone. An order that came since begins one
    /// anew, and keeps what it has written.
    pub(super) async fn forget_objects(&self, rollout: &str, read: &Read) {
        if let Err(error) = self.records.delete(rollout, &read.loaded).await {
            let place = self.records.place(rollout);
            tracing::error!(rollout, place, %error, "the record of a withdrawn rollout is left; delete it by hand");
        }
    }

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
        let left_behind: Vec<ObjectRef> = loaded
            .state
            .left_behind
            .iter()
            .filter(|one| !objects.iter().any(|known| known.is_same(one)))
            .cloned()
            .collect();
        let reads: Vec<_> = objects.iter().map(|object| self.read_object(object)).collect();
        let found = stream::iter(reads).buffered(AT_ONCE).try_collect::<Vec<_>>().await;
        let mut found = match found {
            Ok(found) => found,
            Err(Halt::Refused(message)) => return Ok(Read { loaded, lives: Lives::default(), refusal: Some(message) }),
            Err(Halt::Failed(error)) => return Err(error),
        };
        for object in left_behind {
            // They are only named. Whether they are there nobody needs to know who may not read them any more.
            match self.read_object(&object).await {
                Ok(read) => found.push(read),
                Err(Halt::Refused(_)) => continue,
                Err(Halt::Failed(error)) => return Err(error),
            }
            objects.push(object);
        }
        let (mut lives, mut places) = (Lives::default(), BTreeSet::new());
        for (object, (place, live)) in objects.iter().zip(found) {
            places.extend(place);
            lives.put(object, live);
        }
        self.interests.set(rollout, &places);
        Ok(Read { loaded, lives, refusal: None })
    }

    async fn read_object(&self, object: &ObjectRef) -> Result<(Option<Place>, Option<Live>), Halt> {
        if let Some(message) = objects::malformed(object) {
            return Err(Halt::Refused(message));
        }
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
            Err(error) => Err(Halt::of(object, error.into())),
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
        let health = workload.map(|workload| health(&workload));
        let readiness = readiness::readiness_of(&value, health.as_ref());
        let awaits_owner = health.as_ref().is_some_and(|health| health.awaits_owner);
        let is_partial = health.is_some_and(|health| health.observation.partial);
        Ok(Live { value, readiness, awaits_owner, is_partial })
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
            self.check_mark(order).await?;
            let finish = self.withdraw(api, order, current).await?;
            self.forget_objects(rollout, &read).await;
            return Ok(finish);
        }
        let mut look = match self.look_at(order, read) {
            Ok(look) => look,
            Err(message) => return self.refuse(api, order, current, (None, message)).await,
        };
        let next = match self.tried(&look).await {
            Ok(trials) => {
                look.trials = trials;
                self.next_answer(&mut look).await
            }
            Err(error) => Err(Halt::Failed(error)),
        };
        match next {
            Ok((answer, again)) => {
                let finish = self.answer(api, order, current, answer).await?;
                Ok(again.map_or(finish, Finish::At))
            }
            Err(Halt::Refused(message)) => {
                let workload = Some(look.seen().health().observation);
                self.refuse(api, order, current, (workload, message)).await
            }
            Err(Halt::Failed(error)) if hitches::is_told(order, &error) => {
                let workload = WorkloadObservation { snapshot: None, ..look.seen().health().observation };
                let answer = ladder::stumbles(order, workload, with_causes(&error));
                let gives_up = answer.gives_up;
                let finish = self.answer(api, order, current, answer).await?;
                if gives_up { Ok(finish) } else { Err(error) }
            }
            Err(Halt::Failed(error)) => Err(error),
        }
    }

    /// Says what somebody has to change; until then it is tried again and again.
    async fn refuse(
        &self,
        api: &Api<RolloutAssignment>,
        order: &Order,
        current: RolloutAssignment,
        (workload, message): (Option<WorkloadObservation>, String),
    ) -> Result<Finish, Error> {
        self.metrics.applied("refused");
        // What it is called is known only when all of it could be tried.
        let workload = workload.map(|seen| WorkloadObservation { snapshot: None, ..seen });
        let answer = ladder::answer(order, workload, Outcome::Refused, message.clone());
        self.answer(api, order, current, answer).await?;
        Err(Error::Refused(message))
    }

    /// Finds out what is wanted; else, for people, why nobody can say.
    fn look_at<'a>(&self, order: &'a Order, read: Read) -> Result<Look<'a>, String> {
        if !order.intact {
            return Err(PRUNED.to_owned());
        }
        let rollout = &order.spec.rollout.name;
        let Read { mut loaded, lives, refusal } = read;
        if let Some(message) = refusal {
            return Err(message);
        }
        loaded.state.disown(&order.spec.rollout, order.snapshot());
        let wanted = wanted(order, &loaded.state, &self.records.place(rollout))?;
        if let Some(message) = wanted::unfit(&wanted, rollout, self.records.namespace()) {
            return Err(message);
        }
        let manager = apply::manager(rollout);
        loaded.state.catch_up(&manager, |object| lives.value(object));
        Ok(Look { order, manager, wanted, loaded, lives, trials: Trials::default() })
    }

    /// Takes the next step; returns what to say, and when to look again if that is soon.
    async fn next_answer(&self, look: &mut Look<'_>) -> Result<(Answer, Option<Instant>), Halt> {
        let order = look.order;
        if let Some(message) = look.trials.refusal().filter(|_| order.spec.intent == Intent::Observe) {
            return Err(Halt::Refused(message));
        }
        let mut next = ladder::next(order, &look.seen());
        if let Next::Set { drifted } = next {
            if let Some(waiting) = self.set(look, drifted).await? {
                let workload = Some(look.seen().health().observation);
                let answer = ladder::answer(order, workload, Outcome::Progressing, waiting);
                return Ok((answer, Some(Instant::now() + SOON)));
            }
            next = ladder::next(order, &look.seen());
        }
        match next {
            Next::Answer(answer) => self.settle(look, answer).await,
            // Somebody was faster; the next look tells who.
            Next::Set { .. } => Err(Halt::Failed(Error::Unsettled)),
        }
    }

    /// What is left to do when all is as it is to be: objects of earlier revisions go once those of this one are ready,
    /// and pods that a `StatefulSet` would leave behind go after a return. Returns what to say, and when to look again
    /// if that is soon.
    async fn settle(&self, look: &mut Look<'_>, answer: Answer) -> Result<(Answer, Option<Instant>), Halt> {
        let order = look.order;
        let is_surplus = !look.wanted.is_return && !look.wanted.gone.is_empty();
        if answer.outcome == Outcome::Healthy && is_surplus && order.spec.on_drift == OnDrift::Repair {
            let hitch = match self.remove_all(look).await {
                Err(halt) if halt.is_for_all() => return Err(halt),
                removed => removed.err().map(|halt| halt.message()),
            };
            let answer = match ladder::next(order, &look.seen()) {
                Next::Answer(answer) => answer,
                Next::Set { .. } => answer,
            };
            let again = hitch.as_ref().map(|_| Instant::now() + LATER);
            return Ok((hitches::unremoved(answer, hitch), again));
        }
        if look.wanted.is_return && look.seen().is_as_wanted() && look.loaded.state.end_other(&look.wanted.hash) {
            self.check_mark(order).await?;
            self.check_lease()?;
            self.write(look).await?;
        }
        let mut answer = answer;
        for target in look.wanted.objects.iter().filter(|_| look.wanted.is_return) {
            let waiting = look.lives.get(&target.object).filter(|live| live.readiness != Readiness::Ready);
            let live = waiting.and_then(|live| readiness::workload(&live.value));
            let Some(live) = live.filter(|live| live.kind == WorkloadKind::StatefulSet) else { continue };
            let named = AssignedWorkload {
                kind: live.kind,
                namespace: target.object.namespace.clone(),
                name: target.object.name.clone(),
                images: live.images(),
            };
            answer = self.unstick(order, (&named, Some(&live)), Some(BTreeMap::new()), answer).await?;
        }
        Ok((answer, None))
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

impl Halt {
    /// What an error about an object means.
    fn of(object: &ObjectRef, error: Error) -> Self {
        match error {
            Error::Cluster(source) => match refusals::refused(object, &source) {
                Some(message) => Self::Refused(message),
                None => Self::Failed(Error::Object { object: object.to_string(), source }),
            },
            error => Self::Failed(error),
        }
    }
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
