//! One replica's process around its node: inbox, disk, snapshots. It does what the real shell does, on simulated time.

use std::collections::{BTreeMap, VecDeque};

use store_node::{
    Config, Deviation, Input, MembershipOutcome, Message, Node, Outputs, PeerMessage, RequestId, SnapshotMessage,
    SnapshotOrder, SnapshotPolicy, State, Table, encode_message,
};

use crate::disk::{Disk, Recovered};
use crate::invariants::Step;
use crate::recorder::Recorder;
use crate::world::{Bug, Event, Options, TICK_MICROS, World};

/// Inputs that come up within this time share one step, in microseconds.
const GATHER_MICROS: u64 = 200;
/// Chance of a thousand that a write to disk is the last thing a process does, where writes end in crashes.
const CRASH_AT_WRITE: u64 = 4;

pub struct Replica {
    pub node: Option<Node<Recorder>>,
    pub boot: u64,
    pub disk: Disk,
    pub tick_micros: u64,
    pub stalled_until: u64,
    pub paused: bool,
    pub backlog: VecDeque<Event>,
    inbox: Vec<Input>,
    /// Requests of clients, and their operations.
    pub requests: BTreeMap<RequestId, usize>,
}

impl Replica {
    pub fn new(voters: &[u64], options: &Options) -> Self {
        Self::with_disk(Disk::new(voters), options)
    }

    /// A replica that knows nothing and belongs to nothing yet.
    pub fn joining(options: &Options) -> Self {
        Self::with_disk(Disk::empty(), options)
    }

    fn with_disk(mut disk: Disk, options: &Options) -> Self {
        disk.drops_hard_state = options.bug_is(Bug::DropHardState);
        Self {
            node: None,
            boot: 0,
            disk,
            tick_micros: TICK_MICROS,
            stalled_until: 0,
            paused: false,
            backlog: VecDeque::new(),
            inbox: Vec::new(),
            requests: BTreeMap::new(),
        }
    }
}

impl World {
    fn replica(&mut self, id: u64) -> &mut Replica {
        self.replicas.get_mut(&id).expect("all replicas exist")
    }

    /// Starts a process from what its disk holds.
    pub fn start(&mut self, id: u64) {
        let unreadable = self.profile.damages_snapshots && !self.healing && self.draw.chance(200);
        let (seed, entries) = (self.options.seed, self.profile.snapshot_entries);
        let deviation = match self.options.bug {
            Some(Bug::Node(deviation)) => deviation,
            _ => Deviation::None,
        };
        let replica = self.replica(id);
        replica.boot += 1;
        let boot = replica.boot;
        let recovered = match replica.disk.durable.recover(unreadable) {
            Ok(recovered) => recovered,
            Err(reason) => return self.broken("recovery", format!("replica {id}: {reason}")),
        };
        let Recovered { hard_state, table, entries: log } = recovered;
        let config = Config { id, boot, seed, snapshots: SnapshotPolicy { entries, bytes: u64::MAX }, deviation };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let node = Node::new(config, hard_state, table.meta(), log, Recorder::new(table), &logger);
        let node = match node {
            Ok(node) => node,
            Err(error) => return self.broken("recovery", format!("replica {id}: {error}")),
        };
        self.trace.note(self.now, [1, id, boot, 0], || format!("replica {id} starts, {:?}", node.log_span()));
        let seen = node.state().drain();
        let verdict = self.invariants.started(id, &seen);
        self.replica(id).node = Some(node);
        self.judge(verdict);
        self.after(0, Event::Step { replica: id, boot });
        let first = self.draw.below(TICK_MICROS);
        self.after(first, Event::Tick { replica: id, boot });
    }

    /// The process ends and its machine loses power.
    pub fn crash(&mut self, id: u64) {
        let Some(node) = self.replica(id).node.take() else { return };
        self.counts.crashes += 1;
        self.trace.note(self.now, [2, id, 0, 0], || format!("replica {id} crashes"));
        let (ids, now) = (self.ids(), self.now);
        self.network.crashed(id, &ids, now, &mut self.draw);
        let mut draw = self.draw.clone();
        self.draw.next();
        let trusts = self.options.bug_is(Bug::TrustUnsyncedState);
        let replica = self.replica(id);
        replica.disk.crash(&mut draw);
        if trusts {
            replica.disk.publish(unsynced(&node.state().table, &mut draw));
        }
        replica.inbox.clear();
        replica.paused = false;
        let requests = std::mem::take(&mut replica.requests);
        let backlog = std::mem::take(&mut replica.backlog);
        drop(backlog);
        for operation in requests.into_values() {
            self.lost(operation);
        }
    }

