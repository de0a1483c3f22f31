//! The node's state: its real table, and a record of everything that was applied to it.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};

use store_node::{Applied, Changes, Command, Membership, Position, State, Table, Txn, TxnOutcome};

/// Something that happened to one replica's table.
#[derive(Clone, Debug)]
pub struct Seen {
    pub position: Position,
    pub revision: u64,
    /// Of the whole table afterwards.
    pub digest: u64,
    pub event: Event,
}

#[derive(Clone, Debug)]
pub enum Event {
    Applied {
        txn: Option<Txn>,
        outcome: Option<TxnOutcome>,
        changes: Option<Changes>,
    },
    /// A change of the membership, with or without effect.
    Reconfigured,
    /// The whole table was replaced, or recovered at a start.
    Whole,
}

pub struct Recorder {
    pub table: Table,
    seen: RefCell<Vec<Seen>>,
}

impl Recorder {
    pub fn new(table: Table) -> Self {
        let seen = RefCell::new(vec![whole(&table)]);
        Self { table, seen }
    }

    /// What happened since the last call.
    pub fn drain(&self) -> Vec<Seen> {
        self.seen.take()
    }
}

fn whole(table: &Table) -> Seen {
    Seen { position: table.applied(), revision: table.revision(), digest: digest(table), event: Event::Whole }
}

/// Equal for equal contents, within one version of the compiler.
pub fn digest(table: &Table) -> u64 {
    let mut hasher = DefaultHasher::new();
    (table.revision(), table.epoch()).hash(&mut hasher);
    let Membership { voters, learners, retired, .. } = table.membership();
    (voters, learners, retired).hash(&mut hasher);
    for (key, found) in table.iter() {
        (key, &found.value, found.revision).hash(&mut hasher);
    }
    hasher.finish()
}

impl State for Recorder {
    fn applied(&self) -> Position {
        self.table.applied()
    }

    fn apply(&mut self, commands: &[Command]) -> Vec<Applied> {
        let mut all = Vec::with_capacity(commands.len());
        for command in commands {
            let applied = self.table.apply(std::slice::from_ref(command));
            for Applied { outcome, changes } in &applied {
                let (outcome, changes) = (outcome.clone(), changes.clone());
                let event = Event::Applied { txn: command.txn.clone(), outcome, changes };
                let seen = Seen { event, ..whole(&self.table) };
                self.seen.get_mut().push(seen);
            }
            all.extend(applied);
        }
        all
    }

    fn reconfigure(&mut self, position: Position, membership: Option<Membership>) {
        self.table.reconfigure(position, membership);
        let seen = Seen { event: Event::Reconfigured, ..whole(&self.table) };
        self.seen.get_mut().push(seen);
    }

    fn install(&mut self, table: Table) {
        self.table = table;
        self.seen.get_mut().push(whole(&self.table));
    }
}
