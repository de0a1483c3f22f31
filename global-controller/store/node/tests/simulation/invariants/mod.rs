//! What must hold after every step of every replica; one file each.

mod acknowledged;
mod agreement;
mod bounds;
mod fences;
mod leaders;
mod promises;
mod reads;
mod revisions;
mod watches;

use std::collections::BTreeMap;

use store_node::{Changes, Message, ProposalOutcome, RequestId};

use crate::disk::Disk;
use crate::recorder::Seen;

/// What an invariant says of one event.
pub type Check = Result<(), String>;

/// What was broken, and how it showed.
#[derive(Clone, Debug)]
pub struct Violation {
    pub invariant: &'static str,
    pub detail: String,
}

fn named(invariant: &'static str, check: Check) -> Result<(), Violation> {
    check.map_err(|detail| Violation { invariant, detail })
}

/// All invariants. `inside` ones look at disks and messages, which no client sees; without them a bug has to show in
/// what clients hear, or in a cluster that doesn't heal.
pub struct Invariants {
    inside: bool,
    pub acknowledged: acknowledged::Acknowledged,
    pub agreement: agreement::Agreement,
    leaders: leaders::Leaders,
    revisions: revisions::Revisions,
    watches: watches::Watches,
    reads: reads::Reads,
    bounds: bounds::Bounds,
}

/// One step of one replica.
pub struct Step<'a> {
    pub replica: u64,
    pub leads: bool,
    pub term: u64,
    pub seen: &'a [Seen],
    pub messages: &'a [Message],
    pub answers: &'a [(RequestId, ProposalOutcome)],
    pub replaced: Option<u64>,
    pub changes: &'a [Changes],
    pub log_span: (u64, u64),
    pub voters: &'a [u64],
}

impl Invariants {
    pub fn new(inside: bool, snapshot_entries: u64) -> Self {
        Self {
            inside,
            acknowledged: acknowledged::Acknowledged::default(),
            agreement: agreement::Agreement::default(),
            leaders: leaders::Leaders::default(),
            revisions: revisions::Revisions::default(),
            watches: watches::Watches::default(),
            reads: reads::Reads::default(),
            bounds: bounds::Bounds::new(snapshot_entries),
        }
    }

    pub fn step(&mut self, step: &Step, disks: &BTreeMap<u64, &Disk>) -> Result<(), Violation> {
        if !self.inside {
            return Ok(());
        }
        let Step { replica, leads, term, seen, messages, answers, replaced, changes, log_span, voters } = *step;
        named("promises", promises::check(messages, &disks[&replica].durable))?;
        if leads {
            named("leaders", self.leaders.check(replica, term))?;
        }
        for seen in seen {
            named("agreement", self.agreement.check(replica, seen))?;
            named("revisions", self.revisions.check(replica, seen))?;
            named("fences", fences::check(seen))?;
            self.watches.learn(seen);
        }
        named("acknowledged", self.acknowledged.check(replica, seen, answers, voters, disks))?;
        named("watches", self.watches.check(replica, replaced, changes))?;
        named("bounds", self.bounds.check(replica, log_span))
    }

    /// A replica starts with what it recovered.
    pub fn started(&mut self, replica: u64, seen: &[Seen]) -> Result<(), Violation> {
        if !self.inside {
            return Ok(());
        }
        for seen in seen {
            self.agreement.restart(replica);
            self.revisions.restart(replica);
            named("agreement", self.agreement.check(replica, seen))?;
            named("revisions", self.revisions.check(replica, seen))?;
            self.watches.restart(replica, seen.revision);
        }
        Ok(())
    }

    /// The least revision that a read asked for now may see.
    pub fn read_asked(&self) -> u64 {
        self.reads.asked()
    }

    pub fn read_served(&mut self, asked_at: u64, revision: u64) -> Result<(), Violation> {
        let check = self.reads.served(asked_at, revision);
        if self.inside { named("reads", check) } else { Ok(()) }
    }

    pub fn write_acknowledged(&mut self, revision: u64) {
        self.reads.acknowledged(revision);
    }
}
