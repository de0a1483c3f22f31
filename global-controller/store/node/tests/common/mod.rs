//! A cluster of nodes in one thread: a network that loses messages by a seed, and disks that flush when told.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod draw;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use draw::Draw;
use store_node::{
    Batch, Changes, Config, Deviation, Entry, HardState, Input, Membership, MembershipOutcome, Message, Node, Outputs,
    PeerMessage, Position, ProposalOutcome, Repair, ReplicaInfo, RequestId, SnapshotMessage, SnapshotMeta,
    SnapshotPolicy, State, Table,
};

/// Who the replica of a number is.
pub fn info(number: u64) -> ReplicaInfo {
    let (name, url) = (format!("controller-{number}"), format!("https://controller-{number}:9443"));
    ReplicaInfo { name, url, incarnation: 1000 + number }
}

/// What a disk holds.
#[derive(Clone)]
pub struct Disk {
    pub hard_state: HardState,
    pub snapshot: Table,
    pub entries: Vec<Entry>,
    pub waiting: VecDeque<Batch>,
}

impl Disk {
    fn new(voters: &[u64]) -> Self {
        let birth = Position { term: 1, index: 1 };
        let named = voters.iter().map(|number| (*number, info(*number))).collect();
        let snapshot = Table::new(birth, Membership::of_replicas(named));
        let hard_state = HardState { term: 1, commit: 1, ..HardState::default() };
        Self { hard_state, snapshot, entries: Vec::new(), waiting: VecDeque::new() }
    }

    /// The disk of a replica that joins.
    fn empty() -> Self {
        let (hard_state, snapshot) = (HardState::default(), Table::default());
        Self { hard_state, snapshot, entries: Vec::new(), waiting: VecDeque::new() }
    }

    fn flush(&mut self, batch: &Batch, installed: Option<&Table>) {
        if let Some(meta) = &batch.snapshot {
            self.snapshot = installed.filter(|table| table.meta() == *meta).expect("no contents").clone();
            self.entries.clear();
        }
        if let Some(first) = batch.entries.first() {
            self.entries.retain(|entry| entry.index < first.index);
            self.entries.extend(batch.entries.iter().cloned());
        }
        self.hard_state = batch.hard_state.clone();
    }
}

pub struct Replica {
    pub node: Option<Node<Table>>,
    pub disk: Disk,
    pub installed: Option<Table>,
    pub flushing: bool,
    boot: u64,
}

pub struct Cluster {
    pub replicas: BTreeMap<u64, Replica>,
    pub wire: VecDeque<Message>,
    pub cut: BTreeSet<u64>,
    pub loss_percent: u64,
    pub draw: Draw,
    pub answers: Vec<(u64, RequestId, ProposalOutcome)>,
    pub membership_answers: Vec<(u64, RequestId, MembershipOutcome)>,
    pub reads: Vec<(u64, RequestId)>,
    pub changes: BTreeMap<u64, Vec<Changes>>,
    pub sent: Vec<Message>,
    policy: SnapshotPolicy,
    seed: u64,
}

impl Cluster {
    pub fn new(count: u64, seed: u64, policy: SnapshotPolicy) -> Self {
        let voters: Vec<_> = (1..=count).collect();
        let mut cluster = Self {
            replicas: BTreeMap::new(),
            wire: VecDeque::new(),
            cut: BTreeSet::new(),
            loss_percent: 0,
            draw: Draw(seed),
            answers: Vec::new(),
            membership_answers: Vec::new(),
            reads: Vec::new(),
            changes: BTreeMap::new(),
            sent: Vec::new(),
            policy,
            seed,
        };
        for id in voters.clone() {
            let disk = Disk::new(&voters);
            let replica = Replica { node: None, disk, installed: None, flushing: true, boot: 0 };
            cluster.replicas.insert(id, replica);
            cluster.start(id);
        }
        cluster
    }

    /// Starts a replica from what its disk holds; what was not flushed is lost.
    pub fn start(&mut self, id: u64) {
        self.start_with(id, None);
    }

    /// Loses a replica's log after its snapshot, as damage does, and starts it in repair.
    pub fn damage_and_start(&mut self, id: u64) {
        let disk = &mut self.replicas.get_mut(&id).unwrap().disk;
        let meta = disk.snapshot.meta().position;
        let last = disk.entries.last().map_or(meta, |last| Position { term: last.term, index: last.index });
        disk.entries.clear();
        disk.hard_state.commit = meta.index;
        self.start_with(id, Some(Repair { last }));
    }

    fn start_with(&mut self, id: u64, repair: Option<Repair>) {
        let replica = self.replicas.get_mut(&id).unwrap();
        replica.disk.waiting.clear();
        replica.boot += 1;
        let config =
            Config { id, boot: replica.boot, seed: self.seed, snapshots: self.policy, deviation: Deviation::None };
        let (meta, table) = (replica.disk.snapshot.meta(), replica.disk.snapshot.clone());
        let entries: Vec<_> =
            replica.disk.entries.iter().filter(|entry| entry.index > meta.position.index).cloned().collect();
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let node = Node::new(config, replica.disk.hard_state.clone(), meta, entries, table, &logger).unwrap();
        replica.node = Some(match repair {
            Some(repair) => node.repairing(repair),
            None => node,
        });
        self.changes.insert(id, Vec::new());
        self.step(id, []);
    }

