//! What changed, told to everybody who computes something from it.
//!
//! A notice says only *where* to look: the receiver reads the present state itself, so notices may be merged, come
//! twice, or be lost. Whoever falls behind looks at everything once.

use std::collections::BTreeSet;
use std::time::Duration;

use rollout_core::Target;
use tokio::sync::broadcast;
use tokio::time::Instant;

/// Notices that a receiver may fall behind before it looks at everything: a wave of a large fleet fits.
const CAPACITY: usize = 4096;

/// Something changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A rollout: its object on the hub, its records, its members' assignments or reports.
    Rollout {
        /// metadata.uid.
        uid: String,
    },
    /// An assignment of a member.
    Assignment {
        /// The member.
        member: String,
        /// The rollout's name.
        rollout: String,
    },
    /// A member: its object on the hub, what its agent says of itself, whether it is heard. May concern any rollout.
    Member {
        /// Its name.
        name: String,
    },
    /// What a member's agent says of its workloads; the rollouts concerned are told of it apart.
    Workloads {
        /// The member.
        member: String,
    },
    /// Claims on an object, or a rollout of it on the hub: others that wait for claims on it may go on.
    Claims {
        /// The object, in whichever member.
        target: Target,
    },
    /// What Alertmanagers tell; concerns rollouts with a gate that heeds alerts.
    Alerts,
    /// Who leads.
    Leader,
    /// Perhaps everything.
    Everything,
}

/// The sending side.
#[derive(Clone, Debug)]
pub(crate) struct Bus(broadcast::Sender<Change>);

impl Bus {
    pub fn new() -> Self {
        Self(broadcast::Sender::new(CAPACITY))
    }

    pub fn send(&self, change: Change) {
        // An error says that nobody listens.
        let _ = self.0.send(change);
    }

    pub fn subscribe(&self) -> Subscription {
        Subscription { receiver: self.0.subscribe(), dirty: Dirty { everything: true, ..Dirty::default() } }
    }
}

/// What a receiver has to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dirty {
    /// All there is; the sets may then be incomplete.
    pub everything: bool,
    /// Rollouts, by uid.
    pub rollouts: BTreeSet<String>,
    /// (member, rollout's name).
    pub assignments: BTreeSet<(String, String)>,
    /// Members.
    pub members: BTreeSet<String>,
    /// Members whose workloads were reported about.
    pub workloads: BTreeSet<String>,
    /// Objects whose claims changed.
    pub claims: BTreeSet<Target>,
    /// What Alertmanagers tell.
    pub alerts: bool,
    /// Who leads.
    pub leader: bool,
}

impl Dirty {
    fn add(&mut self, change: Change) {
        match change {
            Change::Rollout { uid } => drop(self.rollouts.insert(uid)),
            Change::Assignment { member, rollout } => drop(self.assignments.insert((member, rollout))),
            Change::Member { name } => drop(self.members.insert(name)),
            Change::Workloads { member } => drop(self.workloads.insert(member)),
            Change::Claims { target } => drop(self.claims.insert(target)),
            Change::Alerts => self.alerts = true,
            Change::Leader => self.leader = true,
            Change::Everything => self.everything = true,
        }
    }

    fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

/// The receiving side. It begins with everything being dirty.
#[derive(Debug)]
pub(crate) struct Subscription {
    receiver: broadcast::Receiver<Change>,
    dirty: Dirty,
}

impl Subscription {
    /// Waits until something changed or `until` has come, gathers what follows within `gather`, and hands it over.
    pub async fn next(&mut self, gather: Duration, until: Option<Instant>) -> Dirty {
        self.drain();
        if self.dirty.is_clean() {
            tokio::select! {
                received = self.receiver.recv() => self.take(received.map_err(Into::into)),
                () = sleep_until(until) => return Dirty::default(),
            }
        }
        if !gather.is_zero() {
            tokio::time::sleep(gather).await;
        }
        self.drain();
        std::mem::take(&mut self.dirty)
    }

    fn drain(&mut self) {
        loop {
            match self.receiver.try_recv() {
                Ok(change) => self.dirty.add(change),
                Err(broadcast::error::TryRecvError::Lagged(_)) => self.dirty.everything = true,
                Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed) => return,
            }
        }
    }

    fn take(&mut self, received: Result<Change, Missed>) {
        match received {
            Ok(change) => self.dirty.add(change),
            Err(Missed) => self.dirty.everything = true,
        }
    }
}

struct Missed;

impl From<broadcast::error::RecvError> for Missed {
    fn from(_: broadcast::error::RecvError) -> Self {
        Self
    }
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_receiver_that_falls_behind_looks_at_everything() {
        let bus = Bus::new();
        let mut subscription = bus.subscribe();
        assert!(subscription.next(Duration::ZERO, None).await.everything, "at first everything is new");
        for number in 0..=CAPACITY {
            bus.send(Change::Rollout { uid: number.to_string() });
        }
        assert!(subscription.next(Duration::ZERO, None).await.everything);
    }

    #[tokio::test]
    async fn notices_are_merged() {
        let bus = Bus::new();
        let mut subscription = bus.subscribe();
        subscription.next(Duration::ZERO, None).await;
        for _ in 0..3 {
            bus.send(Change::Rollout { uid: "a".to_owned() });
        }
        let dirty = subscription.next(Duration::ZERO, None).await;
        assert_eq!(dirty.rollouts.len(), 1);
        assert!(!dirty.everything);
    }
}
