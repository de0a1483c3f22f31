//! The simulated world: time, the queue of what happens next, and everybody in it.

use std::collections::{BTreeMap, VecDeque};

use store_node::{Input, Message, RequestId, Table};

use crate::clients::Client;
use crate::draw::Draw;
use crate::faults::Profile;
use crate::history::Operation;
use crate::invariants::{Invariants, Violation};
use crate::network::Network;
use crate::replica::Replica;
use crate::trace::Trace;

/// A tick of a clock that neither drifts nor stands still, in microseconds.
pub const TICK_MICROS: u64 = 10_000;

/// Something that was broken on purpose, to see it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    AcknowledgeBeforeSync,
    DropHardState,
    TrustUnsyncedState,
    /// Inside the node.
    Node(store_node::Deviation),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    pub seed: u64,
    pub nodes: u64,
    pub bug: Option<Bug>,
    /// Whether the invariants that look inside are checked.
    pub inside: bool,
    /// Whether the trace is kept in words.
    pub worded: bool,
}

impl Options {
    pub fn new(seed: u64, nodes: u64) -> Self {
        Self { seed, nodes, bug: None, inside: true, worded: false }
    }

    pub fn bug_is(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }
}

/// What happens at a time.
pub enum Event {
    Tick { replica: u64, boot: u64 },
    Step { replica: u64, boot: u64 },
    Deliver { connection: u64, message: Message },
    Written { replica: u64, boot: u64 },
    TakeSnapshot { replica: u64, boot: u64 },
    SnapshotWritten { replica: u64, boot: u64, table: Box<Table> },
    SnapshotArrives { from: u64, boot: u64, to: u64, connection: u64, term: u64, table: Box<Table> },
    SnapshotReport { replica: u64, boot: u64, peer: u64, delivered: bool },
    Serve { replica: u64, boot: u64, operation: usize },
    Offer { replica: u64, operation: usize },
    Answer { from: u64, boot: u64, operation: usize, outcome: store_node::ProposalOutcome },
    Ask { operation: usize },
    Deadline { operation: usize },
    NextOperation { client: usize },
    Fault,
    Resume { replica: u64 },
    Restart { replica: u64 },
}

impl Event {
    /// The replica whose process has to run for it.
    fn process(&self) -> Option<u64> {
        match self {
            Self::Tick { replica, .. }
            | Self::Step { replica, .. }
            | Self::Written { replica, .. }
            | Self::TakeSnapshot { replica, .. }
            | Self::SnapshotWritten { replica, .. }
            | Self::SnapshotReport { replica, .. }
            | Self::Serve { replica, .. }
            | Self::Offer { replica, .. } => Some(*replica),
            Self::Deliver { message, .. } => Some(message.to),
            Self::SnapshotArrives { to, .. } => Some(*to),
            Self::Answer { .. }
            | Self::Ask { .. }
            | Self::Deadline { .. }
            | Self::NextOperation { .. }
            | Self::Fault
            | Self::Resume { .. }
            | Self::Restart { .. } => None,
        }
    }
}

pub struct World {
    pub options: Options,
    pub profile: Profile,
    pub draw: Draw,
    pub now: u64,
    sequence: u64,
    queue: BTreeMap<(u64, u64), Event>,
    pub replicas: BTreeMap<u64, Replica>,
    pub network: Network,
    pub clients: Vec<Client>,
    pub history: Vec<Operation>,
    pub invariants: Invariants,
    pub trace: Trace,
    pub next_request: RequestId,
    /// Faults have ended: everything has to heal.
    pub healing: bool,
    pub failure: Option<Violation>,
    pub counts: Counts,
}

/// What a run went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub events: u64,
    pub crashes: u64,
    pub torn_writes: u64,
    pub partitions: u64,
    pub snapshots_installed: u64,
    pub elections: u64,
    pub membership_changes: u64,
}

