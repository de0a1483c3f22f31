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
    /// Each replica's voters before and after the last change it applied. An entry is committed by the voters at that
    /// time, and may be applied in one step with the change after it.
    voters: BTreeMap<u64, (Vec<u64>, Vec<u64>)>,
}

impl Acknowledged {
    pub fn check(
        &mut self,
        replica: u64,
        seen: &[Seen],
        answers: &[(RequestId, ProposalOutcome)],
        voters: &[u64],
        disks: &BTreeMap<u64, &Disk>,
    ) -> Check {
        let (before, now) = self.voters.entry(replica).or_insert_with(|| (voters.to_vec(), voters.to_vec()));
        if now != voters {
            *before = std::mem::replace(now, voters.to_vec());
        }
        for (_, answer) in answers {
            let ProposalOutcome::Applied(TxnOutcome::Committed { revision }) = answer else { continue };
            let changed = |seen: &&Seen| {
                seen.revision == *revision && matches!(seen.event, Event::Applied { changes: Some(_), .. })
            };
            let Some(entry) = seen.iter().find(changed) else { continue };
            let holds = |id: &&u64| disks.get(id).is_some_and(|disk| disk.durable.holds(entry.position));
            let majority = |voters: &[u64]| voters.iter().filter(holds).count() * 2 > voters.len();
            if !majority(now) && !majority(before) {
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
