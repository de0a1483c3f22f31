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
    /// Voters before the last change. An entry is committed by the voters at that time, and may be applied in one step
    /// with the change after it.
    before: Vec<u64>,
    now: Vec<u64>,
}

impl Acknowledged {
    pub fn check(
        &mut self,
        seen: &[Seen],
        answers: &[(RequestId, ProposalOutcome)],
        voters: &[u64],
        disks: &BTreeMap<u64, &Disk>,
    ) -> Check {
        if answers.is_empty() {
            return Ok(());
        }
        if self.now != voters {
            self.before = std::mem::replace(&mut self.now, voters.to_vec());
        }
        for (_, answer) in answers {
            let ProposalOutcome::Applied(TxnOutcome::Committed { revision }) = answer else { continue };
            let changed = |seen: &&Seen| {
                seen.revision == *revision && matches!(seen.event, Event::Applied { changes: Some(_), .. })
            };
            let Some(entry) = seen.iter().find(changed) else { continue };
            let holds = |id: &&u64| disks.get(id).is_some_and(|disk| disk.durable.holds(entry.position));
            let majority = |voters: &[u64]| voters.iter().filter(holds).count() * 2 > voters.len();
            if !majority(&self.now) && !majority(&self.before) {
                return Err(format!("{:?} was acknowledged and isn't on a majority of {voters:?}", entry.position));
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