impl World {
    pub fn new(options: Options) -> Self {
        let mut draw = Draw(options.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ options.nodes);
        let profile = Profile::draw(&options, &mut draw);
        let ids: Vec<_> = (1..=options.nodes).collect();
        let mut network = Network::new();
        profile.apply(&mut network);
        let mut world = Self {
            options,
            profile,
            now: 0,
            sequence: 0,
            queue: BTreeMap::new(),
            replicas: ids.iter().map(|id| (*id, Replica::new(&ids, &options))).collect(),
            network,
            clients: Vec::new(),
            history: Vec::new(),
            invariants: Invariants::new(options.inside, profile.snapshot_entries),
            trace: Trace::new(options.worded),
            next_request: 0,
            healing: false,
            failure: None,
            counts: Counts::default(),
            draw,
        };
        for id in ids {
            world.start(id);
        }
        world.start_clients();
        world.after(world.profile.fault_pause, Event::Fault);
        world
    }

    pub fn after(&mut self, micros: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + micros, self.sequence), event);
    }

    pub fn ids(&self) -> Vec<u64> {
        self.replicas.keys().copied().collect()
    }

    /// Runs until a time, or until something is broken.
    pub fn run_until(&mut self, end: u64) {
        while self.failure.is_none() {
            let Some(first) = self.queue.first_entry() else { return };
            if first.key().0 > end {
                self.now = end;
                return;
            }
            let ((time, _), event) = first.remove_entry();
            self.now = time;
            self.counts.events += 1;
            self.happen(event);
        }
    }

    /// Notes the first thing that was broken.
    pub fn judge(&mut self, verdict: Result<(), Violation>) {
        if let Err(violation) = verdict {
            self.failure.get_or_insert(violation);
        }
    }

    pub fn broken(&mut self, invariant: &'static str, detail: String) {
        self.judge(Err(Violation { invariant, detail }));
    }

    fn happen(&mut self, event: Event) {
        if let Some(id) = event.process() {
            // A change may name a replica that nobody ever started.
            let Some(replica) = self.replicas.get_mut(&id) else { return };
            if replica.paused {
                replica.backlog.push_back(event);
                return;
            }
        }
        match event {
            Event::Tick { replica, boot } => self.tick(replica, boot),
            Event::Step { replica, boot } => {
                if self.alive(replica, boot) {
                    self.step(replica);
                }
            }
            Event::Deliver { connection, message } => self.message_arrives(connection, &message),
            Event::Written { replica, boot } => self.written(replica, boot),
            Event::TakeSnapshot { replica, boot } => self.take_snapshot(replica, boot),
            Event::SnapshotWritten { replica, boot, table } => self.snapshot_written(replica, boot, *table),
            Event::SnapshotArrives { from, boot, to, connection, term, table } => {
                self.snapshot_arrives((from, boot), to, connection, term, *table);
            }
            Event::SnapshotReport { replica, boot, peer, delivered } => {
                if self.alive(replica, boot) {
                    self.input(replica, Input::SnapshotSent { peer, delivered });
                }
            }
            Event::Serve { replica, boot, operation } => self.serve(replica, boot, operation),
            Event::Offer { replica, operation } => self.offered(replica, operation),
            Event::Answer { from, boot, operation, outcome } => self.answered(from, boot, operation, outcome),
            Event::Ask { operation } => self.ask(operation),
            Event::Deadline { operation } => self.deadline(operation),
            Event::NextOperation { client } => self.next_operation(client),
            Event::Fault => self.fault(),
            Event::Resume { replica } => self.resume(replica),
            Event::Restart { replica } => {
                if self.replicas.get(&replica).is_some_and(|replica| replica.node.is_none()) {
                    self.start(replica);
                }
            }
        }
    }

    pub fn resume(&mut self, id: u64) {
        let replica = self.replicas.get_mut(&id).expect("all replicas exist");
        replica.paused = false;
        let backlog: VecDeque<_> = std::mem::take(&mut replica.backlog);
        for event in backlog {
            self.happen(event);
        }
    }

    pub fn alive(&self, id: u64, boot: u64) -> bool {
        self.replicas.get(&id).is_some_and(|replica| replica.node.is_some() && replica.boot == boot)
    }
}
