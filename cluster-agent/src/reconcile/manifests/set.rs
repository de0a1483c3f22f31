//! Applying the objects of a rollout, in their order. Client required.

use std::time::Instant;

use crds::ObjectRef;
use serde_json::Value;

use super::super::ladder::deed;
use super::super::{Error, Reconciler};
use super::fields::FieldSet;
use super::hitches::Hitches;
use super::kinds::Kind;
use super::objects::{self, How};
use super::sight::Live;
use super::state::{Entry, is_first, is_going, uid};
use super::trial::definition;
use super::wanted::{WantedObject, seen};
use super::{Halt, Look, phases, readiness, store};

/// How often an object is applied over what was read, while others only write its status.
const ATTEMPTS: u32 = 4;

impl Reconciler {
    /// Applies all objects that are not as they are to be, after having written down what is there. Returns what has to
    /// come first where it can't go on yet.
    pub(super) async fn set(&self, look: &mut Look<'_>, drifted: bool) -> Result<Option<String>, Halt> {
        if let Some(message) = look.trials.contested_or_refused() {
            return Err(Halt::Refused(message));
        }
        self.begin(look).await?;
        let waiting = if look.wanted.is_return { self.bring_back(look).await } else { self.set_all(look).await };
        // What was applied until then is noted, whatever kept the rest from it.
        let written = self.write(look).await;
        if let Err(Halt::Failed(error)) = &waiting {
            self.metrics.applied(if error.is_conflict() { "conflict" } else { "failed" });
        }
        let waiting = waiting?;
        written?;
        if waiting.is_none() {
            self.was_set(look, drifted);
        }
        Ok(waiting)
    }

    fn was_set(&self, look: &Look<'_>, drifted: bool) {
        let order = look.order;
        self.metrics.applied(deed(order, drifted));
        let (rollout, intent) = (&order.spec.rollout.name, order.spec.intent.as_str());
        let objects = look.wanted.objects.len();
        tracing::info!(rollout, intent, fence = %order.spec.fence, drifted, objects, "applied the objects");
        if drifted {
            self.repairs.note(order, Instant::now());
        }
    }

    /// Writes down what is there, and what is about to be set.
    async fn begin(&self, look: &mut Look<'_>) -> Result<(), Halt> {
        let now = look.seen().now();
        let (state, lives) = (&mut look.loaded.state, &look.lives);
        state.left_behind.retain(|object| lives.get(object).is_some());
        if !look.wanted.is_return {
            let is_ours = |(_, live): &(_, Option<Live>)| {
                live.as_ref().is_some_and(|live| FieldSet::of(&look.manager, &live.value).is_some())
            };
            let is_touched = !state.inventory.is_empty() || lives.0.iter().any(is_ours);
            state.keep(look.order.snapshot(), &now, is_touched);
        }
        state.begin(&look.wanted.hash, &look.order.spec.rollout, &now);
        self.check_mark(look.order).await?;
        self.check_lease()?;
        self.write(look).await
    }

    pub(super) async fn write(&self, look: &mut Look<'_>) -> Result<(), Halt> {
        let rollout = &look.order.spec.rollout.name;
        match self.records.write(rollout, &mut look.loaded).await {
            Ok(()) => Ok(()),
            Err(error @ store::Error::TooLarge(_)) => Err(Halt::Refused(format!("nothing was applied: {error}"))),
            Err(store::Error::Cluster(error)) => Err(error.into()),
        }
    }

    /// Goes back: first go those that the API server would ask about the others, then what was there is set, then the
    /// rest goes. What keeps one object from it keeps no other.
    async fn bring_back(&self, look: &mut Look<'_>) -> Result<Option<String>, Halt> {
        let mut hitches = Hitches::default();
        hitches.note(self.remove_each(look, phases::is_last).await)?;
        hitches.note(self.set_all(look).await)?;
        hitches.note(self.remove_each(look, |_| true).await)?;
        hitches.first()
    }