    /// Adds an input; the step follows soon, with what else comes up until then.
    pub fn input(&mut self, id: u64, input: Input) {
        let wait = self.draw.below(GATHER_MICROS);
        let replica = self.replica(id);
        if replica.node.is_none() {
            return;
        }
        replica.inbox.push(input);
        if replica.inbox.len() == 1 {
            let boot = replica.boot;
            self.after(wait, Event::Step { replica: id, boot });
        }
    }

    pub fn tick(&mut self, id: u64, boot: u64) {
        if self.alive(id, boot) {
            let pause = self.replica(id).tick_micros;
            self.after(pause, Event::Tick { replica: id, boot });
            self.input(id, Input::Tick);
        }
    }

    pub fn message_arrives(&mut self, connection: u64, message: &Message) {
        let (from, to) = (message.from, message.to);
        let running = self.replicas.get(&to).is_some_and(|replica| replica.node.is_some());
        if !self.network.delivers(from, to, connection) || !running {
            return;
        }
        let checked = encode_message(message).and_then(|bytes| PeerMessage::decode(bytes.into(), from, to));
        match checked {
            Ok(checked) => self.input(to, Input::Message(checked)),
            Err(error) => self.broken("codec", format!("{message:?}: {error}")),
        }
    }

    pub fn step(&mut self, id: u64) {
        let replica = self.replica(id);
        let Some(node) = replica.node.as_mut() else { return };
        let inputs = std::mem::take(&mut replica.inbox);
        let count = inputs.len() as u64;
        match node.step(inputs) {
            Ok(out) => self.deliver(id, count, out),
            Err(error) => self.broken("errors", format!("replica {id}: {error}")),
        }
    }

    fn deliver(&mut self, id: u64, inputs: u64, out: Outputs) {
        self.check(id, inputs, &out);
        let Outputs {
            messages,
            batches,
            proposals,
            membership_answers,
            membership: _,
            reads,
            lost_reads,
            changes: _,
            replaced,
            view,
            snapshots,
            snapshot_due,
            // No disk here is damaged.
            repaired: _,
        } = out;
        let changed = membership_answers.iter().filter(|(_, outcome)| matches!(outcome, MembershipOutcome::Applied(_)));
        self.counts.membership_changes += changed.count() as u64;
        self.counts.snapshots_installed += u64::from(replaced.is_some());
        let boot = self.replica(id).boot;
        for message in messages {
            self.send(&message);
        }
        if let Some(last) = batches.last().map(|batch| batch.number) {
            if self.options.bug_is(Bug::AcknowledgeBeforeSync) {
                self.input(id, Input::Persisted { number: last });
            }
            self.replica(id).disk.queue(batches);
            self.write(id);
        }
        for (request, outcome) in proposals {
            if let Some(operation) = self.replica(id).requests.remove(&request) {
                self.reply(id, operation, outcome);
            }
        }
        for request in reads {
            if let Some(operation) = self.replica(id).requests.remove(&request) {
                let pause = self.draw.below(2_000);
                self.after(pause, Event::Serve { replica: id, boot, operation });
            }
        }
        for request in lost_reads {
            self.replica(id).requests.remove(&request);
        }
        if view.is_some_and(|view| view.fence.is_some()) {
            self.counts.elections += 1;
        }
        for order in snapshots {
            self.send_snapshot(id, &order);
        }
        if snapshot_due {
            let pause = self.draw.below(10_000);
            self.after(pause, Event::TakeSnapshot { replica: id, boot });
        }
    }

    fn check(&mut self, id: u64, inputs: u64, out: &Outputs) {
        let Some(node) = &self.replicas[&id].node else { return };
        let (view, seen) = (node.view(), node.state().drain());
        let step = Step {
            replica: id,
            leads: node.leads(),
            term: view.term,
            seen: &seen,
            messages: &out.messages,
            answers: &out.proposals,
            replaced: out.replaced,
            changes: &out.changes,
            log_span: node.log_span(),
            voters: &node.membership().voters,
        };
        let disks = self.replicas.iter().map(|(id, replica)| (*id, &replica.disk)).collect();
        let verdict = self.invariants.step(&step, &disks);
        let applied = node.state().applied().index;
        let busy = inputs + out.messages.len() as u64 * 1_000 + out.batches.len() as u64 * 1_000_000;
        self.trace.note(self.now, [id, view.term, applied, busy], || {
            let kinds: Vec<_> = out.messages.iter().map(describe).collect();
            let batches: Vec<_> = out.batches.iter().map(|batch| batch.number).collect();
            let role = if step.leads { "leads" } else { "follows" };
            format!("{id} {role} term {} applied {applied}: {kinds:?} writes {batches:?}", view.term)
        });
        self.judge(verdict);
    }

    fn send(&mut self, message: &Message) {
        let (from, to) = (message.from, message.to);
        let connection = self.network.connection(from, to);
        let arrivals = self.network.arrivals(from, to, self.now, &mut self.draw);
        let now = self.now;
        for arrival in arrivals {
            self.after(arrival - now, Event::Deliver { connection, message: message.clone() });
        }
    }

