//! The hub's objects, in memory: every `ClusterScopeRollout` and `MemberCluster`.

mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crds::{ClusterScopeRollout, FINALIZER, MemberCluster};
use rollout_core::{Desired, Problem, Rollout, validate};
use tokio::time::Instant;

pub(crate) use watch::run as follow;

/// A hub that was not heard for this long may have news that would forbid the next step (SEMANTICS 40).
const FRESH_FOR: Duration = Duration::from_secs(30);

/// The hub's objects.
#[derive(Debug, Default)]
pub(crate) struct HubCache {
    rollouts: BTreeMap<String, Arc<ClusterScopeRollout>>,
    members: BTreeMap<String, Arc<MemberCluster>>,
    /// uid to name.
    names: BTreeMap<String, String>,
    rollouts_heard: Option<Instant>,
    members_heard: Option<Instant>,
}

impl HubCache {
    /// Whether both lists were read completely at least once.
    pub fn is_complete(&self) -> bool {
        self.rollouts_heard.is_some() && self.members_heard.is_some()
    }

    /// Whether both watches were heard lately.
    pub fn is_fresh(&self, now: Instant) -> bool {
        [self.rollouts_heard, self.members_heard]
            .iter()
            .all(|heard| heard.is_some_and(|heard| now.duration_since(heard) < FRESH_FOR))
    }

    /// When it stops being fresh unless something is heard.
    pub fn fresh_until(&self) -> Option<Instant> {
        Some(self.rollouts_heard?.min(self.members_heard?) + FRESH_FOR)
    }

    pub fn rollouts(&self) -> impl Iterator<Item = (&String, &Arc<ClusterScopeRollout>)> {
        self.rollouts.iter()
    }

    pub fn rollout_by_uid(&self, uid: &str) -> Option<&Arc<ClusterScopeRollout>> {
        self.rollouts.get(self.names.get(uid)?)
    }

    /// Uids of all rollouts.
    pub fn uids(&self) -> impl Iterator<Item = &String> {
        self.names.keys()
    }

    pub fn members(&self) -> impl Iterator<Item = (&String, &Arc<MemberCluster>)> {
        self.members.iter()
    }

    pub fn member(&self, name: &str) -> Option<&Arc<MemberCluster>> {
        self.members.get(name)
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
    pub fn of(object: &Arc<ClusterScopeRollout>) -> Self {
        let generation = object.metadata.generation.unwrap_or_default();
        if object.metadata.deletion_timestamp.is_some() {
            return Self::Deleted { generation };
        }
        match validate(object) {
            Ok(rollout) => Self::Present(Box::new(rollout)),
            Err(problems) => Self::Invalid { problems, generation },
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

/// Whether the object carries our finalizer, without which nothing is assigned: it could vanish unnoticed.
pub(crate) fn has_finalizer(object: &ClusterScopeRollout) -> bool {
    object.metadata.finalizers.iter().flatten().any(|name| name == FINALIZER)
}
