//! What the agent keeps of a rollout of whole objects: what was there before, what it has applied, and what it has
//! begun to apply. Pure; [`super::store`] reads and writes it.
//!
//! It is written before anything is applied that it speaks of, so that a crash at any point leaves enough to go on
//! with, or to go back.

use crds::{AssignedRollout, ObjectRef, short_sha256};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fields::FieldSet;

/// What is kept of one rollout.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// What was there when the rollout first touched it; none: nobody knows.
    #[serde(default)]
    pub snapshot: Option<Snapshot>,
    /// The objects that the rollout has, or is about to have, fields of.
    #[serde(default)]
    pub inventory: Vec<Entry>,
    /// What was begun to be set last, whether or not all of it was by now: until something else is begun, what is there
    /// may be our own doing.
    #[serde(default)]
    pub applying: Option<Begun>,
    /// Objects of the rollout that are not wanted any more and stay as they are: they are never deleted, or can't be
    /// without its fields.
    #[serde(default)]
    pub left_behind: Vec<ObjectRef>,
}

/// What was begun to be set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", from = "Written")]
pub struct Begun {
    /// Hash of it.
    pub hash: String,
    /// For which run of which rollout; none: nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<AssignedRollout>,
}

/// How [`Begun`] may be written: earlier agents wrote the hash alone, and nothing once all was set.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Hash(String),
    Whole {
        hash: String,
        #[serde(default)]
        rollout: Option<AssignedRollout>,
    },
}

impl From<Written> for Begun {
    fn from(written: Written) -> Self {
        match written {
            Written::Hash(hash) => Self { hash, rollout: None },
            Written::Whole { hash, rollout } => Self { hash, rollout },
        }
    }
}

/// What objects were at one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Name of it, as the hub knows it. It stays the same when objects are added that are touched later.
    pub id: String,
    /// The objects.
    pub objects: Vec<Kept>,
}

/// What one object was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// Which one.
    pub object: ObjectRef,
    /// metadata.uid; none where it was missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The fields that were looked at.
    pub set: FieldSet,
    /// What it had of these; null where it was missing.
    pub fields: Option<Value>,
    /// Whether it was ready.
    pub ready: bool,
}

/// What the rollout has applied to one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Which one.
    pub object: ObjectRef,
    /// metadata.uid; none: it was missing when this was written, and nothing more is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Whether the rollout has created it, and may delete it.
    pub created: bool,
    /// Hash of the manifest that was applied last; none: none was yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Hash of what the object then had in the fields that the rollout owned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
}

impl Kept {
    /// What an object has of these fields now.
    pub fn of(object: &ObjectRef, live: Option<&Value>, set: FieldSet, ready: bool) -> Self {
        let fields = live.map(|live| set.project(live));
        Self { object: object.clone(), uid: live.map(uid), set, fields, ready: ready && live.is_some() }
    }

    /// Takes in fields that are looked at for the first time. What was looked at before stays as it was then.
    fn extend(&mut self, now: &Self) {
        // One that was missing stays so, whoever has made it since.
        let Some(fields) = &mut self.fields else { return };
        let more = now.set.minus(&self.set);
        self.set = self.set.union(&now.set);
        if let Some(live) = &now.fields {
            *fields = self.set.merge(fields, &more.project(live));
        }
    }
}

/// Name of what objects are: of the values of their fields, and of which are missing.
pub fn id(objects: &[Kept]) -> String {
    let mut all: Vec<(&ObjectRef, &Option<Value>)> = objects.iter().map(|kept| (&kept.object, &kept.fields)).collect();
    all.sort_by_key(|(object, _)| *object);
    // Plain data: there is nothing in it that can't be written as JSON. Keys of maps are sorted.
    short_sha256(&serde_json::to_string(&all).unwrap_or_default())
}

