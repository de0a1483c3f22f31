//! An acknowledged write lies synced on a majority when it is acknowledged, and is never lost.

use std::collections::BTreeMap;

use store_node::{ProposalOutcome, RequestId, TxnOutcome};

use super::Check;
use super::agreement::Agreement;
use crate::disk::Disk;
use crate::recorder::{Event, Seen};

#[derive(Default)]
pub struct Acknowledged {
    revisions: Vec<u64>,
}

impl Acknowledged {
    pub fn check(
        &mut self,
        seen: &[Seen],
        answers: &[(RequestId, ProposalOutcome)],
        disks: &BTreeMap<u64, &Disk>,
    ) -> Check {
        for (_, answer) in answers {
            let ProposalOutcome::Applied(TxnOutcome::Committed { revision }) = answer else { continue };
            let changed = |seen: &&Seen| {
                seen.revision == *revision && matches!(seen.event, Event::Applied { changes: Some(_), .. })
            };
            let Some(entry) = seen.iter().find(changed) else { continue };
            let holders = disks.values().filter(|disk| disk.durable.holds(entry.position)).count();
            if holders * 2 <= disks.len() {
                return Err(format!("{:?} was acknowledged while {holders} disks hold it", entry.position));
            }
            self.revisions.push(*revision);
        }
        Ok(())
    }

    /// After everything healed: each acknowledged revision is part of what all agreed on.
    pub fn survived(&self, agreement: &Agreement, end: u64) -> Check {
        let agreed: std::collections::BTreeSet<_> = agreement.facts().map(|(_, fact)| fact.revision).collect();
        match self.revisions.iter().find(|revision| !agreed.contains(revision) || **revision > end) {
            Some(lost) => Err(format!("revision {lost} was acknowledged and is gone; the store is at {end}")),
            None => Ok(()),
        }
    }

    pub fn count(&self) -> usize {
        self.revisions.len()
    }
}
