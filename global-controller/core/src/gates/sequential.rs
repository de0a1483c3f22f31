//! Whether one group's requests fail more often than another's, by more than is allowed: a test that may be looked at
//! after each measurement, and stopped whenever it has decided.
//!
//! Null hypothesis: the updated members' share of failures is at most `max_drop` above that of the control group. The
//! test is a mixture of sequential probability ratios. For each alternative (c, u) of a grid, u above c + `max_drop`, a
//! block of n and m requests with x and y failures multiplies its value by
//!
//! ```text
//! (c/c°)^x ((1-c)/(1-c°))^(n-x) (u/u°)^y ((1-u)/(1-u°))^(m-y),   u° = c° + max_drop
//! ```
//!
//! where c° is the allowed point nearest to the alternative: the minimum of n KL(c|c°) + m KL(u|u°). Under the null
//! hypothesis its expectation is at most 1 (Turner, Ly and Grünwald, "Generic E-variables for exact sequential k-sample
//! tests that allow for optional stopping", 2024; Turner and Grünwald, "Exact anytime-valid confidence intervals for
//! contingency tables and beyond", 2023). So is that of the product over blocks and of the mean over the grid, and by Ville's
//! inequality the mean ever reaches 1/0.05 in at most 5 % of all runs, however often and whenever one looks.
//!
//! Shares may differ from block to block, and from member to member within a group: only the difference of the groups'
//! means in a block counts, so trouble that comes over all members at once, and goes, is none between the groups.

use serde::{Deserialize, Serialize};

/// False alarms are at most this share of runs in which the drop is just what is allowed.
const FALSE_ALARMS: f64 = 0.05;
/// Shares of failures in the control group for which the test has most power. What lies below the first is found as
/// fast as the first.
const BASELINES: [f64; 6] = [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1];
/// The same for what the drop is above the one allowed.
const EXCESSES: [f64; 7] = [0.0005, 0.0015, 0.005, 0.015, 0.05, 0.15, 0.5];
/// Newton's method needs fewer; halving alone would come to the last bit with as many.
const MAX_TURNS: usize = 64;
/// Relative error of c°. Only its square enters the expectation, whose slope is zero there.
const TOLERANCE: f64 = 1e-10;

/// Requests of a group, and those of them that failed. Extrapolated counts are no whole numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    /// All.
    pub total: f64,
    /// Those that failed, at most as many.
    pub failed: f64,
}

/// How the test stands: the logarithm of each alternative's value, baselines outside, excesses inside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DropTest {
    logarithms: Vec<f64>,
}

impl DropTest {
    /// The value from which on the drop is shown to be more than is allowed.
    pub const SHOWN: f64 = 1.0 / FALSE_ALARMS;

    /// Takes a block of requests into account, all of them new. Counts may be smaller than those of the real requests, by
    /// one factor for all requests of a member, and the test stays valid: E[z^k] ≤ E[z]^k for k ≤ 1.
    pub fn observe(&mut self, max_drop: f64, control: Requests, updated: Requests) {
        self.logarithms.resize(BASELINES.len() * EXCESSES.len(), 0.0);
        // Nothing to compare: the nearest allowed point is then the alternative itself.
        if control.total <= 0.0 || updated.total <= 0.0 {
            return;
        }
        let weights = (control.total, updated.total);
        let alternatives = BASELINES.iter().flat_map(|low| EXCESSES.iter().map(move |excess| (*low, excess)));
        for (logarithm, (low, excess)) in self.logarithms.iter_mut().zip(alternatives) {
            let high = low + max_drop + excess;
            if high < 1.0 {
                let allowed = nearest_allowed((low, high), max_drop, weights);
                *logarithm += ratio(control, low, allowed) + ratio(updated, high, allowed + max_drop);
            }
        }
    }

    /// The mean over all alternatives, the test's e-value; 1 before the first block.
    pub fn value(&self) -> f64 {
        let Some(most) = self.logarithms.iter().copied().reduce(f64::max) else { return 1.0 };
        let sum: f64 = self.logarithms.iter().map(|one| (one - most).exp()).sum();
        // A sum that is too large for a number shows no more than the largest number does.
        (most + (sum / to_f64(self.logarithms.len())).ln()).min(700.0).exp()
    }

    /// Whether the drop is shown to be more than is allowed.
    pub fn shows_drop(&self) -> bool {
        self.value() >= Self::SHOWN
    }
}

/// The logarithm of a likelihood ratio.
fn ratio(requests: Requests, alternative: f64, allowed: f64) -> f64 {
    let succeeded = requests.total - requests.failed;
    requests.failed * (alternative / allowed).ln() + succeeded * ((1.0 - alternative) / (1.0 - allowed)).ln()
}

