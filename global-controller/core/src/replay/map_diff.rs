//! How one map differs from another.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// How one map by names differs from another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[serde(bound(deserialize = "K: Ord + Deserialize<'de>, V: Deserialize<'de>"))]
pub struct MapDiff<V, K: Ord = String> {
    /// What is new or other.
    #[serde(default = "BTreeMap::new", skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<K, V>,
    /// What is no longer there.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub gone: BTreeSet<K>,
}

impl<V, K: Ord> Default for MapDiff<V, K> {
    fn default() -> Self {
        Self { set: BTreeMap::new(), gone: BTreeSet::new() }
    }
}

impl<V: Clone + PartialEq, K: Clone + Ord> MapDiff<V, K> {
    /// What makes `after` of `before`. The entries of both are in the order of their names.
    pub fn between<'a>(before: &BTreeMap<K, V>, after: impl Iterator<Item = (&'a K, &'a V)>) -> Self
    where
        K: 'a,
        V: 'a,
    {
        let mut diff = Self::default();
        let mut old = before.iter().peekable();
        for (name, value) in after {
            while let Some((gone, _)) = old.next_if(|(known, _)| *known < name) {
                diff.gone.insert(gone.clone());
            }
            let known = old.next_if(|(known, _)| *known == name);
            if known.is_none_or(|(_, known)| known != value) {
                diff.set.insert(name.clone(), value.clone());
            }
        }
        diff.gone.extend(old.map(|(gone, _)| gone.clone()));
        diff
    }

    /// Makes the same changes to a map.
    pub fn apply(&self, map: &mut BTreeMap<K, V>) {
        map.retain(|name, _| !self.gone.contains(name));
        map.extend(self.set.iter().map(|(name, value)| (name.clone(), value.clone())));
    }

    /// Whether the two maps are equal.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.gone.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: &str) -> BTreeMap<String, char> {
        text.split_whitespace().map(|pair| (pair[..1].to_owned(), char::from(pair.as_bytes()[1]))).collect()
    }

    #[test]
    fn a_difference_makes_the_one_map_of_the_other() {
        let maps = ["", "a1", "a2", "b1", "a1 b1", "a1 c1", "a2 b1 c3", "b1 c1 d1"].map(map);
        for before in &maps {
            for after in &maps {
                let diff = MapDiff::between(before, after.iter());
                let mut made = before.clone();
                diff.apply(&mut made);
                assert_eq!(made, *after, "{diff:?}");
                assert_eq!(diff.is_empty(), before == after);
            }
        }
    }

    #[test]
    fn only_what_changed_is_in_it() {
        let diff = MapDiff::between(&map("a1 b1 c1"), map("a1 b2 d1").iter());
        assert_eq!(diff.set, map("b2 d1"));
        assert_eq!(diff.gone, ["c".to_owned()].into());
    }
}
