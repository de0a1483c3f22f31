//! Who may touch an object of a member: one rollout at a time (SEMANTICS 7).
//!
//! A claim is a record of the store. Only decisions of its holder write or remove it, and each of these is committed on
//! condition that the holder's header is unchanged; so what a decision sees of its own claims still holds when it is
//! committed. A rollout that has not started takes all its claims or none, so nobody waits for anybody in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crds::{AssignedWorkload, Content, ObjectRef, WorkloadPayload};
use serde::{Deserialize, Serialize};

use crate::plan::order;
use crate::{Late, MemberFacts, Millis, Rollout, RolloutState};

/// An object that a rollout changes in each of its members.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Target {
    /// Kind and API group without its version, as in `Deployment.apps`; kinds of the core group have none, as in `Service`.
    pub kind: String,
    /// Namespace; empty for objects that have none.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// Why a text is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a target: must be kind/namespace/name")]
pub struct TargetError(String);

/// A claim on one object of one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// metadata.uid of the holder.
    pub uid: String,
    /// metadata.name of the holder.
    pub rollout: String,
    /// metadata.creationTimestamp of the holder: of those that have not started, the older goes first.
    #[serde(default)]
    pub created_at: Millis,
}

/// Member to target to claim.
pub type ClaimTable = BTreeMap<String, BTreeMap<Target, Claim>>;

/// The claims that a decision about one rollout depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claims {
    /// All that the rollout holds, and everybody's on its targets.
    pub held: ClaimTable,
    /// What older rollouts are about to claim that have not started either; only for one that has not started.
    pub wanted: ClaimTable,
}

/// A rollout that could start if it got its claims.
#[derive(Clone, Copy, Debug)]
pub struct Contender<'a> {
    /// What it asks for.
    pub rollout: &'a Rollout,
    /// Whether a run of it has started. One that has keeps what it holds.
    pub started: bool,
}

/// How far a rollout can have the members that it means.
#[derive(Debug, Default)]
pub(crate) struct Footing {
    /// Claims that nobody has.
    pub free: Vec<(String, Target)>,
    /// Members that another rollout has a claim on, by its name.
    pub contested: BTreeMap<String, Vec<String>>,
}

impl Target {
    /// The object of a payload of one workload.
    pub fn of_payload(workload: &WorkloadPayload) -> Self {
        Self::of(workload.kind, &workload.namespace, &workload.name)
    }

    /// The object of an assignment of one workload.
    pub fn of_assigned(workload: &AssignedWorkload) -> Self {
        Self::of(workload.kind, &workload.namespace, &workload.name)
    }

    /// The object of a manifest.
    pub fn of_object(object: &ObjectRef) -> Self {
        let kind = match object.group() {
            "" => object.kind.clone(),
            group => format!("{}.{group}", object.kind),
        };
        Self { kind, namespace: object.namespace.clone(), name: object.name.clone() }
    }

    fn of(kind: crds::WorkloadKind, namespace: &str, name: &str) -> Self {
        Self { kind: format!("{kind}.apps"), namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// "Deployment.apps/shop/checkout". None of the parts can hold a slash.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name } = self;
        write!(f, "{kind}/{namespace}/{name}")
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

impl TryFrom<String> for Target {
    type Error = TargetError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.split('/').collect::<Vec<_>>().as_slice() {
            [kind, namespace, name] => {
                Ok(Self { kind: (*kind).to_owned(), namespace: (*namespace).to_owned(), name: (*name).to_owned() })
            }
            _ => Err(TargetError(text)),
        }
    }
}

impl Claims {
    /// The claims of one rollout, as (member, target).
    pub fn of<'a>(&'a self, uid: &'a str) -> impl Iterator<Item = (&'a String, &'a Target)> {
        self.held.iter().flat_map(move |(member, claims)| {
            claims.iter().filter(move |(_, claim)| claim.uid == uid).map(move |(target, _)| (member, target))
        })
    }

    /// Who holds a claim.
    pub fn holder(&self, member: &str, target: &Target) -> Option<&Claim> {
        self.held.get(member)?.get(target)
    }

    fn wants(&self, member: &str, target: &Target) -> Option<&Claim> {
        self.wanted.get(member)?.get(target)
    }
}

impl Footing {
    /// Looks at all `members` that the rollout means.
    pub fn of(rollout: &Rollout, members: &[String], claims: &Claims) -> Self {
        Self::on(rollout, &targets(rollout), members, claims)
    }

