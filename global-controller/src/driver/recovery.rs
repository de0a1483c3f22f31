//! After the store was lost or went back: first the members tell what they have, then every run that is known of is adopted,
//! then everything else is decided (SEMANTICS 42). A rollout that has not started could else take the members of one that
//! nobody knows of yet.

use std::time::Duration;

use federated_store::{TxnOutcome, WriteError};
use rollout_core::{Reachability, is_recovering};
use tokio::time::Instant;

use super::{Driver, Ended, RETRY_PAUSE, Turn};
use crate::keys;
use crate::records::{RecoveryRecord, put};
use crate::world::World;

/// How often it is looked who has told.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long is waited for those who are heard, or not judged to be silent: a new leader judges nobody before 45 s, and an
/// agent that is heard is asked every 10 s. Whoever tells later is taken up then, and told nothing until then.
const PATIENCE: Duration = Duration::from_mins(1);
/// Attempts at one rollout that can't be committed; the loop that decides goes on trying.
const ATTEMPTS: u32 = 20;

impl Driver<'_> {
    /// Learns anew what was lost; none when that is done, or when there was nothing to learn.
    pub(super) async fn recover(&mut self) -> Option<Ended> {
        let open = self.world.mirror().recovery.filter(|recovery| recovery.open)?;
        tracing::warn!(epoch = open.epoch, cause = ?open.cause, "nothing is decided until members have told what they have");
        await_uploads(self.world).await;
        for uid in self.world.rollouts() {
            if let Some(ended) = self.adopt(&uid).await {
                return Some(ended);
            }
        }
        self.close(open).await
    }

    async fn adopt(&mut self, uid: &str) -> Option<Ended> {
        let mut failures = 0;
        while failures < ATTEMPTS {
            let members = self.members().await;
            let recovering =
                self.world.look(uid, &members, |known, _, observations| is_recovering(&known.state, observations));
            if !recovering || !self.is_ours(uid) {
                return None;
            }
            match self.turn(uid, &members).await {
                Turn::Again => {}
                Turn::Fenced => return Some(Ended::Fenced),
                Turn::Done => {
                    failures += 1;
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
        tracing::error!(uid, "a rollout could not be adopted; it is tried again later");
        None
    }

    async fn close(&self, open: RecoveryRecord) -> Option<Ended> {
        loop {
            match self.mark_closed(open).await {
                Ok(TxnOutcome::Committed { revision }) => {
                    self.world.await_mirror(revision).await;
                    tracing::info!(epoch = open.epoch, "what was lost is adopted as far as it is known");
                    return None;
                }
                Ok(_) => return Some(Ended::Fenced),
                Err(error) => {
                    tracing::warn!(%error, "failed to write that what was lost is adopted; trying again");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    async fn mark_closed(&self, open: RecoveryRecord) -> Result<TxnOutcome, WriteError> {
        let closed = RecoveryRecord { open: false, ..open };
        let operation = put(keys::RECOVERY.to_owned(), &closed)
            .map_err(|error| WriteError::Invalid { reason: error.to_string() })?;
        self.world.store.txn(Some(self.fence), Vec::new(), vec![operation]).await
    }
}

/// Waits until everybody who is heard has told, and the hub was listed: its statuses are half of what is known.
async fn await_uploads(world: &World) {
    let patience = Instant::now() + PATIENCE;
    loop {
        let waits = awaited(world).next().is_some() && Instant::now() < patience;
        if world.hub().is_fresh(Instant::now()) && !waits {
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Members that may tell yet.
fn awaited(world: &World) -> impl Iterator<Item = String> {
    let facts = world.member_facts();
    facts
        .into_iter()
        .filter(|(_, facts)| !facts.uploaded && facts.reachable != Reachability::Unreachable)
        .map(|(name, _)| name)
}
