//! The hub's objects, in memory: every `ClusterScopeRollout`, `MemberCluster` and `RolloutAction`.

pub(crate) mod actions;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crds::{ClusterScopeRollout, FINALIZER, MemberCluster, spec_hash};
use rollout_core::{Desired, Problem, Rollout, SpecHash, Target, validate};
use tokio::time::Instant;

use actions::Actions;

use crate::measure::promql;

pub(crate) use watch::run as follow;

/// A hub that was not heard for this long may have news that would forbid the next step (SEMANTICS 40).
const FRESH_FOR: Duration = Duration::from_secs(30);
/// Uids that are kept of rollouts whose end was watched: far more than go before the leader has looked at them.
const MAX_ENDED: usize = 1024;

/// The hub's objects.
#[derive(Debug, Default)]
pub(crate) struct HubCache {
    rollouts: BTreeMap<String, Arc<HubRollout>>,
    members: BTreeMap<String, Arc<MemberCluster>>,
    /// uid to name.
    names: BTreeMap<String, String>,
    /// Uids of rollouts whose end was watched, the finalizer's included, and when that was.
    ended: BTreeMap<String, Instant>,
    actions: Actions,
    rollouts_heard: Heard,
    members_heard: Heard,
    actions_heard: Heard,
    /// When this replica last began to lead.
    term_began: Option<Instant>,
}

/// When one kind was heard of.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    /// When it was last listed.
    listed: Option<Instant>,
    /// When its list or watch last gave any sign of life.
    at: Option<Instant>,
}

impl HubCache {
    fn heard(&self) -> [Heard; 3] {
        [self.rollouts_heard, self.members_heard, self.actions_heard]
    }

    /// Whether all lists were read completely at least once.
    pub fn is_complete(&self) -> bool {
        self.heard().iter().all(|heard| heard.listed.is_some())
    }

    /// Whether all watches were heard lately, and all lists read since this replica began to lead.
    pub fn is_fresh(&self, now: Instant) -> bool {
        self.heard().iter().all(|heard| {
            heard.at.is_some_and(|at| now.duration_since(at) < FRESH_FOR)
                && self.term_began.is_none_or(|began| heard.listed.is_some_and(|listed| listed >= began))
        })
    }

    /// When it stops being fresh unless something is heard.
    pub fn fresh_until(&self) -> Option<Instant> {
        let oldest: Option<Vec<Instant>> = self.heard().iter().map(|heard| heard.at).collect();
        Some(oldest?.into_iter().min()? + FRESH_FOR)
    }

    pub fn begin_term(&mut self, now: Instant) {
        self.term_began = Some(now);
    }

    pub fn rollouts(&self) -> impl Iterator<Item = (&String, &Arc<HubRollout>)> {
        self.rollouts.iter()
    }

    pub fn rollout_by_uid(&self, uid: &str) -> Option<&Arc<HubRollout>> {
        self.rollouts.get(self.names.get(uid)?)
    }

    /// The rollout of this name.
    pub fn rollout(&self, name: &str) -> Option<&Arc<HubRollout>> {
        self.rollouts.get(name)
    }

    /// Whether it was watched how this rollout went. One that is just not there any more may be missing in an old backup.
    pub fn has_ended(&self, uid: &str) -> bool {
        self.ended.contains_key(uid)
    }

    /// It was watched how this rollout went. The longest gone is forgotten for it, if there are many.
    fn note_end(&mut self, uid: String, now: Instant) {
        self.ended.insert(uid, now);
        if self.ended.len() > MAX_ENDED {
            let longest = self.ended.iter().min_by_key(|(_, at)| **at).map(|(uid, _)| uid.clone());
            longest.and_then(|uid| self.ended.remove(&uid));
        }
    }

    /// Uids of all rollouts.
    pub fn uids(&self) -> impl Iterator<Item = &String> {
        self.names.keys()
    }

    /// What people do to runs.
    pub fn actions(&self) -> &Actions {
        &self.actions
    }

    pub fn members(&self) -> impl Iterator<Item = (&String, &Arc<MemberCluster>)> {
        self.members.iter()
    }

    pub fn member(&self, name: &str) -> Option<&Arc<MemberCluster>> {
        self.members.get(name)
    }
}

/// A rollout of the hub. What it says is parsed once, when it comes, and not at each of the many looks at it.
#[derive(Debug)]
pub(crate) struct HubRollout {
    object: ClusterScopeRollout,
    wanted: Wanted,
    hash: SpecHash,
}

