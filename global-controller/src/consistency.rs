//! Whether what is stored obeys the invariants that every decision relies on.
//!
//! A look at everything, by whoever asks `/debug/consistency`: operators, and every end-to-end test at its end. Nothing
//! asks on a tick, since the work is that of the whole fleet.

mod lints;
mod survey;

use std::collections::BTreeSet;
use std::sync::Arc;

use federated_store::ReadError;
use serde::Serialize;

use crate::world::World;
use survey::Survey;

/// Keys read at once.
const PAGE: usize = 500;
/// Faults that an answer lists; one broken rule can concern every member, and the first ones tell it.
const MAX_LISTED: usize = 200;

/// Why nothing could be checked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("hub and store were not read completely yet; ask again when /readyz says ok")]
    Incomplete,
    #[error("failed to read the store")]
    Read(#[from] ReadError),
    #[error("the check panicked")]
    Panicked(#[from] tokio::task::JoinError),
}

/// What a check has found.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Findings {
    /// What was looked at.
    pub checked: Checked,
    /// Number of faults, those that are not listed included.
    pub found: usize,
    /// The first ones in order; empty when all is sound.
    pub faults: Vec<Fault>,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Checked {
    /// Rollouts whose state, and next decision, were linted.
    pub rollouts: usize,
    /// Keys of the store.
    pub keys: usize,
    /// Those among them that only a newer release knows; nothing is said about them.
    pub unknown_keys: usize,
    /// Revision of the store at which the last of them were read.
    pub revision: u64,
}

/// A rule that is broken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Fault {
    /// A key of the store, or `rollout NAME (UID)`.
    pub subject: String,
    /// The sentence that is broken.
    pub broken: String,
}

impl Fault {
    fn new(subject: impl Into<String>, broken: impl Into<String>) -> Self {
        Self { subject: subject.into(), broken: broken.into() }
    }
}

/// Checks everything, and sets the metric.
///
/// The two pictures move while they are looked at, and pages of the store are no snapshot. What is seen half done at one
/// look is whole at the next, so a fault counts if two looks, one after the other, find the same.
pub(crate) async fn check(world: &Arc<World>) -> Result<Findings, Error> {
    let (checked, mut faults) = look(world).await?;
    if !faults.is_empty() {
        let (_, again) = look(world).await?;
        faults.retain(|fault| again.contains(fault));
    }
    let found = faults.len();
    world.metrics.consistency_faults.set(i64::try_from(found).unwrap_or(i64::MAX));
    let faults: Vec<Fault> = faults.into_iter().take(MAX_LISTED).collect();
    for Fault { subject, broken } in &faults {
        tracing::error!(subject, broken, "inconsistent");
    }
    Ok(Findings { checked, found, faults })
}

async fn look(world: &Arc<World>) -> Result<(Checked, BTreeSet<Fault>), Error> {
    if !world.hub().is_complete() || !world.mirror().is_whole() {
        return Err(Error::Incomplete);
    }
    let shared = Arc::clone(world);
    // Not on a thread that serves: it computes a decision about each rollout.
    let (rollouts, mut faults) = tokio::task::spawn_blocking(move || lints::all(&shared)).await?;
    let survey = read(world).await?;
    faults.extend(survey.faults());
    let checked = Checked { rollouts, keys: survey.keys, unknown_keys: survey.unknown_keys, revision: survey.revision };
    Ok((checked, faults))
}

async fn read(world: &World) -> Result<Survey, ReadError> {
    let (mut survey, mut after) = (Survey::default(), None::<String>);
    loop {
        let page = world.store.range("", after.as_deref(), PAGE).await?;
        survey.revision = page.revision;
        for item in &page.items {
            survey.add(item);
        }
        after = page.items.last().map(|item| item.key.clone());
        if !page.more {
            return Ok(survey);
        }
    }
}
