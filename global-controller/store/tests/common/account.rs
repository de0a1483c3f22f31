//! The account of every write: what was answered, against what is there in the end.
//!
//! A write of a client's own creates a key that nobody else writes: an acknowledged one must be there with the revision of
//! its answer, a denied one must not be there. One that was applied twice shows as a denied one that is there, or with
//! another revision.
//!
//! A compare-and-set of a shared counter leaves a link in the same transaction, under a key with the new count and a
//! token of its own, whose value is the token of the link before. Two that both took effect on one predecessor, or one
//! that took effect after its denial, show as two links of one count or as a link nobody owns.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::protocol::Item;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Acknowledged {
        revision: u64,
    },
    /// Perhaps it took effect.
    Unknown,
    /// Certainly it didn't: not applied, or a conflict.
    Denied,
}

/// A key that is written at most once, and what was answered.
#[derive(Clone, Debug)]
pub struct Written {
    pub key: String,
    pub value: String,
    pub fate: Fate,
}

pub struct Account {
    entries: Mutex<Entries>,
}

struct Entries {
    writes: Vec<Written>,
    last_success: Instant,
    longest_pause: Duration,
}

impl Account {
    pub fn new() -> Self {
        let (writes, last_success, longest_pause) = (Vec::new(), Instant::now(), Duration::ZERO);
        Self { entries: Mutex::new(Entries { writes, last_success, longest_pause }) }
    }

    pub fn enter(&self, written: Written) {
        let mut entries = self.entries.lock().unwrap();
        if matches!(written.fate, Fate::Acknowledged { .. }) {
            let now = Instant::now();
            entries.longest_pause = entries.longest_pause.max(now - entries.last_success);
            entries.last_success = now;
        }
        entries.writes.push(written);
    }

    pub fn acknowledged(&self) -> usize {
        self.count(|fate| matches!(fate, Fate::Acknowledged { .. }))
    }

    fn count(&self, wanted: impl Fn(Fate) -> bool) -> usize {
        self.entries.lock().unwrap().writes.iter().filter(|written| wanted(written.fate)).count()
    }

    pub fn summary(&self) -> String {
        let (unknown, denied) = (self.count(|fate| fate == Fate::Unknown), self.count(|fate| fate == Fate::Denied));
        let pause = self.entries.lock().unwrap().longest_pause.as_millis();
        format!(
            "{} writes acknowledged, {unknown} unknown, {denied} not applied or in conflict; longest time without a \
             successful write {pause} ms",
            self.acknowledged()
        )
    }

    /// What doesn't fit between the answers and the whole contents of the store.
    pub fn check(&self, found: &[Item]) -> Vec<String> {
        let entries = self.entries.lock().unwrap();
        let there: HashMap<&str, &Item> = found.iter().map(|item| (item.key.as_str(), item)).collect();
        let mut problems: Vec<_> = entries.writes.iter().filter_map(|written| problem_of(written, &there)).collect();
        let known: HashSet<&str> = entries.writes.iter().map(|written| written.key.as_str()).collect();
        let strangers = found.iter().filter(|item| !item.key.starts_with("counter/") && !known.contains(&*item.key));
        problems.extend(strangers.map(|item| format!("nobody wrote {item:?}")));
        problems.extend(chain_problems(found));
        problems
    }
}

fn problem_of(written: &Written, there: &HashMap<&str, &Item>) -> Option<String> {
    let found = there.get(written.key.as_str());
    let fits = match (written.fate, found) {
        (Fate::Acknowledged { revision }, Some(item)) => item.revision == revision && item.value == written.value,
        (Fate::Unknown, Some(item)) => item.value == written.value,
        (Fate::Unknown | Fate::Denied, None) => true,
        (Fate::Acknowledged { .. }, None) | (Fate::Denied, Some(_)) => false,
    };
    (!fits).then(|| format!("{written:?}, but found {found:?}"))
}

/// Each counter's links must lead from nothing to the counter, one for each count.
fn chain_problems(found: &[Item]) -> Vec<String> {
    let mut chains: BTreeMap<&str, Vec<(u64, &str, &Item)>> = BTreeMap::new();
    for item in found {
        if let Some(counter) = item.key.strip_prefix("counter/") {
            chains.entry(counter).or_default();
        } else if let Some(rest) = item.key.strip_prefix("link/") {
            let parts: Vec<_> = rest.split('/').collect();
            let [counter, count, token] = parts[..] else { panic!("an odd key: {item:?}") };
            chains.entry(counter).or_default().push((count.parse().unwrap(), token, item));
        }
    }
    let mut problems = Vec::new();
    for (counter, mut links) in chains {
        links.sort_by_key(|(count, ..)| *count);
        let (mut last, mut revision) = ((0, ""), 0);
        for (count, token, item) in links {
            if count != last.0 + 1 || item.value != last.1 || item.revision <= revision {
                problems.push(format!("counter {counter}: after {last:?} at revision {revision} comes {item:?}"));
            }
            (last, revision) = ((count, token), item.revision);
        }
        let end = found.iter().find(|item| item.key == format!("counter/{counter}"));
        let fits = end.is_some_and(|end| end.value == format!("{} {}", last.0, last.1) && end.revision == revision);
        if !fits {
            problems.push(format!("counter {counter} is {end:?}, its last link {last:?} at revision {revision}"));
        }
    }
    problems
}
