//! What the objects of a rollout are to be: from the order, and from what the agent has kept. Pure.

use crds::{GROUP, Intent, Manifest, ObjectRef, ROLLOUT_LABEL, short_sha256};
use serde_json::Value;

use super::super::ladder::{NOWHERE, going};
use super::fields::FieldSet;
use super::objects;
use super::state::{Entry, Snapshot, State, uid};
use crate::assignment::Order;

/// What is said of an order without the objects that it is about.
const UNKNOWN: &str = "the hub has lost the objects of this revision, and this member has not had them; apply the rollout with \
                       other manifests, or undo it";

/// What is said of a return without its record.
const LOST: &str = "there is no record of what was there before this rollout touched it";

/// What the objects of a rollout are to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Hash of it, as it is reported once it is there.
    pub hash: String,
    /// Objects that are to be there, in the order in which they are written.
    pub objects: Vec<WantedObject>,
    /// Objects that the rollout is to leave: those it has made are deleted, and of others it gives up its fields.
    pub gone: Vec<ObjectRef>,
    /// Whether it is a way back: fields of others are taken over, and what is to be gone goes at once.
    pub is_return: bool,
}

/// One object that is to be there.
#[derive(Clone, Debug, PartialEq)]
pub struct WantedObject {
    /// Which one.
    pub object: ObjectRef,
    /// What is applied.
    pub manifest: Value,
    /// Hash of that.
    pub body: String,
    /// On the way back: what it had of which fields.
    pub before: Option<(FieldSet, Value)>,
    /// Whether it has to be ready; what was not before need not be.
    pub must_be_ready: bool,
}

impl WantedObject {
    fn of(manifest: &Manifest) -> Self {
        let (object, manifest) = (manifest.object(), manifest.0.clone());
        Self { object, body: hash(&manifest), manifest, before: None, must_be_ready: true }
    }

    /// Whether an object is as it is to be. What was applied counts, and what the API server then made of it.
    pub fn is_there(&self, entry: Option<&Entry>, live: Option<&Value>, manager: &str) -> bool {
        let Some(live) = live else { return false };
        let is_back = self.before.as_ref().is_some_and(|(set, fields)| set.project(live) == *fields);
        let is_known = |entry: &Entry| {
            entry.uid.as_deref() == Some(uid(live).as_str())
                && entry.body.as_ref() == Some(&self.body)
                && entry.seen == Some(seen(live, manager))
        };
        is_back || entry.is_some_and(is_known)
    }
}

/// Hash of a value.
pub fn hash(value: &Value) -> String {
    // Plain data: there is nothing in it that can't be written as JSON. Keys of maps are sorted.
    short_sha256(&serde_json::to_string(value).unwrap_or_default())
}

/// Hash of what a live object has in the fields that this field manager owns.
pub fn seen(live: &Value, manager: &str) -> String {
    hash(&FieldSet::of(manager, live).unwrap_or_default().project(live))
}

/// What the objects are to be by now; else, for people, why nobody can say.
pub fn wanted(order: &Order, state: &State, place: &str) -> Result<Wanted, String> {
    let spec = &order.spec;
    if going(order) != Intent::Return {
        let manifests = spec.manifests.as_ref();
        let objects: Vec<WantedObject> = manifests.iter().flat_map(|all| &all.objects).map(WantedObject::of).collect();
        // Nothing is not what anybody wants, and all that there was would be deleted for it.
        if objects.is_empty() {
            return Err(UNKNOWN.to_owned());
        }
        let hash = spec.content_hash().unwrap_or_default();
        return Ok(with(hash, objects, state, false));
    }
    let name = order.snapshot().ok_or(NOWHERE)?;
    match state.snapshot(name) {
        Some(snapshot) => Ok(with(name.to_owned(), before(snapshot), state, true)),
        // It was to be returned before anything was applied, or is back already.
        None if is_untouched(order, state, name) => {
            Ok(Wanted { hash: name.to_owned(), objects: Vec::new(), gone: Vec::new(), is_return: true })
        }
        None => Err(format!("{LOST}: {place} is lost, or about something else; bring the objects back by hand")),
    }
}

/// Whether nothing can have been applied since what has this name was there. Who was asked to observe it has answered:
/// an order without any answer follows one that was withdrawn or deleted, and what that has done nobody knows, nor
/// later.
fn is_untouched(order: &Order, state: &State, name: &str) -> bool {
    let is_applied = order.applied_hash().is_some_and(|applied| applied != name);
    let is_known = order.status.as_ref().is_some_and(|said| !said.message.starts_with(LOST));
    is_known && !is_applied && !state.is_without_record()
}

fn with(hash: String, objects: Vec<WantedObject>, state: &State, is_return: bool) -> Wanted {
    let is_wanted = |entry: &&Entry| !objects.iter().any(|target| target.object.is_same(&entry.object));
    let gone = state.inventory.iter().filter(is_wanted).map(|entry| entry.object.clone()).collect();
    Wanted { hash, objects, gone, is_return }
}

fn before(snapshot: &Snapshot) -> Vec<WantedObject> {
    let target = |kept: &super::state::Kept| {
        let fields = kept.fields.clone()?;
        let manifest = objects::manifest(&kept.object, &fields);
        Some(WantedObject {
            object: kept.object.clone(),
            body: hash(&manifest),
            manifest,
            before: Some((kept.set.clone(), fields)),
            must_be_ready: kept.ready,
        })
    };
    snapshot.objects.iter().filter_map(target).collect()
}

/// What is wrong with the manifests themselves, for people. In its own `namespace` the agent has rights that are not
/// for rollouts, and so it has to assignments.
pub fn unfit(wanted: &Wanted, rollout: &str, namespace: &str) -> Option<String> {
    let is_labelled = |target: &WantedObject| {
        let label = target.manifest.pointer("/metadata/labels").and_then(|labels| labels.get(ROLLOUT_LABEL));
        label.is_some_and(|label| label.as_str() != Some(rollout))
    };
    let is_own = |target: &WantedObject| target.object.namespace == namespace || target.object.group() == GROUP;
    let all = &wanted.objects;
    let is_twice = |target: &WantedObject| all.iter().filter(|other| other.object.is_same(&target.object)).count() > 1;
    all.iter().find_map(|target| match target {
        _ if is_twice(target) => Some(format!("{} is there twice", target.object)),
        _ if is_own(target) => Some(format!("{}: what is the agent's own is not for rollouts", target.object)),
        _ if is_labelled(target) => {
            Some(format!("{}: the label {ROLLOUT_LABEL} is the agent's own, and must be left out", target.object))
        }
        _ => None,
    })
}

#[cfg(test)]
#[path = "wanted_test.rs"]
mod tests;
