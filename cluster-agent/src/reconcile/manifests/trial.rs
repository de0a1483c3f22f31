//! What objects would become if they were applied: the API server tries it, and changes nothing. Client required.

use std::collections::BTreeMap;

use crds::{Intent, ObjectRef, OnDrift};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

use super::super::{Error, Reconciler, ladder};
use super::objects::{self, How};
use super::wanted::{Wanted, WantedObject};
use super::{AT_ONCE, Look, refusals};
use crate::assignment::Order;
use crate::cluster;

/// What came of trying.
#[derive(Debug, Default)]
pub(super) struct Trials {
    /// What objects that are there would be, fields of others taken over.
    pub(super) would: BTreeMap<ObjectRef, Value>,
    /// Fields that belong to others.
    contested: Vec<String>,
    /// What the API server doesn't take.
    refused: Vec<String>,
}

impl Trials {
    /// What must not be tried in earnest, for people.
    pub(super) fn contested_or_refused(&self) -> Option<String> {
        refusals::all(self.contested.clone(), self.refused.clone())
    }

    /// What the API server doesn't take, whoever owns which fields.
    pub(super) fn refusal(&self) -> Option<String> {
        refusals::all(Vec::new(), self.refused.clone())
    }
}

/// What came of trying one object.
#[derive(Default)]
struct Trial {
    would: Option<Value>,
    contested: Option<String>,
    refused: Option<String>,
}

impl Reconciler {
    /// Tries all objects that are not as they are to be.
    pub(super) async fn tried(&self, look: &Look<'_>) -> Result<Trials, Error> {
        let (seen, are_needed) = (look.seen(), are_needed(look.order, look.wanted.is_return));
        let is_asked = |target: &&WantedObject| are_needed && !seen.is_there(target);
        let targets: Vec<&WantedObject> = look.wanted.objects.iter().filter(is_asked).collect();
        let tries: Vec<_> = targets.iter().map(|target| self.try_one(look, target)).collect();
        let tried: Vec<Trial> = stream::iter(tries).buffered(AT_ONCE).try_collect().await?;
        let mut trials = Trials::default();
        for (target, Trial { would, contested, refused }) in targets.into_iter().zip(tried) {
            // One that is missing has nothing that could differ.
            if let Some(would) = would.filter(|_| look.lives.get(&target.object).is_some()) {
                trials.would.insert(target.object.clone(), would);
            }
            trials.contested.extend(contested);
            trials.refused.extend(refused);
        }
        Ok(trials)
    }

    async fn try_one(&self, look: &Look<'_>, target: &WantedObject) -> Result<Trial, Error> {
        let object = &target.object;
        let Some(kind) = self.kinds.find(&self.client, object).await? else {
            let message = format!("{object}: this cluster has no kind {} of {}", object.kind, object.api_version);
            let refused = (!is_defined(&look.wanted, object)).then_some(message);
            return Ok(Trial { refused, ..Trial::default() });
        };
        if !look.wanted.is_return && !self.rights.may_create(&self.client, (object, &kind)).await? {
            return Ok(Trial { refused: Some(refusals::not_enabled(object)), ..Trial::default() });
        }
        let live = look.lives.value(object);
        // To observe, there is nothing to be learned from what is missing.
        if live.is_none() && look.order.spec.intent == Intent::Observe {
            return Ok(Trial::default());
        }
        let mut body = objects::body(&target.manifest, &look.order.spec.rollout.name, live);
        // It is no matter how often it changes meanwhile.
        if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("resourceVersion");
        }
        let attempt = async |force| {
            let how = How { force, dry_run: true };
            objects::apply(&self.client, (object, &kind), &body, &look.manager, how).await
        };
        let mut trial = Trial::default();
        let first = attempt(look.forces(target)).await;
        let contested = first.as_ref().err().map(cluster::Error::contested).filter(|fields| !fields.is_empty());
        let tried = match &contested {
            Some(fields) => {
                trial.contested = Some(refusals::contested(object, fields));
                attempt(true).await
            }
            None => first,
        };
        match tried {
            Ok(would) => trial.would = Some(would),
            // It needs what comes before it: its namespace, or the role of a binding.
            Err(error) if error.is_missing() && live.is_none() && is_about_missing(look, &error) => {}
            Err(error) => match refusals::refused(object, &error) {
                Some(refused) => trial.refused = Some(refused),
                None => return Err(Error::Object { object: object.to_string(), source: error }),
            },
        }
        Ok(trial)
    }
}