    /// The same for these objects of each.
    pub fn on(rollout: &Rollout, targets: &[Target], members: &[String], claims: &Claims) -> Self {
        let mut footing = Self::default();
        for member in members {
            let other = targets.iter().find_map(|target| {
                let held = claims.holder(member, target).filter(|claim| claim.uid != rollout.uid);
                held.or_else(|| claims.wants(member, target))
            });
            if let Some(claim) = other {
                footing.contested.entry(claim.rollout.clone()).or_default().push(member.clone());
                continue;
            }
            let free = targets.iter().filter(|target| claims.holder(member, target).is_none());
            footing.free.extend(free.map(|target| (member.clone(), target.clone())));
        }
        footing
    }

    /// Members that another rollout has a claim on.
    pub fn contested_members(&self) -> BTreeSet<&str> {
        self.contested.values().flatten().map(String::as_str).collect()
    }
}

/// The objects that a rollout changes in each member.
pub fn targets(rollout: &Rollout) -> Vec<Target> {
    rollout.payload.as_ref().map_or_else(Vec::new, |payload| targets_of(&payload.content))
}

/// The objects of what members catch up with that was accepted before the latest run, if they do.
pub fn catch_up_targets(state: &RolloutState) -> Vec<Target> {
    Late::of(state).map_or_else(Vec::new, |late| targets_of(&late.run.payload))
}

/// The objects that a payload changes in each member.
pub fn targets_of(payload: &crds::Payload) -> Vec<Target> {
    match &payload.content {
        Content::Images(workload) => vec![Target::of_payload(workload)],
        Content::Manifests(manifests) => manifests.objects.iter().map(Target::of_object).collect(),
    }
}

/// What those among `contenders` are about to claim that are older than `rollout` and, like it, have not started. The
/// oldest comes first, and one that can't get all of its claims takes none.
pub fn wanted_by_older(
    rollout: &Rollout,
    contenders: &[Contender<'_>],
    members: &BTreeMap<String, MemberFacts>,
    held: &ClaimTable,
) -> ClaimTable {
    let mut older: Vec<&Rollout> = contenders
        .iter()
        .filter(|contender| !contender.started && age(contender.rollout) < age(rollout))
        .map(|contender| contender.rollout)
        .collect();
    older.sort_by_key(|older| age(older));
    let yields: BTreeMap<&str, &Rollout> = contenders
        .iter()
        .filter(|contender| !contender.started)
        .map(|contender| contender.rollout)
        .chain([rollout])
        .map(|rollout| (rollout.uid.as_str(), rollout))
        .collect();
    let mut wanted = ClaimTable::new();
    for older in older {
        let order = order(older, members);
        let in_the_way = |member: &String, target: &Target| {
            let holder = held.get(member).and_then(|claims| claims.get(target)).filter(|claim| claim.uid != older.uid);
            let stays = |claim: &Claim| yields.get(claim.uid.as_str()).is_none_or(|holder| age(holder) < age(older));
            holder.is_some_and(stays) || wanted.get(member).is_some_and(|claims| claims.contains_key(target))
        };
        let targets = targets(older);
        let blocked = order.members.iter().any(|member| targets.iter().any(|target| in_the_way(member, target)));
        if blocked || !order.missing.is_empty() {
            continue;
        }
        for member in order.members {
            let claims = wanted.entry(member).or_default();
            claims.extend(targets.iter().map(|target| (target.clone(), claim_of(older))));
        }
    }
    wanted
}

/// The claim that a rollout writes.
pub fn claim_of(rollout: &Rollout) -> Claim {
    Claim { uid: rollout.uid.clone(), rollout: rollout.name.clone(), created_at: rollout.created_at }
}

fn age(rollout: &Rollout) -> (Millis, &str) {
    (rollout.created_at, &rollout.uid)
}
