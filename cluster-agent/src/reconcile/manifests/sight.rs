//! The objects of a rollout, held against what they are to be, and what is said of them. Pure.

use std::collections::BTreeMap;

use crds::{Intent, ObjectRef, OnDrift, WorkloadObservation};
use serde_json::Value;

use super::super::contention::{MAX_REVERTS, WINDOW};
use super::super::health::Health;
use super::super::ladder::{Sight, going};
use super::fields::{FieldSet, owner_of};
use super::readiness::Readiness;
use super::state::{Kept, State, id, is_going};
use super::wanted::{Wanted, WantedObject};
use crate::assignment::Order;

/// Objects that a message names, of those that it counts.
const MOST_NAMED: usize = 3;

/// An object as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    /// The object itself, with its managed fields.
    pub value: Value,
    /// Whether it is ready.
    pub readiness: Readiness,
    /// Whether it is complete but for old pods that its owner has to delete.
    pub awaits_owner: bool,
    /// Whether it is ready although pods are of an older template.
    pub is_partial: bool,
}

/// What was read, by object; none: it does not exist.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lives(pub Vec<(ObjectRef, Option<Live>)>);

impl Lives {
    /// One of them.
    pub fn get(&self, object: &ObjectRef) -> Option<&Live> {
        self.0.iter().find(|(known, _)| known.is_same(object)).and_then(|(_, live)| live.as_ref())
    }

    /// One of them, as it is written.
    pub fn value(&self, object: &ObjectRef) -> Option<&Value> {
        self.get(object).map(|live| &live.value)
    }

    /// Puts in what an object is by now.
    pub fn put(&mut self, object: &ObjectRef, live: Option<Live>) {
        match self.0.iter_mut().find(|(known, _)| known.is_same(object)) {
            Some((_, known)) => *known = live,
            None => self.0.push((object.clone(), live)),
        }
    }
}

/// The objects of a rollout, held against what they are to be.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Who asks.
    pub order: &'a Order,
    /// What they are to be.
    pub wanted: &'a Wanted,
    /// What was applied.
    pub state: &'a State,
    /// What is there.
    pub lives: &'a Lives,
    /// What objects that are there would be if they were applied by force; of those that are as they are to be it is
    /// not asked.
    pub would: &'a BTreeMap<ObjectRef, Value>,
    /// The rollout's field manager.
    pub manager: &'a str,
}

impl Seen<'_> {
    /// Whether one object is as it is to be.
    pub fn is_there(&self, target: &WantedObject) -> bool {
        target.is_there(self.state.entry(&target.object), self.lives.value(&target.object), self.manager)
    }

    /// All objects that the rollout sets or has set, as they are now: in the fields that it would set, that it has set,
    /// and that it looked at before.
    pub fn now(&self) -> Vec<Kept> {
        let mut objects: Vec<&ObjectRef> = self.wanted.objects.iter().map(|target| &target.object).collect();
        objects.extend(&self.wanted.gone);
        objects.into_iter().map(|object| self.kept(object)).collect()
    }

    /// One that is being deleted counts as missing, which it is soon.
    fn kept(&self, object: &ObjectRef) -> Kept {
        let live = self.lives.get(object).filter(|live| !is_going(&live.value));
        let owned = |value: &Value| FieldSet::of(self.manager, value).unwrap_or_default();
        let mut set = live.map(|live| owned(&live.value)).unwrap_or_default();
        if let Some(would) = self.would.get(object).filter(|_| live.is_some()) {
            set = set.union(&owned(would));
        }
        let is_ready = live.is_some_and(|live| live.readiness == Readiness::Ready);
        Kept::of(object, live.map(|live| &live.value), set, is_ready)
    }

    /// Who has changed what, in words: the first one, and what it has changed, then others in brackets.
    fn changes(&self) -> Option<(String, String)> {
        let (mut first, mut texts) = (None::<String>, Vec::new());
        let mut add = |who: &str, what: String| {
            let by =
                if first.get_or_insert_with(|| who.to_owned()) == who { String::new() } else { format!(" (by {who})") };
            texts.push(format!("{what}{by}"));
        };
        for target in self.wanted.objects.iter().filter(|target| !self.is_there(target)) {
            let object = &target.object;
            let Some(live) = self.lives.value(object) else {
                add("somebody", format!("{object}, which is deleted"));
                continue;
            };
            let Some((set, expected)) = self.expected(target) else {
                add("somebody", object.to_string());
                continue;
            };
            for path in set.changed(&expected, &set.project(live)) {
                let who = owner_of(live, &path, self.manager).unwrap_or("somebody");
                add(who, format!("{object} {path}"));
            }
        }
        let more = texts.len().saturating_sub(MOST_NAMED);
        texts.truncate(MOST_NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        first.map(|who| (who, format!("{}{more}", texts.join(", "))))
    }

    /// What one object is to have of which fields, as far as that is known.
    pub fn expected(&self, target: &WantedObject) -> Option<(FieldSet, Value)> {
        let Some(would) = self.would.get(&target.object) else { return target.before.clone() };
        let set = FieldSet::of(self.manager, would).unwrap_or_default();
        let expected = set.project(would);
        Some((set, expected))
    }

    fn changes_or_unknown(&self) -> (String, String) {
        self.changes().unwrap_or_else(|| ("somebody".to_owned(), "who owns which fields".to_owned()))
    }

    fn message(&self, ready: usize) -> String {
        let targets = &self.wanted.objects;
        let not_ready = |target: &&WantedObject| match self.lives.get(&target.object) {
            None => Some((false, format!("{} does not exist", target.object))),
            Some(live) => {
                let what = live.readiness.message()?;
                let is_failed = matches!(live.readiness, Readiness::Failed(_));
                Some((is_failed, format!("{}: {what}", target.object)))
            }
        };
        let mut waiting: Vec<(bool, String)> = targets.iter().filter_map(|target| not_ready(&target)).collect();
        // What has failed is said first.
        waiting.sort_by_key(|(is_failed, _)| !is_failed);
        let more = waiting.len().saturating_sub(MOST_NAMED);
        let mut parts = vec![match targets.len() {
            0 if self.state.snapshot(&self.wanted.hash).is_some() => "no object was there before".to_owned(),
            0 => "nothing is left to bring back".to_owned(),
            all => format!("{ready} of {all} objects ready"),
        }];
        parts.extend(waiting.into_iter().take(MOST_NAMED).map(|(_, text)| text));
        if more > 0 {
            parts.push(format!("and {more} more"));
        }
        let left_behind = self.state.left_behind.iter().filter(|object| self.lives.get(object).is_some());
        let names: Vec<String> = left_behind.map(ToString::to_string).collect();
        if !names.is_empty() {
            parts.push(format!("left behind as they are: {}", names.join(", ")));
        }
        parts.join("; ")
    }
}

