//! Sets of fields, as API servers write them down for each field manager, and what an object has in such a set. Pure.
//!
//! A field that the API server takes as a whole – a plain value, an atomic list or map, an empty map – is a leaf.
//! Fields are named in one version of a kind: an object is to be read in the version in which it was applied.

use std::collections::BTreeMap;

use crds::ROLLOUT_LABEL;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::path::{FieldPath, Step};

/// What says which object it is, or is the API server's own.
const IDENTITY: [&str; 8] =
    ["name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "selfLink", "managedFields"];

/// A set of fields. As JSON it is the `fieldsV1` of managed fields.
///
/// Keys of list elements belong to it with their element, whether they were written or are the API server's defaults
/// (the protocol of a port): an element could not be found again without them. So the set of what was projected onto a
/// set, and then applied, is that set again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Value", into = "Value")]
pub struct FieldSet {
    /// Whether the field itself belongs to the set, and not only some of what is in it.
    itself: bool,
    /// What is in it; none of these is empty.
    below: BTreeMap<Step, FieldSet>,
}

impl FieldSet {
    /// What this field manager has applied to an object and still owns, but for what says which object it is, its
    /// status and the label [`ROLLOUT_LABEL`]; none if it has applied nothing.
    pub fn of(manager: &str, object: &Value) -> Option<Self> {
        let is_ours = |entry: &&Value| {
            let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
            text("manager") == manager && text("operation") == "Apply" && text("subresource").is_empty()
        };
        let mut set = fields(managed(object).find(is_ours)?);
        for name in ["apiVersion", "kind", "status"] {
            set.remove(&[name]);
        }
        for name in IDENTITY {
            set.remove(&["metadata", name]);
        }
        set.remove(&["metadata", "labels", ROLLOUT_LABEL]);
        for name in ["labels", "annotations"] {
            // API servers don't keep empty ones: that one was applied must not matter when somebody else adds the
            // first.
            set.remove_leaf(&["metadata", name]);
        }
        Some(set)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        !self.itself && self.below.is_empty()
    }

    /// Whether it is a field that is taken as a whole.
    fn is_leaf(&self) -> bool {
        self.itself && self.below.is_empty()
    }

    /// What is in one of the two.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut union = self.clone();
        union.itself |= other.itself;
        for (step, set) in &other.below {
            let known = union.below.get(step).map_or_else(|| set.clone(), |known| known.union(set));
            union.below.insert(step.clone(), known);
        }
        union
    }

    /// What is not in the other one; keys stay with their element.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        let mut rest = Self::default();
        for (step, set) in &self.below {
            let set = other.below.get(step).map_or_else(|| set.clone(), |known| set.minus(known));
            rest.insert(step.clone(), set);
        }
        rest
    }

    /// Whether all of the other one is in it.
    pub fn contains(&self, other: &Self) -> bool {
        let has = |(step, set): (&Step, &Self)| self.below.get(step).is_some_and(|ours| ours.contains(set));
        (self.itself || !other.itself) && other.below.iter().all(has)
    }

    /// What an object has of these fields: an object again, without kind and name. Elements of lists are in the order
    /// in which they are there. Server-side apply takes it, with kind and name. A map that was applied as an empty one,
    /// and in which nobody owns a field, is there with the defaults that the API server has put into it.
    pub fn project(&self, object: &Value) -> Value {
        let all = managed(object).map(fields).reduce(|all, set| all.union(&set));
        self.pick(object, all.as_ref()).unwrap_or_else(|| Value::Object(Map::new()))
    }

    /// `owned` is what anybody owns there: a map in which somebody owns fields is not taken as a whole, and what is a
    /// leaf here was applied as an empty one. Fields of others in it are no matter of this set.
    fn pick(&self, value: &Value, owned: Option<&Self>) -> Option<Value> {
        let is_whole = self.below.is_empty() && owned.is_none_or(|owned| owned.below.is_empty());
        let (picked, is_found) = match value {
            Value::Object(fields) if !is_whole => {
                let pick = |(step, set): (&Step, &Self)| {
                    let Step::Field(name) = step else { return None };
                    let owned = owned.and_then(|owned| owned.below.get(step));
                    Some((name.clone(), set.pick(fields.get(name)?, owned)?))
                };
                let picked: Map<String, Value> = self.below.iter().filter_map(pick).collect();
                let is_found = !picked.is_empty();
                (Value::Object(picked), is_found)
            }
            Value::Array(elements) if !is_whole => {
                let pick = |element: &Value| {
                    let (step, set) = self.below.iter().find(|(step, _)| step.is_to(element))?;
                    let owned = owned.and_then(|owned| owned.below.get(step));
                    // An element without fields of its own is there as a whole.
                    set.pick(element, owned.filter(|_| !set.below.is_empty()))
                };
                let picked: Vec<Value> = elements.iter().filter_map(pick).collect();
                let is_found = !picked.is_empty();
                (Value::Array(picked), is_found)
            }
            whole => return self.is_leaf().then(|| whole.clone()),
        };
        (self.itself || is_found).then_some(picked)
    }

    /// `kept` with what it lacks of `more`: two projections onto parts of this set. What is in both stays as in `kept`.
    pub fn merge(&self, kept: &Value, more: &Value) -> Value {
        let mut merged = kept.clone();
        match (&mut merged, more) {
            (Value::Object(merged), Value::Object(more)) if !self.below.is_empty() => {
                for (name, value) in more {
                    let set = self.below.get(&Step::Field(name.clone()));
                    let value = match (merged.get(name), set) {
                        (Some(kept), Some(set)) => set.merge(kept, value),
                        (Some(kept), None) => kept.clone(),
                        (None, _) => value.clone(),
                    };
                    merged.insert(name.clone(), value);
                }
            }
            (Value::Array(merged), Value::Array(more)) => {
                for element in more {
                    let Some((step, set)) = self.below.iter().find(|(step, _)| step.is_to(element)) else { continue };
                    match merged.iter_mut().find(|kept| step.is_to(kept)) {
                        Some(kept) => *kept = set.merge(kept, element),
                        None => merged.push(element.clone()),
                    }
                }
            }
            _ => {}
        }
        merged
    }

    /// Where the fields are, but for keys of list elements that have other fields in the set.
    pub fn paths(&self) -> Vec<FieldPath> {
        let mut paths = Vec::new();
        self.add_paths(&FieldPath::default(), &mut paths);
        paths
    }

    fn add_paths(&self, path: &FieldPath, paths: &mut Vec<FieldPath>) {
        let before = paths.len();
        for (step, set) in self.below.iter().filter(|(step, _)| !is_key(path, step)) {
            set.add_paths(&path.then(step), paths);
        }
        if self.itself && paths.len() == before {
            paths.push(path.clone());
        }
    }

    /// Where two projections onto this set differ. An element of a list that only one of them has is one difference,
    /// and so is another order.
    pub fn changed(&self, expected: &Value, live: &Value) -> Vec<FieldPath> {
        let mut paths = Vec::new();
        self.add_changed(Some(expected), Some(live), &FieldPath::default(), &mut paths);
        paths
    }

    fn add_changed(
        &self,
        expected: Option<&Value>,
        live: Option<&Value>,
        path: &FieldPath,
        paths: &mut Vec<FieldPath>,
    ) {
        if expected == live {
            return;
        }
        let before = paths.len();
        let is_one_sided = expected.is_none() || live.is_none();
        if !(is_one_sided && path.0.last().is_some_and(Step::is_into_list)) {
            for (step, set) in &self.below {
                let [expected, live] = [expected, live].map(|value| value.and_then(|value| at(value, step)));
                set.add_changed(expected, live, &path.then(step), paths);
            }
        }
        if paths.len() == before {
            paths.push(path.clone());
        }
    }

    fn at(&self, path: &FieldPath) -> Option<&Self> {
        path.0.iter().try_fold(self, |set, step| set.below.get(step))
    }

    /// Adds what is in a field; its keys belong to an element of a list that is not there as a whole.
    fn insert(&mut self, step: Step, mut set: Self) {
        if let Step::Key(keys) = &step
            && !set.below.is_empty()
        {
            set.itself = true;
            for name in keys.keys() {
                set.below.entry(Step::Field(name.clone())).or_insert_with(|| Self { itself: true, ..Self::default() });
            }
        }
        if !set.is_empty() {
            self.below.insert(step, set);
        }
    }

    fn remove(&mut self, names: &[&str]) {
        let [name, rest @ ..] = names else { return };
        let step = Step::Field((*name).to_owned());
        let Some(set) = self.below.get_mut(&step) else { return };
        if set.is_leaf() && !rest.is_empty() {
            return;
        }
        set.remove(rest);
        // Without what was in it, it must not become a leaf.
        if rest.is_empty() || set.below.is_empty() {
            self.below.remove(&step);
        }
    }

    fn remove_leaf(&mut self, names: &[&str]) {
        let path = FieldPath(names.iter().map(|name| Step::Field((*name).to_owned())).collect());
        if self.at(&path).is_some_and(Self::is_leaf) {
            self.remove(names);
        }
    }

    /// What is in a field, of which `{}` is all that is said if it is taken as a whole.
    fn within(fields: &Value) -> Self {
        let mut set = Self::from(fields);
        set.itself |= set.below.is_empty();
        set
    }
}