    fn write(&mut self, id: u64) {
        let (now, stall) = (self.now, self.draw.between(50, 2_000));
        let replica = self.replica(id);
        if replica.disk.begin() {
            let wait = replica.stalled_until.saturating_sub(now) + stall;
            let boot = replica.boot;
            self.after(wait, Event::Written { replica: id, boot });
        }
    }

    /// A write and its sync end, one way or another.
    pub fn written(&mut self, id: u64, boot: u64) {
        if !self.alive(id, boot) {
            return;
        }
        let crashes = self.profile.crashes && !self.healing;
        if crashes && self.draw.chance(CRASH_AT_WRITE) {
            self.counts.torn_writes += 1;
            return self.crash_and_restart(id);
        }
        let number = self.replica(id).disk.finish();
        if crashes && self.draw.chance(CRASH_AT_WRITE) {
            return self.crash_and_restart(id);
        }
        if let Some(number) = number.filter(|_| !self.options.bug_is(Bug::AcknowledgeBeforeSync)) {
            self.input(id, Input::Persisted { number });
        }
        self.write(id);
    }

    /// The contents are copied when the housekeeper gets to it, and are on disk some time later.
    pub fn take_snapshot(&mut self, id: u64, boot: u64) {
        if self.alive(id, boot) {
            let wait = self.draw.below(60_000);
            let table = self.replicas[&id].node.as_ref().map(|node| node.state().table.clone());
            let table = Box::new(table.expect("it is alive"));
            self.after(wait, Event::SnapshotWritten { replica: id, boot, table });
        }
    }

    pub fn snapshot_written(&mut self, id: u64, boot: u64, table: Table) {
        if !self.alive(id, boot) {
            return;
        }
        if self.draw.chance(50) {
            return self.input(id, Input::SnapshotFailed);
        }
        let meta = table.meta();
        self.replica(id).disk.publish(table);
        if self.profile.crashes && !self.healing && self.draw.chance(CRASH_AT_WRITE) {
            return self.crash_and_restart(id);
        }
        self.input(id, Input::SnapshotTaken(meta));
    }

    fn send_snapshot(&mut self, from: u64, order: &SnapshotOrder) {
        let (to, boot) = (order.to, self.replica(from).boot);
        let newest = self.replica(from).disk.durable.snapshots.last().cloned();
        let table = newest.filter(|table| table.applied().index >= order.meta.position.index);
        let connection = self.network.connection(from, to);
        // A file takes longer than a message, so more can come between.
        let wait = self.draw.between(2_000, 80_000);
        let event = match table {
            Some(table) => {
                Event::SnapshotArrives { from, boot, to, connection, term: order.term, table: Box::new(table) }
            }
            None => Event::SnapshotReport { replica: from, boot, peer: to, delivered: false },
        };
        self.after(wait, event);
    }

    pub fn snapshot_arrives(&mut self, sender: (u64, u64), to: u64, connection: u64, term: u64, table: Table) {
        let (from, boot) = sender;
        let lost = !self.network.delivers(from, to, connection)
            || !self.alive(from, boot)
            || self.replicas[&to].node.is_none();
        if !lost {
            let meta = table.meta();
            let index = meta.position.index;
            match SnapshotMessage::decode(SnapshotMessage::encode(term, &meta).into(), from, to) {
                Ok(message) => {
                    let replica = self.replica(to);
                    replica.disk.received.insert(index, table.clone());
                    replica.inbox.push(Input::Snapshot { message: Box::new(message), table: Box::new(table) });
                    self.step(to);
                }
                Err(error) => self.broken("codec", format!("the snapshot {meta:?}: {error}")),
            }
        }
        // The answer may be lost; the sender's deadline then tells the same later.
        let wait = self.draw.between(500, 20_000);
        let delivered = !lost && self.draw.chance(900);
        self.after(wait, Event::SnapshotReport { replica: from, boot, peer: to, delivered });
    }
}

fn describe(message: &Message) -> String {
    let Message { to, index, commit, .. } = message;
    let entries = message.get_entries().len();
    let reject = if message.reject { " reject" } else { "" };
    format!("{:?}->{to} i{index} c{commit} n{entries}{reject}", message.get_msg_type())
}

/// What an engine without syncs leaves: it names the last entry, but pages that were in memory only are gone.
fn unsynced(table: &Table, draw: &mut crate::draw::Draw) -> Table {
    let mut left = Table::with_header(table.meta(), table.revision(), table.epoch());
    for (key, found) in table.iter() {
        if draw.chance(700) {
            left.load(store_node::KeyValue {
                key: key.to_owned(),
                value: found.value.clone(),
                revision: found.revision,
            });
        }
    }
    left
}
