#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

#[test]
fn semantics_41_a_restored_store_is_above_every_known_epoch_even_when_the_clock_runs_back() {
    assert_eq!(next_epoch(1_000, 1), 1_000);
    assert_eq!(next_epoch(1_000, 5_000), 5_001);
    assert_eq!(next_epoch(1_000, u64::MAX), u64::MAX);
}

fn restored(checksum: &str, epoch: u64) -> Restored {
    Restored { checksum: checksum.to_owned(), epoch }
}

#[test]
fn replicas_begin_together_only_from_the_same_file_and_take_the_highest_epoch() {
    let (own, other) = (restored("a", 5), restored("a", 9));
    assert_eq!(Restored::agree(None, None), Ok(None));
    assert_eq!(Restored::agree(Some(&own), Some(&other)), Ok(Some(restored("a", 9))));
    assert_eq!(Restored::agree(Some(&other), Some(&own)), Ok(Some(restored("a", 9))));
    let reason = Restored::agree(Some(&own), Some(&restored("b", 5))).unwrap_err();
    assert!(reason.contains("restored from the backup b, this replica from a"), "{reason}");
    let reason = Restored::agree(Some(&own), None).unwrap_err();
    assert!(reason.contains("it is empty, but this replica was restored from the backup a"), "{reason}");
    let reason = Restored::agree(None, Some(&own)).unwrap_err();
    assert!(reason.contains("this replica is empty: every replica must be restored"), "{reason}");
}
