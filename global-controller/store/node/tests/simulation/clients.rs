//! Clients: each asks one thing after the other at a replica of its choice, as callers of the handle do.
//!
//! A write goes from that replica to the one it believes to lead. It is offered again only when the answer says that it
//! certainly entered no log or lost its place there; when no answer comes in time, its outcome stays unknown.

use store_node::{Fence, Input, Op, ProposalOutcome, Txn, TxnOutcome, Versioned, When};

use crate::history::{Answer, Call, Operation, Outcome};
use crate::world::{Event, World};

const CLIENTS: usize = 6;
/// Few keys, so that operations meet.
const KEYS: u64 = 4;
/// Between two operations of a client, in microseconds.
const THINK_MICROS: u64 = 40_000;
/// A caller's deadline in microseconds: a few elections.
const DEADLINE_MICROS: u64 = 700_000;
/// Before a write is offered again, in microseconds.
const RETRY_MICROS: u64 = 10_000;
/// Keeps histories short enough to check: operations of one run.
const OPERATIONS: usize = 500;

#[derive(Default)]
pub struct Client {
    /// The operation under way, and the replica it was given to.
    current: Option<(usize, u64)>,
    /// The write was offered to a leader and may be in its log.
    offered: bool,
    read_bound: u64,
    seen: Vec<(String, Option<u64>)>,
    fence: Option<Fence>,
}

impl World {
    pub fn start_clients(&mut self) {
        for client in 0..CLIENTS {
            self.clients.push(Client::default());
            let wait = self.draw.below(THINK_MICROS);
            self.after(wait, Event::NextOperation { client });
        }
    }

    /// Whether some client waits for an answer.
    pub fn asking(&self) -> bool {
        self.clients.iter().any(|client| client.current.is_some())
    }

    pub fn next_operation(&mut self, client: usize) {
        if self.healing || self.history.len() >= OPERATIONS {
            return;
        }
        let ids = self.ids();
        let home = ids[self.draw.index(ids.len())];
        let call = self.call(client, home);
        self.begin(client, home, call);
    }

    /// The client asks `home`.
    pub fn begin(&mut self, client: usize, home: u64, call: Call) {
        let operation = self.history.len();
        self.trace.note(self.now, [5, client as u64, home, 0], || format!("client {client} asks {home}: {call:?}"));
        self.history.push(Operation::new(client, call, self.now));
        let read_bound = self.invariants.read_asked();
        let asking = &mut self.clients[client];
        (asking.current, asking.offered, asking.read_bound) = (Some((operation, home)), false, read_bound);
        self.after(DEADLINE_MICROS, Event::Deadline { operation });
        self.ask(operation);
    }

    fn call(&mut self, client: usize, home: u64) -> Call {
        let key = format!("k{}", self.draw.below(KEYS));
        if let Some(fence) = self.replicas[&home].node.as_ref().and_then(|node| node.view().fence) {
            self.clients[client].fence = Some(fence);
        }
        match self.draw.below(100) {
            0..40 => Call::Get { key },
            40..50 => {
                let after = self.draw.chance(300).then(|| format!("k{}", self.draw.below(KEYS)));
                Call::Range { prefix: "k".to_owned(), after, limit: self.draw.index(3) + 2 }
            }
            _ => Call::Txn(self.txn(client, &key)),
        }
    }

    fn txn(&mut self, client: usize, key: &str) -> Txn {
        let fence = self.clients[client].fence.filter(|_| self.draw.chance(250));
        let known = self.clients[client].seen.iter().rev().find(|seen| seen.0 == key).and_then(|seen| seen.1);
        let when = match (self.draw.below(10), known) {
            (0..4, Some(revision)) => vec![When::At { key: key.to_owned(), revision }],
            (4..6, _) => vec![When::Absent { key: key.to_owned() }],
            _ => Vec::new(),
        };
        let mut then = vec![if self.draw.chance(200) {
            Op::Delete { key: key.to_owned() }
        } else {
            self.put(client, key.to_owned())
        }];
        let second = format!("k{}", self.draw.below(KEYS));
        if self.draw.chance(250) && second != key {
            then.push(self.put(client, second));
        }
        Txn::new(fence, when, then).expect("within the limits")
    }

    fn put(&mut self, client: usize, key: String) -> Op {
        // Unique, so that what is read tells which write it was.
        let value = format!("{key}.{client}.{}", self.history.len());
        Op::Put { key, value: value.into() }
    }

    fn client_of(&self, operation: usize) -> Option<(usize, u64)> {
        let client = self.history[operation].client;
        let (current, home) = self.clients[client].current?;
        (current == operation).then_some((client, home))
    }

    /// Gives the operation to its replica, or for a write to the leader that the replica knows.
    pub fn ask(&mut self, operation: usize) {
        let Some((client, home)) = self.client_of(operation) else { return };
        let replica = &self.replicas[&home];
        let (up, paused) = (replica.node.is_some(), replica.paused);
        let leader = replica.node.as_ref().and_then(|node| node.view().leader);
        if !up || paused {
            return self.after(RETRY_MICROS, Event::Ask { operation });
        }
        if !matches!(self.history[operation].call, Call::Txn(_)) {
            let id = self.request(home, operation);
            return self.input(home, Input::Read { id });
        }
        match leader {
            None => self.after(RETRY_MICROS, Event::Ask { operation }),
            Some(leader) if leader == home => {
                self.clients[client].offered = true;
                self.offered(home, operation);
            }
            Some(leader) => {
                self.clients[client].offered = true;
                let arrival = self.network.arrivals(home, leader, self.now, &mut self.draw).first().copied();
                if let Some(arrival) = arrival {
                    self.after(arrival - self.now, Event::Offer { replica: leader, operation });
                }
            }
        }
    }