    /// Starts a replica that knows nothing and belongs to nothing yet.
    pub fn join(&mut self, id: u64) {
        let replica = Replica { node: None, disk: Disk::empty(), installed: None, flushing: true, boot: 0 };
        self.replicas.insert(id, replica);
        self.start(id);
    }

    pub fn crash(&mut self, id: u64) {
        self.replicas.get_mut(&id).unwrap().node = None;
    }

    pub fn node(&self, id: u64) -> &Node<Table> {
        self.replicas[&id].node.as_ref().unwrap()
    }

    /// What is sent to a replica that doesn't run, or never was, is lost.
    pub fn step(&mut self, id: u64, inputs: impl IntoIterator<Item = Input>) {
        let Some(node) = self.replicas.get_mut(&id).and_then(|replica| replica.node.as_mut()) else { return };
        let out = node.step(inputs).unwrap();
        self.deliver(id, out);
    }

    fn deliver(&mut self, id: u64, out: Outputs) {
        self.sent.extend(out.messages.iter().cloned());
        self.wire.extend(out.messages);
        let answers = out.membership_answers.into_iter();
        self.membership_answers.extend(answers.map(|(request, outcome)| (id, request, outcome)));
        self.answers.extend(out.proposals.into_iter().map(|(request, outcome)| (id, request, outcome)));
        self.reads.extend(out.reads.into_iter().map(|request| (id, request)));
        if out.replaced.is_some() {
            self.changes.insert(id, Vec::new());
        }
        self.changes.get_mut(&id).unwrap().extend(out.changes);
        let replica = self.replicas.get_mut(&id).unwrap();
        if out.batches.iter().any(|batch| batch.snapshot.is_some()) {
            replica.installed = Some(replica.node.as_ref().unwrap().state().clone());
        }
        replica.disk.waiting.extend(out.batches);
        let flushing = replica.flushing;
        if out.snapshot_due {
            self.take_snapshot(id);
        }
        for order in out.snapshots {
            self.send_snapshot(id, order.to, order.term);
        }
        if flushing {
            self.flush(id);
        }
    }

    /// Everything that waits for the disk reaches it.
    pub fn flush(&mut self, id: u64) {
        let replica = self.replicas.get_mut(&id).unwrap();
        let mut last = None;
        while let Some(batch) = replica.disk.waiting.pop_front() {
            let installed = if batch.snapshot.is_some() { replica.installed.take() } else { None };
            replica.disk.flush(&batch, installed.as_ref());
            last = Some(batch.number);
        }
        if let Some(number) = last {
            self.step(id, [Input::Persisted { number }]);
        }
    }

    fn take_snapshot(&mut self, id: u64) {
        let replica = self.replicas.get_mut(&id).unwrap();
        let table = replica.node.as_ref().unwrap().state().clone();
        let meta: SnapshotMeta = table.meta();
        replica.disk.snapshot = table;
        self.step(id, [Input::SnapshotTaken(meta)]);
    }

    fn send_snapshot(&mut self, from: u64, to: u64, term: u64) {
        let table = self.replicas[&from].disk.snapshot.clone();
        let lost = self.cut.contains(&from)
            || self.cut.contains(&to)
            || self.replicas.get(&to).is_none_or(|to| to.node.is_none());
        if !lost {
            let message = SnapshotMessage::new(from, to, term, table.meta()).unwrap();
            self.step(to, [Input::Snapshot { message: Box::new(message), table: Box::new(table) }]);
        }
        self.step(from, [Input::SnapshotSent { peer: to, delivered: !lost }]);
    }

    /// One tick for everyone, then all messages that get through, in order.
    pub fn tick(&mut self) {
        for id in self.replicas.keys().copied().collect::<Vec<_>>() {
            self.step(id, [Input::Tick]);
        }
        self.settle();
    }

    /// Delivers messages until there are none.
    pub fn settle(&mut self) {
        while let Some(message) = self.wire.pop_front() {
            let lost = self.cut.contains(&message.from)
                || self.cut.contains(&message.to)
                || self.draw.below(100) < self.loss_percent;
            if !lost {
                let to = message.to;
                self.step(to, [Input::Message(PeerMessage::from_raft(message).unwrap())]);
            }
        }
    }

    pub fn leaders(&self) -> Vec<u64> {
        let running = self.replicas.iter().filter_map(|(id, replica)| Some((*id, replica.node.as_ref()?)));
        running.filter(|(_, node)| node.view().fence.is_some()).map(|(id, _)| id).collect()
    }

    /// Ticks until one replica among those not cut off leads with a fence.
    pub fn elect(&mut self) -> u64 {
        for _ in 0..500 {
            if let Some(leader) = self.leaders().into_iter().find(|id| !self.cut.contains(id)) {
                return leader;
            }
            self.tick();
        }
        panic!("no leader within 500 ticks");
    }

    pub fn applied(&self, id: u64) -> Position {
        self.node(id).state().applied()
    }
}
