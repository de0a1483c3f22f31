//! Requests that fail at random, from a seed: for tests and figures of the control group's test.

// Each of them uses its own part of this.
#![allow(dead_code)]

use rollout_core::{DropTest, Requests};

/// `SplitMix64`: small, good enough, and the same on each machine.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Above 0, below 1.
    #[allow(clippy::cast_precision_loss)] // 53 bits fit exactly.
    pub fn share(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// So many requests, of which each fails with this probability; from one failure to the next in one draw.
    pub fn requests(&mut self, total: u32, failing: f64) -> Requests {
        let total = f64::from(total);
        let (mut seen, mut failed) = (0.0, 0.0);
        if failing > 0.0 {
            let rare = (1.0 - failing).ln();
            loop {
                seen += (self.share().ln() / rare).floor() + 1.0;
                if seen > total {
                    break;
                }
                failed += 1.0;
            }
        }
        Requests { total, failed }
    }
}

/// A pause of two groups whose requests fail with fixed probabilities.
#[derive(Clone, Copy, Debug)]
pub struct Pause {
    pub max_drop: f64,
    /// Requests of the control group between two looks, and the part of them that fails.
    pub control: (u32, f64),
    /// The same of the updated members.
    pub updated: (u32, f64),
    pub looks: u32,
}

impl Pause {
    /// The look at which the drop is shown, from 1; none: at none.
    pub fn shown_at(self, random: &mut Random) -> Option<u32> {
        let mut test = DropTest::default();
        (1..=self.looks).find(|_| {
            let control = random.requests(self.control.0, self.control.1);
            let updated = random.requests(self.updated.0, self.updated.1);
            test.observe(self.max_drop, control, updated);
            test.shows_drop()
        })
    }

    /// The part of so many pauses in which a drop is shown.
    pub fn share_shown(self, runs: u32, random: &mut Random) -> f64 {
        let shown = (0..runs).filter(|_| self.shown_at(random).is_some()).count();
        f64::from(u32::try_from(shown).unwrap_or(u32::MAX)) / f64::from(runs)
    }

    /// The look at which the drop was shown in half of so many pauses; none: in fewer.
    pub fn median(self, runs: u32, random: &mut Random) -> Option<u32> {
        let mut shown: Vec<u32> = (0..runs).map(|_| self.shown_at(random).unwrap_or(u32::MAX)).collect();
        shown.sort_unstable();
        shown.get(shown.len() / 2).copied().filter(|look| *look < u32::MAX)
    }
}
