//! Taking an assignment in: one function for both transports. Client required.
//!
//! The mark rises before the object is written, and the object is written only over what was read, so a crash at
//! any point and any order of deliveries leave the highest fence in force.

pub mod fences;
pub mod marks;
pub mod webhook;

use std::sync::Arc;
use std::time::Duration;

use crds::{
    AGENT_MANAGER, Fence, Intent, Outcome, Report, RolloutAssignment, RolloutAssignmentSpec, RolloutAssignmentStatus,
};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::Mutex;

use self::fences::{Fences, Loaded};
use self::marks::{Marks, Verdict};
use crate::assignment::{Order, completed, manifest};
use crate::cluster::{self, call};
use crate::metrics::Metrics;
use crate::retry;
use crate::work::cache::Cache;

/// Writers of the marks meet when the hub posts to several pods; each attempt lets one of them through.
const ATTEMPTS: u32 = 6;
/// Between attempts.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(200));

/// How an assignment came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Posted to the webhook.
    Webhook,
    /// From the stream, before its first `Synced`: part of a complete, linearizable list.
    List,
    /// From the stream, later.
    Stream,
}

impl Source {
    /// In a word, for figures.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::List => "list",
            Self::Stream => "stream",
        }
    }
}

/// What became of an assignment.
#[derive(Clone, Debug, PartialEq)]
pub enum Accepted {
    /// It is durable in the local object.
    Written,
    /// It was there already.
    Unchanged,
    /// It withdraws what is not there: there is nothing to do but to say so.
    Gone(Box<Report>),
}

/// Why an assignment is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is for somebody else.
    #[error("the assignment is for member '{wanted}', this is '{here}'")]
    Foreign {
        /// The member that it names.
        wanted: String,
        /// This member.
        here: String,
    },
    /// Something newer was seen.
    #[error("fence {fence} is stale: {seen} was seen")]
    Stale {
        /// Its fence.
        fence: Fence,
        /// What was seen.
        seen: Fence,
    },
    /// The marks are lost.
    #[error("the fences are not known here; the hub's complete list on the stream has to come first")]
    Unsynced,
    /// There is no room for another mark.
    #[error(transparent)]
    Full(#[from] marks::Full),
    /// The local API server finds the object as such unfit. The mark has risen by then.
    #[error("the member's API server refuses the assignment: {message}")]
    Refused {
        /// What it said.
        message: String,
    },
    /// Others were faster each time.
    #[error("the assignment met others {ATTEMPTS} times")]
    Busy,
    /// The local API server is not there.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
}

/// Takes assignments of one member in.
pub struct Acceptor {
    member: String,
    api: Api<RolloutAssignment>,
    fences: Fences,
    cache: Arc<Cache>,
    metrics: Arc<Metrics>,
    /// One at a time in this process: they all write the same marks.
    turn: Mutex<()>,
}

impl Acceptor {
    /// For this member.
    pub fn new(member: &str, client: Client, fences: Fences, cache: Arc<Cache>, metrics: Arc<Metrics>) -> Self {
        Self { member: member.to_owned(), api: Api::all(client), fences, cache, metrics, turn: Mutex::new(()) }
    }