/// metadata.uid of a live object.
pub fn uid(live: &Value) -> String {
    live.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Whether a live object is being deleted: it stays until its finalizers are gone, and is nothing to build on.
pub fn is_going(live: &Value) -> bool {
    live.pointer("/metadata/deletionTimestamp").is_some_and(|since| !since.is_null())
}

impl State {
    /// What is known of an object.
    pub fn entry(&self, object: &ObjectRef) -> Option<&Entry> {
        self.inventory.iter().find(|entry| entry.object.is_same(object))
    }

    /// Puts in what is known of an object by now.
    pub fn note(&mut self, entry: Entry) {
        match self.inventory.iter_mut().find(|known| known.object.is_same(&entry.object)) {
            Some(known) => *known = entry,
            None => self.inventory.push(entry),
        }
    }

    /// Forgets an object.
    pub fn drop(&mut self, object: &ObjectRef) {
        self.inventory.retain(|entry| !entry.object.is_same(object));
    }

    /// Notes an object that is not wanted any more and stays as it is.
    pub fn leave(&mut self, object: &ObjectRef) {
        if !self.left_behind.iter().any(|known| known.is_same(object)) {
            self.left_behind.push(object.clone());
        }
    }

    /// The snapshot of this name.
    pub fn snapshot(&self, id: &str) -> Option<&Snapshot> {
        self.snapshot.as_ref().filter(|snapshot| snapshot.id == id)
    }

    /// Whether it was begun to set what has this hash, for this run. Where the run is not known it counts as this one:
    /// what is there may then be half of it, and must not be observed as what was there before. What somebody else has
    /// changed meanwhile is kept to return to all the same.
    pub fn has_begun(&self, hash: &str, rollout: &AssignedRollout) -> bool {
        let begun = self.applying.as_ref().filter(|begun| begun.hash == hash);
        begun.is_some_and(|begun| begun.rollout.as_ref().is_none_or(|known| known == rollout))
    }

    /// Forgets all of another rollout that had the same name, and left its record behind: what that one made is not for this
    /// one to remove. A rollout that goes on for another one knows what that has kept, by the name in `previous`.
    pub fn disown(&mut self, rollout: &AssignedRollout, previous: Option<&str>) {
        let begun_for = self.applying.as_ref().and_then(|begun| begun.rollout.as_ref());
        let is_other = begun_for.is_some_and(|other| other.uid != rollout.uid);
        if is_other && previous.is_none_or(|name| self.snapshot(name).is_none()) {
            *self = Self::default();
        }
    }

    /// Forgets that something else was begun than what has this hash and is there; returns whether it was.
    pub fn end_other(&mut self, hash: &str) -> bool {
        self.applying.take_if(|begun| begun.hash != hash).is_some()
    }

    /// Whether something was applied and nobody knows any more what was there before.
    pub fn is_without_record(&self) -> bool {
        self.snapshot.is_none() && !self.inventory.is_empty()
    }

    /// All objects that it speaks of.
    pub fn objects(&self) -> Vec<ObjectRef> {
        let kept = self.snapshot.iter().flat_map(|snapshot| &snapshot.objects).map(|kept| &kept.object);
        let mut objects: Vec<ObjectRef> = self.inventory.iter().map(|entry| entry.object.clone()).collect();
        for object in kept {
            if !objects.iter().any(|known| known.is_same(object)) {
                objects.push(object.clone());
            }
        }
        objects
    }

    /// Finds out about objects that were missing when this was written, or have been made again since, and that a crash
    /// kept from being noted.
    pub fn catch_up<'a>(&mut self, manager: &str, live: impl Fn(&ObjectRef) -> Option<&'a Value>) {
        for entry in &mut self.inventory {
            let is_ours = |live: &&Value| FieldSet::of(manager, live).is_some();
            let Some(live) = live(&entry.object).filter(is_ours) else { continue };
            if entry.uid.as_ref() != Some(&uid(live)) {
                let (object, uid) = (entry.object.clone(), Some(uid(live)));
                *entry = Entry { object, uid, created: is_first(manager, live), body: None, seen: None };
            }
        }
    }

    /// What is to be written before the objects are set to what has this hash, for this run. `now` is what all of them
    /// are at present.
    pub fn begin(&mut self, hash: &str, rollout: &AssignedRollout, now: &[Kept]) {
        for Kept { object, uid, .. } in now {
            if self.entry(object).is_none() {
                let (object, uid) = (object.clone(), uid.clone());
                self.inventory.push(Entry { object, uid, created: false, body: None, seen: None });
            }
        }
        self.applying = Some(Begun { hash: hash.to_owned(), rollout: Some(rollout.clone()) });
        self.left_behind.retain(|object| !now.iter().any(|kept| kept.object.is_same(object)));
    }

    /// Keeps what objects are `now`, to return to. `previous` is the name of where the hub wants to return to: what was
    /// kept under it is only added to. Under a new name all begins anew, also when what was observed under it has
    /// changed since: nothing has been applied that would not have been kept first. `is_touched`: there are objects
    /// with fields of the rollout.
    pub fn keep(&mut self, previous: Option<&str>, now: &[Kept], is_touched: bool) {
        let found = id(now);
        let name = previous.unwrap_or(&found).to_owned();
        match &mut self.snapshot {
            Some(snapshot) if snapshot.id == name => {
                for kept in now {
                    match snapshot.objects.iter_mut().find(|known| known.object.is_same(&kept.object)) {
                        Some(known) => known.extend(kept),
                        None => snapshot.objects.push(kept.clone()),
                    }
                }
            }
            // The record is lost. What is there now is not what was there before, and must not pass for it.
            None if is_touched && name != found => {}
            snapshot => *snapshot = Some(Snapshot { id: name, objects: now.to_vec() }),
        }
    }
}

/// Whether this field manager was there before all others: it has made the object. Statuses are written by controllers
/// in no time, and say nothing.
pub fn is_first(manager: &str, live: &Value) -> bool {
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array);
    let text = |entry: &Value, name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let all = entries.into_iter().flatten().filter(|entry| text(entry, "subresource").is_empty());
    let (ours, others): (Vec<&Value>, Vec<&Value>) =
        all.partition(|entry| text(entry, "manager") == manager && text(entry, "operation") == "Apply");
    let Some(since) = ours.iter().map(|entry| text(entry, "time")).min() else { return false };
    // Within the same second nobody knows who was first.
    others.iter().all(|entry| text(entry, "time") > since)
}

#[cfg(test)]
#[path = "state_test.rs"]
mod tests;
