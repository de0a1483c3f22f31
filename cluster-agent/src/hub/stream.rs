//! The stream of assignments: opened by the agent, so it works from behind NAT.

use std::sync::Arc;
use std::time::Duration;

use crds::{AssignmentEvent, Outcome, Report, RolloutAssignment};
use reqwest::{Response, StatusCode};
use tokio::sync::Notify;

use super::lines::{Lines, TooLong};
use super::outbox::Outbox;
use super::{DEADLINE, Hub, refused};
use crate::accept::{self, Accepted, Acceptor, Source, direct};
use crate::logging::with_causes;
use crate::metrics::Metrics;
use crate::retry::{self, Backoff, chance};
use crate::work::cache::Cache;

/// The hub says something at least every 10 s; three missed signs mean that nobody is there.
const SILENCE: Duration = Duration::from_secs(30);

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
}

/// What the stream works with.
#[derive(Clone)]
pub struct Stream {
    /// The replicas.
    pub hub: Arc<Hub>,
    /// Takes assignments in.
    pub acceptor: Arc<Acceptor>,
    /// Takes answers that no object holds.
    pub outbox: Arc<Outbox>,
    /// The local assignments, whose statuses are sent again after connecting.
    pub cache: Arc<Cache>,
    /// Somebody wants the complete list again.
    pub resync: Arc<Notify>,
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
        let mut response = self.open(index).await?;
        self.hub.prefer(index);
        self.metrics.stream_connected.set(1);
        tracing::info!(url = %response.url(), "the stream of assignments is open");
        let mut lines = Lines::default();
        let mut source = Source::List;
        loop {
            for line in lines.push(&self.chunk(&mut response).await?)? {
                match serde_json::from_slice(&line).map_err(Error::Malformed)? {
                    AssignmentEvent::Assign(assignment) => self.assign(&assignment, source).await?,
                    AssignmentEvent::Synced if source == Source::List => {
                        self.acceptor.confirm().await?;
                        source = Source::Stream;
                        backoff.reset();
                        self.greet();
                    }
                    // Somebody has deleted them: the webhooks of all pods wait for a complete list.
                    AssignmentEvent::Synced if !self.acceptor.is_synced().await? => return Err(Error::Resync),
                    AssignmentEvent::Synced => {}
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

    async fn chunk(&self, response: &mut Response) -> Result<Vec<u8>, Error> {
        tokio::select! {
            chunk = tokio::time::timeout(SILENCE, response.chunk()) => {
                Ok(chunk.map_err(|_| Error::Silent)??.ok_or(Error::Closed)?.to_vec())
            }
            () = self.resync.notified() => Err(Error::Resync),
        }
    }

    /// Takes one in. What is refused for good is passed over; anything else ends the stream, and the next one begins
    /// with the complete list.
    async fn assign(&self, assignment: &RolloutAssignment, source: Source) -> Result<(), Error> {
        let accepted = self.acceptor.accept(assignment, source).await;
        match accepted {
            Ok(Accepted::Written | Accepted::Unchanged) => return Ok(()),
            Ok(Accepted::Gone(report)) => {
                self.outbox.put(*report);
                return Ok(());
            }
            Err(accept::Error::Foreign { .. } | accept::Error::Stale { .. } | accept::Error::Full(_)) => {}
            Err(accept::Error::Refused { ref message }) => {
                self.outbox.put(direct(assignment, Outcome::Refused, message));
            }
            Err(error) => return Err(error.into()),
        }
        if let Err(error) = accepted {
            let fence = assignment.spec.fence;
            tracing::warn!(rollout = assignment.spec.rollout.name, %fence, %error, "refused an assignment");
        }
        Ok(())
    }

    /// A replica may have lost what was told to another one: everything is said once more.
    fn greet(&self) {
        self.cache.all().iter().filter_map(|assignment| current_report(assignment)).for_each(|report| {
            self.outbox.put(report);
        });
        self.connected.notify_one();
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