    /// Takes one assignment in; when this returns `Ok`, it is durable.
    pub async fn accept(&self, assignment: &RolloutAssignment, source: Source) -> Result<Accepted, Error> {
        let spec = &assignment.spec;
        if spec.member != self.member {
            return Err(Error::Foreign { wanted: spec.member.clone(), here: self.member.clone() });
        }
        let _turn = self.turn.lock().await;
        for attempt in 0..ATTEMPTS {
            match self.attempt(assignment, source).await {
                Err(Error::Cluster(error)) if error.is_conflict() => {
                    tokio::time::sleep(retry::after(attempt, PAUSE.0, PAUSE.1, retry::chance())).await;
                }
                Err(Error::Stale { fence, seen }) => {
                    self.metrics.fences_refused.inc();
                    return Err(Error::Stale { fence, seen });
                }
                Ok(accepted) => {
                    self.metrics.accepted(source.as_str());
                    return Ok(accepted);
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Busy)
    }

    /// Notes that a complete list of the hub was taken in: from now on the marks say what is new. `highest` is the
    /// highest fence of the list, see [`Marks::sync`].
    pub async fn confirm(&self, highest: Fence) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        for attempt in 0..ATTEMPTS {
            let loaded = self.fences.read().await?;
            let mut marks = match &loaded.marks {
                Some(marks) if marks.synced => return Ok(()),
                Some(marks) => marks.clone(),
                None => Marks::default(),
            };
            marks.sync(highest);
            match self.fences.write(loaded, &marks).await {
                Err(error) if error.is_conflict() => {
                    tokio::time::sleep(retry::after(attempt, PAUSE.0, PAUSE.1, retry::chance())).await;
                }
                result => return Ok(result?),
            }
        }
        Err(Error::Busy)
    }

    /// All that this member was told, by a list from a quorum, and the highest fence that it has seen. An order that
    /// somebody edited, or that the API server did not keep as it was sent, is left out: nobody knows what was told.
    pub async fn told(&self) -> Result<(Fence, Vec<RolloutAssignment>), Error> {
        let _turn = self.turn.lock().await;
        let marks = self.fences.read().await?.marks.unwrap_or_default();
        let list = call("list the assignments", self.api.list(&ListParams::default())).await?;
        let mut orders = list.items;
        orders.retain(|order| {
            let intact = Order::of(order).intact;
            if !intact {
                tracing::error!(rollout = order.name_any(), "an assignment was edited here; the hub is not told of it");
            }
            intact
        });
        let fences = orders.iter().map(|order| order.spec.fence);
        let seen = fences.chain(marks.marks.values().map(|mark| mark.fence)).chain([marks.floor]).max();
        Ok((seen.unwrap_or_default(), orders))
    }

    /// Whether the marks are there and complete.
    pub async fn is_synced(&self) -> Result<bool, Error> {
        Ok(self.fences.read().await?.marks.is_some_and(|marks| marks.synced))
    }

    async fn attempt(&self, assignment: &RolloutAssignment, source: Source) -> Result<Accepted, Error> {
        let spec = &assignment.spec;
        let loaded = self.fences.read().await?;
        let marks = match &loaded.marks {
            Some(marks) if marks.synced || source == Source::List => marks.clone(),
            None if source == Source::List => Marks::default(),
            _ => return Err(Error::Unsynced),
        };
        let current = call("read the assignment", self.api.get_opt(&spec.rollout.name)).await?;
        match marks.judge(spec, current.as_ref().map(|current| current.spec.fence)) {
            Verdict::Stale { seen } => return Err(Error::Stale { fence: spec.fence, seen }),
            Verdict::Known => {}
            Verdict::Newer => self.raise(loaded, marks, assignment).await?,
        }
        let spec = completed(spec, current.as_ref());
        match &current {
            Some(current) if current.spec == spec && Order::of(current).intact => Ok(Accepted::Unchanged),
            None if spec.intent == Intent::Withdraw => Ok(Accepted::Gone(Box::new(gone(assignment)))),
            _ => self.write(&spec, current.as_ref()).await,
        }
    }

    async fn raise(&self, loaded: Loaded, mut marks: Marks, assignment: &RolloutAssignment) -> Result<(), Error> {
        // Without the list nobody knows which marks are tombstones.
        if marks.marks.len() >= marks::MAX_MARKS && !self.cache.is_listed() {
            return Err(Error::Full(marks::Full));
        }
        let dropped = marks.raise(&assignment.spec, &self.cache.targets())?;
        if dropped > 0 {
            self.metrics.fences_dropped.inc_by(dropped as u64);
            tracing::warn!(dropped, "dropped the oldest fences of withdrawn assignments");
        }
        Ok(self.fences.write(loaded, &marks).await?)
    }

    async fn write(
        &self,
        spec: &RolloutAssignmentSpec,
        current: Option<&RolloutAssignment>,
    ) -> Result<Accepted, Error> {
        let (name, fence) = (&spec.rollout.name, spec.fence);
        let body = manifest(spec, current);
        let parameters = PatchParams::apply(AGENT_MANAGER).force();
        let written = call("write the assignment", self.api.patch(name, &parameters, &Patch::Apply(body))).await;
        let written = written.map_err(not_written)?;
        if Order::of(&written).intact {
            tracing::info!(rollout = name, intent = spec.intent.as_str(), %fence, "took an assignment in");
        } else {
            tracing::error!(rollout = name, %fence, "the API server did not keep the assignment as it was sent");
        }
        Ok(Accepted::Written)
    }
}

/// Only what the API server says about the object as it was sent is told to the hub as a refusal.
fn not_written(error: cluster::Error) -> Error {
    match error.unfit() {
        Some(message) => Error::Refused { message: message.to_owned() },
        None => Error::Cluster(error),
    }
}

/// The answer to a withdrawal of what is not there.
fn gone(assignment: &RolloutAssignment) -> Report {
    direct(assignment, Outcome::Withdrawn, "there was no assignment any more", Timestamp::now())
}

/// An answer that no local object holds. Nothing tells the last sequence, but the time in milliseconds is above those
/// of all statuses before, and below those of all to come: see [`Order::next_sequence`].
pub(crate) fn direct(assignment: &RolloutAssignment, outcome: Outcome, message: &str, now: Timestamp) -> Report {
    let spec = &assignment.spec;
    Report {
        member: spec.member.clone(),
        rollout: spec.rollout.name.clone(),
        rollout_uid: spec.rollout.uid.clone(),
        status: RolloutAssignmentStatus {
            fence: spec.fence,
            sequence: now.as_millisecond(),
            outcome,
            message: crate::reconcile::status::bounded(message),
            changed_at: Some(crds::time_from_millis(now.as_millisecond())),
            ..RolloutAssignmentStatus::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: u16) -> cluster::Error {
        cluster::Error::Answer { what: "write the assignment", code, message: "no".to_owned(), causes: Vec::new() }
    }

    #[test]
    fn only_an_unfit_object_is_refused_and_only_when_it_is_written() {
        for code in [400, 413, 422] {
            assert!(matches!(not_written(answer(code)), Error::Refused { message } if message == "no"), "{code}");
        }
        for code in [401, 403, 404, 408, 409, 429, 500, 503] {
            assert!(matches!(not_written(answer(code)), Error::Cluster(_)), "{code}");
        }
        for code in [400, 401, 403, 404, 413, 422, 500] {
            assert!(matches!(Error::from(answer(code)), Error::Cluster(_)), "{code}");
        }
    }
}
