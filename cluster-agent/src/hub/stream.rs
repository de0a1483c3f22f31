//! The stream of assignments: opened by the agent, so it works from behind NAT.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crds::{AssignmentEvent, Outcome, Report, RolloutAssignment};
use k8s_openapi::jiff::Timestamp;
use reqwest::{Response, StatusCode};
use tokio::sync::Notify;

use super::lines::{Lines, TooLong};
use super::outbox::Outbox;
use super::progress::{Progress, Taken};
use super::resync::Resync;
use super::{DEADLINE, Hub, refused, upload};
use crate::accept::{self, Accepted, Acceptor, Source, direct};
use crate::logging::with_causes;
use crate::metrics::Metrics;
use crate::prometheus::Inquirer;
use crate::retry::{self, Backoff, chance};
use crate::work::cache::Cache;

/// The hub says something at least every 10 s; three missed signs mean that nobody is there.
const SILENCE: Duration = Duration::from_secs(30);
/// Nobody reads the stream meanwhile; a list of the local API server takes less, or there is none for a while.
const LISTED_WITHIN: Duration = Duration::from_secs(5);

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Hub(#[from] super::Error),
    #[error("the hub did not answer within {} s", DEADLINE.as_secs())]
    Deadline,
    #[error("the stream broke")]
    Broken(#[from] reqwest::Error),
    #[error("the hub closed the stream")]
    Closed,
    #[error("nothing was heard for {} s", SILENCE.as_secs())]
    Silent,
    #[error(transparent)]
    TooLong(#[from] TooLong),
    #[error("a line is malformed")]
    Malformed(#[source] serde_json::Error),
    #[error("failed to take an assignment in")]
    Accept(#[from] accept::Error),
    #[error("the hub's complete list is wanted again")]
    Resync,
    #[error("what could not be taken in is tried again")]
    Again,
}

/// What the stream works with.
#[derive(Clone)]
pub struct Stream {
    /// This member.
    pub member: String,
    /// The replicas.
    pub hub: Arc<Hub>,
    /// Takes assignments in.
    pub acceptor: Arc<Acceptor>,
    /// Takes answers that no object holds.
    pub outbox: Arc<Outbox>,
    /// The local assignments, whose statuses are sent again after connecting.
    pub cache: Arc<Cache>,
    /// Somebody wants the complete list again.
    pub resync: Arc<Resync>,
    /// Asks the Prometheus beside the agent.
    pub inquirer: Arc<Inquirer>,
    /// Told after each connection: the agent introduces itself.
    pub connected: Arc<Notify>,
    /// Figures.
    pub metrics: Arc<Metrics>,
}

impl Stream {
    /// Keeps a stream open for ever, each time to the next replica, the first by chance.
    pub async fn run(self) {
        let mut index = retry::choose(self.hub.len());
        let mut backoff = Backoff::hub();
        loop {
            let Err(error) = self.follow(index, &mut backoff).await;
            self.metrics.stream_connected.set(0);
            tracing::warn!(error = with_causes(&error), "the stream of assignments ended, connecting again");
            index = index.wrapping_add(1);
            tokio::time::sleep(backoff.next(chance())).await;
        }
    }

    async fn follow(&self, index: usize, backoff: &mut Backoff) -> Result<std::convert::Infallible, Error> {
        // Before the hub reads: the list answers only what was asked until then.
        self.resync.begin();
        let mut response = self.open(index).await?;
        self.hub.prefer(index);
        self.metrics.stream_connected.set(1);
        tracing::info!(url = %response.url(), "the stream of assignments is open");
        let mut lines = Lines::default();
        let mut progress = Progress::new();
        loop {
            for line in lines.push(&self.chunk(&mut response, &progress).await?)? {
                match serde_json::from_slice(&line).map_err(Error::Malformed)? {
                    AssignmentEvent::Assign(assignment) => {
                        let taken = self.assign(&assignment, progress.source()).await?;
                        progress.note(assignment.spec.fence, taken, Instant::now());
                    }
                    AssignmentEvent::Synced if !progress.is_synced() => {
                        self.acceptor.confirm(progress.highest()).await?;
                        progress.synced(Instant::now());
                        backoff.reset();
                        self.greet().await;
                    }
                    // Somebody has deleted them: the webhooks of all pods wait for a complete list.
                    AssignmentEvent::Synced if !self.acceptor.is_synced().await? => return Err(Error::Resync),
                    AssignmentEvent::Synced => {}
                    AssignmentEvent::Ask(inquiry) => self.inquirer.take(inquiry),
                    AssignmentEvent::Upload => upload::all(&self.member, &self.hub, &self.acceptor).await,
                }
            }
        }
    }

    async fn open(&self, index: usize) -> Result<Response, Error> {
        let url = self.hub.url(index, "/v1/assignments").ok_or(super::Error::None)?;
        let sent = tokio::time::timeout(DEADLINE, self.hub.client.get(url.clone()).send()).await;
        let answer = sent.map_err(|_| Error::Deadline)?;
        let answer = answer.map_err(|source| super::Error::Unreachable { url: url.clone(), source })?;
        if answer.status() == StatusCode::OK { Ok(answer) } else { Err(refused(url, answer).await.into()) }
    }

    async fn chunk(&self, response: &mut Response, progress: &Progress) -> Result<Vec<u8>, Error> {
        tokio::select! {
            chunk = tokio::time::timeout(SILENCE, response.chunk()) => {
                Ok(chunk.map_err(|_| Error::Silent)??.ok_or(Error::Closed)?.to_vec())
            }
            () = self.resync.due(), if progress.is_synced() => Err(Error::Resync),
            () = at(progress.again()) => Err(Error::Again),
        }
    }

    /// Takes one in. What the agent or its API server refuses as such is passed over; anything else ends the stream, and
    /// the next one begins with the complete list.
    async fn assign(&self, assignment: &RolloutAssignment, source: Source) -> Result<Taken, Error> {
        let (error, taken) = match self.acceptor.accept(assignment, source).await {
            Ok(Accepted::Written | Accepted::Unchanged) => return Ok(Taken::Settled),
            Ok(Accepted::Gone(report)) => {
                self.outbox.put(*report);
                return Ok(Taken::Settled);
            }
            Err(error @ (accept::Error::Foreign { .. } | accept::Error::Stale { .. })) => (error, Taken::Settled),
            Err(error @ accept::Error::Full(_)) => (error, Taken::NoRoom),
            Err(accept::Error::Refused { message }) => {
                self.outbox.put(direct(assignment, Outcome::Refused, &message, Timestamp::now()));
                (accept::Error::Refused { message }, Taken::Refused)
            }
            Err(error) => return Err(error.into()),
        };
        let fence = assignment.spec.fence;
        tracing::warn!(rollout = assignment.spec.rollout.name, %fence, %error, "refused an assignment");
        Ok(taken)
    }

    /// A replica may have lost what was told to another one: everything is said once more.
    async fn greet(&self) {
        self.connected.notify_one();
        // Otherwise the first look at each assignment says it.
        let _ = tokio::time::timeout(LISTED_WITHIN, self.cache.listed()).await;
        self.cache.all().iter().filter_map(|assignment| current_report(assignment)).for_each(|report| {
            self.outbox.put(report);
        });
    }
}

/// Waits until then; without a time, for ever.
async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

/// The status as a report, when it answers the assignment that is there.
fn current_report(assignment: &RolloutAssignment) -> Option<Report> {
    let spec = &assignment.spec;
    let status = assignment.status.clone().filter(|status| status.fence == spec.fence)?;
    Some(Report {
        member: spec.member.clone(),
        rollout: spec.rollout.name.clone(),
        rollout_uid: spec.rollout.uid.clone(),
        status,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crds::RolloutAssignmentStatus;

    use super::*;
    use crate::assignment::fixtures::assignment;

    #[test]
    fn both_lines_of_the_stream_are_understood() {
        let synced: AssignmentEvent = serde_json::from_str(r#"{"type":"synced"}"#).unwrap();
        assert_eq!(synced, AssignmentEvent::Synced);
        let event = AssignmentEvent::Assign(assignment(5));
        let line = serde_json::to_vec(&event).unwrap();
        assert_eq!(serde_json::from_slice::<AssignmentEvent>(&line).unwrap(), event);
    }

    #[test]
    fn an_answer_to_an_earlier_assignment_is_not_sent_again() {
        let mut object = assignment(5);
        assert_eq!(current_report(&object), None);
        let mut status = RolloutAssignmentStatus { fence: object.spec.fence, ..RolloutAssignmentStatus::default() };
        object.status = Some(status.clone());
        assert_eq!(current_report(&object).unwrap().status, status);
        status.fence.generation = 4;
        object.status = Some(status);
        assert_eq!(current_report(&object), None);
    }
}