/// Whether it matters what objects would become. It doesn't where an answer stands, nor on the way back: fields are
/// taken over there in any case, and what the API server doesn't take must not keep the rest from going back.
fn are_needed(order: &Order, is_return: bool) -> bool {
    let is_exact = order.spec.expected_hash.is_some() && !order.has_given_up();
    let goes_back = is_return && order.spec.on_drift == OnDrift::Repair && !is_exact;
    !ladder::stands(order) && !goes_back
}

impl Look<'_> {
    /// Whether fields of others are taken over: when it is wanted so, on the way back, and when it was applied so
    /// before, and somebody has changed it since.
    pub(super) fn forces(&self, target: &WantedObject) -> bool {
        let asked = self.order.spec.manifests.as_ref().is_some_and(|manifests| manifests.force_conflicts);
        let entry = self.loaded.state.entry(&target.object);
        asked || self.wanted.is_return || entry.is_some_and(|entry| entry.body.as_ref() == Some(&target.body))
    }
}

/// Whether the definition of an object's kind is among those that are wanted.
pub(super) fn definition<'a>(wanted: &'a Wanted, object: &ObjectRef) -> Option<&'a WantedObject> {
    let text = |target: &WantedObject, pointer: &str| {
        target.manifest.pointer(pointer).and_then(Value::as_str).map(ToOwned::to_owned)
    };
    wanted.objects.iter().find(|target| {
        target.object.kind == "CustomResourceDefinition"
            && text(target, "/spec/group").as_deref() == Some(object.group())
            && text(target, "/spec/names/kind").as_ref() == Some(&object.kind)
    })
}

fn is_defined(wanted: &Wanted, object: &ObjectRef) -> bool {
    definition(wanted, object).is_some()
}

/// Whether what the API server misses is one of the objects that are yet to come.
fn is_about_missing(look: &Look<'_>, error: &cluster::Error) -> bool {
    let message = error.refusal().unwrap_or_default();
    let names = |target: &WantedObject| message.contains(&format!("\"{}\"", target.object.name));
    look.wanted.objects.iter().any(|target| look.lives.get(&target.object).is_none() && names(target))
}

#[cfg(test)]
mod tests {
    use crds::{Outcome, RolloutAssignmentStatus};

    use super::super::fixtures::order;
    use super::*;
    use crate::assignment::fixtures::accepted;

    fn of(intent: Intent, on_drift: OnDrift, answered: Outcome) -> Order {
        let mut spec = order(&[]).spec;
        (spec.intent, spec.on_drift) = (intent, on_drift);
        let mut object = accepted(&spec, None);
        object.status = Some(RolloutAssignmentStatus {
            fence: spec.fence,
            outcome: answered,
            ..RolloutAssignmentStatus::default()
        });
        Order::of(&object)
    }

    #[test]
    fn semantics_17_what_the_api_server_would_say_keeps_nothing_from_going_back() {
        let needed = |intent, on_drift| {
            let order = of(intent, on_drift, Outcome::Progressing);
            are_needed(&order, intent == Intent::Return)
        };
        assert!(needed(Intent::Observe, OnDrift::Repair) && needed(Intent::Apply, OnDrift::Repair));
        assert!(!needed(Intent::Return, OnDrift::Repair));
        // Who has changed what is asked for.
        assert!(needed(Intent::Return, OnDrift::Report));
        let apply = of(Intent::Apply, OnDrift::Repair, Outcome::Progressing);
        assert!(!are_needed(&apply, true), "it goes back by itself");
        let mut from = of(Intent::Return, OnDrift::Repair, Outcome::Progressing);
        from.spec.expected_hash = Some("seen".to_owned());
        assert!(are_needed(&from, true), "what is there is compared with what the hub saw");
    }

    #[test]
    fn semantics_22_for_an_answer_that_stands_nothing_is_tried() {
        for outcome in [Outcome::PreviousChanged, Outcome::Contended] {
            assert!(!are_needed(&of(Intent::Apply, OnDrift::Repair, outcome), false), "{outcome:?}");
            assert!(!are_needed(&of(Intent::Return, OnDrift::Report, outcome), true), "{outcome:?}");
        }
        let mut next = of(Intent::Apply, OnDrift::Repair, Outcome::PreviousChanged);
        next.spec.fence.generation += 1;
        assert!(are_needed(&next, false), "under another fence it doesn't stand");
    }
}
