//! Before anything is decided it is made sure that the hub did not go back: once it is written down that it did, every
//! rollout holds until a person accepts it (SEMANTICS 43).

use std::collections::BTreeMap;

use federated_store::{TxnOutcome, WriteError};
use rollout_core::MemberFacts;

use super::commit::hub_condition;
use super::{Driver, RETRY_PAUSE};
use crate::records::{HubRecord, Rewound, put};
use crate::{clock, keys};

impl Driver<'_> {
    /// What is known of the members. The look at the rollouts comes after it: a hub that lacks members has been found out
    /// by then.
    pub(super) async fn members(&self) -> BTreeMap<String, MemberFacts> {
        loop {
            let members = self.world.member_facts();
            let known = self.world.mirror().hub.rewound.is_some();
            let Some(told) = self.world.hub_went_back().filter(|_| !known) else { return members };
            tracing::error!(
                told,
                "the hub was restored from an older backup: everything holds until a person accepts it"
            );
            match self.record(told).await {
                Ok(TxnOutcome::Committed { revision }) => self.world.await_mirror(revision).await,
                // Another leader decides, and whatever is decided here is not committed any more.
                Ok(TxnOutcome::Fenced) => return members,
                Ok(TxnOutcome::Conflict { .. }) => tokio::time::sleep(RETRY_PAUSE).await,
                Err(error) => {
                    tracing::warn!(%error, "failed to write that the hub went back; nothing is decided before that");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    async fn record(&self, told: String) -> Result<TxnOutcome, WriteError> {
        let accepted = self.world.mirror().hub.accepted;
        let record = HubRecord { accepted, rewound: Some(Rewound { since: clock::now_millis(), told }) };
        let operation =
            put(keys::HUB.to_owned(), &record).map_err(|error| WriteError::Invalid { reason: error.to_string() })?;
        let condition = hub_condition(self.world);
        self.world.store.txn(Some(self.fence), vec![condition], vec![operation]).await
    }
}