    /// Applies all objects that are not as they are to be; on the way back also those after one that fails.
    async fn set_all(&self, look: &mut Look<'_>) -> Result<Option<String>, Halt> {
        let (mut hitches, goes_on) = (Hitches::default(), look.wanted.is_return);
        let mut targets = look.wanted.objects.clone();
        phases::sort_for_apply(&mut targets, |target| target.object.clone());
        for target in targets {
            if look.seen().is_there(&target) {
                continue;
            }
            hitches.note(self.set_next(look, &target).await)?;
            if !goes_on && !hitches.is_empty() {
                break;
            }
        }
        hitches.first()
    }

    /// Applies one object and notes it, or says what has to come first.
    async fn set_next(&self, look: &mut Look<'_>, target: &WantedObject) -> Result<Option<String>, Halt> {
        let object = &target.object;
        if look.lives.value(object).is_some_and(is_going) {
            return Ok(Some(format!("waiting until {object}, which is being deleted, is gone")));
        }
        if let Some(waiting) = undefined(look, object) {
            return Ok(Some(waiting));
        }
        let Some(kind) = self.kinds.find(&self.client, object).await? else {
            return Ok(Some(format!("waiting until the API server knows the kind {} of {object}", object.kind)));
        };
        let applied = self.set_one(look, target, &kind).await.map_err(|error| Halt::of(object, error))?;
        let entry = entry(look, target, &applied);
        look.loaded.state.note(entry);
        let live = self.judge(applied).await?;
        look.lives.put(object, Some(live));
        Ok(None)
    }

    /// Applies one object over exactly what was read. Its status may change meanwhile, and nothing else.
    async fn set_one(&self, look: &Look<'_>, target: &WantedObject, kind: &Kind) -> Result<Value, Error> {
        let (object, rollout) = (&target.object, &look.order.spec.rollout.name);
        let how = How { force: look.forces(target), dry_run: false };
        let mut live = look.lives.value(object).cloned();
        for _ in 1..ATTEMPTS {
            self.check_mark(look.order).await?;
            self.check_lease()?;
            let body = objects::body(&target.manifest, rollout, live.as_ref());
            match objects::apply(&self.client, (object, kind), &body, &look.manager, how).await {
                Err(error) if error.is_conflict() => {
                    let fresh = objects::read(&self.client, object, kind).await?;
                    if !look.is_alike(target, live.as_ref(), fresh.as_ref()) {
                        return Err(error.into());
                    }
                    live = fresh;
                }
                applied => return Ok(applied?),
            }
        }
        Err(Error::Unsettled)
    }
}

impl Look<'_> {
    /// Whether nobody has changed what the decision was about.
    fn is_alike(&self, target: &WantedObject, before: Option<&Value>, fresh: Option<&Value>) -> bool {
        let (Some(before), Some(fresh)) = (before, fresh) else { return false };
        let owned = |value: &Value| FieldSet::of(&self.manager, value).unwrap_or_default();
        let expected = self.seen().expected(target).map(|(set, _)| set);
        let set = owned(before).union(&expected.unwrap_or_default());
        uid(before) == uid(fresh)
            && is_going(before) == is_going(fresh)
            && owned(before) == owned(fresh)
            && set.project(before) == set.project(fresh)
    }
}

/// What is known of an object by what it became when it was applied.
fn entry(look: &Look<'_>, target: &WantedObject, applied: &Value) -> Entry {
    let (object, manager) = (&target.object, look.manager.as_str());
    let known = look.loaded.state.entry(object).filter(|entry| entry.uid.as_deref() == Some(uid(applied).as_str()));
    let is_new = look.lives.get(object).is_none() && is_first(manager, applied);
    Entry {
        object: object.clone(),
        uid: Some(uid(applied)),
        created: is_new || known.is_some_and(|entry| entry.created),
        body: Some(target.body.clone()),
        seen: Some(seen(applied, manager)),
    }
}

/// What is waited for, where an object's kind is defined by another one of them that is not served yet.
fn undefined(look: &Look<'_>, object: &ObjectRef) -> Option<String> {
    let definition = &definition(&look.wanted, object)?.object;
    let is_served = look.lives.value(definition).is_some_and(readiness::is_established);
    (!is_served).then(|| format!("waiting until {definition} is established"))
}
