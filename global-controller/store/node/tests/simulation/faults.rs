//! What goes wrong, and when: each seed draws its own mix of faults, so that some runs know only one kind of them.

use store_node::Input;

use crate::draw::Draw;
use crate::network::Network;
use crate::world::{Event, Options, TICK_MICROS, World};

/// Entries between two snapshots: few, so that each run has several.
const SNAPSHOT_ENTRIES: [u64; 3] = [5, 15, 50];
/// Longest time that a replica is down, in microseconds: several elections.
const DOWN_MICROS: u64 = 900_000;
/// Longest stall of a disk or pause of a process in microseconds: several election timeouts.
const STALL_MICROS: u64 = 500_000;
/// Longest delay of a slow link in microseconds: longer than a read waits before it is asked again.
const SLOW_LINK_MICROS: u64 = 150_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Isolate,
    CutOneWay,
    Split,
    HealNetwork,
    BreakConnection,
    SlowLink,
    Crash,
    PowerCut,
    Stall,
    Clock,
    Pause,
    HandOver,
    Members,
}

const ALL: [Fault; 13] = [
    Fault::Isolate,
    Fault::CutOneWay,
    Fault::Split,
    Fault::HealNetwork,
    Fault::BreakConnection,
    Fault::SlowLink,
    Fault::Crash,
    Fault::PowerCut,
    Fault::Stall,
    Fault::Clock,
    Fault::Pause,
    Fault::HandOver,
    Fault::Members,
];

/// What may go wrong in this run.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    faults: [bool; ALL.len()],
    pub crashes: bool,
    pub damages_snapshots: bool,
    pub snapshot_entries: u64,
    /// Between two faults on average, in microseconds.
    pub fault_pause: u64,
    loss_per_thousand: u64,
    slow_per_thousand: u64,
    slow_micros: u64,
    wild: bool,
}

impl Profile {
    /// Odd seeds know crashes, even ones don't.
    pub fn draw(options: &Options, draw: &mut Draw) -> Self {
        let mut faults = ALL.map(|_| draw.chance(600));
        let crashes = options.seed % 2 == 1;
        for (enabled, fault) in faults.iter_mut().zip(ALL) {
            match fault {
                Fault::Crash => *enabled = crashes,
                Fault::PowerCut => *enabled &= crashes,
                Fault::HealNetwork => *enabled = true,
                Fault::Members => *enabled = draw.chance(400),
                _ => {}
            }
        }
        Self {
            faults,
            crashes,
            damages_snapshots: crashes && draw.chance(500),
            snapshot_entries: SNAPSHOT_ENTRIES[draw.index(SNAPSHOT_ENTRIES.len())],
            fault_pause: draw.between(4, 30) * TICK_MICROS,
            loss_per_thousand: if draw.chance(500) { draw.below(150) } else { 0 },
            slow_per_thousand: if draw.chance(500) { draw.below(200) } else { 0 },
            slow_micros: draw.between(5_000, 200_000),
            wild: draw.chance(250),
        }
    }

    pub fn apply(&self, network: &mut Network) {
        network.loss_per_thousand = self.loss_per_thousand;
        network.slow_per_thousand = self.slow_per_thousand;
        network.slow_micros = self.slow_micros;
        network.wild = self.wild;
    }
}

impl World {
    /// One fault, and the time of the next.
    pub fn fault(&mut self) {
        if self.healing {
            return;
        }
        let enabled: Vec<_> = ALL.iter().zip(self.profile.faults).filter(|(_, enabled)| *enabled).collect();
        let (fault, _) = enabled[self.draw.index(enabled.len())];
        let ids = self.ids();
        // Most that can go wrong goes wrong around a leader.
        let leader = self.leading().filter(|_| self.draw.chance(400));
        let id = leader.unwrap_or(ids[self.draw.index(ids.len())]);
        self.trace.note(self.now, [3, id, 0, 0], || format!("fault {fault:?} at {id}"));
        self.cause(*fault, id, &ids);
        let pause = self.draw.below(2 * self.profile.fault_pause) + 1;
        self.after(pause, Event::Fault);
    }

    fn cause(&mut self, fault: Fault, id: u64, ids: &[u64]) {
        match fault {
            Fault::Isolate => self.cut(|from, to| from == id || to == id),
            Fault::CutOneWay => {
                let all = self.draw.chance(500);
                let other = ids[self.draw.index(ids.len())];
                let outwards = self.draw.chance(500);
                self.cut(|from, to| {
                    let (own, peer) = if outwards { (from, to) } else { (to, from) };
                    own == id && (all || peer == other)
                });
            }
            Fault::Split => {
                let side = self.draw.next();
                self.cut(|from, to| (side >> from) & 1 != (side >> to) & 1);
            }
            Fault::HealNetwork => {
                self.network.heal();
                self.profile.apply(&mut self.network);
            }
            Fault::BreakConnection => {
                let other = ids[self.draw.index(ids.len())];
                if other != id {
                    self.network.break_connection(id, other, self.now, &mut self.draw);
                    self.input(id, Input::Unreachable { peer: other });
                }
            }
            Fault::SlowLink => {
                let delay = self.draw.below(SLOW_LINK_MICROS);
                let other = ids[self.draw.index(ids.len())];
                self.network.slow_down(id, other, delay);
            }
            Fault::Crash => self.crash_and_restart(id),
            Fault::PowerCut => ids.iter().for_each(|id| self.crash_and_restart(*id)),
            Fault::Stall => {
                let until = self.now + self.draw.below(STALL_MICROS);
                self.replicas.get_mut(&id).expect("all replicas exist").stalled_until = until;
            }
            Fault::Clock => {
                let tick = self.draw.between(TICK_MICROS / 2, TICK_MICROS * 2);
                self.replicas.get_mut(&id).expect("all replicas exist").tick_micros = tick;
            }
            Fault::Pause => {
                let replica = self.replicas.get_mut(&id).expect("all replicas exist");
                if replica.node.is_some() && !replica.paused {
                    replica.paused = true;
                    let pause = self.draw.below(STALL_MICROS);
                    self.after(pause, Event::Resume { replica: id });
                }
            }
            Fault::HandOver => self.input(id, Input::HandOver),
            Fault::Members => self.change_members(),
        }
    }

    pub fn leading(&self) -> Option<u64> {
        let leads = |id: &u64| self.replicas[id].node.as_ref().is_some_and(store_node::Node::leads);
        self.ids().into_iter().find(leads)
    }

    fn cut(&mut self, mut is_cut: impl FnMut(u64, u64) -> bool) {
        self.counts.partitions += 1;
        let ids = self.ids();
        for from in &ids {
            for to in ids.iter().filter(|to| *to != from) {
                if is_cut(*from, *to) {
                    self.network.cut(*from, *to, true);
                }
            }
        }
    }

    pub fn crash_and_restart(&mut self, id: u64) {
        self.crash(id);
        let down = self.draw.below(DOWN_MICROS);
        self.after(down, Event::Restart { replica: id });
    }

    /// All faults end: from here on everything has to heal.
    pub fn heal(&mut self) {
        self.healing = true;
        self.network.heal();
        self.trace.note(self.now, [4, 0, 0, 0], || "all faults end".to_owned());
        for id in self.ids() {
            self.resume(id);
            let replica = self.replicas.get_mut(&id).expect("all replicas exist");
            (replica.tick_micros, replica.stalled_until) = (TICK_MICROS, 0);
            if replica.node.is_none() {
                self.start(id);
            }
        }
    }
}