impl From<&Value> for FieldSet {
    fn from(fields: &Value) -> Self {
        let mut set = Self::default();
        for (text, within) in fields.as_object().into_iter().flatten() {
            match Step::parse(text) {
                Some(step) => set.insert(step, Self::within(within)),
                None => set.itself |= text == ".",
            }
        }
        set
    }
}

impl From<Value> for FieldSet {
    fn from(fields: Value) -> Self {
        Self::from(&fields)
    }
}

impl From<FieldSet> for Value {
    fn from(set: FieldSet) -> Self {
        let itself = (set.itself && !set.below.is_empty()).then(|| (".".to_owned(), Self::Object(Map::new())));
        let below = set.below.into_iter().map(|(step, set)| (step.text(), Self::from(set)));
        Self::Object(itself.into_iter().chain(below).collect())
    }
}

/// Which field manager but `ours` owns a field of an object; of several the one that wrote last.
pub fn owner_of<'a>(object: &'a Value, path: &FieldPath, ours: &str) -> Option<&'a str> {
    let text = |entry: &'a Value, name: &str| entry.get(name).and_then(Value::as_str);
    let others = managed(object).filter(|entry| text(entry, "manager") != Some(ours));
    // Times are all in UTC and of the same form: their texts are in the same order.
    let last = others.filter(|entry| fields(entry).at(path).is_some()).max_by_key(|entry| text(entry, "time"));
    last.and_then(|entry| text(entry, "manager"))
}

/// The entries of an object's managed fields.
fn managed(object: &Value) -> impl Iterator<Item = &Value> {
    object.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten()
}

/// The fields of one entry.
fn fields(entry: &Value) -> FieldSet {
    entry.get("fieldsV1").map(FieldSet::from).unwrap_or_default()
}

/// Whether the next step is to a key by which the element of a list is found that the path leads to.
fn is_key(path: &FieldPath, step: &Step) -> bool {
    matches!((path.0.last(), step), (Some(Step::Key(keys)), Step::Field(name)) if keys.contains_key(name))
}

/// What is one step further.
fn at<'a>(value: &'a Value, step: &Step) -> Option<&'a Value> {
    match step {
        Step::Field(name) => value.get(name),
        Step::Key(_) | Step::Item(_) => value.as_array()?.iter().find(|element| step.is_to(element)),
    }
}

#[cfg(test)]
#[path = "fields_test.rs"]
mod tests;
