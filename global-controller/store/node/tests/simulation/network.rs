//! The network between replicas: one connection per direction and pair, as the real transport has it.
//!
//! What the real transport can do to messages, and so does this one:
//! - Within a connection order is kept. Single messages may be missing: a full queue or inbox drops them.
//! - When a connection breaks, what was in flight is lost or, when the receiver still drains what its kernel holds, arrives
//!   late: also after the first messages of the next connection. This is the only reordering between two replicas, and there is no
//!   duplication: nothing is sent again by the transport.
//! - A direction may be cut without the other.
//!
//! A `wild` network keeps no order at all and repeats messages. No transport of ours does this; Raft is made to bear it,
//! and a quarter of the runs check that this node does.

use std::collections::BTreeMap;

use crate::draw::Draw;

/// Longest delay of a healthy network in microseconds.
const QUICK_MICROS: u64 = 1_500;
/// Longest time until a broken connection is open again, in microseconds.
const RECONNECT_MICROS: u64 = 60_000;

#[derive(Clone, Default)]
struct Link {
    connection: u64,
    /// Messages of connections before this one no longer arrive.
    oldest: u64,
    cut: bool,
    down_until: u64,
    extra_delay: u64,
    last_arrival: u64,
}

/// All connections.
pub struct Network {
    links: BTreeMap<(u64, u64), Link>,
    pub loss_per_thousand: u64,
    pub slow_per_thousand: u64,
    pub slow_micros: u64,
    pub wild: bool,
}

impl Network {
    pub fn new() -> Self {
        Self { links: BTreeMap::new(), loss_per_thousand: 0, slow_per_thousand: 0, slow_micros: 1, wild: false }
    }

    fn link(&mut self, from: u64, to: u64) -> &mut Link {
        self.links.entry((from, to)).or_default()
    }

    /// When a message arrives: never, once, or in a wild network twice.
    pub fn arrivals(&mut self, from: u64, to: u64, now: u64, draw: &mut Draw) -> Vec<u64> {
        let lost = draw.chance(self.loss_per_thousand);
        let mut delay = draw.between(50, QUICK_MICROS);
        if draw.chance(self.slow_per_thousand) {
            delay += draw.below(self.slow_micros);
        }
        let twice = (self.wild && draw.chance(50)).then(|| now + delay + draw.below(100_000));
        let wild = self.wild;
        let link = self.link(from, to);
        if lost || link.cut || now < link.down_until {
            return Vec::new();
        }
        if wild {
            return [Some(now + delay), twice].into_iter().flatten().collect();
        }
        link.last_arrival = link.last_arrival.max(now + delay + link.extra_delay);
        vec![link.last_arrival]
    }

    /// The connection that a message sent now belongs to.
    pub fn connection(&mut self, from: u64, to: u64) -> u64 {
        self.link(from, to).connection
    }

    /// Whether a message sent on `connection` gets through now.
    pub fn delivers(&mut self, from: u64, to: u64, connection: u64) -> bool {
        let link = self.link(from, to);
        !link.cut && connection >= link.oldest
    }

    /// Ends the connection; what was in flight may arrive late.
    pub fn break_connection(&mut self, from: u64, to: u64, now: u64, draw: &mut Draw) {
        let (pause, late) = (draw.below(RECONNECT_MICROS), draw.chance(300));
        let link = self.link(from, to);
        link.connection += 1;
        link.last_arrival = 0;
        link.down_until = now + pause;
        if !late {
            link.oldest = link.connection;
        }
    }

    /// A process ended: nothing that was under way to it arrives, what it sent may.
    pub fn crashed(&mut self, id: u64, others: &[u64], now: u64, draw: &mut Draw) {
        for other in others.iter().copied().filter(|other| *other != id) {
            self.break_connection(other, id, now, draw);
            self.break_connection(id, other, now, draw);
            let incoming = self.link(other, id);
            incoming.oldest = incoming.connection;
        }
    }

    pub fn cut(&mut self, from: u64, to: u64, cut: bool) {
        self.link(from, to).cut = cut;
    }

    /// Each message takes longer from now on, in microseconds.
    pub fn slow_down(&mut self, from: u64, to: u64, delay: u64) {
        self.link(from, to).extra_delay = delay;
    }

    /// Everything gets through from now on.
    pub fn heal(&mut self) {
        for link in self.links.values_mut() {
            (link.cut, link.down_until, link.extra_delay) = (false, 0, 0);
        }
        (self.loss_per_thousand, self.slow_per_thousand, self.wild) = (0, 0, false);
    }
}