impl HubRollout {
    pub fn new(object: ClusterScopeRollout) -> Self {
        let release = env!("CARGO_PKG_VERSION").to_owned();
        let hash = SpecHash { release, hash: spec_hash(&object.spec) };
        Self { wanted: Wanted::of(&object), hash, object }
    }

    /// What tells its specification from another one.
    pub fn hash(&self) -> &SpecHash {
        &self.hash
    }

    /// What it says.
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }
}

impl std::ops::Deref for HubRollout {
    type Target = ClusterScopeRollout;

    fn deref(&self) -> &ClusterScopeRollout {
        &self.object
    }
}

/// What the hub says about one rollout, parsed.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    Present(Box<Rollout>),
    Invalid { problems: Vec<Problem>, generation: i64 },
    Deleted { generation: i64 },
}

impl Wanted {
    fn of(object: &ClusterScopeRollout) -> Self {
        let generation = object.metadata.generation.unwrap_or_default();
        if object.metadata.deletion_timestamp.is_some() {
            return Self::Deleted { generation };
        }
        let checked = validate(object).and_then(|rollout| match promql::problems(&rollout) {
            problems if problems.is_empty() => Ok(rollout),
            problems => Err(problems),
        });
        match checked {
            Ok(rollout) => Self::Present(Box::new(rollout)),
            Err(problems) => Self::Invalid { problems, generation },
        }
    }

    /// What a person asks for; none of one that is invalid or being deleted.
    pub fn present(&self) -> Option<&Rollout> {
        match self {
            Self::Present(rollout) => Some(rollout),
            Self::Invalid { .. } | Self::Deleted { .. } => None,
        }
    }

    pub fn desired(&self) -> Desired<'_> {
        match self {
            Self::Present(rollout) => Desired::Present(rollout),
            Self::Invalid { problems, generation } => Desired::Invalid { problems, generation: *generation },
            Self::Deleted { generation } => Desired::Deleted { generation: *generation },
        }
    }
}

/// The objects that a rollout of the hub changes in each member, as it says, valid or not.
pub(crate) fn raw_targets(object: &ClusterScopeRollout) -> Vec<Target> {
    let manifests = object.spec.manifests.iter().map(|manifest| Target::of_object(&manifest.object()));
    object.spec.workload.iter().map(Target::of_payload).chain(manifests).collect()
}

/// Whether the object carries our finalizer, without which nothing is assigned: it could vanish unnoticed.
pub(crate) fn has_finalizer(object: &ClusterScopeRollout) -> bool {
    object.metadata.finalizers.iter().flatten().any(|name| name == FINALIZER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard_at(listed: Instant, at: Instant) -> HubCache {
        let heard = Heard { listed: Some(listed), at: Some(at) };
        HubCache { rollouts_heard: heard, members_heard: heard, actions_heard: heard, ..HubCache::default() }
    }

    #[test]
    fn semantics_40_a_hub_that_was_not_heard_for_30_seconds_is_not_fresh() {
        let start = Instant::now();
        let cache = heard_at(start, start);
        assert!(cache.is_fresh(start + Duration::from_secs(29)));
        assert!(!cache.is_fresh(start + Duration::from_secs(30)));
        assert_eq!(cache.fresh_until(), Some(start + Duration::from_secs(30)));
        assert!(!HubCache::default().is_fresh(start), "never heard");
    }

    #[test]
    fn of_many_rollouts_that_went_the_longest_gone_is_forgotten() {
        let start = Instant::now();
        let mut cache = HubCache::default();
        let uid = |number: usize| format!("{:05}", MAX_ENDED - number);
        for number in 0..=MAX_ENDED {
            cache.note_end(uid(number), start + Duration::from_secs(number as u64));
        }
        assert!(!cache.has_ended(&uid(0)));
        assert!(cache.has_ended(&uid(1)) && cache.has_ended(&uid(MAX_ENDED)), "whatever their uids");
    }

    #[test]
    fn semantics_38_a_new_leader_goes_by_lists_of_its_own_term_only() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut cache = heard_at(start, at(9));
        cache.begin_term(at(10));
        assert!(!cache.is_fresh(at(10)), "what the watch said before may be old news");
        cache.rollouts_heard.listed = Some(at(11));
        cache.members_heard = Heard { listed: Some(at(11)), at: Some(at(11)) };
        assert!(!cache.is_fresh(at(11)), "an abort may be on the list that is missing");
        cache.actions_heard = Heard { listed: Some(at(11)), at: Some(at(11)) };
        assert!(cache.is_fresh(at(12)));
    }
}
