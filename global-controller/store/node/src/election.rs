//! Election timeouts without a source of randomness.
//!
//! `raft` draws them from the thread's generator, which would make a run impossible to repeat. They are drawn here
//! from (seed, id, term) and put in place of raft's after every input, before the next tick can look at them.

/// A timeout in ticks, in `[least, most)`. `least < most` holds for every configuration raft accepts.
pub(crate) fn timeout_ticks(seed: u64, id: u64, term: u64, least: usize, most: usize) -> usize {
    let span = (most - least).max(1) as u64;
    let draw = mix(mix(mix(seed) ^ id) ^ term) % span;
    least + usize::try_from(draw).unwrap_or(0)
}

/// The finalizer of `SplitMix64` (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::timeout_ticks;

    #[test]
    fn timeouts_repeat_for_a_seed_and_spread_over_replicas_and_terms() {
        let draw = |id, term| timeout_ticks(7, id, term, 10, 20);
        assert_eq!(draw(1, 5), draw(1, 5));
        let equal = (1..1000).filter(|term| draw(1, *term) == draw(2, *term)).count();
        assert!(equal < 200, "replicas 1 and 2 drew the same timeout in {equal} of 999 terms");
        assert!((1..1000).all(|term| (10..20).contains(&draw(3, term))));
    }
}