impl Sight for Seen<'_> {
    fn wanted_hash(&self) -> String {
        self.wanted.hash.clone()
    }

    /// What is to be gone after an apply goes when the rest is ready. Where drift is only reported it is enough that
    /// nothing has changed, whoever owns it.
    fn is_as_wanted(&self) -> bool {
        let is_left = self.wanted.gone.is_empty() || !self.wanted.is_return;
        let is_set = self.wanted.objects.iter().all(|target| self.is_there(target));
        is_left && (is_set || (self.order.spec.on_drift == OnDrift::Report && self.changes().is_none()))
    }

    fn is(&self, hash: &str) -> bool {
        id(&self.now()) == hash
    }

    fn is_begun(&self) -> bool {
        self.state.has_begun(&self.wanted.hash, &self.order.spec.rollout)
    }

    fn health(&self) -> Health {
        let targets = &self.wanted.objects;
        let observes = going(self.order) == Intent::Observe;
        let lives = || targets.iter().map(|target| (target, self.lives.get(&target.object)));
        let is_ready = |live: Option<&Live>| live.is_some_and(|live| live.readiness == Readiness::Ready);
        let is_fine = |(target, live): (&WantedObject, Option<&Live>)| match live {
            None => observes,
            Some(live) if is_going(&live.value) => observes,
            Some(_) => !target.must_be_ready || is_ready(live),
        };
        let awaits_owner = |(target, live): (&WantedObject, Option<&Live>)| {
            is_fine((target, live)) || live.is_some_and(|live| live.awaits_owner)
        };
        let healthy = lives().all(is_fine);
        let ready = lives().filter(|(_, live)| is_ready(*live)).count();
        let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        let observation = WorkloadObservation {
            desired: count(targets.len()),
            updated: count(targets.iter().filter(|target| self.is_there(target)).count()),
            ready: count(ready),
            available: count(ready),
            healthy,
            partial: healthy && lives().any(|(_, live)| live.is_some_and(|live| live.is_partial)),
            snapshot: observes.then(|| id(&self.now())),
            ..WorkloadObservation::default()
        };
        Health { observation, message: self.message(ready), awaits_owner: !healthy && lives().all(awaits_owner) }
    }

    fn unexpected(&self) -> String {
        "nothing was applied: the objects are no longer what was observed".to_owned()
    }

    fn reported(&self, _: &Order) -> String {
        let (who, what) = self.changes_or_unknown();
        format!("{who} has changed {what}")
    }

    fn contended(&self, _: &Order) -> String {
        let (who, what) = self.changes_or_unknown();
        let minutes = WINDOW.as_secs() / 60;
        format!("{who} has changed what was set {MAX_REVERTS} times within {minutes} minutes, the last time {what}")
    }
}

#[cfg(test)]
#[path = "sight_test.rs"]
mod tests;
