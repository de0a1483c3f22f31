//! Membership changes and the list of members, as callers see them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use store_node::{MembershipChange, MembershipOutcome, Progress, ReplicaInfo, Role};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::config::ReplicaConfig;
use crate::handle::{Embedded, ReadError, Shared, WriteError, not_applied, unknown};
use crate::inbox::Command;
use crate::roster::Roster;
use crate::transport::hello::{self, Hello};
use crate::transport::members;

/// A change is answered within this time: asking a new replica who it is takes up to two seconds, an election one.
pub(crate) const CHANGE_DEADLINE: Duration = Duration::from_secs(10);
/// Before a change is offered again that only waits for another one.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// One replica of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its Raft id.
    pub number: u64,
    /// Its name.
    pub id: String,
    /// Where its listener is.
    pub url: String,
    /// Whether it votes.
    pub role: Role,
    /// Whether it leads.
    pub leader: bool,
    /// How far it has come, where the leader knows.
    pub progress: Option<MemberProgress>,
}

/// How far a replica has come, as its leader knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberProgress {
    /// The last entry that it is known to hold.
    pub matched: u64,
    /// Entries that it lags behind the leader.
    pub lag: u64,
    /// Whether the leader heard from it lately.
    pub active: bool,
}

/// What is asked of the leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Wish {
    List,
    AddLearner { number: u64, id: String, url: String },
    Promote { id: String },
    Remove { id: String },
}

/// What a replica made of a wish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Granted {
    Members(Vec<Member>),
    /// Nothing was done: the replica doesn't lead.
    NotLeader,
}

impl Embedded {
    /// All replicas, linearizable, with how far each has come.
    pub async fn members(&self) -> Result<Vec<Member>, ReadError> {
        match self.shared().grant(Wish::List).await {
            Ok(members) => Ok(members),
            Err(_) if self.shared().closed.is_cancelled() => Err(ReadError::Closed),
            Err(_) => Err(ReadError::Unavailable),
        }
    }

    /// Adds a replica without a vote. It must run with an empty folder and be configured to join, and neither its
    /// number nor its name may ever have belonged to another replica. Returns the members after the change.
    pub async fn add_learner(&self, number: u64, id: &str, url: &str) -> Result<Vec<Member>, WriteError> {
        self.shared().grant(Wish::AddLearner { number, id: id.to_owned(), url: url.to_owned() }).await
    }

    /// Gives a learner that has caught up a vote. Returns the members after the change.
    pub async fn promote(&self, id: &str) -> Result<Vec<Member>, WriteError> {
        self.shared().grant(Wish::Promote { id: id.to_owned() }).await
    }

    /// Removes a replica for good: its number and its name can't be used again. A leader hands over first. Returns the
    /// members after the change.
    pub async fn remove(&self, id: &str) -> Result<Vec<Member>, WriteError> {
        self.shared().grant(Wish::Remove { id: id.to_owned() }).await
    }
}

impl Shared {
    /// Brings a wish to the leader, wherever it is.
    pub(crate) async fn grant(&self, wish: Wish) -> Result<Vec<Member>, WriteError> {
        let deadline = Instant::now() + CHANGE_DEADLINE;
        let mut leadership = self.leadership.subscribe();
        loop {
            let leader = self.await_leader(&mut leadership, deadline).await?;
            let granted = if leader == self.config.own.id {
                self.grant_here(&wish, deadline).await?
            } else {
                members::forward(self, &leader, &wish, deadline).await?
            };
            match granted {
                Granted::Members(members) => return Ok(members),
                Granted::NotLeader => self.pause(&mut leadership, deadline).await?,
            }
        }
    }

    /// Grants a wish if this replica leads.
    pub(crate) async fn grant_here(&self, wish: &Wish, deadline: Instant) -> Result<Granted, WriteError> {
        let change = match wish {
            Wish::List => return self.list(deadline).await,
            Wish::AddLearner { number, id, url } => self.check_newcomer(*number, id, url).await?,
            Wish::Promote { id } => MembershipChange::Promote { number: self.number_of(id)? },
            Wish::Remove { id } => MembershipChange::Remove { number: self.number_of(id)? },
        };
        loop {
            match self.change_here(change.clone(), deadline).await? {
                MembershipOutcome::Applied(_) => return self.list_unconfirmed(deadline).await,
                MembershipOutcome::NotLeader => return Ok(Granted::NotLeader),
                MembershipOutcome::Refused { reason } if !reason.is_temporary() => {
                    return Err(not_applied(reason.to_string()));
                }
                MembershipOutcome::Refused { reason } if Instant::now() + RETRY_PAUSE >= deadline => {
                    return Err(not_applied(reason.to_string()));
                }
                MembershipOutcome::Refused { .. } => tokio::time::sleep(RETRY_PAUSE).await,
                MembershipOutcome::Unknown => return Err(unknown("another leader took over")),
            }
        }
    }