    fn request(&mut self, replica: u64, operation: usize) -> u64 {
        self.next_request += 1;
        let id = self.next_request;
        self.replicas.get_mut(&replica).expect("all replicas exist").requests.insert(id, operation);
        id
    }

    /// A write arrives at the replica that should lead.
    pub fn offered(&mut self, replica: u64, operation: usize) {
        if self.replicas[&replica].node.is_none() {
            return;
        }
        if let Call::Txn(txn) = self.history[operation].call.clone() {
            let id = self.request(replica, operation);
            self.input(replica, Input::Propose { id, txn });
        }
    }

    /// The replica's answer to a write goes back to where the client is.
    pub fn reply(&mut self, from: u64, operation: usize, outcome: ProposalOutcome) {
        let Some((_, home)) = self.client_of(operation) else { return };
        let boot = self.replicas[&home].boot;
        if from == home {
            return self.answered(home, boot, operation, outcome);
        }
        let arrival = self.network.arrivals(from, home, self.now, &mut self.draw).first().copied();
        if let Some(arrival) = arrival {
            self.after(arrival - self.now, Event::Answer { from: home, boot, operation, outcome });
        }
    }

    pub fn answered(&mut self, home: u64, boot: u64, operation: usize, outcome: ProposalOutcome) {
        let Some((client, _)) = self.client_of(operation) else { return };
        if !self.alive(home, boot) {
            return;
        }
        match outcome {
            ProposalOutcome::Applied(outcome) => {
                if let TxnOutcome::Committed { revision } = outcome {
                    self.invariants.write_acknowledged(revision);
                }
                self.remember(client, operation, &outcome);
                self.finish(operation, Outcome::Returned(self.now, Answer::Txn(outcome)));
            }
            ProposalOutcome::NotLeader | ProposalOutcome::Overloaded | ProposalOutcome::Replaced => {
                self.clients[client].offered = false;
                self.after(RETRY_MICROS, Event::Ask { operation });
            }
            ProposalOutcome::Unknown => self.finish(operation, Outcome::Unknown),
        }
    }

    fn remember(&mut self, client: usize, operation: usize, outcome: &TxnOutcome) {
        let Call::Txn(txn) = &self.history[operation].call else { return };
        let seen = &mut self.clients[client].seen;
        match outcome {
            TxnOutcome::Committed { revision } => {
                for op in txn.then() {
                    if let Op::Put { key, .. } = op {
                        seen.push((key.clone(), Some(*revision)));
                    }
                }
            }
            TxnOutcome::Conflict { current } => seen.extend(current.iter().cloned()),
            TxnOutcome::Fenced => self.clients[client].fence = None,
        }
    }

    /// A read was confirmed and is served from the state as it is by now.
    pub fn serve(&mut self, replica: u64, boot: u64, operation: usize) {
        let Some((client, _)) = self.client_of(operation) else { return };
        if !self.alive(replica, boot) {
            return self.lost(operation);
        }
        let Some(node) = &self.replicas[&replica].node else { return };
        let table = &node.state().table;
        let answer = match &self.history[operation].call {
            Call::Get { key } => Answer::Value(table.get(key).cloned()),
            Call::Range { prefix, after, limit } => {
                let (items, more) = table.page(prefix, after.as_deref(), *limit);
                Answer::Page { items, revision: table.revision(), more }
            }
            Call::Txn(_) => return,
        };
        let verdict = self.invariants.read_served(self.clients[client].read_bound, table.revision());
        if let (Call::Get { key }, Answer::Value(found)) = (&self.history[operation].call, &answer) {
            let revision = found.as_ref().map(|Versioned { revision, .. }| *revision);
            self.clients[client].seen.push((key.clone(), revision));
        }
        self.judge(verdict);
        self.finish(operation, Outcome::Returned(self.now, answer));
    }

    /// The process that had the request ended.
    pub fn lost(&mut self, operation: usize) {
        if self.client_of(operation).is_some() {
            let is_write = matches!(self.history[operation].call, Call::Txn(_));
            self.finish(operation, if is_write { Outcome::Unknown } else { Outcome::Failed });
        }
    }

    pub fn deadline(&mut self, operation: usize) {
        let Some((client, _)) = self.client_of(operation) else { return };
        let offered = self.clients[client].offered;
        self.finish(operation, if offered { Outcome::Unknown } else { Outcome::Failed });
    }

    fn finish(&mut self, operation: usize, outcome: Outcome) {
        let Some((client, _)) = self.client_of(operation) else { return };
        self.trace.note(self.now, [6, client as u64, 0, 0], || format!("client {client} hears {outcome:?}"));
        self.history[operation].outcome = outcome;
        self.clients[client].current = None;
        let wait = self.draw.below(THINK_MICROS);
        self.after(wait, Event::NextOperation { client });
    }
}