/// The control group's share c° of the allowed point that is nearest to an alternative: where the derivative of
/// n KL(low|c°) + m KL(high|c° + `max_drop`) is zero. It is convex, so there is one, between the alternative's own low and
/// the low for which its high would be allowed. The derivative's denominators are multiplied out.
fn nearest_allowed((low, high): (f64, f64), max_drop: f64, (n, m): (f64, f64)) -> f64 {
    let (n, m) = (n / (n + m), m / (n + m));
    let slope = |c: f64| {
        let u = c + max_drop;
        let (control, updated) = (c * (1.0 - c), u * (1.0 - u));
        let value = n * (c - low) * updated + m * (u - high) * control;
        let rise = n * (updated + (c - low) * (1.0 - 2.0 * u)) + m * (control + (u - high) * (1.0 - 2.0 * c));
        (value, rise)
    };
    let (mut left, mut right) = (low, high - max_drop);
    let mut c = n * left + m * right;
    for _ in 0..MAX_TURNS {
        let (value, rise) = slope(c);
        let side = if value < 0.0 { &mut left } else { &mut right };
        *side = c;
        let newton = c - value / rise;
        let next = if newton > left && newton < right { newton } else { f64::midpoint(left, right) };
        if (next - c).abs() <= TOLERANCE * c {
            return next;
        }
        c = next;
    }
    c
}

#[allow(clippy::cast_precision_loss)] // A number of alternatives.
fn to_f64(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(total: f64, failed: f64) -> Requests {
        Requests { total, failed }
    }

    /// The share of runs in which so many of `total` requests fail.
    fn binomial(total: u32, failed: u32, share: f64) -> f64 {
        let ways: f64 = (0..failed).map(|one| f64::from(total - one) / f64::from(one + 1)).product();
        ways * share.powf(f64::from(failed)) * (1.0 - share).powf(f64::from(total - failed))
    }

    /// That of the value after one block, exactly, over all outcomes.
    fn expectation(max_drop: f64, (n, m): (u32, u32), (control, updated): (f64, f64), scale: f64) -> f64 {
        let outcomes = (0..=n).flat_map(|x| (0..=m).map(move |y| (x, y)));
        let valued = |(x, y): (u32, u32)| {
            let mut test = DropTest::default();
            let [n_seen, m_seen, x_seen, y_seen] = [n, m, x, y].map(|count| f64::from(count) * scale);
            test.observe(max_drop, of(n_seen, x_seen), of(m_seen, y_seen));
            binomial(n, x, control) * binomial(m, y, updated) * test.value()
        };
        outcomes.map(valued).sum()
    }

    #[test]
    fn without_a_drop_beyond_the_allowed_one_its_expectation_is_at_most_one() {
        for max_drop in [0.0, 0.003, 0.2] {
            for sizes in [(1, 1), (12, 3), (4, 15), (20, 20)] {
                for control in [0.0, 0.001, 0.03, 0.2, 0.5, 0.8] {
                    for drop in [-0.5, -0.01, 0.0, 0.5, 1.0].map(|part| part * max_drop) {
                        let shares = (control, f64::clamp(control + drop, 0.0, 1.0));
                        for scale in [1.0, 0.7] {
                            let mean = expectation(max_drop, sizes, shares, scale);
                            assert!(mean <= 1.0 + 1e-9, "{mean} for {max_drop} {sizes:?} {shares:?} {scale}");
                        }
                    }
                }
            }
        }
        assert!(expectation(0.003, (20, 20), (0.0, 0.3), 1.0) > 2.0, "with one it rises");
    }

    #[test]
    fn blocks_multiply_and_an_empty_group_says_nothing() {
        let mut test = DropTest::default();
        assert!((test.value() - 1.0).abs() < 1e-12);
        test.observe(0.003, of(0.0, 0.0), of(1000.0, 500.0));
        test.observe(0.003, of(1000.0, 0.0), of(0.0, 0.0));
        assert!((test.value() - 1.0).abs() < 1e-12, "{}", test.value());
        let values: Vec<f64> = (0..3)
            .map(|_| {
                test.observe(0.003, of(1000.0, 1.0), of(1000.0, 10.0));
                test.value()
            })
            .collect();
        assert!(values[0] < DropTest::SHOWN && values[0] > 1.0, "{values:?}");
        assert!(values[2] > DropTest::SHOWN && test.shows_drop(), "{values:?}");
    }

    #[test]
    fn no_count_is_too_large_or_too_odd_for_it() {
        for (control, updated) in
            [(of(1e9, 0.0), of(1e9, 1e9)), (of(1e9, 1e9), of(1e9, 0.0)), (of(0.4, 0.4), of(1e7, 3.5))]
        {
            for max_drop in [0.0, 0.003, 0.9, 1.0] {
                let mut test = DropTest::default();
                test.observe(max_drop, control, updated);
                assert!(test.value().is_finite() && test.value() >= 0.0, "{control:?} {updated:?} {max_drop}");
            }
        }
    }
}