    async fn change_here(&self, change: MembershipChange, deadline: Instant) -> Result<MembershipOutcome, WriteError> {
        let (answer, answered) = oneshot::channel();
        self.check_proposable()?;
        if self.inbox.try_send(Command::ChangeMembership { change, answer }).is_err() {
            return Err(not_applied("the replica is overloaded or closed"));
        }
        match timeout_at(deadline, answered).await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(_)) => Err(unknown("the store was closed before an answer came")),
            Err(_) => Err(unknown("no answer within the deadline")),
        }
    }

    fn number_of(&self, id: &str) -> Result<u64, WriteError> {
        let roster = self.applied_roster();
        if roster.is_retired(id) {
            return Err(not_applied(format!("'{id}' was removed")));
        }
        let found = roster.by_id(id).map(|peer| peer.number);
        found.ok_or_else(|| not_applied(format!("'{id}' is no replica of this store")))
    }

    /// Asks a replica that is to be added who it is: it must be empty, or it might vote on what it remembers.
    async fn check_newcomer(&self, number: u64, id: &str, url: &str) -> Result<MembershipChange, WriteError> {
        let newcomer = ReplicaConfig { id: id.to_owned(), number, url: url.to_owned() };
        if !url.starts_with("https://") {
            return Err(not_applied(format!("the url '{url}' is not https")));
        }
        let asked = hello::ask(self, &newcomer).await;
        let hello = asked.map_err(|error| not_applied(format!("'{id}' at '{url}': {}", hello::describe(&error))))?;
        if let Some(reason) = unfit(&hello, number) {
            return Err(not_applied(format!("'{id}' {reason}")));
        }
        let info = ReplicaInfo { name: newcomer.id, url: newcomer.url, incarnation: hello.incarnation };
        Ok(MembershipChange::AddLearner { number, info })
    }

    async fn list(&self, deadline: Instant) -> Result<Granted, WriteError> {
        self.confirm(deadline).await.map_err(|error| not_applied(error.to_string()))?;
        self.list_unconfirmed(deadline).await
    }

    async fn list_unconfirmed(&self, deadline: Instant) -> Result<Granted, WriteError> {
        let (answer, answered) = oneshot::channel();
        if self.inbox.try_send(Command::Progress { answer }).is_err() {
            return Err(not_applied("the replica is overloaded or closed"));
        }
        let progress = timeout_at(deadline, answered).await.ok().and_then(Result::ok).unwrap_or_default();
        let leader = self.leadership.borrow().leader.clone();
        Ok(Granted::Members(list(self.applied_roster(), &progress, leader.as_deref())))
    }
}

/// Why a replica that answered can't be added under this number, if it can't.
fn unfit(hello: &Hello, number: u64) -> Option<String> {
    if let Some(formation) = &hello.formation {
        return Some(format!("isn't empty: it belongs to a store formed by {:?}", formation.members));
    }
    if let Some(restored) = &hello.restored {
        return Some(format!(
            "isn't empty: it was restored from the backup {} to begin a new store",
            restored.checksum
        ));
    }
    if hello.number != number {
        return Some(format!("is configured with the number {}", hello.number));
    }
    (!hello.joins).then(|| "isn't configured to join a store".to_owned())
}

fn list(roster: Roster, progress: &[Progress], leader: Option<&str>) -> Vec<Member> {
    let last = progress.iter().map(|progress| progress.matched).max().unwrap_or(0);
    let found = |number: u64| progress.iter().find(|progress| progress.number == number);
    let members = roster.members.into_iter().map(|peer| Member {
        number: peer.number,
        leader: leader == Some(peer.id.as_str()),
        id: peer.id,
        url: peer.url,
        role: peer.role,
        progress: found(peer.number).map(|Progress { matched, active, .. }| MemberProgress {
            matched: *matched,
            lag: last - matched,
            active: *active,
        }),
    });
    members.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::identity::Restored;

    #[test]
    fn only_an_empty_replica_that_is_configured_to_join_is_added() {
        let hello = Hello {
            cluster: "test".to_owned(),
            id: "controller-4".to_owned(),
            incarnation: 9,
            formation: None,
            number: 4,
            joins: true,
            roster: None,
            restored: None,
        };
        assert_eq!(unfit(&hello, 4), None);
        assert_eq!(unfit(&hello, 5), Some("is configured with the number 4".to_owned()));
        let forms = Hello { joins: false, ..hello.clone() };
        assert_eq!(unfit(&forms, 4), Some("isn't configured to join a store".to_owned()));
        let restored = Hello { restored: Some(Restored { checksum: "sum".to_owned(), epoch: 1 }), ..hello };
        let reason = unfit(&restored, 4).unwrap_or_default();
        assert!(reason.contains("isn't empty: it was restored from the backup sum"), "{reason}");
    }
}
